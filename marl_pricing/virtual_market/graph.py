"""A decision graph: who decides what from what, in which columns; a node `next_x` is fed back as x of the next step."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import numpy as np

from marl_pricing.intake import IntakeError, plain
from marl_pricing.intake.errors import listed
from marl_pricing.virtual_market.errors import GraphError
from marl_pricing.virtual_market.graph_file import Place, read_places
from marl_pricing.virtual_market.states import next_state

Kind = Literal["continuous", "discrete", "category"]
Arrays = dict[str, np.ndarray]
NEXT = "next_"
_KINDS = ("continuous", "discrete", "category")
_NOT_USED = ("nodes", "tunable", "metric_nodes", "custom_nodes")
_FUNCTION = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")


def _document_state(data: Mapping[str, Any]) -> Any:
    return next_state(data["state"], data["action_2"], "document")


def _order_day_state(data: Mapping[str, Any]) -> Any:
    return next_state(data["state"], data["action_2"], "order_days")


# What a graph may compute without its user's own functions. A file names functions and never brings them.
FUNCTIONS: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "venv.get_next_state": _order_day_state,  # as the published kit's
    "states.order_days": _order_day_state,
    "states.document": _document_state,
}


@dataclass(frozen=True)
class Column:
    """A feature of a node. `minimum` and `maximum` are None where the data say them."""

    name: str
    node: str
    kind: Kind
    minimum: float | None
    maximum: float | None
    values: tuple[Any, ...]
    line: int

    def wrong(self, cells: np.ndarray) -> np.ndarray:
        """[R] bool, cells outside of what the column may hold."""
        if self.kind == "category":
            return ~np.isin(cells, np.arange(len(self.values)))
        low = -np.inf if self.minimum is None else self.minimum
        high = np.inf if self.maximum is None else self.maximum
        outside = ~((cells >= low) & (cells <= high))
        if self.kind == "discrete" and self.values:
            grid = np.asarray(self.values, float)
            near = np.abs(cells[:, None] - grid).min(1) if len(cells) else np.zeros(0)
            outside |= ~(near <= 1e-6 * max(1.0, float(np.abs(grid).max())))
        return outside

    @property
    def accepted(self) -> str:
        """What it may hold, in words."""
        if self.kind == "category":
            return f"a number from 0 to {len(self.values) - 1}, of {listed(self.values)}"
        if self.kind == "discrete" and self.values:
            return f"one of {listed([f'{own:g}' for own in self.values])}"
        low, high = self.minimum, self.maximum
        return f"{'any' if low is None else f'{low:g}'} to {'any' if high is None else f'{high:g}'}"


@dataclass(frozen=True)
class Graph:
    """A decision graph.

    Attributes:
        inputs: node → the nodes that it is decided from, in the order of the file.
        columns: node → its features, in the order of the file; a `next_x` has x's.
        functions: node → module.function that computes it; such a node is not learned.
        order: nodes with inputs, each after all that it needs.
        lines: node → its line.
        not_used: parts of the file that are read over.
    """

    path: str
    inputs: dict[str, tuple[str, ...]]
    columns: dict[str, tuple[Column, ...]]
    functions: dict[str, str]
    order: tuple[str, ...]
    lines: dict[str, int]
    not_used: tuple[str, ...] = field(default=())

    @property
    def roots(self) -> tuple[str, ...]:
        """Nodes that are decided by nobody: they have to be given."""
        return tuple(name for name in self.columns if name not in self.inputs)

    @property
    def learned(self) -> tuple[str, ...]:
        """Nodes that are learned, in order."""
        return tuple(name for name in self.order if name not in self.functions)

    @property
    def fed_back(self) -> dict[str, str]:
        """next_x → x."""
        return {name: name.removeprefix(NEXT) for name in self.order if name.startswith(NEXT)}

    def function(self, node: str, own: Mapping[str, Callable] | None = None) -> Callable[[Mapping[str, Any]], Any]:
        """What computes a node: {node: [..., features]} → [..., features].

        Args:
            own: functions by the name that the file gives them. Files are never imported from.

        Raises:
            GraphError: for a name that neither these nor `FUNCTIONS` have.
        """
        name = self.functions[node]
        known = {**FUNCTIONS, **(own or {})}
        if name not in known:
            raise GraphError(
                f"{self.path}:{self.lines[node]}: expert_functions.{node}={name!r}: accepted is {', '.join(known)}, or "
                "a function that is handed over by that name"
            )
        return known[name]

    def check(self, data: Mapping[str, np.ndarray]) -> None:
        """Refuse data that are not of this graph.

        Args:
            data: node → [R, features].

        Raises:
            GraphError: with the column's line, the first row that is wrong and its value.
        """
        for node, columns in self.columns.items():
            if node not in data:
                if node in self.functions or node.startswith(NEXT):
                    continue
                raise GraphError(
                    f"{self.path}:{self.lines[node]}: the data have no {node}; there are {listed(list(data))}"
                )
            cells = np.asarray(data[node])
            if cells.ndim != 2 or cells.shape[1] != len(columns) or cells.dtype.kind not in "fiu":
                raise GraphError(
                    f"{self.path}:{self.lines[node]}: {node} has data of shape {cells.shape} and type {cells.dtype}; "
                    f"accepted are numbers [rows, {len(columns)}] for {listed([own.name for own in columns])}"
                )
            for number, column in enumerate(columns):
                wrong = column.wrong(cells[:, number].astype(float))
                if wrong.any():
                    row = int(np.argmax(wrong))
                    raise GraphError(
                        f"{self.path}:{column.line}: {column.name}: row {row} of {node} is {cells[row, number]:g}: "
                        f"accepted is {column.accepted}"
                    )


def _column(name: str, place: Place) -> Column:
    own = dict(place.pairs("a group {dim, type, min, max, num, values}"))
    for key, entry in own.items():
        if key not in ("dim", "type", "min", "max", "num", "values", "fit"):
            entry.refuse(": accepted is dim, type, min, max, num, values or fit")
    for key in ("dim", "type"):
        if key not in own:
            place.refuse(f": has no {key}")
    node = own["dim"].text("the name of a node")
    if node.startswith(NEXT):
        own["dim"].refuse(
            f"={node!r}: accepted is {node.removeprefix(NEXT)!r}: a {NEXT}node has the columns of its own"
        )
    kind = own["type"].text(", ".join(_KINDS))
    if kind not in _KINDS:
        own["type"].refuse(f"={kind!r}: accepted is {', '.join(_KINDS)}")
    low = own["min"].number("a number") if "min" in own else None
    high = own["max"].number("a number") if "max" in own else None
    if low is not None and high is not None and not low < high:
        own["max"].refuse(f"={high!r}: accepted is a number above min={low!r}")
    values: tuple[Any, ...] = ()
    if "num" in own:
        if kind != "discrete":
            own["num"].refuse(f": accepted is none with type={kind}")
        count = int(own["num"].number("a whole number above 1", whole=True))
        if not 1 < count <= 10_000:
            own["num"].refuse(f"={count}: accepted is a whole number above 1 and at most 10000")
        if low is None or high is None:
            own["num"].refuse(": accepted is min and max beside it, its end points")
        values = tuple(np.linspace(low, high, count).tolist())
    if kind == "category" or "values" in own:
        values = _values(kind, place, own)
        if kind == "category":
            low, high = 0.0, float(len(values) - 1)
        for value in values if kind == "discrete" else ():
            if (low is not None and value < low) or (high is not None and value > high):
                own["values"].refuse(f": {value!r} is outside of min={low} and max={high}")
    return Column(name, node, kind, low, high, values, place.line)  # type: ignore[arg-type]


def _values(kind: str, place: Place, own: dict[str, Place]) -> tuple[Any, ...]:
    if kind == "continuous":
        own["values"].refuse(": accepted is none with type=continuous")
    if "values" not in own:
        place.refuse(": has no values, which a category needs")
    entry = own["values"]
    values = [item.value for item in entry.items("a list")]
    if len(values) < 2 or len(set(map(str, values))) < len(values):
        entry.refuse(f"={values!r}: accepted is a list of at least two, each once")
    if kind == "discrete":
        for item in entry.items("a list"):
            item.number("a number")
    return tuple(values)


def _ordered(path: str, inputs: Mapping[str, tuple[str, ...]], lines: Mapping[str, int]) -> tuple[str, ...]:
    """Nodes after their inputs; a cycle is refused with its way round."""
    done: list[str] = []
    way: list[str] = []

    def visit(node: str) -> None:
        if node in done or node not in inputs:
            return
        if node in way:
            cycle = [*way[way.index(node) :], node]
            raise GraphError(
                f"{path}:{lines[node]}: the graph has a cycle, {' → '.join(reversed(cycle))}; accepted is one without: "
                f"what is fed back is a node {NEXT}x, which is x of the next step"
            )
        way.append(node)
        for other in inputs[node]:
            visit(other)
        way.pop()
        done.append(node)

    for node in inputs:
        visit(node)
    return tuple(done)


def read_graph(path: Path | str) -> Graph:
    """The decision graph of a YAML file.

    Raises:
        GraphError: one line with file, line, what stands there and what is accepted.
    """
    whole = read_places(path)
    top = dict(whole.pairs("metadata: with graph: and columns:"))
    if "metadata" not in top:
        whole.refuse("there is no metadata:, which holds graph: and columns:")
    own = dict(top["metadata"].pairs("graph: and columns:"))
    for name, place in own.items():
        if name not in ("graph", "columns", "expert_functions", *_NOT_USED):
            place.refuse(f": accepted is graph, columns, expert_functions, {', '.join(_NOT_USED)}")
    for name in ("graph", "columns"):
        if name not in own:
            top["metadata"].refuse(f": has no {name}")

    places = dict(own["graph"].pairs("node: [inputs]"))
    if not places:
        own["graph"].refuse(": accepted is at least one node with its inputs")
    columns: dict[str, list[Column]] = {}
    lines = {name: place.line for name, place in places.items()}
    seen: set[str] = set()
    for item in own["columns"].items("a list of - name: {dim, type, …}"):
        pairs = list(item.pairs("one column, - name: {dim, type, …}"))
        if len(pairs) != 1:
            item.refuse(": accepted is one column, - name: {dim, type, …}")
        name, place = pairs[0]
        column = _column(name, place)
        if name in seen:
            place.refuse(": comes twice")
        seen.add(name)
        columns.setdefault(column.node, []).append(column)
        lines.setdefault(column.node, column.line)

    inputs: dict[str, tuple[str, ...]] = {}
    for name, place in places.items():
        known = [*columns, *places]
        found = []
        for item in place.items("a list of nodes"):
            node = item.text("the name of a node")
            if node not in known:
                near = get_close_matches(node, known, 1)
                item.refuse(
                    f"={node!r}: there is no such node, neither in graph nor a column's dim" + (
                        f"; did you mean {near[0]}?" if near else ""
                    )
                )  # fmt: skip
            found.append(node)
        if not found:
            place.refuse(": accepted is a list of at least one node; a node without inputs stands in columns alone")
        inputs[name] = tuple(found)
    used = {node for found in inputs.values() for node in found} | set(inputs)
    for node, own_columns in columns.items():
        if node not in used:
            near = get_close_matches(node, used, 1)
            raise GraphError(
                f"{path}:{own_columns[0].line}: columns.{own_columns[0].name}.dim={node!r}: there is no such node in "
                "graph" + (f"; did you mean {near[0]}?" if near else "")
            )
    for name, place in places.items():
        if name.startswith(NEXT):
            of = name.removeprefix(NEXT)
            if of not in columns:
                place.refuse(f": there is no node {of!r} that it would be of the next step")
            columns[name] = columns[of]
        elif name not in columns:
            place.refuse(": has no columns; accepted is at least one, - name: {dim: " + name + ", type: …}")

    functions: dict[str, str] = {}
    if "expert_functions" in own:
        for node, place in own["expert_functions"].pairs("node: {node_function: module.function}"):
            told = dict(place.pairs("{node_function: module.function}"))
            if node not in inputs:
                place.refuse(f": there is no such node in graph, there are {listed(list(inputs))}")
            if set(told) != {"node_function"}:
                place.refuse(": accepted is {node_function: module.function}")
            text = told["node_function"].text("module.function")
            if not _FUNCTION.fullmatch(text):
                told["node_function"].refuse(f"={text!r}: accepted is module.function")
            functions[node] = text
    order = _ordered(str(path), inputs, lines)
    return Graph(
        str(path), inputs, {name: tuple(found) for name, found in columns.items()}, functions, order, lines,
        tuple(name for name in _NOT_USED if name in own),
    )  # fmt: skip


def read_data(path: Path | str, graph: Graph) -> tuple[Arrays, np.ndarray]:
    """({node: [R, features]}, [N] end row of each trajectory) of an .npz of a graph's nodes and `index`.

    Raises:
        GraphError, IntakeError: for data that are not of the graph, and for ends that do not rise to the last row.
    """
    found = plain.read_arrays(path)
    if "index" not in found:
        raise IntakeError(f"{path}: there is no index, the end row of each trajectory")
    ends = found.pop("index").reshape(-1)
    rows = {name: len(own) for name, own in found.items() if name in graph.columns}
    if len(set(rows.values())) > 1:
        raise IntakeError(f"{path}: nodes have different numbers of rows, {rows}")
    count = next(iter(rows.values()), 0)
    if not len(ends) or (np.diff(ends) <= 0).any() or ends[0] <= 0 or ends[-1] != count:
        raise IntakeError(f"{path}: index={ends[-3:].tolist()} at its end: accepted are end rows that rise to {count}")
    graph.check({name: own for name, own in found.items() if name in graph.columns})
    return found, ends.astype(int)


def describe(graph: Graph) -> list[str]:
    """A graph in words, a line a node."""
    lines = [f"given: {', '.join(graph.roots)}"]
    for node in graph.order:
        how = f"computed by {graph.functions[node]}" if node in graph.functions else "learned"
        back = f", {graph.fed_back[node]} of the next step" if node in graph.fed_back else ""
        names = ", ".join(column.name for column in graph.columns[node])
        lines.append(f"{node} of {', '.join(graph.inputs[node])}: {how}{back} ({names})")
    if graph.not_used:
        lines.append(f"read over: {', '.join(graph.not_used)}")
    return lines
