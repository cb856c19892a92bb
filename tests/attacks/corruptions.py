"""Ways in which a file can be broken: cut, overwritten, put into another encoding, of another shape, hostile."""

from __future__ import annotations

import copy
import csv
import io
import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

_DEEP = 1000
_SCALARS = (
    None, [], {}, "x", "", -1, 0, 1e308, float("inf"), 10**30, "\ud800", "a\0b", "../../etc/passwd", [[]], [None], True,
    "$\\frac{a}{b}$", "x" * 10_000,
)  # fmt: skip
_CELLS = ("", "x", "nan", "inf", "1e999", "-1", "0.5", "9" * 30, "\ud800", '"', "1;2", "a\0b", "1_000", "0x10", " ")


class Broken(NamedTuple):
    """A file broken in one way: how, in words, and its bytes; None where a folder stands in its place."""

    told: str
    content: bytes | None


def put(path: Path, broken: Broken) -> None:
    """Put what is broken in a file's place."""
    path.unlink(missing_ok=True)
    if broken.content is None:
        path.mkdir()
    else:
        path.write_bytes(broken.content)


def fixed(content: bytes) -> Iterator[Broken]:
    """Ways that need nothing drawn."""
    yield Broken("empty", b"")
    yield Broken("a folder", None)
    yield Broken("a line end only", b"\n")
    yield Broken("half", content[: len(content) // 2])
    yield Broken("without its last byte", content[:-1])
    yield Broken("twice", content + content)
    yield Broken("zeros", bytes(len(content)))
    yield Broken("zeros behind", content + bytes(64))
    yield Broken("latin-1", content[:20] + "Größe".encode("latin-1") + content[20:])
    yield Broken("utf-16", content.decode("latin-1").encode("utf-16"))
    yield Broken("byte order mark", b"\xef\xbb\xbf" + content)
    yield Broken("carriage returns", content.replace(b"\n", b"\r"))
    for text in ("null", "[]", "{}", "0", '"text"', "true", "- a", "a: b", "\0", "}{", "NaN", "1e999", "9" * 5000):
        yield Broken(text[:20], text.encode())
    for name, open_, close in (("lists", "[", "]"), ("groups", '{"a":', "}"), ("lines", "- ", "")):
        for deep in (_DEEP, 100 * _DEEP):
            yield Broken(f"{deep} {name} deep", (open_ * deep + "1" + close * deep).encode())
    yield Broken("a date that is none", b"a: 2024-13-45\n" + content)
    yield Broken("a Python object", b"!!python/object/apply:os.system ['exit 3']")
    yield Broken("references of references", _laughs(content))


def _laughs(content: bytes) -> bytes:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [" + ", ".join([f"*a{n - 1}"] * 9) + "]" for n in range(1, 12)]
    return "\n".join(lines).encode() + b"\n" + content


def drawn(content: bytes, random: random.Random, count: int) -> Iterator[Broken]:
    """Bytes that are lost, flipped, overwritten, put in, at drawn places."""
    for number in range(count):
        at = random.randrange(max(len(content), 1))
        length = min(len(content) - at, random.choice((1, 1, 2, 16, 200)))
        noise = random.randbytes(max(length, 1))
        ways = {
            "cut": content[:at],
            "flipped": content[:at] + bytes([content[at] ^ 1 << random.randrange(8)]) + content[at + 1 :]
            if content
            else noise,
            "overwritten": content[:at] + noise + content[at + length :],
            "lost": content[:at] + content[at + length :],
            "put in": content[:at] + noise + content[at:],
            "random": random.randbytes(len(content)),
            "digit": _other_digit(content, at, random),
        }
        name = (*ways, "flipped", "digit")[number % (len(ways) + 2)]
        yield Broken(f"{name} at {at}, {length} bytes", ways[name])


def _other_digit(content: bytes, at: int, random: random.Random) -> bytes:
    digits = [place for place in range(at, len(content)) if content[place : place + 1].isdigit()]
    if not digits:
        return content[:at]
    place = digits[0]
    others = [digit for digit in b"0123456789" if digit != content[place]]
    return content[:place] + bytes([random.choice(others)]) + content[place + 1 :]


def _places(data: Any, path: tuple = ()) -> Iterator[tuple]:
    if path:
        yield path
    pairs = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in pairs:
        yield from _places(value, (*path, key))


def _with(data: Any, path: tuple, change: Callable[[Any, Any], None]) -> Any:
    whole = copy.deepcopy(data)
    inner = whole
    for key in path[:-1]:
        inner = inner[key]
    change(inner, path[-1])
    return whole


def shaped(data: Any, dump: Callable[[Any], str], random: random.Random, count: int) -> Iterator[Broken]:
    """A tree of JSON or YAML with one entry gone, of another name, or of another value."""

    def gone(inner: Any, key: Any) -> None:
        del inner[key]

    def renamed(inner: Any, key: Any) -> None:
        inner[f"{key}x" if isinstance(inner, dict) else key] = inner[key]
        if isinstance(inner, dict):
            del inner[key]

    places = list(_places(data))
    for number in range(count):
        path = random.choice(places)
        where = ".".join(map(str, path))
        if number % 4 == 0:
            yield Broken(f"{where} is gone", dump(_with(data, path, gone)).encode("utf-8", "surrogatepass"))
        elif number % 8 == 1:
            yield Broken(f"{where} is renamed", dump(_with(data, path, renamed)).encode("utf-8", "surrogatepass"))
        else:
            value = random.choice(_SCALARS)

            def put_in(inner: Any, key: Any, value: Any = value) -> None:
                inner[key] = value

            text = dump(_with(data, path, put_in)).encode("utf-8", "surrogatepass")
            yield Broken(f"{where} is {str(value)[:20]!r}", text)


def json_shaped(content: bytes, random: random.Random, count: int) -> Iterator[Broken]:
    """`shaped` of a JSON file."""
    yield from shaped(json.loads(content), json.dumps, random, count)


def yaml_shaped(content: bytes, random: random.Random, count: int) -> Iterator[Broken]:
    """`shaped` of a YAML file."""

    def dump(data: Any) -> str:
        return yaml.safe_dump(data, sort_keys=False, allow_unicode=True)

    yield from shaped(yaml.safe_load(content), dump, random, count)


def csv_shaped(content: bytes, random: random.Random, count: int, separator: str = ",") -> Iterator[Broken]:
    """A table with another cell, title, width or order of rows."""
    rows = list(csv.reader(io.StringIO(content.decode()), delimiter=separator))

    def dump(table: list[list[str]]) -> bytes:
        text = io.StringIO()
        csv.writer(text, delimiter=separator, lineterminator="\n").writerows(table)
        return text.getvalue().encode("utf-8", "surrogatepass")

    for number in range(count):
        own = copy.deepcopy(rows)
        row, column = random.randrange(len(own)), random.randrange(len(own[0]))
        told = f"row {row}, {rows[0][column]}"
        match number % 8:
            case 0:
                del own[row]
                told += " has lost its row"
            case 1:
                own.insert(row, list(own[random.randrange(len(own))]))
                told += " has a row of another before it"
            case 2:
                del own[row][column]
                told += " is gone"
            case 3:
                own[0][column] = random.choice(("", "x", rows[0][0]))
                told += f" is called {own[0][column]!r}"
            case 4:
                for cells in own:
                    del cells[column]
                told += " has lost its column"
            case _:
                own[row][column] = random.choice(_CELLS)
                told += f" is {own[row][column][:20]!r}"
        yield Broken(told, dump(own))


def copied(folder: Path, target: Path, name: str, broken: Broken) -> Path:
    """A copy of a folder in which one file is broken."""
    shutil.copytree(folder, target)
    put(target / name, broken)
    return target
