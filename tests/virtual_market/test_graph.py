"""Decision graphs as they are read, and as they are refused."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from marl_pricing.intake import IntakeError
from marl_pricing.shipped import shipped
from marl_pricing.virtual_market.__main__ import main
from marl_pricing.virtual_market.errors import GraphError
from marl_pricing.virtual_market.graph import read_data, read_graph
from marl_pricing.virtual_market.states import next_state

EXAMPLES = shipped("examples") / "virtual_market"
PROMOTIONS = EXAMPLES / "promotions.yaml"


def test_the_document_s_graph() -> None:
    graph = read_graph(PROMOTIONS)
    assert graph.roots == ("state",) and graph.order == ("action_1", "action_2", "next_state")
    assert graph.learned == ("action_1", "action_2") and graph.fed_back == {"next_state": "state"}
    assert [own.name for own in graph.columns["next_state"]] == ["total_num", "average_num", "average_fee"]
    discount = graph.columns["action_1"][1]
    np.testing.assert_allclose(discount.values, [0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95])
    state, action = np.array([[4.0, 2.0, 20.0]]), np.array([[1.0, 26.0]])
    computed = graph.function("next_state")({"state": state, "action_2": action})
    np.testing.assert_array_equal(computed, next_state(state, action))


def test_the_sessions_graph() -> None:
    graph = read_graph(EXAMPLES / "sessions.yaml")
    assert graph.order == ("prices", "action", "next_state") and graph.learned == ("prices", "action", "next_state")
    assert graph.columns["action"][0].values[-1] == "leave"


def _broken(old: str, new: str) -> tuple[str, int]:
    """The document's graph with a text replaced, and the line that it stands in."""
    text = PROMOTIONS.read_text()
    assert text.count(old) == 1
    return text.replace(old, new), text[: text.index(old)].count("\n") + 1


_WRONG = {
    "a cycle": ("action_1: [state]", "action_1: [state, action_2]", "a cycle, action_1 → action_2 → action_1"),
    "an unknown input": ("[state, action_1]", "[state, action_l]", "there is no such node, neither in graph nor a"),
    "an unknown dim": (
        "day_order_num: {dim: action_2", "day_order_num: {dim: action_3", "there is no such node in graph; did",
    ),
    "another type": (
        "average_num: {dim: state, type: continuous", "average_num: {dim: state, type: real",
        "type='real': accepted is continuous, discrete, category",
    ),
    "an empty range": ("max: 180", "max: 0", "max=0: accepted is a number above min=0"),
    "one grid point": ("num: 8", "num: 1", "num=1: accepted is a whole number above 1"),
    "a number that is none": ("max: 180", "max: many", "max='many': accepted is a number"),
    "a column twice": ("- average_fee:", "- total_num:", "columns[2].total_num: comes twice"),
    "a next of nothing": ("next_state: [state, action_2]", "next_mood: [state, action_2]", "there is no node 'mood'"),
    "columns of a next": (
        "total_num: {dim: state", "total_num: {dim: next_state", "accepted is 'state': a next_node has the columns",
    ),
    "a function that is none": (
        "node_function: venv.get_next_state", "node_function: get next state", "accepted is module.function",
    ),
    "no inputs": ("[state, action_1]", "[]", "accepted is a list of at least one node"),
    "another key": ("max: 180", "most: 180", "most: accepted is dim, type, min, max, num, values or fit"),
    "values of a number": ("max: 180", "values: [1, 2]", "values: accepted is none with type=continuous"),
}  # fmt: skip


@pytest.mark.parametrize("wrong", _WRONG)
def test_what_is_no_graph_is_refused_with_its_line(wrong: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    old, new, told = _WRONG[wrong]
    text, line = _broken(old, new)
    path = tmp_path / "graph.yaml"
    path.write_text(text)
    with pytest.raises(GraphError, match=re.escape(told)) as refused:
        read_graph(path)
    assert str(refused.value).startswith(f"{path}:{line}: ")
    with pytest.raises(SystemExit) as ended:
        main(["graph", f"graph={path}"])
    said = capsys.readouterr().err
    assert ended.value.code == 2 and said.startswith(f"error: {path}:{line}: ") and said.count("\n") == 1


def test_a_node_without_columns_is_refused(tmp_path: Path) -> None:
    lines = [line for line in PROMOTIONS.read_text().splitlines() if "dim: action_1" not in line]
    (tmp_path / "graph.yaml").write_text("\n".join(lines))
    with pytest.raises(GraphError, match=r"graph\.yaml:4: metadata\.graph\.action_1: has no columns"):
        read_graph(tmp_path / "graph.yaml")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "metadata: 3",
        "[1, 2]",
        "metadata: {graph: {}}",
        "a: &a [*a]",
        "{",
        "metadata: {graph: {x: [y]}, columns: 4}",
    ],
)
def test_other_files_are_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "graph.yaml").write_text(text)
    with pytest.raises(GraphError, match=r"^[^\n]+$"):
        read_graph(tmp_path / "graph.yaml")


def test_functions_are_handed_over_and_never_imported(tmp_path: Path) -> None:
    text, _ = _broken("venv.get_next_state", "os.system")
    (tmp_path / "graph.yaml").write_text(text)
    graph = read_graph(tmp_path / "graph.yaml")
    with pytest.raises(GraphError, match=r"graph\.yaml:.*'os\.system': accepted is venv\.get_next_state"):
        graph.function("next_state")
    assert graph.function("next_state", {"os.system": len}) is len


def _data() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "state": np.stack([rng.integers(0, 9, 6), rng.uniform(0, 2, 6), rng.uniform(0, 60, 6)], -1),
        "action_1": np.stack([rng.integers(0, 6, 6), rng.choice([0.6, 0.95], 6)], -1),
        "action_2": np.stack([rng.integers(0, 4, 6), rng.uniform(0, 60, 6)], -1),
        "index": np.array([2, 6]),
    }


def test_data_of_a_graph(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    graph, data = read_graph(PROMOTIONS), _data()
    np.savez(tmp_path / "data.npz", **data)
    found, ends = read_data(tmp_path / "data.npz", graph)
    assert ends.tolist() == [2, 6] and set(found) == {"state", "action_1", "action_2"}
    assert main(["graph", f"graph={PROMOTIONS}", f"data={tmp_path / 'data.npz'}"]) == 0
    told = capsys.readouterr().out
    assert (
        "given: state\n" in told and "action_2 of state, action_1: learned" in told and "data: 6 rows in 2 traj" in told
    )

    def refused(**other: np.ndarray) -> str:
        np.savez(tmp_path / "data.npz", **(data | other))
        with pytest.raises((GraphError, IntakeError)) as error:
            read_data(tmp_path / "data.npz", graph)
        return str(error.value)

    percent = data["action_1"] * [1, 100]
    assert "promotions.yaml:12: coupon_discount: row 0 of action_1 is" in refused(action_1=percent)
    assert "day_order_num: row 0 of action_2 is 7.5: accepted is one of" in refused(
        action_2=data["action_2"] + 7.5 - data["action_2"]
    )
    assert "accepted are numbers [rows, 3]" in refused(state=data["state"][:, :2])
    assert "different numbers of rows" in refused(state=data["state"][:4])
    assert "accepted are end rows that rise to 6" in refused(index=np.array([4, 3]))
    np.savez(tmp_path / "data.npz", state=data["state"], index=data["index"])
    with pytest.raises(GraphError, match="the data have no action_1"):
        read_data(tmp_path / "data.npz", graph)
