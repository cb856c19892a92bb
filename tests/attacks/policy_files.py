"""Policy files that are broken or made to do harm, loaded and played."""

from __future__ import annotations

import io
import json
import random
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tests.attacks import corruptions
from tests.attacks.corruptions import Broken
from tests.attacks.material import exported
from tests.attacks.outcome import ANY, REFUSED, Attempt

SUFFIXES = ("pt2", "onnx", "npz")


def play(path: Path) -> list[list[float]]:
    """What a policy answers to three observations, one after another."""
    from marl_pricing.doors import say_errors
    from marl_pricing.export.reading import PolicyError, load_policy

    with say_errors(PolicyError):
        policy = load_policy(path)
        memory, seen = policy.start(2), np.random.default_rng(0).normal(size=(3, 2, len(policy.about["observation"])))
        answers = []
        for observation in seen.astype(np.float32):
            said = policy.step(policy.show(observation, [0, 1]), np.array([0, 1]), memory)
            memory = said["memory_after"]
            answers.append(said["price_log_prob"].ravel().tolist())
        return answers
    raise AssertionError


def play_on_env(path: Path) -> list[list[int]]:
    """What a policy of `train_on_env` does in three steps of an environment of two agents."""
    from marl_pricing.doors import say_errors
    from marl_pricing.learning.torch_mappo.env_policy import load_env_policy

    with say_errors(ValueError):
        policy = load_env_policy(path)
        memory, answers = policy.start(), []
        for seen in np.random.default_rng(0).normal(size=(3, 2, 5)):
            actions, memory = policy.act(dict(zip(policy.spaces.agents, seen, strict=True)), memory)
            answers.append([int(own) for own in actions.values()])
        return answers
    raise AssertionError


def _saved_env_policy(path: Path) -> Path:
    """A policy for two agents that see five numbers and choose among three."""
    import torch

    from marl_pricing.learning.networks import NetworkSpec
    from marl_pricing.learning.torch_mappo.copies import Spaces
    from marl_pricing.learning.torch_mappo.env_policy import EnvPolicy
    from marl_pricing.learning.torch_mappo.networks import Networks

    torch.manual_seed(0)
    spec = NetworkSpec("gru", 5, 8, 3, 0.01, 2, stacked=True, central=False)
    spaces = Spaces(("a", "b"), 5, 10, False, (3,), (0,), True)
    return EnvPolicy(spaces, Networks(spec)).save(path)


def _hostile_env_policies(path: Path) -> Iterator[Broken]:
    import torch

    told = torch.load(path, weights_only=True)
    changes: dict[str, Any] = {
        "300,000 units of memory": {"network": told["network"] | {"hidden_size": 300_000}},
        "10⁹ agents": {"network": told["network"] | {"num_sellers": 10**9}},
        "no weights": {"weights": {}},
        "weights of whole numbers": {"weights": {name: own.int() for name, own in told["weights"].items()}},
        "weights of another shape": {"weights": {name: own[:1] for name, own in told["weights"].items()}},
        "no spaces": {"spaces": {}},
        "another format": {"format": "x"},
    }
    for name, change in changes.items():
        buffer = io.BytesIO()
        torch.save(told | change, buffer)
        yield Broken(name, buffer.getvalue())
    content = path.read_bytes()
    yield Broken(
        "512 MiB of zeros", archive(content, {"archive/zeros": bytes(1 << 28), "archive/more": bytes(1 << 28)}, 8)
    )


def _put(path: Path, broken: Broken, call: Callable[[Path], Any] = play) -> Any:
    corruptions.put(path, broken)
    try:
        return call(path)
    finally:
        path.unlink() if path.is_file() else path.rmdir()


def archive(content: bytes, changes: dict[str, bytes | None], method: int = zipfile.ZIP_STORED) -> bytes:
    """An archive with members changed, taken out (None) or added."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(buffer, "w", method) as new:
        for name in old.namelist():
            own = changes.get(name, old.read(name))
            if own is not None:
                new.writestr(name, own)
        for name in changes.keys() - set(old.namelist()):
            new.writestr(name, changes[name] or b"")
    return buffer.getvalue()


def array(shape: tuple[int, ...], kind: str, content: bytes = b"") -> bytes:
    """A file of one array that says this shape and type."""
    buffer = io.BytesIO()
    header = {"descr": kind, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, header)  # type: ignore[arg-type]
    return buffer.getvalue() + content


def _hostile_arrays(content: bytes) -> Iterator[Broken]:
    with zipfile.ZipFile(io.BytesIO(content)) as whole:
        name = sorted(whole.namelist())[0]
    yield Broken("an array of 10¹² numbers", archive(content, {name: array((10**12,), "<f4")}))
    yield Broken("an array of objects", archive(content, {name: array((1,), "|O", b"cos\nsystem\n(S'exit'\ntR.")}))
    yield Broken("a negative shape", archive(content, {name: array((-1, 4), "<f4", b"0" * 16)}))
    yield Broken("4 GiB of zeros", archive(content, {"zeros.npy": array((2**30,), "<f4") + bytes(2**28)}, 8))
    yield Broken("an array is gone", archive(content, {name: None}))
    yield Broken("no arrays", archive(content, {"embed/bias.npy": b"none"}))


def _external(content: bytes, location: str) -> bytes:
    import onnx

    model = onnx.load_from_string(content)
    tensor = model.graph.initializer[0]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.ClearField("raw_data")
    for key, value in (("location", location), ("offset", "0"), ("length", "16")):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    del model.metadata_props[1:]  # an older file, without a digest
    return model.SerializeToString()


def _without_digest(content: bytes) -> bytes:
    import onnx

    model = onnx.load_from_string(content)
    del model.metadata_props[1:]
    return model.SerializeToString()


def _described(content: bytes, kind: str, text: bytes) -> bytes:
    """A file with another description."""
    if kind == "npz":
        buffer = io.BytesIO()
        np.save(buffer, np.array(text.decode("utf-8", "replace")))
        return archive(content, {"policy.json.npy": buffer.getvalue()})
    with zipfile.ZipFile(io.BytesIO(content)) as whole:
        name = next(name for name in whole.namelist() if name.endswith("extra/policy.json"))
    return archive(content, {name: text})


def _description(content: bytes) -> bytes:
    with np.load(io.BytesIO(content)) as arrays:
        return str(arrays["policy.json"]).encode()


def attempts(folder: Path, seed: int, share: float) -> Iterator[Attempt]:
    """Every format, broken at drawn places and on purpose."""
    drawn, place = random.Random(seed), exported(folder.parent)
    contents = {kind: (place / f"policy.{kind}").read_bytes() for kind in SUFFIXES}
    about = _description(contents["npz"])
    number = 0
    for kind, content in contents.items():
        right = play(place / f"policy.{kind}")
        found = [(own, right) for own in (*corruptions.fixed(content), *corruptions.drawn(content, drawn, 110))]
        if kind != "onnx":
            ways = [*corruptions.fixed(about), *corruptions.json_shaped(about, drawn, 50)]
            # Another description is another policy, whatever it answers; it may not break the reader.
            found += [
                (Broken(f"description: {own.told}", _described(content, kind, own.content)), ANY)
                for own in ways
                if own.content is not None
            ]
        if kind == "npz":
            found += [(own, REFUSED) for own in _hostile_arrays(content)]
        if kind == "onnx":
            found += [
                (Broken(f"numbers in {where}", _external(content, where)), REFUSED)
                for where in ("/etc/passwd", "../secret", "weights.bin", "")
            ]
            older = _without_digest(content)
            found += [(Broken(f"older: {own.told}", own.content), ANY) for own in corruptions.drawn(older, drawn, 60)]
        for broken, wanted in drawn.sample(found, round(share * len(found))):
            path = folder / f"{number}.{kind}"
            number += 1
            yield Attempt(f"policy file: .{kind}", broken.told, partial(_put, path, broken), wanted, names=path.name)
    own_file = _saved_env_policy(folder / "whole.pt")
    content, right = own_file.read_bytes(), play_on_env(own_file)
    ways = [*corruptions.fixed(content), *corruptions.drawn(content, drawn, 60)]
    tried = [*((own, right) for own in ways), *((own, REFUSED) for own in _hostile_env_policies(own_file))]
    for broken, wanted in drawn.sample(tried, round(share * len(tried))):
        path, number = folder / f"{number}.pt", number + 1
        call = partial(_put, path, broken, play_on_env)
        yield Attempt("policy file: of an environment", broken.told, call, wanted, names=path.name)


def first() -> None:
    """Import what the three formats take."""
    import onnxruntime  # noqa: F401
    import torch

    from marl_pricing.export import reading  # noqa: F401
    from marl_pricing.learning.torch_mappo import env_policy  # noqa: F401

    torch.set_num_threads(1)


def json_of(content: bytes) -> Any:
    """The description in a NumPy policy file."""
    return json.loads(_description(content))
