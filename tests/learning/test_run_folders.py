"""What a kill, a full disk or a stray hand may leave of a run folder, and what is said about it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marl_pricing.learning import runs
from marl_pricing.learning.evaluations import abstract_best
from marl_pricing.learning.parallel import Program
from marl_pricing.learning.run_files import read_table
from marl_pricing.learning.runs import Checkpoints, RunError, Table
from tests.learning.helpers import learner_of, market_of


def rows(*updates: int, seeds: int = 2) -> list[dict[str, Any]]:
    return [{"update": u, "seed": s, "loss": repr(u + 0.5)} for u in updates for s in range(seeds)]


def text_of(*updates: int) -> str:
    return "update,seed,loss\n" + "".join(f"{u},{s},{u + 0.5!r}\n" for u in updates for s in range(2))


def test_a_table_grows_by_rows_and_another_table_goes_on_with_it(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    table = Table(path)
    table.append(rows(1, 2))
    table.append(rows(3))
    # Columns keep their order, whoever writes.
    Table(path).append([dict(reversed(row.items())) for row in rows(4)])
    assert path.read_text() == text_of(1, 2, 3, 4)


def test_a_table_of_a_version_that_knew_fewer_columns_gets_them(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    Table(path).append(rows(1))
    Table(path).append([{"update": 2, "gain": 0.5, "seed": s, "loss": 2.5} for s in range(2)])
    Table(path).append(rows(3))
    assert path.read_text() == (
        "update,seed,loss,gain\n1,0,1.5,\n1,1,1.5,\n2,0,2.5,0.5\n2,1,2.5,0.5\n3,0,3.5,\n3,1,3.5,\n"
    )


def test_a_cut_drops_what_is_younger_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    Table(path).cut(3)  # nothing was written yet
    assert not path.exists()
    Table(path).append(rows(2, 4, 6))
    Table(path).cut(4)
    assert path.read_text() == text_of(2, 4)
    Table(path).cut(4)
    assert path.read_text() == text_of(2, 4)
    Table(path).append(rows(6))
    assert path.read_text() == text_of(2, 4, 6)
    Table(path).cut(0)
    assert path.read_text() == text_of()


def test_a_kill_at_any_byte_of_a_write_leaves_a_table_that_can_be_gone_on_with(tmp_path: Path) -> None:
    """Rows up to update 10 are as old as the checkpoint; of what came later any number of bytes may be there."""
    path = tmp_path / "metrics.csv"
    kept, whole = text_of(5, 10), text_of(5, 10, 15, 20, 105)
    for size in range(len(kept), len(whole) + 1):
        path.write_text(whole[:size])
        Table(path).cut(10)
        assert path.read_text() == kept, f"cut short after {whole[:size][-20:]!r}"


def test_a_kill_at_any_byte_of_the_first_write_leaves_a_table_that_can_be_begun_again(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    whole = text_of(5)
    for size in range(len(whole) + 1):
        path.write_text(whole[:size])
        table = Table(path)
        table.cut(0)
        table.append(rows(5))
        assert path.read_text() == whole, f"cut short after {whole[:size]!r}"


@pytest.mark.parametrize(
    ("line", "text"),
    [(3, "2,1,2.5,9\n"), (3, "2,1\n"), (4, "x,0,4.5\n"), (4, "\n"), (2, ",0,2.5\n"), (5, "-4,1,4.5\n")],
)
def test_a_broken_row_that_has_to_stay_is_named(tmp_path: Path, line: int, text: str) -> None:
    path = tmp_path / "metrics.csv"
    lines = text_of(2, 4, 6).splitlines(keepends=True)
    lines[line - 1] = text
    path.write_text("".join(lines))
    before = path.read_bytes()
    with pytest.raises(RunError, match=f"metrics.csv, line {line}: the row is broken") as caught:
        Table(path).cut(6)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before


@pytest.mark.parametrize("cell", ["inf", "-inf", "nan", "1e999", "x", "1_0", "٣"])
def test_a_number_that_no_table_of_today_holds_is_named(tmp_path: Path, cell: str) -> None:
    """Versions before went on with a training that had diverged; what they wrote of it is no figure."""
    (tmp_path / "metrics.csv").write_text(f"update,seed,loss\n1,0,0.5\n2,0,{cell}\n")
    with pytest.raises(RunError, match=r"metrics\.csv, line 3: loss is '.*', no finite number"):
        read_table(tmp_path, runs.METRICS)
    (tmp_path / "metrics.csv").write_text("update,seed,loss\n1,0,0.5\n2,0,\n")
    assert [row["loss"] for row in read_table(tmp_path, runs.METRICS)] == ["0.5", ""]


@pytest.mark.parametrize("inside", ["", "deep/run"])
def test_a_file_in_the_way_of_a_run_folder_is_named(tmp_path: Path, inside: str) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RunError, match=r"run.folder=") as caught:
        runs.create(tmp_path / "file" / inside, "name: a\n", {})
    assert "\n" not in str(caught.value)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("dies_at", [1, 2, 3])
def test_a_run_folder_appears_complete_or_not_at_all(tmp_path: Path, monkeypatch, dies_at: int) -> None:
    folder, calls, real = tmp_path / "run", [], os.replace

    def dies(source: Any, target: Any) -> None:
        calls.append(target)
        if len(calls) == dies_at:
            raise KeyboardInterrupt
        real(source, target)

    monkeypatch.setattr(os, "replace", dies)
    with pytest.raises(KeyboardInterrupt):
        runs.create(folder, "name: a\n", {})
    assert not folder.exists()
    monkeypatch.undo()
    runs.create(folder, "name: a\n", {})  # what was left behind does not stand in the way
    assert sorted(p.name for p in folder.iterdir()) == [runs.CONFIG, runs.PROVENANCE]


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "config.yaml"
    runs.replace_file(path, "old")

    def dies(*_: Any) -> None:
        assert path.read_text() == "old"
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", dies)
    with pytest.raises(KeyboardInterrupt):
        runs.replace_file(path, "new")
    assert path.read_text() == "old"
    monkeypatch.undo()
    runs.replace_file(path, "new")
    assert path.read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["config.yaml"]


def test_folders_that_hold_no_run_are_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"nowhere: there is no such folder"):
        runs.read_config(tmp_path / "nowhere")
    with pytest.raises(RunError, match=r"is no run folder \(config.yaml and provenance.json are not both there\)"):
        runs.read_config(tmp_path)
    (tmp_path / runs.CONFIG).write_bytes(b"name: \xff\xfe\n")
    (tmp_path / runs.PROVENANCE).write_text('{"command": \n}')
    with pytest.raises(RunError, match=r"config.yaml, line 1: is no UTF-8 text"):
        runs.read_config(tmp_path)
    with pytest.raises(RunError, match=r"provenance.json, line 2:"):
        runs.read_provenance(tmp_path)


def filled(abstract: Any, seed: int) -> Any:
    """A state with random numbers in every leaf."""
    rng = np.random.default_rng(seed)

    def one(leaf: jax.ShapeDtypeStruct) -> jax.Array:
        values = jnp.asarray(rng.integers(0, 100, leaf.shape) + rng.random(leaf.shape), leaf.dtype)
        return jax.device_put(values, leaf.sharding)

    return jax.tree.map(one, abstract)


def abstract_of(**settings: Any) -> Any:
    own = market_of("own orders, two products")
    program = Program(learner_of(own, **settings))
    return program.abstract_state(program.stack(own.params))


def equal(one: Any, other: Any) -> None:
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A folder after updates 2, 4 and 6: (folder, shapes, states by update)."""
    folder = tmp_path_factory.mktemp("run")
    abstract = abstract_of()
    states = {update: filled(abstract, update) for update in (2, 4, 6)}
    checkpoints = Checkpoints(folder)
    for update, state in states.items():
        checkpoints.save(update, state)
    checkpoints.close()
    return folder, abstract, states


@pytest.fixture
def copy(kept, tmp_path: Path) -> Path:
    return Path(shutil.copytree(kept[0], tmp_path / "copy"))


def test_the_best_networks_lie_with_the_state_and_come_back(kept, copy: Path) -> None:
    _, abstract, states = kept
    best = jax.device_get(filled(abstract_best(abstract), 9))
    with Checkpoints(copy) as checkpoints:
        checkpoints.save(8, states[2], best)
        assert checkpoints.updates == [6, 8]  # the last two
        assert checkpoints.has_best(8) and not checkpoints.has_best(6)
        equal(checkpoints.load(8, abstract), states[2])
        equal(jax.device_get(checkpoints.load_best(8, abstract_best(abstract))), best)
    # Not every file of theirs holds values: one alone may be broken without a loss.
    for path in (p for p in files_of(copy, 8) if "best" in p.parts):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 0xFF
        path.write_bytes(content)
    with pytest.raises(RunError, match=r"checkpoints/8: the checkpoint is broken"):
        Checkpoints(copy).load_best(8, abstract_best(abstract))
    equal(Checkpoints(copy).load(8, abstract), states[2])


def test_a_folder_of_an_older_version_is_read(kept, copy: Path) -> None:
    """Its metrics hold a score, and no digest of best networks."""
    path = copy / runs.CHECKPOINTS / "6" / "metrics" / "metrics"
    digest = json.loads(path.read_text())["digest"]
    path.write_text(json.dumps({"score": 1.5, "digest": digest}))
    (path.parents[1] / "files.json").unlink()
    checkpoints = Checkpoints(copy)
    assert not checkpoints.has_best(6)
    equal(checkpoints.load(6, kept[1]), kept[2][6])


class _Older(NamedTuple):
    first: Any


class _Newer(NamedTuple):
    first: Any
    excess: Any = None
    before: Any = None


def test_a_state_that_has_got_empty_fields_since_is_read(tmp_path: Path) -> None:
    weights = {"w": np.arange(6.0, dtype=np.float32).reshape(2, 3), "none": None, "more": (np.full(2, 4, np.int32),)}
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, _Older(weights))
    where = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    abstract = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where), weights)
    with Checkpoints(tmp_path) as checkpoints:
        read = checkpoints.load(1, _Newer(abstract))
        assert isinstance(read, _Newer) and read.excess is None and read.before is None
        equal(read.first, weights)
        with pytest.raises(RunError, match=r"nothing is there, excess \(3,\) is needed"):
            checkpoints.load(1, _Newer(abstract, excess=jax.ShapeDtypeStruct((3,), np.float32, sharding=where)))


def files_of(folder: Path, update: int) -> list[Path]:
    return sorted(p for p in (folder / runs.CHECKPOINTS / str(update)).rglob("*") if p.is_file())


def refused(folder: Path, abstract: Any, update: int = 6) -> str:
    """One line that names the checkpoint; and the other checkpoint can still be read."""
    checkpoints = Checkpoints(folder)
    with pytest.raises(RunError) as caught:
        checkpoints.load(update, abstract)
    message = str(caught.value)
    assert "\n" not in message
    assert str(folder / runs.CHECKPOINTS / str(update)) in message
    return message


def test_a_flipped_byte_in_the_largest_file_is_found(kept, copy: Path) -> None:
    largest = max(files_of(copy, 6), key=lambda p: p.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 0xFF
    largest.write_bytes(content)
    assert "broken" in refused(copy, kept[1])
    equal(Checkpoints(copy).load(4, kept[1]), kept[2][4])


@pytest.mark.parametrize("part", [0.0, 0.5])
def test_a_file_cut_short_is_found(kept, copy: Path, part: float) -> None:
    largest = max(files_of(copy, 6), key=lambda p: p.stat().st_size)
    os.truncate(largest, int(largest.stat().st_size * part))
    assert "broken" in refused(copy, kept[1])


def test_any_lost_file_that_the_state_needs_is_found(kept, copy: Path) -> None:
    """Whichever file is lost, a load gives the state bit for bit or one line; never a trace, never other numbers."""
    said = []
    for number, path in enumerate(files_of(kept[0], 6)):
        own = Path(shutil.copytree(copy, copy.with_name(f"lost_{number}")))
        (own / path.relative_to(kept[0])).unlink()
        try:
            checkpoints = Checkpoints(own)
            update = checkpoints.latest  # 4 where 6 is no longer taken for a checkpoint
            state = checkpoints.load(update, kept[1])
        except RunError as error:
            said.append(str(error))
        else:
            equal(state, kept[2][update])
    assert len(said) >= 2
    for message in said:
        assert "\n" not in message
        assert f"{copy.parent}/lost_" in message


@pytest.mark.parametrize(
    "text", ['{"digest": "ab', "", "\0" * 40, "[]", '{"score": 1.0}', '\ufeff{"digest": "ab"}', None]
)
@pytest.mark.parametrize("update", [4, 6])
def test_a_broken_or_lost_score_of_a_checkpoint_is_named(copy: Path, text: str | None, update: int) -> None:
    path = copy / runs.CHECKPOINTS / str(update) / "metrics" / "metrics"
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(RunError, match=rf"checkpoints/{update}/metrics/metrics: the checkpoint is broken") as caught:
        Checkpoints(copy)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["[]", '{"init_timestamp_nsecs": []}', "{"])
def test_what_orbax_says_of_a_checkpoint_of_an_older_version_may_be_broken(copy: Path, text: str, capfd) -> None:
    place = copy / runs.CHECKPOINTS / "6"
    (place / "files.json").unlink()
    (place / "_CHECKPOINT_METADATA").write_text(text)
    if text == "{":  # Orbax takes it for none
        assert Checkpoints(copy).latest == 6
    else:
        with pytest.raises(RunError, match=r"checkpoints: the checkpoints cannot be read \(.*list"):
            Checkpoints(copy)
    assert "ERROR" not in capfd.readouterr().err


@pytest.mark.parametrize("settings", [{"hidden_size": 16}, {"cell": "lstm"}, {"sharing": "per_seller"}])
def test_a_state_of_another_shape_is_named(kept, settings: dict[str, Any]) -> None:
    message = refused(kept[0], abstract_of(**settings))
    assert "the checkpoint has another shape (" in message
    assert "[]" not in message
