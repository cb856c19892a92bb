"""What is in an ONNX file, before onnxruntime sees it: only numbers that are in it, and operators of a policy.

An ONNX tensor may name a file, an offset and a length in place of its numbers, and whoever loads the model reads that
file; a node may name an operator that fills the memory from a few bytes, runs others in a loop, or is somebody's own.
Read here without the `onnx` package: the messages of onnx.proto3 that matter, and of these the fields that policies
have.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

DIGEST = "sha256"  # a metadata entry: of the file, with as many zeros in its place


def metadata_of(content: bytes) -> dict[str, str]:
    """The metadata of a model; ValueError where it has more than a policy, EOFError or IndexError where it is none."""
    # By message: the number of each field that is accepted, and the message that it holds where that is looked into.
    accepted = {
        "model": {1: "", 2: "", 3: "", 4: "", 5: "", 6: "", 7: "graph", 8: "", 14: "entry"},
        "graph": {1: "node", 2: "", 5: "tensor", 10: "", 11: "", 12: "", 13: "", 16: ""},
        "node": {1: "", 2: "", 3: "", 4: "operator", 5: "attribute", 6: "", 9: ""},
        "attribute": {1: "", 2: "", 3: "", 4: "", 5: "tensor", 7: "", 8: "", 9: "", 10: "tensor", 13: "", 20: ""},
        "tensor": {1: "", 2: "", 4: "", 5: "", 7: "", 8: "", 9: "", 10: "", 11: "", 12: "", 16: ""},
    }
    others = {
        ("tensor", 13): "numbers that lie in another file", ("tensor", 14): "numbers that lie in another file",
        ("node", 7): "an operator of others", ("attribute", 6): "a graph within a graph",
        ("attribute", 11): "a graph within a graph", ("model", 20): "a training", ("model", 25): "functions",
    }  # fmt: skip
    operators = (
        "Add|And|ArgMax|Cast|Clip|Concat|Constant|Div|Equal|Exp|Flatten|Gather|GatherElements|GatherND|Gemm|"
        "Greater|Identity|LayerNormalization|Less|Log|LogSoftmax|MatMul|Max|Min|Mul|Neg|Not|Or|ReduceLogSumExp|"
        "ReduceMax|ReduceSum|Relu|Reshape|Round|Shape|Sigmoid|Slice|Softmax|Split|Sqrt|Squeeze|Sub|Tanh|Transpose|"
        "Unsqueeze|Where"
    )

    def number(data: memoryview, at: int) -> tuple[int, int]:
        value = shift = 0
        while True:
            byte = data[at]
            value |= (byte & 127) << shift
            at, shift = at + 1, shift + 7
            if byte < 128:
                return value, at
            if shift > 63:
                raise EOFError("a number without an end")

    def fields(data: memoryview) -> Iterator[tuple[int, memoryview]]:
        at = 0
        while at < len(data):
            key, at = number(data, at)
            start = at
            if key & 7 == 0:
                _, at = number(data, at)
            elif key & 7 == 2:
                length, start = number(data, at)
                at = start + length
            else:
                at += {1: 8, 5: 4}.get(key & 7, len(data))
            # Others drop the upper bits of a key, and see another field than stands there.
            if at > len(data) or not 0 < key >> 3 < 1 << 29:
                raise EOFError("it is cut short, or none")
            yield key >> 3, data[start:at]

    found: dict[str, str] = {}
    left: list[tuple[str, memoryview]] = [("model", memoryview(content))]
    while left:
        message, data = left.pop()
        for field, own in fields(data):
            inner = accepted[message].get(field)
            if inner is None and bytes(own) not in (b"", b"\0"):
                raise ValueError(
                    f"{message}: {others.get((message, field), f'field {field}')}; accepted is what a policy is made "
                    "of, with all numbers in the file"
                )
            if inner == "operator" and not re.fullmatch(operators, bytes(own).decode(errors="replace")):
                name = bytes(own[:60]).decode(errors="replace")
                raise ValueError(f"operator {name!r}: accepted are those that a policy is made of")
            if inner == "entry":
                entry = {field: bytes(value).decode(errors="replace") for field, value in fields(own)}
                found[entry.get(1, "")] = entry.get(2, "")
            elif inner in accepted:
                left.append((inner, own))
    return found


def check_digest(content: bytes, metadata: dict[str, str]) -> None:
    """Raise ValueError for a file that was changed since it was exported."""
    told = metadata.get(DIGEST)
    if told is not None and digest_of(content, told) != told:
        raise ValueError("it was changed since it was exported: its SHA-256 is another than it says")


def digest_of(content: bytes, told: str) -> str:
    """SHA-256 of a file with zeros in the place of the digest that it tells."""
    return hashlib.sha256(content.replace(told.encode(), b"0" * 64)).hexdigest()


def with_digest(content: bytes) -> bytes:
    """A file whose entry `DIGEST` is 64 zeros, with its digest there."""
    return content.replace(b"0" * 64, digest_of(content, "0" * 64).encode(), 1)
