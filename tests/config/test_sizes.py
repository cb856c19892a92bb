"""Sizes and numbers that no machine holds are refused by name before anything is made."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest

import marl_pricing
from marl_pricing import config
from marl_pricing.config import ConfigError, sizes
from marl_pricing.config.errors import unheld_numbers
from marl_pricing.config.study import Plan, plan_study
from marl_pricing.studies import study
from tests.doors.compose import composed, settings
from tests.markets import LEVELS, LOGIT, THRESHOLD, UNLIMITED, make

BILLION, HUGE = 10**9, 2**65
MEMORY = r"accepted is what fits into memory; .* would take [\d.]+ [GTPEZ]B, and there are [\d.]+ GB here"
BITS = "accepted is a whole number of at most 2147483647, which 32 bits hold"


@pytest.fixture(autouse=True)
def _machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of 16 GB, whatever this one has."""
    monkeypatch.setattr(sizes, "machine_memory", lambda: 16e9)
    monkeypatch.setattr(sizes, "device_memory", lambda: 16e9)


def refused(*overrides: str) -> str:
    """The one line of a training that is not begun; said at once."""
    start = time.monotonic()
    with pytest.raises(ConfigError) as caught:
        sizes.check_training(config.read_settings(settings(*overrides)))
    assert time.monotonic() - start < 10
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("field", "by_memory"),
    [
        ("market.num_sellers", True),
        ("market.num_products", True),
        ("market.prices.num_price_levels", True),
        ("traffic.sessions_per_epoch", True),
        ("learner.num_envs", True),
        ("learner.num_steps", True),
        ("learner.num_seeds", True),
        ("learner.hidden_size", True),
        ("market.episode_length", False),
        ("market.sub_slots", False),
        ("traffic.max_events", False),
        ("learner.num_epochs", False),
        ("learner.num_updates", False),
    ],
)
def test_a_billion_is_refused_with_what_it_would_take_or_why(field: str, by_memory: bool) -> None:
    said = refused(f"{field}={BILLION}")
    assert said.startswith(f"{field}={BILLION}: accepted is ")
    assert bool(re.search(MEMORY, said)) == by_memory, said


@pytest.mark.parametrize(
    "field",
    [
        "market.collapse_patience",
        "traffic.bank.seed",
        "traffic.bank.slots",
        "run.report_every",
        "learner.rows_per_block",
    ],
)
def test_what_32_bits_do_not_hold_is_refused(field: str) -> None:
    assert refused(f"{field}={HUGE}") == f"{field}={HUGE}: {BITS}"
    config.read_settings(settings(f"{field}={BILLION}"))  # no size of anything


@pytest.mark.parametrize(
    ("override", "field"),
    [
        ("market.reward.stockout_penalty=1e39", "market.reward.stockout_penalty"),
        ("market.demand.quality=[1.0,1e308,1.0]", "market.demand.quality[1]"),
        ("market.demand.scale=1e-60", "market.demand.scale"),
        ("learner.learning_rate=1e300", "learner.learning_rate"),
        ("market.prices.high=3.5e38", "market.prices.high"),
    ],
)
def test_numbers_that_floats_do_not_hold_are_refused_by_name(override: str, field: str) -> None:
    said = refused(override)
    assert said.startswith(f"{field}=") and said.endswith("between 1.2e-38 and 3.4e+38, which 32 bits hold")


def test_the_largest_numbers_are_held() -> None:
    assert unheld_numbers({"a": [3.4e38, -3.4e38, 1.2e-38, 0.0, 2**31 - 1, True, "1e99", None]}) == []
    assert [line.split("=")[0] for line in unheld_numbers({"a": [1.0, 3.5e38], "b": {"c": 2**31}})] == ["a[1]", "b.c"]


def test_numbers_that_make_an_infinite_one_together_are_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"market: inventory\.\w+ comes out as inf: accepted are settings that keep it"
    ):
        make(demand_scale=3e38, inventory=THRESHOLD | {"in_periods": True, "initial_stock": 3e38})


def test_environments_refuse_the_same() -> None:
    whole = {"num_sellers": 2, "demand": LOGIT, "prices": LEVELS, "inventory": UNLIMITED}
    for change, said in (
        ({"num_sellers": BILLION}, MEMORY),
        ({"num_products": BILLION}, MEMORY),
        ({"prices": LEVELS | {"num_price_levels": BILLION}}, MEMORY),
        ({"collapse_patience": HUGE}, BITS),
        ({"shocks": {"probability": 0.1, "duration": HUGE}}, BITS),
        ({"episode_length": BILLION}, "a number of at most 100000: episodes are played whole"),
        ({"prices": {"map": "levels", "around_equilibrium": 0.1}, "num_sellers": 500}, "at most 100 offers, not 500"),
    ):
        with pytest.raises(ConfigError, match=said):
            marl_pricing.parallel_env(whole | change)
    with pytest.raises(ConfigError, match="max_cycles=1000000000: accepted is None or a whole number from 1 to 100000"):
        marl_pricing.parallel_env(whole, max_cycles=BILLION)


def test_a_study_names_the_run(tmp_path: Path) -> None:
    def plan(change: dict[str, Any]) -> Plan:
        return plan_study(settings() | {"study": {"runs": [{"name": "large", "change": change}]}})

    with pytest.raises(ConfigError, match=rf"study.runs\[0\].change.market.shocks.duration={HUGE}: {BITS}"):
        plan({"market": {"shocks": {"duration": HUGE}}})
    with pytest.raises(ConfigError, match=f"study run large: learner.num_envs={BILLION}: {MEMORY}"):
        study.start_study(plan({"learner": {"num_envs": BILLION}}), tmp_path / "study", {})
    assert not (tmp_path / "study").exists()


def test_of_sizes_too_large_together_the_unusual_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "device_memory", lambda: 4e9)
    own = ("learner.num_envs=4096", "learner.num_steps=16384", "market.num_products=3")
    assert refused(*own).startswith("learner.num_steps=16384: accepted is what fits into memory; a segment would take ")
    monkeypatch.setattr(sizes, "device_memory", lambda: 4e12)
    sizes.check_training(config.read_settings(settings(*own)))


def test_episodes_are_as_many_as_tables_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "machine_memory", lambda: 1e9)
    market = config.read_settings(settings()).market
    sizes.check_evaluation(market, 64)
    with pytest.raises(ConfigError, match=f"episodes=1000000: {MEMORY}"):
        sizes.check_evaluation(market, 1_000_000)


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("traffic=analytic", "market.agent=null", "market.num_sellers=6", "market.num_products=5"),
        ("learner.num_seeds=3", "learner.hidden_size=256", "learner.sharing=per_seller"),
        ("robust=wasserstein",),
        ("learner.num_envs=1024", "learner.num_steps=256"),
    ],
)
def test_an_estimate_is_below_what_the_compiled_program_takes(overrides: tuple[str, ...]) -> None:
    """Else a training that fits would be refused; and it is not so far below that nothing ever is."""
    from marl_pricing.learning.memory import program_memory
    from marl_pricing.learning.parallel import Program

    experiment = composed(*overrides, "learner.devices=1")
    program = Program(experiment.learner)
    params = program.stack(experiment.params)
    block = min(experiment.settings.run.report_every, experiment.settings.learner.num_updates)
    taken = program_memory(program._train.lower(program.abstract_state(params), params, 1, block).compile())
    estimate = sum(part.size for part in sizes.training_parts(experiment.settings))
    assert 0.05 * taken < estimate < taken


def test_of_thousands_of_faults_the_first_are_told() -> None:
    with pytest.raises(ConfigError) as caught:
        config.read_settings(settings() | {"robust": {"worlds": [1.0] * 2000}})
    lines = str(caught.value).splitlines()
    assert len(lines) == 11 and lines[0].startswith("robust.worlds[0]=1.0") and lines[-1] == "and 1990 more like these"


def test_texts_that_no_file_can_be_called_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"run\.folder='a\\x00b': accepted is a text without NUL bytes"):
        config.read_settings(settings() | {"run": {"folder": "a\0b"}})
