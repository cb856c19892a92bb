"""Run folders and checkpoints: whole or not there, and refused where they are broken."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import pytest

from marl_pricing.learning.parallel import Program
from marl_pricing.learning.runs import Checkpoints, RunError, Table, create, read_config
from tests.learning.helpers import learner_of, market_of


@pytest.fixture(scope="module")
def trained():
    own = market_of("stock")
    program = Program(learner_of(own))
    params = program.stack(own.params)
    return program, params, program.init(params)


@pytest.fixture
def saved(trained, tmp_path: Path):
    program, params, state = trained
    checkpoints = Checkpoints(tmp_path)
    for update in (2, 4, 6):
        checkpoints.save(update, state)
    checkpoints.close()
    return tmp_path, program.abstract_state(params), state


def test_the_last_two_states_are_kept_and_come_back_bit_for_bit(saved) -> None:
    folder, abstract, state = saved
    checkpoints = Checkpoints(folder)
    assert checkpoints.updates == [4, 6]
    assert checkpoints.latest == 6
    assert not checkpoints.has_best(6)
    back = checkpoints.load(6, abstract)
    assert jax.tree.structure(back) == jax.tree.structure(state)
    for one, other in zip(jax.tree.leaves(state), jax.tree.leaves(back), strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype


def data_files(folder: Path) -> list[Path]:
    return sorted(p for p in (folder / "checkpoints" / "6" / "state").rglob("*") if p.is_file() and "/d/" in str(p))


@pytest.mark.parametrize("harm", ["flipped", "cut short", "gone"])
def test_a_harmed_checkpoint_is_refused_with_its_path(saved, harm: str) -> None:
    folder, abstract, _ = saved
    largest = max(data_files(folder), key=lambda p: p.stat().st_size)
    content = largest.read_bytes()
    if harm == "flipped":
        middle = len(content) // 2
        flipped = bytes(b ^ 0xFF for b in content[middle : middle + 64])
        largest.write_bytes(content[:middle] + flipped + content[middle + 64 :])
    elif harm == "cut short":
        largest.write_bytes(content[: len(content) // 2])
    else:
        largest.unlink()
    with pytest.raises(RunError, match=r"checkpoints/6: the checkpoint is broken") as caught:
        Checkpoints(folder).load(6, abstract)
    assert "\n" not in str(caught.value)


def test_a_checkpoint_of_another_shape_is_refused(saved) -> None:
    folder, _, _ = saved
    own = market_of("stock")
    wider = Program(learner_of(own, hidden_size=16))
    with pytest.raises(RunError, match=r"checkpoints/6: the checkpoint has another shape") as caught:
        Checkpoints(folder).load(6, wider.abstract_state(wider.stack(own.params)))
    assert "\n" not in str(caught.value)


def test_a_run_without_checkpoints_says_so(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no checkpoint yet"):
        _ = Checkpoints(tmp_path).latest


def rows(first: int, last: int) -> list[dict[str, str]]:
    return [{"update": str(u), "seed": str(s), "x": repr(u + 0.5)} for u in range(first, last + 1) for s in (0, 1)]


def test_a_table_cut_back_and_written_again_is_the_same(tmp_path: Path) -> None:
    one, other = Table(tmp_path / "one.csv"), Table(tmp_path / "other.csv")
    one.append(rows(1, 6))
    other.append(rows(1, 5))
    with other.path.open("a") as file:
        file.write("6,0,6.")  # killed in the middle of a line
    again = Table(other.path)
    again.cut(4)
    again.append(rows(5, 6))
    assert other.path.read_bytes() == one.path.read_bytes()


@pytest.mark.parametrize("line", ["3,0\n", "x,0,1.0\n"])
def test_a_broken_row_that_has_to_stay_is_refused_with_its_line(tmp_path: Path, line: str) -> None:
    table = Table(tmp_path / "metrics.csv")
    table.append(rows(1, 2))
    with table.path.open("a") as file:
        file.write(line)
    table.append(rows(4, 4))
    with pytest.raises(RunError, match=r"metrics.csv, line 6: the row is broken"):
        Table(table.path).cut(4)


def test_a_table_without_updates_is_refused(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("a,b\n1,2\n")
    with pytest.raises(RunError, match="line 1: there is no column 'update'"):
        Table(tmp_path / "metrics.csv").cut(3)


def test_a_folder_becomes_a_run_once(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "run"
    create(folder, "name: x\n", {"versions": {}})
    assert read_config(folder) == "name: x\n"
    assert sorted(p.name for p in folder.iterdir()) == ["config.yaml", "provenance.json"]
    assert [p.name for p in folder.parent.iterdir()] == ["run"]
    with pytest.raises(RunError, match=r"already holds a run; continue it with resume="):
        create(folder, "name: y\n", {})
    assert read_config(folder) == "name: x\n"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    with pytest.raises(RunError, match="is not empty"):
        create(tmp_path / "other", "", {})


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is no run folder"):
        read_config(tmp_path)
    with pytest.raises(RunError, match="there is no such folder"):
        read_config(tmp_path / "nowhere")
