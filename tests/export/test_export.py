"""Policies that leave the house: the same actions everywhere, files that say what they are, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marl_pricing import config, market
from marl_pricing.config import ExperimentSettings
from marl_pricing.export.__main__ import main
from marl_pricing.export.card import _rivals
from marl_pricing.export.description import without_folders
from marl_pricing.export.reading import ENTRY, SUFFIXES, PolicyError, load_policy
from marl_pricing.learning import runs
from marl_pricing.learning.parallel import Program
from marl_pricing.studies.loading import LoadedRun, load_run
from tests.doors.compose import composed, settings
from tests.learning.helpers import QUICK
from tests.learning.torch_mappo.twins import random_actor
from tests.processes import python

EPOCHS = 1000
KINDS = {
    "gru, shared": ["learner.num_seeds=2"],
    "lstm, per seller, own orders": [
        "learner=torch_mappo", "learner.cell=lstm", "learner.sharing=per_seller", "market/inventory=chosen",
        "market.num_products=2",
    ],
    "mingru, two layers, per seller, factors": [
        "learner.cell=mingru", "learner.num_layers=2", "learner.sharing=per_seller", "market/prices=scale",
    ],
    "gru, any price": ["market/prices=range", "market.num_products=2", "market.prices.low=[1,1,1.2,1.3]"],
    "pqn, per seller, own orders": ["learner=pqn", "learner.sharing=per_seller", "market/inventory=chosen"],
    "dqn, no memory": ["learner=dqn", "learner.cell=none", "learner.epsilon_end=0.2"],
    "qtable, per seller, own orders": [
        "learner=qtable", "market.features=[own_price,stock]", "learner.bins=5", "market/inventory=chosen",
    ],
}  # fmt: skip


# The first is quick, the others are long.
FIRST_QUICK = [pytest.param(kind, marks=pytest.mark.slow if place else ()) for place, kind in enumerate(KINDS)]


def lively(actor: Any) -> Any:
    """Parameters whose choices hang on what is seen."""
    if "values" in actor:
        return actor
    embed, out = actor["embed"], actor["out"]
    cells = {name: own for name, own in actor.items() if name.startswith("cell") and "kernel_hidden" not in own}
    swift = {name: own | {"kernel_in": 8.0 * own["kernel_in"]} for name, own in cells.items()}
    norms = {name: own | {"scale": 1.0 + own["scale"]} for name, own in actor.items() if name.endswith("_norm")}
    return actor | swift | norms | {
        "embed": embed | {"kernel": 4.0 * embed["kernel"]}, "out": out | {"bias": jnp.zeros_like(out["bias"])}
    }  # fmt: skip


def make_run(folder: Path, *overrides: str) -> Path:
    """A run folder with a checkpoint of random networks, as if it had been trained."""
    experiment = composed(
        "traffic=analytic", "market.agent=null", "market.num_sellers=2", "learner.num_envs=4",
        *([] if "learner=qtable" in overrides else ["learner.hidden_size=16"]), f"market.episode_length={EPOCHS}",
        "name=test", *overrides,
    )  # fmt: skip
    folder.mkdir(parents=True)
    provenance = {"command": "python train.py", "revision": "abc", "versions": {"jax": jax.__version__}}
    runs.create(folder / "run", config.to_yaml(experiment.settings), provenance)
    program = Program(experiment.learner)
    abstract = program.abstract_state(program.stack(experiment.market.params))
    state = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype, device=x.sharding), abstract)
    seeds = range(experiment.settings.learner.num_seeds)
    actors = [lively(random_actor(experiment.learner, 0.3, seed)) for seed in seeds]
    actor = jax.tree.map(lambda at, *own: jax.device_put(np.stack(own), at.sharding), abstract.learnable.actor, *actors)
    with runs.Checkpoints(folder / "run") as checkpoints:
        checkpoints.save(7, state.replace(learnable=state.learnable.replace(actor=actor)))
    return folder / "run"


@pytest.fixture(scope="module")
def run_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a run of a kind; made when it is first asked for."""
    return cache(lambda kind: make_run(tmp_path_factory.mktemp("runs") / "of", *KINDS[kind]))


@pytest.fixture(scope="module")
def file_of(run_of) -> Callable[[str, str], Path]:
    """A kind's policy (the last seed's) in a format; exported when it is first asked for."""

    def file(kind: str, name: str) -> Path:
        folder = run_of(kind)
        seed = load_run(folder, "latest").settings.learner.num_seeds - 1
        assert main([f"run={folder}", f"format={name}", f"seed={seed}"]) == 0
        return folder / "export" / name / f"policy{SUFFIXES[name]}"

    return cache(file)


def played(run: LoadedRun) -> tuple[Any, ...]:
    """A greedy roll-out of the last seed's flax policy: observations, masks, actions, each [T, S, …]."""
    (shape, params), policy = run.experiment.market, run.policies(greedy=True)[-1]

    def step(carry: Any, key: jax.Array):
        state, seen, memory = carry
        action, memory = policy.act(policy.parameters, key, memory, seen, state, params)
        state, after, _ = market.step(key, shape, state, action, params)
        return (state, after, memory), (seen.local, seen.order_mask, action.price, action.order)

    def play():
        state, seen = market.reset(jax.random.key(0), shape, params)
        return jax.lax.scan(step, (state, seen, policy.start()), jax.random.split(jax.random.key(1), EPOCHS))[1]

    return jax.device_get(jax.jit(play, compiler_options=QUICK)())


@pytest.mark.slow
def test_files_say_nothing_of_the_machine_they_were_made_on(file_of) -> None:
    here = [str(Path(__file__).parents[2]).encode(), b"site-packages"]
    for kind in KINDS:
        for name in SUFFIXES:
            content = file_of(kind, name).read_bytes()
            assert not [path for path in here if path in content]


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("python train.py experiment=grocery name=a", "python train.py experiment=grocery name=a"),
        ("python train.py run.folder=/home/me/runs/a seed=2", "python train.py run.folder=a seed=2"),
        ("python /home/me/shop/train.py market.path=../x/market.yaml", "python train.py market.path=market.yaml"),
        ("train.py 'opponents.seats={1: [/home/me/runs/b, myopic]}'", "train.py 'opponents.seats={1: [b, myopic]}'"),
        ("python train.py market/prices=scale init_from=runs/a/", "python train.py market/prices=scale init_from=a/"),
    ],
)  # fmt: skip
def test_of_folders_in_a_command_the_last_part_is_told(command: str, told: str) -> None:
    assert without_folders(command) == told


@pytest.mark.parametrize("kind", FIRST_QUICK)
def test_actions_are_the_same_over_a_thousand_epochs_in_flax_torch_and_onnxruntime(run_of, file_of, kind: str) -> None:
    observations, masks, prices, orders = played(load_run(run_of(kind), "latest"))
    assert len(np.unique(prices)) >= 4
    for name in SUFFIXES:
        policy = load_policy(file_of(kind, name))
        memory = policy.start(2)
        for time in range(EPOCHS):
            mask = None if masks is None else masks[time]
            said = policy.step(observations[time], [0, 1], memory, mask)
            memory = said["memory_after"]
            if "price_action" in said:
                np.testing.assert_allclose(said["price_action"], prices[time], atol=1e-4, err_msg=f"{name}, {time}")
                continue
            np.testing.assert_array_equal(said["price_index"], prices[time], err_msg=f"{name}, epoch {time}")
            if orders is not None:
                np.testing.assert_array_equal(said["order_index"], orders[time], err_msg=f"{name}, epoch {time}")
        if "price_law" in said:
            low, high = (np.array(policy.about["prices"][end]) for end in ("low", "high"))
            a, b = np.moveaxis(said["price_law"], -1, 0)
            mode = low + (high - low) * (a - 1) / (a + b - 2)
            np.testing.assert_allclose(said["price_action"], mode, rtol=1e-4)
            continue
        np.testing.assert_allclose(np.exp(said["price_log_prob"]).sum(-1), 1.0, rtol=1e-5)


def test_changes_by_a_gaussian_are_those_of_the_network(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "of", "market/prices=adjust", "learner.price_law=gaussian", "learner.cell=lstm")
    assert main([f"run={folder}", "format=flax"]) == 0
    run, policy = load_run(folder, "latest"), load_policy(folder / "export" / "flax" / f"policy{SUFFIXES['flax']}")
    observations, _, changes, _ = played(run)
    assert np.abs(changes).max() <= 0.3 and np.unique(changes.round(3)).size > 20
    memory = policy.start(2)
    for time in range(200):
        said = policy.step(observations[time], [0, 1], memory)
        memory = said["memory_after"]
        np.testing.assert_allclose(said["price_action"], changes[time], atol=1e-4, err_msg=f"epoch {time}")
        mean, spread = np.moveaxis(said["price_law"], -1, 0)
        np.testing.assert_allclose(0.6 / (1 + np.exp(-mean)) - 0.3, said["price_action"], atol=1e-5)
        assert (spread > np.exp(-5.0)).all() and (spread < np.exp(1.0)).all()
    about = policy.about
    assert about["format_version"] == 2 and about["prices"]["highest"] == [[0.3]] * 2
    assert policy.about["prices"]["meaning"].startswith("price = last price × (1 + price_action)")
    text = (folder / "export" / "flax" / "policy_card.md").read_text()
    assert "any relative change of the last price, from 1.1 to 2.5 money" in text


@pytest.mark.parametrize("kind", FIRST_QUICK)
def test_sellers_are_answered_one_by_one_or_together_in_any_order(file_of, kind: str) -> None:
    for name in SUFFIXES:
        policy = load_policy(file_of(kind, name))
        inputs = policy.about["inputs"]
        rng = np.random.default_rng(0)
        seen, memory = (rng.normal(size=(3, *inputs[name]["shape"][1:])) for name in ("observation", "memory"))
        mask = np.ones((3, *inputs["order_mask"]["shape"][1:]), bool) if "order_mask" in inputs else None
        together = policy.step(seen, [1, 0, 1], memory, mask)
        for row, seller in enumerate((1, 0, 1)):
            own = slice(row, row + 1)
            alone = policy.step(seen[own], [seller], memory[own], None if mask is None else mask[own])
            for output, value in alone.items():
                np.testing.assert_allclose(value[0], together[output][row], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", SUFFIXES)
def test_the_example_plays_the_file_without_jax_and_without_this_package(run_of, file_of, name: str) -> None:
    """In a process in which importing them fails; what it prints is what the flax policy does first."""
    blocked = {"jax", "jaxlib", "flax", "marl_pricing"} | ({"torch"} if name != "torch" else set())
    each = """
        import os, runpy, sys
        for folder in sys.argv[1:]:
            os.chdir(folder)
            runpy.run_path("policy_example.py")
            print("played", folder)
    """
    folders = {kind: file_of(kind, name).parent for kind in KINDS}
    done = python(each, blocked, *map(str, folders.values()))
    assert done.returncode == 0, done.stderr[-2000:]
    rest = done.stdout
    for kind, folder in folders.items():
        printed, _, rest = rest.partition(f"played {folder}\n")
        run = load_run(run_of(kind), "latest")
        (shape, params), policy = run.experiment.market, run.policies(greedy=True)[-1]
        state, seen = market.reset(jax.random.key(0), shape, params)
        if seen.order_mask is not None:
            seen = seen.replace(order_mask=jnp.ones_like(seen.order_mask))
        action, _ = policy.act(policy.parameters, jax.random.key(0), policy.start(), seen, state, params)
        price = action.price[0, 0]
        if shape.discrete_prices:
            price = (params.prices.levels[0] if shape.prices.map == "levels" else params.prices.factors)[price]
        assert float(printed.split()[-1]) == pytest.approx(float(price), rel=1e-5), kind


@pytest.mark.parametrize("kind", FIRST_QUICK)
def test_a_file_says_what_it_is(run_of, file_of, kind: str) -> None:
    run = load_run(run_of(kind), "latest")
    shape, params = run.experiment.market
    told = [load_policy(file_of(kind, name)).about for name in SUFFIXES]
    assert told[0] == told[1] == told[2]
    about = told[0]
    assert [entry["name"] for entry in about["observation"]] == market.layout(shape)
    width = 1 if "qtable" in kind else 32 if "lstm" in kind or "two layers" in kind else 16
    assert about["memory"]["shape"] == [width]
    assert about["learner"] == run.settings.learner.algorithm
    assert about["format_version"] == (1 if kind in ("gru, shared", "lstm, per seller, own orders") else 2)
    assert about["provenance"]["update"] == 7
    assert about["provenance"]["seed"] == run.settings.learner.num_seeds - 1
    assert len(about["provenance"]["parameters_sha256"]) == 64
    if shape.prices.map == "levels":
        grid = np.asarray(about["prices"]["levels"], np.float32).reshape(shape.num_offers, -1)
        np.testing.assert_array_equal(grid, params.prices.levels)
    policy = load_policy(file_of(kind, "flax"))
    raw = [[entry["offset"][seller] for entry in about["observation"]] for seller in (0, 1)]
    np.testing.assert_allclose(policy.show(raw, [0, 1]), 0.0, atol=1e-6)
    card = file_of(kind, "flax").with_name("policy_card.md").read_text()
    for words in ("## Market", "## Training", "None yet", "## Limits", "own price of the last epoch", "abc"):
        assert words in card


def test_probabilities_of_values_are_those_of_the_play_that_evaluations_sample(file_of) -> None:
    policy = load_policy(file_of("dqn, no memory", "flax"))
    seen = np.random.default_rng(0).normal(size=(4, len(policy.about["observation"])))
    said = policy.step(seen, [0, 1, 0, 1], policy.start(4))
    chance, best = np.exp(said["price_log_prob"]), said["price_index"]
    count = chance.shape[-1]
    np.testing.assert_allclose(np.take_along_axis(chance, best[..., None], -1), 0.8 + 0.2 / count, rtol=1e-5)
    assert (np.isclose(chance, 0.2 / count, rtol=1e-5).sum(-1) == count - 1).all()


def evaluation_of(folder: Path, **changed: Any) -> dict[str, Any]:
    """A summary.json of the run in a folder, as `evaluation/machine_summary.py` writes it."""
    provenance = runs.read_provenance(folder)

    def row(value: float | None, note: str = "") -> dict[str, Any]:
        ends = {"value": value, "low": value and 0.5 * value, "high": value and 2.0 * value}
        return ends | {"unit": "money per epoch", "resampled": "seeds", "count": 2, "note": note}

    versions = {"revision": provenance["revision"], "update": "7"} | changed
    greedy = {
        "profit": {"all": row(12.5), "0": row(6.0)},
        "profit_gain": {"all": row(None, "withheld: no benchmark")},
    }
    measures = {"learned (greedy)": greedy, "learned (sampled)": {"profit": {"all": row(9.99)}}}
    own = {"versions": versions, "command": provenance["command"], "measures": measures}
    return {"format": 1, "episodes": 64, "runs": {"test (again)": own}}


def test_an_evaluations_figures_stand_in_the_card(run_of, tmp_path: Path, capsys) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run_of("gru, shared"), folder)
    place = folder / "evaluation"
    place.mkdir()
    wanted = (f"run={folder}", "format=flax", f"out={tmp_path / 'p.npz'}")
    (place / "summary.json").write_text(json.dumps(evaluation_of(folder)))
    assert main(wanted) == 0
    card = (tmp_path / "p_card.md").read_text()
    assert "| profit | 12.50 | 6.250 to 25.00 |" in card and "64 held-out episodes" in card
    assert "| – | – | 0 Nash, 1 joint | withheld: no benchmark |" in card
    assert "9.99" not in card and "None yet" not in card
    # figures of another checkpoint or another run are not this policy's
    for changed in ({"update": "6"}, {"revision": "def"}):
        (place / "summary.json").write_text(json.dumps(evaluation_of(folder, **changed)))
        assert main(wanted) == 0
        card = (tmp_path / "p_card.md").read_text()
        assert "None yet" in card and "not of this run at update 7" in card and "12.50" not in card
        with pytest.raises(SystemExit):
            main([*wanted, f"evaluation={place}"])
        assert "accepted is an evaluation of this run; " in capsys.readouterr().err
    (place / "summary.json").write_text("{")
    with pytest.raises(SystemExit):
        main([*wanted, f"evaluation={place}"])
    assert "summary.json, line 1: is no JSON" in capsys.readouterr().err


def said(capsys: pytest.CaptureFixture, *arguments: str) -> str:
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))
    assert caught.value.code == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ") and message.count("\n") == 1
    return message


def test_what_cannot_be_exported_is_refused_in_a_line(run_of, tmp_path: Path, capsys, monkeypatch) -> None:
    folder = run_of("gru, shared")
    run, empty = f"run={folder}", tmp_path / "empty"
    runs.create(empty, (folder / runs.CONFIG).read_text(), {"command": "", "versions": {}, "revision": ""})
    assert "the run has no checkpoint yet" in said(capsys, f"run={empty}", "format=flax")
    assert "nowhere: there is no such folder" in said(capsys, "run=nowhere", "format=flax")
    assert "error: 007: there is no such folder" in said(capsys, "run=007", "format=flax")
    assert "format='tflite': accepted is 'torch', 'onnx' or 'flax'" in said(capsys, run, "format=tflite")
    assert "seed=2: accepted is 0 to 1, the run's seeds" in said(capsys, run, "format=flax", "seed=2")
    assert "accepted is a file that ends in .npz with format=flax" in said(
        capsys, run, "format=flax", "out=policy.onnx"
    )
    assert "colour='red': there is no such setting" in said(capsys, run, "format=flax", "colour=red")
    assert "run: has to be given" in said(capsys, "format=flax")
    assert "accepted are settings as field=value" in said(capsys, run, "flax")
    (tmp_path / "wanted.yaml").write_text(f"{run.replace('=', ': ')}\nformat: flax\nseed: 5\n")
    assert "seed=5: accepted is 0 to 1" in said(capsys, f"settings={tmp_path / 'wanted.yaml'}")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    assert "onnxscript is not installed: pip install 'marl-pricing[export]'" in said(capsys, run, "format=onnx")
    monkeypatch.setitem(sys.modules, "torch", None)
    assert "torch is not installed: pip install 'marl-pricing[torch]'" in said(capsys, run, "format=torch")


def test_files_and_requests_that_cannot_be_used_are_named(file_of, tmp_path: Path, monkeypatch) -> None:
    files = {name: file_of("gru, shared", name) for name in SUFFIXES}
    policy = load_policy(files["flax"])
    width = len(policy.about["observation"])
    wrong = np.zeros((1, width + 1), np.float32)
    with pytest.raises(
        PolicyError, match=rf"observation of shape \[1, {width + 1}\]: accepted is \['batch', {width}\]: own"
    ):
        policy.step(wrong, [0], policy.start(1))
    with pytest.raises(PolicyError, match=rf"observation of shape \[1, {width + 1}\]"):
        policy.show(wrong, [0])
    with pytest.raises(PolicyError, match=r"seller=\[2\]: accepted is 0 to 1"):
        policy.step(wrong[:, 1:], [2], policy.start(1))
    with pytest.raises(PolicyError, match=r"inputs=.*order_mask.*: accepted is \['memory', 'observation', 'seller'\]"):
        policy.step(wrong[:, 1:], [0], policy.start(1), np.ones((1, 1, 3), bool))
    # the formats' own runtimes refuse it as well, and say which it is: ONNX by name, torch, without samples, by place
    for name, error, told in (("torch", RuntimeError, r"args\[0\]"), ("onnx", Exception, "observation")):
        runtime = load_policy(files[name])
        with pytest.raises(error, match=told):
            runtime.run({"observation": wrong, "seller": np.array([0]), "memory": runtime.start(1)})
    with np.load(files["flax"]) as archive:
        arrays = dict(archive)
    newer = json.loads(str(arrays.pop(ENTRY))) | {"format_version": 3}
    np.savez(tmp_path / "newer.npz", **arrays, **{ENTRY: np.array(json.dumps(newer))})
    with pytest.raises(
        PolicyError, match=r"newer.npz: format_version=3: accepted is at most 2; install a newer marl-pri"
    ):
        load_policy(tmp_path / "newer.npz")
    with np.load(files["flax"]) as archive:
        arrays = dict(archive)
    about = json.loads(str(arrays.pop(ENTRY)))
    outputs = about["outputs"]
    for weights, told, words in (
        ({"cell/bias": None}, {}, "does not answer as its description says (KeyError)"),
        ({"out/bias": np.full_like(arrays["out/bias"], np.nan)}, {}, "as its description says (price_log_prob)"),
        ({}, {"network": about["network"] | {"cell": "lstm"}}, "does not answer as its description says (ValueError)"),
        ({}, {"outputs": {"x": outputs["price_index"], **outputs}}, "its description is broken (outputs)"),
        ({}, {"outputs": outputs | {"price_index": outputs["price_log_prob"]}}, "description says (price_index)"),
        ({}, {"memory": {"shape": [2**40]}}, "its description is broken (memory)"),
        ({}, {"observation": about["observation"][1:]}, "its description is broken (observation)"),
        ({}, {"sellers": []}, "its description is broken"),
    ):
        kept = {name: own for name, own in (arrays | weights).items() if own is not None}
        np.savez(tmp_path / "other.npz", **kept, **{ENTRY: np.array(json.dumps(about | told))})
        with pytest.raises(PolicyError, match=rf"other.npz: .*{re.escape(words)}"):
            load_policy(tmp_path / "other.npz")
    for file in files.values():
        broken = tmp_path / f"broken{file.suffix}"
        broken.write_bytes(file.read_bytes()[:100])
        with pytest.raises(PolicyError, match=rf"broken\{file.suffix}: is no policy file"):
            load_policy(broken)
    with pytest.raises(PolicyError, match=r"nowhere.npz: there is no such file"):
        load_policy(tmp_path / "nowhere.npz")
    with pytest.raises(PolicyError, match=r"accepted are files ending in .pt2, .onnx, .npz"):
        load_policy(files["flax"].with_name("policy_card.md"))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(
        PolicyError, match=r"policy.onnx: onnxruntime is not installed: pip install 'marl-pricing\[export\]'"
    ):
        load_policy(files["onnx"])


def test_a_file_that_says_something_else_than_its_network_is_not_handed_over(run_of, monkeypatch) -> None:
    from marl_pricing.export import export

    def other(path: Path) -> Any:
        policy = load_policy(path)
        return dataclasses.replace(policy, run=lambda inputs: policy.run(inputs | {"memory": inputs["memory"] + 0.1}))

    monkeypatch.setattr(export, "load_policy", other)
    with pytest.raises(RuntimeError, match="says other probabilities than the network"):
        main([f"run={run_of('gru, shared')}", "format=flax"])


def test_the_card_says_which_sellers_never_learned() -> None:
    def own(**opponents: Any) -> ExperimentSettings:
        return config.read_settings(settings("experiment=logit_duopoly") | {"opponents": opponents})

    about = {"sellers": ["seller_0", "seller_1"]}
    assert _rivals(about, own()) == _rivals(about, own(seats="self")) == "Its rivals in training learned beside it."
    told = _rivals(about, own(seats={1: ["myopic", {"run": "runs/x", "seed": 2}]}))
    assert "(seller 1: myopic or runs/x): there its prices mean nothing" in told
