"""Run folders of which one file is broken, read as evaluate.py, resume and export read them."""

from __future__ import annotations

import hashlib
import itertools
import random
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from tests.attacks import corruptions
from tests.attacks.corruptions import Broken
from tests.attacks.material import trained
from tests.attacks.outcome import Attempt

_TEXTS = {
    "config.yaml": corruptions.yaml_shaped,
    "provenance.json": corruptions.json_shaped,
    "metrics.csv": corruptions.csv_shaped,
    "timing.csv": corruptions.csv_shaped,
    "evaluation.csv": corruptions.csv_shaped,
    "checkpoints/4/metrics/metrics": corruptions.json_shaped,
}


def read(folder: Path) -> tuple[str, ...]:
    """What evaluate.py, a sweeper and a verdict take from a run folder, in digests and figures."""
    from marl_pricing.doors import say_errors
    from marl_pricing.learning.runs import digest_of
    from marl_pricing.studies import single
    from marl_pricing.studies.loading import load_runs
    from marl_pricing.studies.reporting import to_evaluate

    with say_errors():
        run, best = (to_evaluate(load_runs([folder], which), 0)[0] for which in ("latest", "best"))
        verdict = single.verdict_of(folder, single.standing(folder))
        score = single.score_of(folder)
        kept = [own for own in (run.training, run.held_out) if own is not None]
        # A column without a number says nothing.
        tables = [own.dropna(axis=1, how="all").to_csv().encode() for own in kept]
        return (
            digest_of([run.networks, best.networks, run.params]), str(run.shape), str(run.held), str(verdict),
            repr(score), run.name, *(hashlib.sha256(own).hexdigest() for own in tables),
        )  # fmt: skip


def take_up(folder: Path) -> tuple[str, ...]:
    """What resume takes from a run folder before it trains, and what it makes of the tables."""
    from marl_pricing import config
    from marl_pricing.doors import say_errors
    from marl_pricing.learning import runs
    from marl_pricing.learning.convergence import curves_of
    from marl_pricing.learning.parallel import Program
    from marl_pricing.learning.run_files import read_table
    from marl_pricing.studies.loading import build_run

    with say_errors():
        settings = config.from_yaml(runs.read_config(folder), str(folder / runs.CONFIG))
        experiment = build_run(settings, folder)
        program = Program(experiment.learner)
        abstract = program.abstract_part(program.stack(experiment.params))
        with runs.Checkpoints(folder) as checkpoints:
            update = checkpoints.latest
            state = checkpoints.load(update, abstract)
        for name in (runs.METRICS, runs.TIMING, runs.EVALUATION):
            runs.Table(folder / name).cut(update)
        read_table(folder, runs.METRICS, update)
        curves = curves_of(read_table(folder, runs.EVALUATION, update))
        runs.read_provenance(folder)
        kept = [(folder / name).read_bytes() for name in (runs.METRICS, runs.EVALUATION)]
        said = (runs.digest_of(state), str(curves.greedy), *(hashlib.sha256(own).hexdigest() for own in kept))
    return said


def _attempt(run: Path, place: Path, name: str, broken: Broken, call: Any) -> Any:
    """Break one file of a copy, read it, and take the copy away."""
    folder = corruptions.copied(run, place, name, broken)
    try:
        return call(folder)
    finally:
        for thread in threading.enumerate():  # what still reads there would miss it
            if type(thread).__module__.startswith("orbax"):
                thread.join(10.0)
        shutil.rmtree(folder, ignore_errors=True)


def _broken(run: Path, random: random.Random, share: float) -> Iterator[tuple[str, Broken]]:
    """(file, how it is broken) of everything in the folder."""
    for name, shape in _TEXTS.items():
        content = (run / name).read_bytes()
        found = [*corruptions.fixed(content)]
        found += [*corruptions.drawn(content, random, 12), *shape(content, random, 36)]
        yield from ((name, own) for own in random.sample(found, round(share * len(found))))
    others = [own.relative_to(run).as_posix() for own in sorted(run.rglob("*")) if own.is_file()]
    for name in others:
        if name in _TEXTS or name == "made" or name.startswith("tensorboard"):
            continue
        content = (run / name).read_bytes()
        ways = itertools.islice(corruptions.fixed(content), 8)  # what is text only is nothing here
        found = [*ways, *corruptions.drawn(content, random, 8)]
        # Of a state before the last, and of marks, less is read.
        part = share * (0.25 if name.startswith("checkpoints/2/") or len(content) < 100 else 1.0)
        yield from ((name, own) for own in random.sample(found, round(part * len(found))))


def _kind(name: str) -> str:
    return name if "/" not in name or name.startswith("checkpoints/4/metrics/m") else name.partition("/")[0]


def attempts(folder: Path, seed: int, share: float) -> Iterator[Attempt]:
    """Every file of a run folder, broken in many ways, read in two."""
    drawn, run = random.Random(seed), trained(folder.parent) / "met"
    rights = {call: call(shutil.copytree(run, folder / f"right {call.__name__}")) for call in (read, take_up)}
    for number, (name, broken) in enumerate(_broken(run, drawn, share)):
        call = take_up if number % 3 == 2 or name == "timing.csv" else read
        place = folder / str(number)
        yield Attempt(
            f"run folder: {_kind(name)}", f"{call.__name__}, {name}: {broken.told}",
            partial(_attempt, run, place, name, broken, call), rights[call], names=str(place), lines=40,
        )  # fmt: skip


def first() -> None:
    """Import what reading a run takes."""
    from marl_pricing.studies import reporting, single  # noqa: F401
