"""The folder that a study begins with: what it is, where it comes from; gone again where nothing came of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from marl_pricing.config.study import STUDY, Plan, plan_to_yaml
from marl_pricing.learning import runs
from marl_pricing.learning.run_files import CONFIG_DIGEST, text_digest


@contextmanager
def new_folder(plan: Plan, folder: Path, provenance: Mapping[str, Any], kept: str) -> Iterator[None]:
    """Make a study's folder; it is taken away where the body raises before a file that `kept` names is there.

    Args:
        kept: a pattern of files in the folder that are worth going on from.

    Raises:
        RunError: for a folder that is in use. OSError: for one that cannot be.
    """
    if folder.exists() and any(folder.iterdir()):
        raise runs.RunError(f"{folder}: is not empty; continue a study with resume={folder}")
    folder.mkdir(parents=True, exist_ok=True)
    text = plan_to_yaml(plan)
    told = {**provenance, CONFIG_DIGEST: text_digest(text)}
    runs.replace_file(folder / runs.PROVENANCE, json.dumps(told, indent=2) + "\n")
    runs.replace_file(folder / STUDY, text)
    try:
        yield
    except BaseException:  # as of a run: Ctrl-C while it compiles is one
        if not any(folder.glob(kept)):
            shutil.rmtree(folder)
        raise
