"""Runs that start from another run's networks, as a person asks for it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest

from marl_pricing.config import ConfigError
from marl_pricing.learning import runs
from marl_pricing.studies.loading import load_run
from marl_pricing.studies.single import start_of, train_run
from marl_pricing.studies.starting import check_start
from tests.doors.compose import composed
from tests.doors.test_train import TINY

SHORT = (*TINY, "learner.num_updates=2", "run.tensorboard=false", "run.evaluate_every=0", "learner.devices=1")
STILL = ("learner.learning_rate=1e-30", "learner.learning_rate_end=0")
PROVENANCE = {"command": "python train.py", "versions": {}, "revision": "test"}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "source"
    assert train_run(composed(*SHORT, "learner.learning_rate=0.05").settings, folder, PROVENANCE)
    return folder


@pytest.mark.slow
def test_a_run_that_starts_from_another_and_does_not_step_is_that_other(source: Path, tmp_path: Path) -> None:
    """In a market that differs in a number, with more seeds than its source has."""
    folder = tmp_path / "started"
    given = (*SHORT, *STILL, f"init_from={source}", "market.reward.omega=0.5", "learner.num_seeds=2")
    assert train_run(composed(*given).settings, folder, PROVENANCE)
    old, new = load_run(source, "latest"), load_run(folder, "latest")
    assert new.settings.init_from == str(source) and new.settings.learner.num_seeds == 2
    for seed in (0, 1):
        same = jax.tree.map(
            lambda a, b, seed=seed: np.array_equal(a[0], b[seed]), old.networks.actor, new.networks.actor
        )
        assert jax.tree.all(same)
    told = json.loads((folder / "provenance.json").read_text())["init_from"]
    assert told.pop("digest") == runs.digest_of(old.networks)
    assert told == {"folder": str(source), "update": 2, "revision": old.provenance["revision"]}
    first = (folder / "metrics.csv").read_text().splitlines()
    columns = dict(zip(first[0].split(","), first[1].split(","), strict=True))
    assert abs(float(columns["kl"])) < 1e-6 and float(columns["clipped"]) == 0.0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("learner.hidden_size=16", "the same learner.hidden_size, which is 8 there and 16 here"),
        ("learner.num_layers=2", "the same learner.num_layers, which is 1 there and 2 here"),
        ("learner.cell=lstm", "the same learner.cell, which is 'gru' there and 'lstm' here"),
        ("market.num_sellers=2", "the same market.num_sellers, which is 3 there and 2 here"),
        ("market.prices.num_price_levels=9", "the same market.prices.num_price_levels, which is"),
        ("market.features=[own_price,time]", "the same market.features, which is"),
        ("learner.critic=local", "the same learner.critic, which is 'central' there and 'local' here"),
        ("learner.value_normalisation=none", "the same learner.value_normalisation, which is 'running or popart'"),
    ],
)
def test_networks_that_do_not_fit_are_refused_with_the_reason(source: Path, argument: str, message: str) -> None:
    here = composed(*SHORT, f"init_from={source}", argument)
    with pytest.raises(ConfigError, match=re.escape(message)) as told:
        start_of(here)
    assert str(told.value).startswith(f"init_from={str(source)!r}: accepted is a run of ")


@pytest.mark.slow
def test_what_cannot_be_started_from_leaves_nothing_behind(
    source: Path, tmp_path: Path, refusal: Callable[..., str]
) -> None:
    for folder, argument, message in (
        (source, "learner.hidden_size=16", "the same learner.hidden_size"),
        (tmp_path / "nowhere", "learner.seed=1", "there is no such folder"),
    ):
        new = tmp_path / "new"
        assert message in refusal("train.py", *SHORT, f"init_from={folder}", f"run.folder={new}", argument)
        assert not new.exists()


def test_a_source_of_several_seeds_starts_as_many() -> None:
    one, three = (composed(*SHORT, f"learner.num_seeds={count}") for count in (1, 3))
    check_start("R", one, three)
    with pytest.raises(ConfigError, match=r"accepted is a run of one seed; learner\.num_seeds is 3 there"):
        check_start("R", three, one)
    two = composed(*SHORT, "learner.num_seeds=2")
    with pytest.raises(ConfigError, match=r"accepted is a run of 1 or 2 seeds; learner\.num_seeds is 3 there"):
        check_start("R", three, two)
