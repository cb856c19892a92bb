"""Files of torch.export that carry code: what torch would run of them is refused before torch looks."""

from __future__ import annotations

import contextlib
import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from marl_pricing.export.archive import without_code, without_traces
from marl_pricing.export.example import example
from marl_pricing.export.reading import ENTRY, PolicyError, load_policy


class Policy(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weight", torch.arange(6.0).reshape(2, 3))

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        return torch.relu(observation @ self.get_buffer("weight").t())


@pytest.fixture(scope="module")
def clean() -> bytes:
    buffer = io.BytesIO()
    batch = torch.export.Dim("batch", min=1, max=1024)
    program = torch.export.export(Policy(), (torch.zeros(2, 3),), dynamic_shapes=({0: batch},))
    torch.export.save(program, buffer, extra_files={ENTRY: "{}"})
    return buffer.getvalue()


def edited(
    content: bytes, changes: dict[str, Callable[[bytes], bytes]], extra: dict[str, bytes] | None = None
) -> bytes:
    """An archive with some members changed, by the end of their names, and others added."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as new:
        root = old.namelist()[0].partition("/")[0]
        for name in old.namelist():
            change = next((own for end, own in changes.items() if name.endswith(end)), None)
            new.writestr(name, change(old.read(name)) if change else old.read(name))
        for name, own in (extra or {}).items():
            new.writestr(f"{root}/{name}", own)
    return buffer.getvalue()


def as_json(change: Callable[[Any], None]) -> Callable[[bytes], bytes]:
    def changed(content: bytes) -> bytes:
        data = json.loads(content)
        change(data)
        return json.dumps(data).encode()

    return changed


class Evil:
    """Unpickled, it leaves a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return Path.write_text, (self.mark, "ran")


def pickled(mark: Path) -> bytes:
    buffer = io.BytesIO()
    torch.save({"x": Evil(mark)}, buffer)
    return buffer.getvalue()


def use_pickle(data: Any) -> None:
    next(iter(data["config"].values()))["use_pickle"] = True


def sizes(mark: Path) -> Callable[[bytes], bytes]:
    code = f"__import__('pathlib').Path({str(mark)!r}).write_text('ran')"

    def change(data: Any) -> None:
        sizes = data["graph_module"]["graph"]["tensor_values"]["observation"]["sizes"]
        sizes[0]["as_expr"]["expr_str"] = code

    return as_json(change)


ATTACKS: dict[str, Callable[[bytes, Path], bytes]] = {
    "pickled weight": lambda own, mark: edited(
        own, {"weights_config.json": as_json(use_pickle), "weights/weight_0": lambda _: pickled(mark)}
    ),
    "pickled sample inputs": lambda own, mark: edited(own, {"sample_inputs/model.pt": lambda _: pickled(mark)}),
    "sizes": lambda own, mark: edited(own, {"models/model.json": sizes(mark)}),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_torch_would_run_is_refused_before_it_looks(attack: str, clean: bytes, tmp_path: Path) -> None:
    path, mark = tmp_path / "policy.pt2", tmp_path / "mark"
    path.write_bytes(ATTACKS[attack](without_traces(clean), mark))
    with pytest.raises(PolicyError, match=r"policy.pt2: is not read, torch could run what it carries: "):
        load_policy(path)
    assert not mark.exists()
    try:  # the attack is one: torch alone runs it
        torch.export.load(path).module()(torch.zeros(2, 3))
    except Exception as error:
        told = str(error)
    else:
        told = ""
    assert mark.exists(), told


def code_beside() -> str:
    """The example for a policy file called policy.pt2."""
    about = {
        "network": {"cell": "gru", "stacked": True, "num_sellers": 1}, "orders": None, "inputs": {},
        "outputs": {"a": {}}, "prices": {"map": "levels"},
    }  # fmt: skip
    return example("torch", about, "policy.pt2", ENTRY, [0.0])


@pytest.mark.parametrize("attack", ATTACKS)
def test_so_does_the_example_that_is_written_beside_a_file(
    attack: str, clean: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "policy.pt2").write_bytes(ATTACKS[attack](without_traces(clean), tmp_path / "mark"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"accepted (is|are) "):
        exec(compile(code_beside(), "policy_example.py", "exec"), {})
    assert not (tmp_path / "mark").exists()


def two_in_one(good: bytes, evil: bytes) -> bytes:
    """A file in which `zipfile` reads the one archive and torch the other, which has as many members of these names.

    Its last record tells how long the directory is and where: torch goes there, `zipfile` takes what lies before it.
    """

    def parts(content: bytes) -> tuple[bytes, bytes, bytes]:
        size, at = struct.unpack("<II", content[-10:-2])
        return content[:at], content[at : at + size], content[-22:]

    (body, directory, _), (evil_body, evil_directory, last) = parts(good), parts(evil)
    moved, at, shift = bytearray(directory), 0, len(evil_body) - len(body)
    assert shift >= 0 and len(directory) == len(evil_directory)
    while at < len(moved):
        name, extra, comment = struct.unpack("<HHH", moved[at + 28 : at + 34])
        (offset,) = struct.unpack("<I", moved[at + 42 : at + 46])
        moved[at + 42 : at + 46] = struct.pack("<I", offset + shift)
        at += 46 + name + extra + comment
    return evil_body + evil_directory + body + bytes(moved) + last


def test_of_two_archives_in_one_file_torch_gets_the_one_that_was_looked_at(
    clean: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, mark = tmp_path / "policy.pt2", tmp_path / "mark"
    good = without_traces(clean)
    path.write_bytes(two_in_one(good, ATTACKS["pickled sample inputs"](good, mark)))
    own = torch.export.load(without_code(path)).module()
    torch.testing.assert_close(own(torch.ones(2, 3)), Policy()(torch.ones(2, 3)))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KeyError, match="memory"):  # it goes on to the description, which is empty here
        exec(compile(code_beside(), "policy_example.py", "exec"), {})
    assert not mark.exists()
    with contextlib.suppress(Exception):  # the attack is one
        torch.export.load(path)
    assert mark.exists()


@pytest.mark.parametrize(
    ("changes", "extra", "told"),
    [
        ({"models/model.json": as_json(lambda data: data.update(guards_code=["__import__('os').abort()"]))}, {},
         "guards_code: accepted are comparisons of sizes"),
        ({"models/model.json": as_json(
            lambda data: data["graph_module"]["graph"]["nodes"][0].update(target="torch.hub.load"))}, {},
         "target='torch.hub.load'"),
        ({"models/model.json": as_json(
            lambda data: data["graph_module"]["graph"]["nodes"][0].update(target="torch.ops.aten.from_file.default"))},
         {}, "target='torch.ops.aten.from_file.default': accepted are the operators that a policy is made of"),
        ({"models/model.json": as_json(
            lambda data: data["graph_module"]["graph"]["nodes"][0]["inputs"][0].update(arg={"as_custom_obj": {}}))},
         {}, "as_custom_obj: accepted are numbers and tensors"),
        ({"models/model.json": as_json(
            lambda data: data["graph_module"]["graph"]["nodes"][0]["metadata"].update(source_fn_stack="x,y"))}, {},
         "metadata: source_fn_stack"),
        ({}, {"data/constants/custom_obj_0": pickle.dumps(1)}, "custom_obj_0"),
        ({}, {"data/aotinductor/model/lib.so": b"ELF"}, "lib.so"),
        ({}, {"data/Weights/weight_0": b""}, "a member comes twice"),
        ({}, {"../weights/weight_0": b""}, "member "),
    ],
)  # fmt: skip
def test_other_ways_in_are_refused(changes: Any, extra: Any, told: str, clean: bytes, tmp_path: Path) -> None:
    path = tmp_path / "policy.pt2"
    path.write_bytes(edited(without_traces(clean), changes, extra))
    with pytest.raises(ValueError, match=r"accepted|twice") as refused:
        without_code(path)
    assert told in str(refused.value)


def test_a_file_of_ours_has_no_traces_of_its_maker_and_says_the_same(clean: bytes, tmp_path: Path) -> None:
    path = tmp_path / "policy.pt2"
    path.write_bytes(without_traces(clean))
    without_code(path)
    assert without_traces(clean) == path.read_bytes()
    here = str(Path(__file__).parent).encode()
    assert here in clean and here not in path.read_bytes()
    extra = {ENTRY: ""}
    own = torch.export.load(path, extra_files=extra).module()
    observation = torch.randn(5, 3)
    torch.testing.assert_close(own(observation), Policy()(observation))
    assert extra[ENTRY] == "{}"


def test_what_is_no_archive_is_said(tmp_path: Path) -> None:
    for name, content in (("noise", b"\0" * 100), ("empty", b"")):
        path = tmp_path / f"{name}.pt2"
        path.write_bytes(content)
        with pytest.raises(PolicyError, match=f"{name}.pt2: is no policy file"):
            load_policy(path)
