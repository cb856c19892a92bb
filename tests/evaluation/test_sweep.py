"""Sweeps: measures against closed forms, exact curves, session scores, figures and page."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from marl_pricing import market
from marl_pricing.config.market import market_from
from marl_pricing.equilibrium import static
from marl_pricing.evaluation.sweep import Axes, SweptRun, evaluate_sweep, exact, measures, sessions
from marl_pricing.evaluation.sweep.play import play_run
from tests.doors.compose import composed

OMEGAS = (0.0, 0.5, 1.0)
AXES = Axes("test", "ω", "", omega=True)


def logit(omega: float, levels: list[float] | None = None, **changes):
    """Calvano's duopoly with expected orders."""
    prices = {"map": "levels", "levels": levels} if levels else {"map": "levels", "around_equilibrium": 0.1}
    own = {
        "num_sellers": 2, "episode_length": 6, "demand": {"model": "logit", "quality": 2.0, "scale": 0.25},
        "prices": prices, "inventory": {"rule": "unlimited"}, "reward": {"unit_cost": 1.0, "omega": omega},
    }  # fmt: skip
    return market_from(own | changes, {"sessions_per_epoch": 1, "random_orders": False})


def always(parameters, key, memory, observation, state, params):
    """Posts the levels that are its parameters."""
    return market.Action(parameters), memory


def run_of(x: float, built, *levels: tuple[int, int], name: str | None = None) -> SweptRun:
    """A run whose k-th seed posts the k-th joint level."""
    policies = [market.Policy("always", jnp.asarray(own)[:, None], lambda: (), always) for own in levels]
    return SweptRun(name or f"omega_{x}", x, None, *built, policies)


@pytest.fixture(scope="module")
def theory():
    """The duopoly's Nash and joint-profit price."""
    built = logit(1.0)
    return tuple(float(solve(*built).prices[0]) for solve in (static.nash, static.joint_profit))


def measured(run: SweptRun) -> pd.DataFrame:
    return measures.measure_run(run, exact.solve([run])[run.name], play_run(run, 2, 7)).pivot(
        index="seed", columns="measure", values="value"
    )


@pytest.mark.slow
def test_indices_are_zero_at_nash_and_one_at_joint_profit(theory) -> None:
    nash, joint = theory
    run = run_of(1.0, logit(1.0, [nash, joint]), (0, 0), (1, 1), (0, 1))
    own = measured(run)
    np.testing.assert_allclose(own["profit_gain"][:2], [0.0, 1.0], atol=1e-5)
    np.testing.assert_allclose(own["price_mean"], [nash, joint, 0.5 * (nash + joint)], rtol=1e-6)
    np.testing.assert_allclose(own["price_gap"], [0.0, joint - nash, 0.5 * (joint - nash)], atol=1e-6)
    both = static.profits_at(run.shape, run.params, np.array([nash, joint]))
    np.testing.assert_allclose(own["profit"][2], both.sum(), rtol=1e-5)
    surplus = [exact.surplus_at(run.shape, run.params, np.array([price] * 2)) for price in theory]
    np.testing.assert_allclose(own["consumer_surplus"][:2], surplus, rtol=1e-5)
    assert own["price_spread"].tolist() == pytest.approx([0.0, 0.0, joint - nash], abs=1e-6)


@pytest.mark.parametrize("omega", OMEGAS)
def test_a_seed_plays_the_grid_game_if_all_it_posts_are_equilibria_at_its_omega(omega: float) -> None:
    built = logit(omega)
    equilibria = static.grid_equilibria(*built)
    best = tuple(equilibria[0].tolist())
    own = measured(run_of(omega, built, best, (best[0] + 3, best[1]), (14, 14)))
    assert own["grid_equilibrium"].tolist() == [1.0, 0.0, 0.0]


def test_one_epoch_off_the_equilibria_is_one_too_many() -> None:
    levels = np.array([[1.0, 2.0], [1.0, 2.0]])
    equilibria = np.array([[0, 0], [1, 1]])
    assert measures.plays_equilibria(np.array([[1.0, 1.0], [2.0, 2.0]]), levels, equilibria)
    assert not measures.plays_equilibria(np.array([[1.0, 1.0], [1.0, 2.0]]), levels, equilibria)
    assert not measures.plays_equilibria(np.array([[1.0, 1.0]]), levels, np.empty((0, 2), int))


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """A sweep of three ω: half of the seeds at the grid's equilibrium, half one level off; its page and tables."""
    out = tmp_path_factory.mktemp("sweep") / "out"
    runs = []
    for omega in OMEGAS:
        built = logit(omega)
        best = static.grid_equilibria(*built)[0]
        off = best + np.array([1, 0])
        runs.append(run_of(omega, built, *(tuple(int(x) for x in level) for level in (best, best, off, off))))
    path = evaluate_sweep(
        runs, AXES, out, episodes=2, seed=5, config_text="name: test", command="python train.py", progress=False
    )
    return runs, out, path.read_text()


def test_tables_hold_every_seed_and_their_interquartile_means(told) -> None:
    _, out, _ = told
    table = pd.read_parquet(out / "sweep.parquet")
    pd.testing.assert_frame_equal(table, pd.read_csv(out / "sweep.csv", keep_default_na=False), check_dtype=False)
    columns = json.loads((out / "columns.json").read_text())
    frames = {"sweep": table} | {name: pd.read_csv(out / f"{name}.csv") for name in ("summary", "exact")}
    for name, frame in frames.items():
        assert list(frame.columns) == list(columns[name])
    own = frames["summary"].set_index(["run", "measure"])
    assert own.loc[("omega_1.0", "grid_equilibrium"), "mean"] == 0.5
    assert (own["seeds"] == 4).all()
    profit = table[(table["run"] == "omega_1.0") & (table["measure"] == "profit")]["value"]
    assert own.loc[("omega_1.0", "profit"), "iqm"] == pytest.approx(np.sort(profit)[1:3].mean())
    assert own.loc[("omega_1.0", "fill_rate"), "note"] == "stock is unlimited"
    assert np.isnan(own.loc[("omega_1.0", "fill_rate"), "iqm"])


def test_the_exact_curve_goes_through_the_equilibria_of_every_omega(told, theory) -> None:
    curve = pd.read_csv(told[1] / "exact.csv")
    known = pd.read_csv(Path(__file__).parents[1] / "known_answers" / "omega_equilibrium.csv")
    for row in known[(known["n"] == 2) & known["omega"].isin(curve["x"])].to_dict("records"):
        mine = curve[curve["x"] == row["omega"]].iloc[0]
        assert mine["price_mean"] == pytest.approx(row["price"], abs=6e-6)
        assert mine["profit_gain"] == pytest.approx(row["profit_gain"], abs=6e-6)
    assert len(curve) > 40 and curve["price_mean"].is_monotonic_decreasing
    assert (curve["nash_price"].unique().tolist(), curve["joint_price"].unique().tolist()) == (
        [pytest.approx(theory[0])], [pytest.approx(theory[1])]
    )  # fmt: skip


def test_the_page_says_what_the_tables_say(told) -> None:
    _, out, page = told
    assert "game on the grid in 2 of 4 seeds at 0; in 2 of 4 seeds at 0.5; in 2 of 4 seeds at 1." in page
    assert re.search(
        r"Along ω: profit gain Δ falls from [01]\.\d+ \(.* to .*\) at 0 to .* at 1; mean price falls", page
    )
    names = {file.stem for file in (out / "figures").glob("*.png")}
    assert names == {"profit_surplus", "profit_gain", "price_mean"}
    assert page.count("<figure>") == 3 and "http://" not in page and "https://" not in page
    assert "withheld: fill rate, stockouts, stock, bullwhip ratio (stock is unlimited)" in page


@pytest.mark.parametrize(
    ("runs", "episodes", "told"),
    [("nobody", 1, "runs=[]"), ("twice", 1, "of different names"), ("one", 0, "episodes=0"),
     ("none", 1, "no learned policies")],
)  # fmt: skip
def test_what_cannot_be_played_is_refused(tmp_path: Path, runs: str, episodes: int, told: str) -> None:
    own = run_of(1.0, logit(1.0, [1.5, 1.9]), (0, 0))
    kinds = {"nobody": [], "twice": [own, own], "one": [own], "none": [run_of(1.0, (own.shape, own.params))]}
    with pytest.raises(ValueError, match=told.replace("[", r"\[")):
        evaluate_sweep(kinds[runs], AXES, tmp_path / "out", episodes=episodes, seed=1, progress=False)
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def contaminated() -> SweptRun:
    own = composed("traffic.sessions_per_epoch=40", "market.episode_length=16", "traffic.agent_share=0.3").market
    return run_of(0.3, own, (0, 0, 0), name="agents")


@pytest.mark.slow
def test_scores_tell_agents_from_people_and_posteriors_mean_what_they_say(contaminated: SweptRun) -> None:
    scores = sessions.session_scores(contaminated)
    assert scores is not None
    people, agents = (np.sort(scores.log_ratio[scores.agent == kind]) for kind in (False, True))
    below = np.searchsorted(people, agents, "left") + np.searchsorted(people, agents, "right")
    assert scores.area == pytest.approx(0.5 * below.mean() / people.size)  # Mann–Whitney
    assert 0.6 < scores.area < 0.8  # the product's kernels are not easily told apart
    false, true = scores.curve()
    assert (false[0], true[0], false[-1], true[-1]) == (0.0, 0.0, 1.0, 1.0)
    for prior in (0.1, 0.5):
        said, share, mass = scores.reliability(prior)
        assert mass.sum() == pytest.approx(1.0, abs=0.01) and mass.min() >= 0.002
        # Four standard errors of a share among the sessions of a bin, and what the smoothing of the kernels may cost.
        error = 4.0 * np.sqrt(0.25 / np.maximum(mass * 16_384, 1.0))
        assert (np.abs(said - share) < error + 0.02).all()
    assert sessions.session_scores(run_of(1.0, logit(1.0, [1.5, 1.9]), (0, 0))) is None


@pytest.mark.slow
def test_measures_are_withheld_where_a_market_has_none(contaminated: SweptRun) -> None:
    for run, told in (
        (contaminated, {"grid_equilibrium": "ignores stock and the moving level of demand"}),
        (run_of(1.0, logit(1.0, [1.5, 1.9]), (0, 0)), {
            "fill_rate": "stock is unlimited", "bullwhip": "stock is unlimited", "coi": "there are no agents",
            "proxy_correlation": "without sessions", "proxy_inflation": "without sessions",
            "stockout_share": "stock is unlimited", "stock": "stock is unlimited"}),
    ):  # fmt: skip
        theory = exact.solve([run])[run.name]
        why = {name: own.withheld(run, theory) for name, own in measures.MEASURES.items()}
        assert {name for name, text in why.items() if text} == set(told)
        assert all(text in why[name] for name, text in told.items())


@pytest.mark.slow
def test_agents_inflate_the_proxy_and_drown_it(contaminated: SweptRun, tmp_path: Path) -> None:
    own, other = (contaminated.params.traffic.replace(agent_share=jnp.float32(share)) for share in (0.0, 0.6))
    runs = [
        SweptRun(f"agents_{share}", share, None, contaminated.shape, contaminated.params.replace(traffic=traffic),
                 contaminated.policies, {1: "myopic"} if share else {})
        for share, traffic in ((0.0, own), (0.6, other))
    ]  # fmt: skip
    path = evaluate_sweep(
        runs, Axes("agents", "α", "", omega=False), tmp_path / "out", episodes=16, seed=3, progress=False
    )
    assert "<li>agents_0.6: seller 1 is held by myopic</li></ul>" in path.read_text()
    table = pd.read_csv(tmp_path / "out" / "summary.csv").set_index(["run", "measure"])["mean"]
    assert table["agents_0.6", "proxy_inflation"] > 1.5 * table["agents_0.0", "proxy_inflation"]
    assert table["agents_0.6", "proxy_correlation"] < table["agents_0.0", "proxy_correlation"] - 0.1
    names = {file.stem for file in (tmp_path / "out" / "figures").glob("*.png")}
    assert {"proxy", "detection", "proxy_correlation", "coi", "fill_rate", "bullwhip"} <= names
    assert "Telling agents from people" in path.read_text()
