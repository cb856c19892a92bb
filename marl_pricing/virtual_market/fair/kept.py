"""Fair policies as they are kept: a folder is read as the kind of policy that it says it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
from pydantic import ValidationError

from marl_pricing.virtual_market.errors import ModelError
from marl_pricing.virtual_market.fair.plan import PlanPolicy, plan_from
from marl_pricing.virtual_market.fair.policy import FairPolicy, learned_from
from marl_pricing.virtual_market.fair.start import POLICY
from marl_pricing.virtual_market.states import StateForm

Policy = FairPolicy | PlanPolicy
_ACCEPTED = "accepted is what train wrote"
_KINDS: dict[str, Callable[[dict[str, Any], dict[str, np.ndarray]], Policy]] = {
    "learned": learned_from,
    "plan": plan_from,
}


def load_policy(folder: Path | str) -> Policy:
    """The policy of a folder. Raises ModelError, one line, for a folder that holds no whole one."""
    folder = Path(folder)
    told, arrays = POLICY.read(folder)
    kind = str(told.get("kind")) if told["format"] == POLICY.format else "learned"
    if kind not in _KINDS:
        raise ModelError(f"{folder / POLICY.told}: kind {kind!r}; accepted is {' or '.join(_KINDS)}")
    form, weekday = told.get("form"), told.get("weekday")
    if form not in get_args(StateForm) or weekday not in range(7):
        raise ModelError(f"{folder / POLICY.told}: form {form!r}, weekday {weekday!r} are no policy's; {_ACCEPTED}")
    try:
        return _KINDS[kind](told, arrays)
    except KeyError as error:
        where = POLICY.told if error.args[0] == "settings" else POLICY.arrays
        raise ModelError(f"{folder / where}: has no {error.args[0]!r}; {_ACCEPTED}") from None
    except ValidationError:
        raise ModelError(f"{folder / POLICY.told}: settings are no {kind} policy's; {_ACCEPTED}") from None
    except (TypeError, ValueError) as error:
        raise ModelError(f"{folder / POLICY.arrays}: is no {kind} policy's ({error}); {_ACCEPTED}") from None
