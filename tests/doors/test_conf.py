"""Every file under conf/ means something, and says what the package says."""

from __future__ import annotations

from dataclasses import replace

import jax
import numpy as np
import pytest

from marl_pricing import config
from marl_pricing.shipped import shipped
from tests.doors.compose import composed, settings


def options(group: str) -> list[str]:
    return sorted(path.stem for path in (shipped("conf") / group).glob("*.yaml"))


@pytest.mark.parametrize("name", options("experiment"))
def test_an_experiment_builds_and_its_file_reads_back(name: str) -> None:
    data = settings(f"experiment={name}")
    data.pop("study", None)  # tests/studies
    own = config.read_settings(data)
    assert own.name == name
    assert config.from_yaml(config.to_yaml(own), "config.yaml") == own
    config.build(own)


def test_experiments_are_what_they_are_called() -> None:
    omegas = {name: composed(f"experiment={name}").market.params.reward.omega.tolist()
              for name in ("competitive", "cooperative", "mixed")}  # fmt: skip
    assert omegas == {"competitive": [1.0] * 3, "cooperative": [0.0] * 3, "mixed": [0.5] * 3}
    formal = composed("experiment=formal")
    assert formal.market.shape.features == ("own_price", "rival_price", "stock", "time", "shock")
    assert formal.settings.learner.critic == "local"
    assert formal.market.shape.inventory.rule == "threshold"
    assert formal.market.shape.inventory.single_order


@pytest.mark.parametrize("group", ["demand", "prices", "inventory"])
def test_every_kind_of_market_group_builds(group: str) -> None:
    for name in options(f"market/{group}"):
        composed(f"market/{group}={name}")


@pytest.mark.parametrize("name", options("traffic"))
def test_every_kind_of_traffic_builds(name: str) -> None:
    shape, params = composed(f"traffic={name}").market
    assert shape.traffic.model == name
    assert (params.traffic.sessions is not None) == (name in ("chain", "bank"))


@pytest.mark.parametrize("preset", ["phantom_prototype", "phantom_defence"])
def test_presets_are_what_conf_says(preset: str) -> None:
    one, other = composed(f"experiment={preset}").market, getattr(config, preset)()
    if preset == "phantom_prototype":  # trained with factors, played with relative changes
        other = other._replace(
            shape=replace(other.shape, prices=one.shape.prices),
            params=other.params.replace(prices=one.params.prices),
        )
    assert one.shape == other.shape
    for a, b in zip(jax.tree.leaves(one.params), jax.tree.leaves(other.params), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_packages_default_market_is_confs() -> None:
    one, other = composed().market, config.default_market()
    assert one.shape == other.shape
    for a, b in zip(jax.tree.leaves(one.params), jax.tree.leaves(other.params), strict=True):
        np.testing.assert_array_equal(a, b)


def test_sizes_can_be_overridden() -> None:
    own = composed("market.num_sellers=5", "learner.num_envs=256")
    assert own.market.shape.num_sellers == 5
    assert own.learner.settings.num_envs == 256


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("learner.num_envs=63", "learner.num_envs=63: accepted is a multiple of learner.num_minibatches=2"),
        ("learner.gamma=1.0", "learner.gamma=1.0: accepted is a number below 1"),
        ("learner.cell=none learner.num_layers=2", "learner.num_layers=2: accepted is 1 with learner.cell=none"),
        ("learner.cell=rnn", "learner.cell='rnn': accepted is 'gru', 'lstm', 'mingru' or 'none'"),
        ("learner.devices=0", "learner.devices=0"),
        ("robust.set=ball", "robust.set='ball': accepted is 'none', 'interval'"),
        ("robust.radius=0.1", "robust.radius=0.1: accepted is 0 with robust.set=none"),
        ("market.prices.low=-1", "market.prices.low=-1: accepted is a number of at least 0"),
        ("traffic.agent_share=1.5", "traffic.agent_share=1.5: accepted is a number of at most 1"),
        ("traffic.sessions_per_epoch=0", "traffic.sessions_per_epoch=0: accepted is a number of at least 1"),
        ("traffic.model=replay", "traffic.model='replay': accepted is 'analytic', 'scripted', 'chain' or 'bank'"),
        ("traffic.random_orders=false", "traffic.random_orders=False: accepted is true with traffic.model=bank"),
        ("traffic.bank.size=3", "traffic.bank.size=3: accepted is a number of at least 16"),
        ("traffic.bank.source=log", "traffic.bank.source='log': accepted is 'kernels' without traffic.log"),
        ("traffic.kinds=2", "traffic.kinds=2: accepted is 1 without traffic.log"),
        ("traffic.kernels=nowhere.yaml", "traffic.kernels='nowhere.yaml': there is no such file"),
        ("traffic.log=nowhere.csv", "traffic.log: nowhere.csv"),
        ("traffic.human.match=nowhere.csv", "traffic.human.match: nowhere.csv"),
        ("traffic.process.kind=jump", "traffic.process.kind='jump': accepted is 'static', 'drift' or 'burst'"),
        ("market.agent=null", "traffic.agent_share=0.25: accepted is 0 in a market without agents"),
        ("market.reward.agent_loss=1", "market.reward.agent_loss=1.0: accepted is 0 without a mark-up"),
        ("market.reward.information_value=revelation", "accepted is 'constant' with market.reward.coi_leakage=0"),
        ("run.report_every=0", "run.report_every=0"),
        ("name=a/b", "name='a/b'"),
    ],
)
def test_a_bad_override_is_refused(override: str, message: str) -> None:
    with pytest.raises(config.ConfigError) as caught:
        composed(*override.split())
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_broken_settings_file_is_refused_with_its_name() -> None:
    with pytest.raises(config.ConfigError, match=r"x/config.yaml, line 2: is not YAML"):
        config.from_yaml("a: 1\nb: [", "x/config.yaml")
    with pytest.raises(config.ConfigError, match=r"x/config.yaml: holds no settings"):
        config.from_yaml("just text", "x/config.yaml")
