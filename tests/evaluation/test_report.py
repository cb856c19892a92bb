"""The whole evaluation of two runs, and its page in a real browser (long, all that asks for it); what is refused."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from marl_pricing.evaluation import RunToEvaluate, evaluate, kept, statistics
from marl_pricing.evaluation.benchmarks import static_benchmarks
from marl_pricing.evaluation.metrics import Parts
from marl_pricing.evaluation.report import html_tables, run_figures
from marl_pricing.evaluation.tables import TableError
from marl_pricing.learning.settings import LearnerSettings
from marl_pricing.policies import constant
from marl_pricing.presentation import style
from tests.evaluation import browser
from tests.markets import duopoly, one_shot

CHOSEN = {"rule": "chosen", "initial_stock": 8.0, "lead_time": 2, "order_levels": [0.0, 2.0, 4.0, 6.0, 8.0]}


def training() -> pd.DataFrame:
    rows = [(update, seed) for update in (1, 2, 3) for seed in (0, 1, 2)]
    columns = {"update": [row[0] for row in rows], "seed": [row[1] for row in rows]}
    for seller in (0, 1):
        columns |= {
            f"return_raw/seller_{seller}": np.arange(9.0),
            f"price_mean/seller_{seller}": 1.5 + np.arange(9) / 90,
        }
    return pd.DataFrame(columns)


def held_out() -> pd.DataFrame:
    """Ten evaluations; the second seller of the last seed still rises."""
    cells = [(u, s, i, kind) for u in range(1, 11) for s in range(3) for i in (0, 1) for kind in ("greedy", "sampled")]
    frame = pd.DataFrame(cells, columns=["update", "seed", "seller", "policy"])
    frame["shaped"] = 5.0 + np.where((frame["seed"] == 2) & (frame["seller"] == 1), 0.1 * frame["update"], 0.0)
    return frame.assign(profit=frame["shaped"], price=1.4 + 0.2 * frame["seller"], entropy=0.3, deviation_gain=np.nan)


RESPONDER = LearnerSettings(
    num_envs=4, num_steps=4, num_updates=1, num_epochs=1, num_minibatches=1, hidden_size=4, devices=1
)  # fmt: skip


def run(
    name: str, omega: float, prices: tuple[float, ...], seeds: int = 3, responder: LearnerSettings | None = None
) -> RunToEvaluate:
    """What constant sellers would look like, had somebody trained them: one price a seed."""
    reward = {"unit_cost": 1.0, "stockout_penalty": 0.5, "holding_cost": 0.02, "omega": omega}
    made = duopoly(random_orders=True, inventory=CHOSEN, reward=reward)
    learned = [constant(made.shape, made.params, [price] * 2) for price in prices[:seeds]]
    return RunToEvaluate(
        name, made.shape, made.params, {"greedy": learned}, training=training(), held_out=held_out(),
        config_text="market: <small>",
        versions={"jax": "0"}, command="python train.py", sellers=("North", "South"), responder=responder,
    )  # fmt: skip


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = [
        run("selfish", 1.0, (1.45, 1.5, 1.55), responder=RESPONDER),
        run("together & <friendly>", 0.0, (1.7, 1.8, 1.9)),
    ]
    out = tmp_path_factory.mktemp("evaluation")
    command = "python evaluate.py run=a run=b"
    return evaluate(runs, out, episodes=4, seed=3, rules=("constant_nash", "random"), progress=False, command=command)


_LOOK = """
const height = document.documentElement.scrollHeight;
const folded = [...document.querySelectorAll("details:not([open])")];
const early = document.querySelectorAll(".main-svg").length;  // nothing that is folded is drawn
folded.forEach(part => { part.open = true; });
const plots = [...document.querySelectorAll(".plot")];
for (const plot of plots)
  for (let turn = 0; turn < 100 && !plot.querySelector(".main-svg"); turn++) {
    plot.scrollIntoView();
    await new Promise(done => setTimeout(done, 100));
  }
const images = [...document.images];
const wide = document.documentElement.scrollWidth;
const table = document.querySelector("table.sortable");
const button = table.tHead.rows[0].cells[2].querySelector("button");
const column = () => [...table.tBodies[0].rows].map(row => Number(row.cells[2].dataset.value));
button.focus();
const focused = document.activeElement === button;
button.click(); const down = column(); button.click(); const up = column();
const zoom = document.querySelector("button.zoom"); zoom.click();
const dialog = document.querySelector("dialog[open]");
const zoomed = dialog !== null && dialog.querySelector("img").src.startsWith("data:image/webp");
if (dialog) dialog.close();
const before = plots[0]._fullLayout.xaxis.range.slice();
await Plotly.relayout(plots[0], {"xaxis.range": [2, 5]});
const contents = [...document.querySelectorAll("nav a")].every(link => document.querySelector(link.hash));
return {height, early, contents,
  plots: plots.length, drawn: plots.every(plot => plot.querySelector(".main-svg")),
  images: images.length, loaded: images.every(image => image.naturalWidth > 0), overflow: wide > innerWidth,
  focused, down, up, zoomed, ranges: [before, plots[0]._fullLayout.xaxis.range.slice()],
  outside: [...document.querySelectorAll("[src],link[href]")].map(e => e.src || e.href)
    .filter(place => /^(https?:)?\\/\\//.test(place)),
  page: getComputedStyle(document.body).backgroundColor, injected: document.querySelector("friendly,small") !== null};
"""


@pytest.mark.slow
@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_the_page_works_in_a_browser(report: Path, width: int, dark: bool) -> None:
    told = browser.ask(report, _LOOK, width, dark)
    found = told["found"]
    assert told["faults"] == [] and "fault" not in found, told
    assert found["images"] >= 14 and found["loaded"] and found["plots"] == 4 and found["drawn"]
    assert found["early"] == 0 and found["contents"] and (width < 1000 or found["height"] < 9000)
    assert found["outside"] == [] and not found["injected"]
    assert not found["overflow"]
    assert (
        found["focused"] and found["down"] == sorted(found["down"], reverse=True) and found["up"] == sorted(found["up"])
    )
    assert found["zoomed"] and found["ranges"][0] != found["ranges"][1] == [2, 5]
    assert (found["page"] == "rgb(255, 255, 255)") != dark


_JUDGE = """
document.querySelectorAll("details").forEach(part => { part.open = true; });
const plots = [...document.querySelectorAll(".plot")];
for (const plot of plots)
  for (let turn = 0; turn < 100 && !plot.querySelector(".main-svg"); turn++) {
    plot.scrollIntoView();
    await new Promise(done => setTimeout(done, 100));
  }
const faults = async part => (await axe.run(part, {resultTypes: ["violations"]})).violations
  .filter(fault => ["serious", "critical"].includes(fault.impact))
  .map(fault => [fault.id, fault.help, fault.nodes.slice(0, 3).map(node => node.html.slice(0, 200))]);
const own = await faults(document);
const unnamed = document.body.appendChild(document.createElement("img"));
unnamed.src = document.images[0].src;
return {own, unnamed: await faults(unnamed)};
"""


@pytest.mark.slow
@pytest.mark.parametrize(("width", "dark"), [(1400, False), (400, True)])
def test_axe_finds_no_serious_fault(report: Path, width: int, dark: bool) -> None:
    axe = (resources.files("axe_core_python") / "axe.min.js").read_text("utf-8")
    told = browser.ask(report, axe + _JUDGE, width, dark)
    assert told["found"]["own"] == [], told
    assert told["found"]["unnamed"][0][0] == "image-alt"  # what it would have said


@pytest.mark.slow
def test_the_report_is_small_and_says_what_the_data_say(report: Path) -> None:
    html = report.read_text("utf-8")
    assert len(html.encode()) < 3_000_000
    summary = json.loads((report.parent / "summary.json").read_text("utf-8"))
    assert summary["sentences"][0].startswith("Of 2 runs, learned (greedy) of ") and len(summary["sentences"]) == 7
    assert summary["sentences"][1].startswith("From Nash (0) to joint profit (1) learned (greedy) of ")
    responses = pd.read_csv(report.parent / "best_responses.csv")
    assert responses["run"].eq("selfish").all() and responses["seller"].tolist() == ["0", "1", "NashConv"]
    most = responses[responses["seller"].ne("NashConv")]["share"].max()
    assert f"{100 * most:.1f}\u00a0%" in summary["sentences"][-1] and "equilibrium" in summary["sentences"][-1]
    assert html.count("Is it an equilibrium?") == 1
    assert "Intervals resample 3 seeds" in html.split("Is it an equilibrium?")[1]
    found = summary["runs"]["selfish"]["measures"]["learned (greedy)"]["profit"]["all"]
    frame = pd.read_csv(report.parent / "summary.csv")
    row = frame[frame["run"].eq("selfish") & frame["policy"].eq("learned (greedy)") & frame["seller"].eq("all")]
    assert found["value"] == pytest.approx(row.set_index("measure").loc["profit", "value"])
    assert found["count"] == 3 and found["resampled"] == "seeds"
    best = max(
        summary["runs"],
        key=lambda name: summary["runs"][name]["measures"]["learned (greedy)"]["profit"]["all"]["value"],
    )
    difference = next(row for row in summary["comparisons"] if row["measure"] == "profit")
    supported = statistics.supported(difference)
    assert (f"of {best} earns most" in summary["sentences"][0]) == supported
    assert ("do not tell whose sellers earn more" in summary["sentences"][0]) != supported
    assert f"{abs(difference['difference']):.3f}" in summary["sentences"][0]
    assert summary["command"] == "python evaluate.py run=a run=b" and "python evaluate.py run=a run=b" in html


@pytest.mark.slow
def test_the_first_screen_answers_three_questions_and_says_what_to_mind(report: Path) -> None:
    html = report.read_text("utf-8")
    first = html.split("class=answers")[1].split("</section>")[0]
    for told in ("Who earns what?", "What do shoppers pay?", "Collusion, competition or scarcity?", "Mind:",
                 "ω (omega) is what a seller is trained for", "3 seeds are few", "static benchmarks ignore stock",
                 "which ω = 0 trains sellers for"):  # fmt: skip
        assert first.count(told) == 1, told
    in_short = json.loads((report.parent / "summary.json").read_text("utf-8"))["in_short"]
    assert in_short[0].startswith("Sellers of ") and "seller 0 " in in_short[0]  # nobody said any words
    assert first.index("Mind:") < len(first) < html.index("<nav") < html.index("id=numbers")


@pytest.mark.slow
def test_a_rule_stands_once_a_market(report: Path) -> None:
    numbers = report.read_text("utf-8").split("id=numbers")[1].split("</table>")[0]
    assert numbers.count(">random<") == numbers.count(">constant_<wbr>nash<") == 1
    assert numbers.count(">learned (greedy)<") == 2 and numbers.count(">all runs<") == 2


@pytest.mark.slow
def test_a_kept_evaluation_stands_beside_runs_of_its_market_and_shoppers(report: Path, tmp_path: Path) -> None:
    first, second = kept.read_kept(report.parent)
    assert first.run == "selfish" and first.shoppers == (3, 4) and first.market == second.market  # omega alone differs
    summary = pd.read_csv(report.parent / "summary.csv")
    own = summary[summary["policy"].eq("learned (greedy)") & summary["seller"].eq("all")].set_index(["run", "measure"])
    for name in ("profit", "price_mean", "fill_rate"):
        value = statistics.seed_scores(first.parts[name]).mean()
        assert value == pytest.approx(own.loc[("selfish", name), "value"])

    class Played:  # the second run's episodes, as if they had just been played
        groups = (("again", "learned (greedy)"),)

        def parts(self, group: tuple[str, str]) -> dict[str, Parts]:
            return {name: Parts(*(side[0, ..., None] for side in parts)) for name, parts in second.parts.items()}

    again = run("again", 0.0, (1.7, 1.8, 1.9))
    rows = kept.beside(Played(), [again], [first], (3, 4)).set_index("measure")  # type: ignore[arg-type]
    compared = pd.read_csv(report.parent / "comparisons.csv").set_index("measure")
    assert rows.loc["profit", "difference"] == pytest.approx(compared.loc["profit", "difference"])
    assert rows.loc["profit", "there"] == pytest.approx(own.loc[("selfish", "profit"), "value"])
    assert "seeds support it" in html_tables.beside_table(rows.reset_index())
    other = kept.beside(Played(), [again], [first], (4, 4))  # type: ignore[arg-type]
    assert other["difference"].isna().all() and other["note"].str.contains("other shoppers came").all()
    with pytest.raises(ValueError, match=r"beside=.*accepted is the folder of an evaluation"):
        kept.read_kept(tmp_path)


@pytest.mark.slow
def test_every_figure_is_a_file_too(report: Path) -> None:
    names = {path.stem for path in (report.parent / "figures" / "selfish").glob("*.svg")}
    assert names >= {"learning_curves", "total_profit", "profit_by_seller", "prices_over_time", "stock_over_time",
                     "service_frontier", "policy_map"}  # fmt: skip
    together = {path.stem for path in (report.parent / "figures" / "all").glob("*.png")}
    assert together == {"glance", "runs_over_time", "total_profit_by_run", "surplus_by_run"}
    for name in ("summary", "episodes", "benchmarks", "comparisons", "guests", "best_responses"):
        columns = json.loads((report.parent / "columns.json").read_text())[name]
        seen = list(pd.read_csv(report.parent / f"{name}.csv").columns)
        assert set(columns) - {"<measure>", "<measure>_weight"} <= set(seen)


def test_what_cannot_be_evaluated_is_named(tmp_path: Path) -> None:
    own = run("one", 1.0, (1.5,), seeds=1)
    for wrong, told in (
        ({"episodes": 0}, "episodes=0: accepted is a whole number of at least 1"),
        ({"rules": ("nope",)}, "rules='nope': accepted is constant_nash"),
        ({"runs": [own, own]}, "the name 'one' comes twice"),
        ({"runs": []}, "accepted is at least one run"),
        ({"measures": ("beauty",)}, "measures='beauty': accepted is profit_gain"),
        ({"measures": ("profit", "agent_loss")}, "measures='agent_loss': run 'one' has none: demand comes without"),
    ):
        settings = {"runs": [own], "episodes": 1, "rules": ("random",)} | wrong
        with pytest.raises(ValueError, match=told):
            evaluate(settings.pop("runs"), tmp_path, seed=0, progress=False, **settings)
    assert not list(tmp_path.iterdir())


def test_an_index_that_is_asked_for_without_its_benchmark_is_refused(tmp_path: Path) -> None:
    made = duopoly(num_sellers=1)
    own = RunToEvaluate("alone", made.shape, made.params, {"greedy": [constant(made.shape, made.params, [1.8])]})
    told = r"measures='profit_gain': run 'alone' has none: withheld: joint-profit profit .* is \+0.0% from Nash profit"
    with pytest.raises(ValueError, match=told):
        evaluate([own], tmp_path, episodes=1, seed=0, rules=(), progress=False, measures=("profit_gain",))


def test_a_number_that_is_missing_stops_the_report(tmp_path: Path) -> None:
    own = run("one", 1.0, (1.5,), seeds=1)
    broken = own.params.replace(reward=own.params.reward.replace(holding_cost=np.full(2, np.nan, np.float32)))
    wrong = RunToEvaluate("one", own.shape, broken, own.policies)
    with pytest.raises(TableError, match="table offers: column 'profit' is NaN"):
        evaluate([wrong], tmp_path, episodes=1, seed=0, rules=(), guests=False, progress=False)
    assert not (tmp_path / "report.html").exists()


def test_the_page_says_the_numbers_of_a_fitted_rule(tmp_path: Path) -> None:
    own = duopoly()
    learned = [constant(own.shape, own.params, [1.5] * 2)]
    only = RunToEvaluate("a", own.shape, own.params, {"greedy": learned}, config_text="", versions={}, command="")
    page = evaluate(
        [only], tmp_path, episodes=1, seed=0, rules=("fitted_stock_price",), guests=False, behaviour=False,
        progress=False,
    )  # fmt: skip
    assert "fitted_stock_price: every seller: base 1." in page.read_text()
    assert not (tmp_path / "best_responses.csv").exists()  # nobody was asked to respond


@pytest.mark.slow
def test_the_report_says_in_its_first_lines_whether_the_training_converged(report: Path) -> None:
    sentences = json.loads((report.parent / "summary.json").read_text())["sentences"]
    told = [own for own in sentences if own.startswith("Training of selfish")]
    # 0.1 an update on a level of 5.75, the mean over the last six evaluations
    expected = f"greedy return of seller 1 (seed 2) still rises by {10 * 0.1 / 5.75:.1%} per 10 updates"
    assert told == [f"Training of selfish: not converged: {expected}."]
    assert expected in report.read_text().split("class='mind note'>")[1].split("</p>")[0]


def test_learning_curves_show_each_sellers_own_benchmarks_and_greedy_play() -> None:
    own = one_shot(2, cost=[1.0, 0.5])
    found = static_benchmarks(*own)
    assert found.nash is not None and abs(np.ptp(found.nash.prices)) > 0.1
    figure = run_figures.learning_curves(training(), held_out(), 4, found)
    top, bottom = figure.axes
    flat = [line for line in bottom.lines if len(line.get_xdata()) == 2 and np.ptp(line.get_ydata()) == 0]
    lines = {(line.get_color(), round(float(line.get_ydata()[0]), 6)) for line in flat}
    expected = {
        (style.seller_colour(seller), round(float(point.prices[seller]), 6))
        for point in (found.nash, found.joint) if point is not None for seller in (0, 1)
    }  # fmt: skip
    assert expected <= lines
    marks = [line for axes in (top, bottom) for line in axes.lines if line.get_marker() == "o"]
    np.testing.assert_allclose(marks[0].get_ydata(), 10.0 + 0.1 * np.arange(1, 11) / 3)  # all sellers, mean over seeds
    np.testing.assert_allclose(marks[2].get_ydata(), 1.6)
