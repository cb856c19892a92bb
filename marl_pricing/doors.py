"""What the doors share: train.py, evaluate.py and the commands of the package."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException


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


def run_hydra(main: Callable[[], None]) -> None:
    """Call a Hydra main so that its complaints about a command line are one line each, like ours."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # raise, so that the message below can be made
    try:
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
