"""A Hydra callback that writes down what every job of a sweep returned: what a sweeper gets to see."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback


class KeepScores(Callback):
    def __init__(self, path: str) -> None:
        self.path = Path(path)

    def on_job_end(self, config: Any, job_return: Any, **_: Any) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps([config.learner.devices, job_return.return_value]) + "\n")
