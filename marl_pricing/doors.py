"""What the doors share: train.py, evaluate.py and the commands of the package."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import OmegaConf

from marl_pricing.presentation.extras import said_missing
from marl_pricing.presentation.output import FULL, NOT_WRITTEN, fault_of_system, quiet_pipe


def revision() -> str:
    """Git revision of this code, with a mark where files differ from it.

    Outside a checkout what MARL_PRICING_REVISION says, which a container is built with; else `unknown`.
    """
    here = Path(__file__).parent
    told = os.environ.get("MARL_PRICING_REVISION", "unknown")
    if not (here.parent / "pyproject.toml").exists():  # installed, perhaps inside somebody else's checkout
        return told
    try:
        commit = subprocess.run(
            ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return told
    return commit.stdout.strip()


_console: str | None = None


def through_console(verb: str) -> None:
    """Remember that this process came in by `marl-pricing VERB`: what it says to do next is said in the same words."""
    global _console
    _console = verb


def command_line() -> str:
    """What was typed to start this process."""
    return shlex.join(["marl-pricing", _console, *sys.argv[1:]] if _console else ["python", *sys.argv])


def how_to(verb: str, **settings: Any) -> str:
    """The command of a verb as this process's user would type it: `python train.py resume=FOLDER`."""
    words = ["marl-pricing", verb] if _console else ["python", f"{verb}.py"]
    return " ".join([*words, *(shlex.quote(f"{name}={value}") for name, value in settings.items())])


@contextmanager
def say_errors(*faults: type[Exception]) -> Iterator[None]:
    """A fault of the user's becomes lines on stderr and exit status 2; a fault of ours keeps its traceback.

    What could not be written because a disk is full has a status of its own, `NOT_WRITTEN`.

    Args:
        faults: errors that are the user's too, beside settings, run folders and files that cannot be had.
    """
    from marl_pricing.config import ConfigError
    from marl_pricing.learning.runs import NotWrittenError, RunError

    theirs: tuple[type[Exception], ...] = (ConfigError, RunError, *faults)
    status = 2
    try:
        yield
    except theirs as error:
        lines = str(error).splitlines()
        if isinstance(error, NotWrittenError) or _is_full(error):
            status = NOT_WRITTEN
    except OSError as error:
        if error.filename is None:
            raise
        lines = [f"{error.filename}: {error.strerror}"]
        status = NOT_WRITTEN if _is_full(error) else status
    else:
        return
    for line in lines:
        print(f"error: {line}", file=sys.stderr)
    raise SystemExit(status)


def _is_full(error: Exception) -> bool:
    fault = fault_of_system(error)
    return fault is not None and fault.errno in FULL


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


def quoted(value: str) -> str:
    """A text as Hydra's grammar reads it as it is, whatever it holds."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def as_typed(arguments: Iterable[str]) -> list[str]:
    """The same settings, with values that Hydra's grammar cannot read as the texts they are: a folder called a=b.

    Raises:
        SystemExit: with a line for what is no setting.
    """
    parser, found, before = OverridesParser.create(), [], ""
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if equals and name and value and not name.startswith("-"):
            try:
                parser.parse_override(argument)
            except HydraException:
                argument = f"{name}={quoted(value)}"
        elif not name or not (equals or before.startswith("-") or name.startswith(("-", "~"))):
            raise SystemExit(_one_line(f"{argument}: accepted are settings as field=value; --help lists them"))
        found.append(argument)
        before = argument
    return found


def run_hydra(main: Callable[[], None], names: Callable[[], Iterable[str]]) -> None:
    """Call a Hydra main so that its complaints about a command line are one line each, like ours.

    Args:
        names: of the settings there are, for who mistypes one.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # raise, so that the message below can be made
    try:
        sys.argv[1:] = as_typed(sys.argv[1:])
        with quiet_pipe(), said_missing():
            main()
    except MissingConfigException as error:
        from marl_pricing.config.errors import no_such_file

        raise SystemExit(_one_line(no_such_file(error.missing_cfg_file or "", error.options or []))) from None
    except ConfigCompositionException as error:
        unknown = re.search(r"Could not (?:override|delete|append to config) '([^']+)'", str(error))
        given = [own for own in sys.argv[1:] if unknown and own.lstrip("+~").startswith(unknown.group(1))]
        text = str(error)
        if given:
            from marl_pricing.config.errors import did_you_mean

            typed = given[0].lstrip("+~").partition("=")[0]
            text = f"{given[0]}: there is no such setting{did_you_mean(typed, names())}"
        raise SystemExit(_one_line(text)) from None
    except ValueError as error:
        if "Config group override" not in str(error):
            raise
        numbers = " ".join(own for own in sys.argv[1:] if re.fullmatch(r"[+\w/]+=[-+.\d]*", own))
        raise SystemExit(_one_line(f"{numbers}: accepted for a group of settings is the name of a file")) from None
    except HydraException as error:
        text = str(error).partition(" See https://hydra.cc")[0]
        raise SystemExit(_one_line(text)) from None


def _one_line(text: str) -> int:
    print("error: " + " ".join(text.split()), file=sys.stderr)
    return 2
