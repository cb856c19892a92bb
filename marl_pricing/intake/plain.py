"""Files that this package wrote or asks for, read back by whoever got them: texts, JSON, YAML, arrays.

They may be from elsewhere, cut short, or made to do harm. What they would take is known before it is taken: a file has
a largest size, a tree a depth and a number of entries, an archive the sizes that it unpacks to. Nothing is unpickled.
"""

from __future__ import annotations

import gzip
import io
import json
import math
import re
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import yaml

from marl_pricing.intake.errors import IntakeError, shown

MOST_BYTES = 1 << 28
MOST_YAML = 1 << 20  # bytes; what takes PyYAML half a minute
MOST_DEEP = 64
MOST_LINE = 1 << 24  # bytes
GZIP = b"\x1f\x8b"
_MOST_TIMES = 100  # of a compressed file's size; tables of text reach 5 to 30
_MOST_ENTRIES = 2_000_000
_HALF = re.compile("[\ud800-\udfff\0]")
# What PyYAML raises beside its own errors, of dates that are none, numbers of too many digits, tags of other values.
YAML_FAULTS = (yaml.YAMLError, ValueError, TypeError, AttributeError, LookupError, OverflowError, RecursionError)
_ZIP_FAULTS = (
    zipfile.BadZipFile, OSError, ValueError, KeyError, EOFError, TypeError, SyntaxError, OverflowError, RecursionError,
    NotImplementedError, RuntimeError, MemoryError,
)  # fmt: skip


def size_in_words(count: float) -> str:
    """Bytes for a message."""
    return f"{count / (1 << 20):,.0f} MiB" if count >= 1 << 20 else f"{count:,.0f} bytes"


def read_bytes(path: Path | str, most: int = MOST_BYTES) -> bytes:
    """What a file holds.

    Raises:
        IntakeError: for a path that names no file, or one that is too large or cannot be read.
    """
    try:
        with Path(path).open("rb") if stat.S_ISREG(Path(path).stat().st_mode) else _no_file(path) as stream:
            data = stream.read(most + 1)
    except FileNotFoundError:
        raise IntakeError(f"{path}: there is no such file") from None
    except OSError as error:
        raise IntakeError(f"{path}: cannot be read, {error.strerror or error}") from None
    except ValueError:  # a NUL, or half a character
        raise IntakeError(f"{shown(path)}: is no path that a file can have") from None
    if len(data) > most:
        raise IntakeError(f"{path}: is larger than {size_in_words(most)}, the most that such a file may be")
    return data


def _no_file(path: Path | str) -> Any:
    raise IsADirectoryError(0, "it is no file")


def read_text(path: Path | str, most: int = MOST_BYTES) -> str:
    """What a file of UTF-8 says, a byte order mark aside. Raises IntakeError."""
    data = read_bytes(path, most)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise IntakeError(f"{path}, line {line}: is no UTF-8 text") from None
    nul = text.find("\0")
    if nul >= 0:
        raise IntakeError(f"{path}, line {text.count(chr(10), 0, nul) + 1}: there is a NUL byte, so it is damaged")
    return text


def parse_json(text: str, source: str) -> Any:
    """What a JSON text holds.

    Args:
        source: named in messages.

    Raises:
        IntakeError: with the line from which on it is no JSON.
    """
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise IntakeError(f"{source}, line {error.lineno}: is no JSON, {error.msg}") from None
    except RecursionError:
        raise _too_deep(source) from None
    except ValueError:
        raise IntakeError(f"{source}: is no JSON, a number has too many digits") from None
    _check_tree(data, source)
    return data


def read_json(path: Path | str) -> Any:
    """What a JSON file holds. Raises IntakeError."""
    return parse_json(read_text(path), str(path))


def _too_deep(source: str) -> IntakeError:
    return IntakeError(f"{source}: is nested more than {MOST_DEEP} deep")


def _check_tree(data: Any, source: str) -> None:
    """Refuse what is nested too deep for those who walk through it, and texts that nothing can write."""
    left: list[tuple[Any, int]] = [(data, 0)]
    while left:
        own, depth = left.pop()
        if depth > MOST_DEEP:
            raise _too_deep(source)
        if isinstance(own, str) and _HALF.search(own):
            raise IntakeError(f"{source}: {shown(ascii(own))} holds half a character or NUL")
        if isinstance(own, dict):
            left += [(inner, depth + 1) for pair in own.items() for inner in pair]
        elif isinstance(own, list):
            left += [(inner, depth + 1) for inner in own]


_TRUTH = "tag:yaml.org,2002:bool"


class _OfNames(yaml.SafeLoader):
    """Takes `true` and `false` for truths, as YAML 1.2 does; No, Yes, On and Off, which 1.1 adds, may be columns."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [(tag, form) for tag, form in known if tag != _TRUTH]
        for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_OfNames.add_implicit_resolver(_TRUTH, re.compile("^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))


def parse_yaml(text: str | bytes, source: str, *, of_names: bool = False) -> Any:
    """What a YAML text holds: plain values, never objects.

    Args:
        source: named in messages.
        of_names: it names things of the reader's, so that a bare No is a name and not `false`.

    Raises:
        IntakeError: with the line from which on it is no YAML.
    """
    if len(text) > MOST_YAML:
        raise IntakeError(f"{source}: is larger than {size_in_words(MOST_YAML)}, the most that YAML may be here")
    try:
        loader = (_OfNames if of_names else yaml.SafeLoader)(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _check_nodes(node, source)
            data = loader.construct_document(node)
        finally:
            loader.dispose()
    except IntakeError:
        raise
    except RecursionError:
        raise _too_deep(source) from None
    except YAML_FAULTS as error:
        where = getattr(error, "problem_mark", None)
        raise IntakeError(f"{source}{f', line {where.line + 1}' if where else ''}: is not YAML") from None
    _check_tree(data, source)
    return data


def _inner(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [own for pair in node.value for own in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _check_nodes(root: yaml.Node, source: str) -> None:
    """Refuse trees too deep, in themselves, or too large once every reference is what it refers to."""
    entries: dict[int, int] = {}  # of each node, references followed
    open_: set[int] = set()
    left: list[tuple[yaml.Node, bool]] = [(root, False)]
    while left:
        node, done = left.pop()
        if done:
            entries[id(node)] = 1 + sum(entries[id(own)] for own in _inner(node))
            open_.remove(id(node))
            if entries[id(node)] > _MOST_ENTRIES:
                raise IntakeError(f"{source}: has more than {_MOST_ENTRIES:,} entries, references followed")
        elif id(node) in open_:
            raise IntakeError(f"{source}: refers to itself")
        elif id(node) not in entries:
            open_.add(id(node))
            if len(open_) > 2 * MOST_DEEP:
                raise _too_deep(source)
            left.append((node, True))
            left += [(own, False) for own in _inner(node)]


def read_yaml(path: Path | str) -> Any:
    """What a YAML file holds that says what a reader's columns are: a bare No is a name. Raises IntakeError."""
    return parse_yaml(read_text(path, MOST_YAML), str(path), of_names=True)


def most_unpacked(path: Path) -> int:
    """Bytes that a compressed file may unpack to: far more than tables do."""
    return max(_MOST_TIMES * path.stat().st_size, 1 << 24)


class _Bounded(io.RawIOBase):
    """Bytes out of gzip, no more of them than `most`."""

    def __init__(self, path: Path, raw: IO[bytes], most: int) -> None:
        self._path, self._most, self._left = path, most, most
        self._stream = gzip.GzipFile(fileobj=raw)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = self._stream.readinto(memoryview(buffer)[: 1 << 20])  # it unpacks as much at once as is asked for
        self._left -= count
        if self._left < 0:
            raise IntakeError(
                f"{self._path}: unpacks to more than {size_in_words(self._most)}; accepted are {_MOST_TIMES} times its "
                "own size, which tables seldom reach: unpack it yourself if it is none made to fill a disk"
            )
        return count


@contextmanager
def opened(path: Path) -> Iterator[tuple[io.BufferedReader, IO[bytes]]]:
    """A file's bytes, out of gzip where they are in it, and the file itself, whose position tells how far reading is.

    Raises:
        IntakeError: while it is read, where it unpacks to far more than tables do.
    """
    with path.open("rb") as raw:
        if raw.peek(2)[:2] == GZIP:
            yield io.BufferedReader(_Bounded(path, raw, most_unpacked(path)), 1 << 16), raw
        else:
            yield raw, raw


def lines_of(stream: io.BufferedReader, path: Path) -> Iterator[bytes]:
    """Lines of a file, with their ends.

    Raises:
        IntakeError: for a line longer than any row.
    """
    number = 0
    while line := stream.readline(MOST_LINE):
        number += 1
        if len(line) == MOST_LINE:
            raise IntakeError(f"{path}:{number}: the line is longer than {size_in_words(MOST_LINE)}, so it is no row")
        yield line


def unpacked(path: Path | str, most: int = MOST_BYTES) -> Iterator[tuple[str, bytes]]:
    """(name, content) of an archive's members; their checksums hold.

    Raises:
        IntakeError: for a file that is no archive, is damaged, or unpacks to more than `most` bytes, said before it is
            unpacked.
    """
    content = read_bytes(path, most)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
            told = sum(own.file_size for own in entries)
            if told > most:
                raise IntakeError(
                    f"{path}: unpacks to {size_in_words(told)}, more than the {size_in_words(most)} that it may"
                )
            if len({own.filename for own in entries}) < len(entries):
                raise IntakeError(f"{path}: a member comes twice")
            for own in entries:
                with archive.open(own) as member:
                    yield own.filename, member.read(own.file_size + 1)
    except IntakeError:
        raise
    except _ZIP_FAULTS as error:
        raise IntakeError(f"{path}: no archive can be read from it ({type(error).__name__})") from None


def read_arrays(path: Path | str, most: int = MOST_BYTES) -> dict[str, np.ndarray]:
    """Arrays by name of a NumPy archive; none of objects, which would be unpickled.

    Raises:
        IntakeError: as `unpacked`, and for members that are no arrays, or another number of bytes than they say.
    """
    found = {}
    for name, content in unpacked(path, most):
        try:
            stream = io.BytesIO(content)
            version = np.lib.format.read_magic(stream)
            header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
            shape, _, kind = header[version](stream)
            if kind.hasobject or math.prod(shape) * kind.itemsize != len(content) - stream.tell():
                raise ValueError
            stream.seek(0)
            found[name.removesuffix(".npy")] = np.lib.format.read_array(stream, allow_pickle=False)
        except _ZIP_FAULTS:
            raise IntakeError(f"{path}: {shown(name)} is no array of plain numbers") from None
    return found
