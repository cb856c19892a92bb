"""What is in an ONNX file, before onnxruntime sees it: numbers that lie in other files are none of a policy's.

An ONNX tensor may name a file, an offset and a length in place of its numbers, and whoever loads the model reads that
file. Read here without the `onnx` package: the fields of the Protocol Buffers of onnx.proto3 that matter, no others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

DIGEST = "sha256"  # a metadata entry: of the file, with as many zeros in its place
_MODEL, _GRAPH, _NODE, _ATTRIBUTE = "a model", "a graph", "a node", "an attribute"
# What is looked into: (message, field) → message; and what no policy of ours has, by name.
_INTO = {
    (_MODEL, 7): _GRAPH, (_GRAPH, 1): _NODE, (_NODE, 5): _ATTRIBUTE, (_GRAPH, 5): "a tensor",
    (_ATTRIBUTE, 5): "a tensor", (_ATTRIBUTE, 10): "a tensor",
}  # fmt: skip
_REFUSED = {
    ("a tensor", 13): "numbers that lie in another file", ("a tensor", 14): "numbers that lie in another file",
    (_MODEL, 20): "a training", (_MODEL, 25): "functions", (_GRAPH, 15): "sparse tensors",
    (_ATTRIBUTE, 6): "a graph within a graph", (_ATTRIBUTE, 11): "a graph within a graph",
    (_ATTRIBUTE, 22): "sparse tensors", (_ATTRIBUTE, 23): "sparse tensors", (_NODE, 7): "operators of others",
}  # fmt: skip


def _number(data: memoryview, at: int) -> tuple[int, int]:
    """(varint, where it ends)."""
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
        if shift > 63:
            raise EOFError("a number without an end")


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """(number, content) of a message's fields."""
    at = 0
    while at < len(data):
        key, at = _number(data, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, at = _number(data, at)
            yield number, value
            continue
        if kind == 2:
            length, at = _number(data, at)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise EOFError("a field of no kind")
        if at + length > len(data):
            raise EOFError("it is cut short")
        yield number, data[at : at + length]
        at += length


def metadata_of(content: bytes) -> dict[str, str]:
    """The metadata of a model.

    Raises:
        EOFError, IndexError: for a file that is no model.
        ValueError: for one that was changed since it was exported, or names other files.
    """
    found: dict[str, str] = {}
    left: list[tuple[str, memoryview]] = [(_MODEL, memoryview(content))]
    while left:
        message, data = left.pop()
        for number, own in _fields(data):
            refused = _REFUSED.get((message, number))
            if refused and bytes_of(own) not in (b"", b"0"):
                raise ValueError(f"{message} has {refused}; accepted is a model whose numbers are all in it")
            inner = _INTO.get((message, number))
            if inner is not None and isinstance(own, memoryview):
                left.append((inner, own))
            if (message, number) == (_MODEL, 14) and isinstance(own, memoryview):
                entry = {number: bytes_of(value).decode(errors="replace") for number, value in _fields(own)}
                found[entry.get(1, "")] = entry.get(2, "")
    digest = found.get(DIGEST)
    if digest is not None and digest_of(content, digest) != digest:
        raise ValueError("it was changed since it was exported: its SHA-256 is another than it says")
    return found


def bytes_of(own: memoryview | int) -> bytes:
    """A field's content."""
    return bytes(own) if isinstance(own, memoryview) else str(own).encode()


def digest_of(content: bytes, told: str) -> str:
    """SHA-256 of a file with zeros in the place of the digest that it tells."""
    return hashlib.sha256(content.replace(told.encode(), b"0" * 64)).hexdigest()


def with_digest(content: bytes) -> bytes:
    """A file whose entry `DIGEST` is 64 zeros, with its digest there."""
    return content.replace(b"0" * 64, digest_of(content, "0" * 64).encode(), 1)
