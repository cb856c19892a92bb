"""What the doors share: train.py, evaluate.py and the commands of the package."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import OmegaConf

from marl_pricing.presentation.output import quiet_pipe


def revision() -> str:
    """Git revision of this code, with a mark where files differ from it; `unknown` outside a checkout."""
    here = Path(__file__).parent
    try:
        commit = subprocess.run(
            ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return commit.stdout.strip()


@contextmanager
def say_errors(*faults: type[Exception]) -> Iterator[None]:
    """A fault of the user's becomes lines on stderr and exit status 2; a fault of ours keeps its traceback.

    Args:
        faults: errors that are the user's too, beside settings, run folders and files that cannot be had.
    """
    from marl_pricing.config import ConfigError
    from marl_pricing.learning.runs import RunError

    theirs: tuple[type[Exception], ...] = (ConfigError, RunError, *faults)
    try:
        yield
    except theirs as error:
        lines = str(error).splitlines()
    except OSError as error:
        if error.filename is None:
            raise
        lines = [f"{error.filename}: {error.strerror}"]
    else:
        return
    for line in lines:
        print(f"error: {line}", file=sys.stderr)
    raise SystemExit(2)


def swept_values(field: str) -> list[Any]:
    """The values that the jobs of this Hydra multirun give to a field, as far as the command tells them; else none.

    All jobs run in one process: what can be set once only has to do for all of them.
    """
    if HydraConfig.get().mode != RunMode.MULTIRUN:
        return []
    params = OmegaConf.to_container(HydraConfig.get().sweeper).get("params") or {}  # type: ignore[union-attr]
    texts = [*(f"{name}={value}" for name, value in params.items()), *(own for own in sys.argv[1:] if "=" in own)]
    found: list[Any] = []
    for text in texts:
        if text.lstrip("+").partition("=")[0] != field:
            continue
        own = OverridesParser.create().parse_override(text)
        swept = own.is_sweep_override() and own.is_discrete_sweep()
        found += own.sweep_iterator(lambda element: element) if swept else [own.value()]
    return found


def run_hydra(main: Callable[[], None]) -> None:
    """Call a Hydra main so that its complaints about a command line are one line each, like ours."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # raise, so that the message below can be made
    try:
        with quiet_pipe():
            main()
    except MissingConfigException as error:
        group, _, name = (error.missing_cfg_file or "").rpartition("/")
        options = ", ".join(error.options or []) or "nothing"
        raise SystemExit(_one_line(f"{group}={name}: accepted is {options}")) from None
    except ConfigCompositionException as error:
        unknown = re.search(r"Could not (?:override|delete|append to config) '([^']+)'", str(error))
        given = [own for own in sys.argv[1:] if unknown and own.lstrip("+~").startswith(unknown.group(1))]
        text = f"{given[0]}: there is no such setting" if given else str(error)
        raise SystemExit(_one_line(text)) from None
    except HydraException as error:
        raise SystemExit(_one_line(str(error))) from None


def _one_line(text: str) -> int:
    print("error: " + " ".join(text.split()), file=sys.stderr)
    return 2
