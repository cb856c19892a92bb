"""Bytes → text: which encoding a file is in, and which sign separates its columns."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
import zlib
from collections import Counter
from pathlib import Path

import charset_normalizer

from marl_pricing.intake import plain
from marl_pricing.intake.errors import IntakeError, shown
from marl_pricing.intake.names import SALES_WORDS

SEPARATORS = {";": "semicolon", "\t": "tab", ",": "comma", "|": "bar"}
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
MOST_BYTES = 1 << 30  # of a table's text
_LATIN = re.compile(r"[\u0000-\u024f]")
_SAMPLE = 1 << 17  # bytes that tell an encoding
_LINES = 60  # that tell the separator
_CENTRAL = "cp1250"  # Poland, Czechia, Hungary
_WESTERN = "cp1252"  # what spreadsheets in western Europe and America write
# Of the letters in lines that are not ASCII; western languages stay far below, other alphabets far above.
_OTHER_ALPHABET = 0.4
_NOT_LATIN = re.compile(
    r"cp(1251|1253|1255|1256|866|855|874|932|936|949|950)|koi8.*|iso8859_[5678]|mac_(cyrillic|greek)|shift_?jis.*|euc_.*|"
    r"gb.*|big5.*|johab|hz|ptcp154|tis_620"
)
# Encodings of other alphabets, and words that titles in these have.
_ALPHABETS, _TITLES = ("shift_jis", "gb18030", "big5", "euc_kr", "cp1251"), 5
_KNOWN = tuple(word for words in SALES_WORDS.values() for word in words if not _LATIN.search(word))
_ACCENTED = tuple(word for words in SALES_WORDS.values() for word in words if not word.isascii() and len(word) > 3)
_MONEY = re.compile(r"\d\s*(?:zł|kč)")
_CONTROL = re.compile(r"[\x01-\x08\x0e-\x1f]")
_UTF8_PAIR = re.compile(rb"[\xc3-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}")


def content(path: Path) -> bytes:
    """A file's bytes, taken out of gzip where they are in it.

    Raises:
        IntakeError: for a file that is not there, is empty or too large, or whose compression is cut short.
    """
    if not path.is_file():
        raise IntakeError(f"{path}: there is no such file")
    try:
        with plain.opened(path) as (stream, _):
            data = bytearray()
            while len(data) <= MOST_BYTES and (block := stream.read(1 << 20)):
                data += block
    except (EOFError, gzip.BadGzipFile, zlib.error):
        raise IntakeError(f"{path}: the compressed file is cut short or damaged") from None
    if len(data) > MOST_BYTES:
        raise IntakeError(
            f"{path}: holds more than {plain.size_in_words(MOST_BYTES)}, and all of it is read at once; leave columns "
            "or periods out, or add lines up before"
        )
    if not data.strip():
        raise IntakeError(f"{path}: the file is empty")
    return bytes(data)


def known_encoding(name: str) -> str:
    """Python's name of an encoding.

    Raises:
        IntakeError: where there is none of that name.
    """
    try:
        return codecs.lookup(name).name
    except LookupError:
        raise IntakeError(
            f"encoding={shown(name)}: accepted are names like utf-8, utf-16, cp1252, cp1250, cp1251"
        ) from None


def _line_of(data: bytes, position: int) -> int:
    return data.count(b"\n", 0, position) + 1


def _words_known(data: bytes, encoding: str) -> int:
    """How many words of titles that have an accent stand in the first lines, and signs of money behind a number."""
    text = " ".join(data[:_SAMPLE].decode(encoding, "replace").splitlines()[:_TITLES]).casefold()
    return sum(word in text for word in _ACCENTED) + bool(_MONEY.search(text))


def _by_titles(data: bytes) -> str | None:
    """The encoding in which the first lines hold titles that are known, None where there is none."""
    for name in _ALPHABETS:
        first = " ".join(data[:_SAMPLE].decode(name, "replace").splitlines()[:_TITLES]).casefold()
        if sum(word in first for word in _KNOWN) >= 2:
            return name
    return None


def _foreign(data: bytes) -> str:
    """The encoding of bytes that are no UTF-8: cp1252, or that of another alphabet where they are mostly high bytes."""
    lines = [line for line in data[:_SAMPLE].splitlines() if not line.isascii()]
    joined = b" ".join(lines)
    high = sum(byte >= 0x80 for byte in joined)
    letters = high + sum(chr(byte).isalpha() for byte in joined if byte < 0x80)
    if letters and high / letters > _OTHER_ALPHABET:
        if (known := _by_titles(data)) is not None:
            return known
        best = charset_normalizer.from_bytes(b"\n".join(lines)).best()
        if best is not None and _NOT_LATIN.fullmatch(best.encoding):
            return best.encoding
    central, western = (_words_known(data, name) for name in (_CENTRAL, _WESTERN))
    if central > western:
        return _CENTRAL
    try:
        data.decode(_WESTERN)
    except UnicodeDecodeError:
        best = charset_normalizer.from_bytes(data[:_SAMPLE]).best()
        return best.encoding if best is not None else "latin-1"
    return _WESTERN


def encoding_of(data: bytes, where: str) -> str:
    """What a file is encoded in: utf-8 (utf-8-sig with its mark), utf-16 with or without a mark, cp1252, or another.

    Raises:
        IntakeError: for bytes of two encodings.
    """
    for mark, name in _MARKS:
        if data.startswith(mark):
            return name
    head = data[:_SAMPLE]
    even, odd = head[::2].count(0), head[1::2].count(0)
    # Half of the bytes of western text in UTF-16 are zero, always in the same places.
    if max(even, odd) > 0.4 * len(head) / 2 and min(even, odd) < 0.05 * len(head) / 2:
        return "utf-16-le" if odd > even else "utf-16-be"
    try:
        data.decode()
        return "utf-8"
    except UnicodeDecodeError as error:
        if error.reason == "unexpected end of data" and _UTF8_PAIR.search(data[: error.start]):
            raise IntakeError(
                f"{where}:{_line_of(data, error.start)}: the file ends inside a character, so it is cut short"
            ) from None
        if _UTF8_PAIR.search(data[: error.start]) or _UTF8_PAIR.search(data[error.end : error.end + _SAMPLE]):
            line = _line_of(data, error.start)
            bad = shown(data[max(error.start - 10, 0) : error.end + 10].decode(_WESTERN, "replace"))
            raise IntakeError(
                f"{where}:{line}: {bad} is no UTF-8 and other lines are, so two files of different encodings were put "
                "together; encoding: cp1252 in the mapping reads it all the same"
            ) from None
    return _foreign(data)


def decode(data: bytes, where: str, encoding: str | None = None) -> tuple[str, str]:
    """(text, encoding) of a file.

    Args:
        where: the file, for messages.
        encoding: as the user says; None to find it.

    Raises:
        IntakeError: for bytes that are not of that encoding, and for NUL bytes.
    """
    name = known_encoding(encoding) if encoding is not None else encoding_of(data, where)
    if name == "utf-8" and data.startswith(codecs.BOM_UTF8):
        name = "utf-8-sig"
    try:
        text = data.decode(name)
    except UnicodeDecodeError as error:
        bad = shown(data[max(error.start - 10, 0) : error.end + 10].decode("latin-1"))
        raise IntakeError(
            f"{where}:{_line_of(data, error.start)}: {bad} is no {name}; encoding: in the mapping sets another, "
            "and without it the encoding is found"
        ) from None
    nul = text.find("\0")
    if nul >= 0:
        line = text.count("\n", 0, nul) + 1
        raise IntakeError(
            f"{where}:{line}: there are {text.count(chr(0)):,} NUL bytes, so it is damaged or no text; export it again"
        )
    start = text[:4096].lstrip("\ufeff \r\n\t")
    if len(_CONTROL.findall(text[:_SAMPLE])) > 0.01 * len(text[:_SAMPLE]):
        raise IntakeError(f"{where}: holds no text; accepted are CSV, Excel (.xlsx) and Parquet")
    if start[:1] in "[{<":
        kind = "HTML or XML" if start.startswith("<") else "JSON"
        raise IntakeError(
            f"{where}:1: starts as {kind}, {shown(start, 40)}; accepted are CSV, Excel (.xlsx) and Parquet"
        )
    return text, name


def separator_of(text: str) -> str | None:
    """The sign between the columns, from the first lines; None where no sign makes columns of them.

    The sign that cuts most lines into as many fields as the most frequent number, of more than one; where two do so
    alike, as with decimal commas, the one that does so for the first line too.
    """
    lines = [line for line in text[: 1 << 18].splitlines()[: _LINES + 1] if line.strip()]
    if lines and re.fullmatch(r"sep=.", lines[0].strip("\ufeff \r\n").lower()):
        return lines[0].strip()[4]
    if len(lines) == _LINES + 1:
        lines.pop()
    best: tuple[float, int, int] = (0.0, 0, 0)
    found = None
    for sign in SEPARATORS:
        try:
            fields = [len(row) for row in csv.reader(io.StringIO("\n".join(lines)), delimiter=sign) if row]
        except csv.Error:  # a field longer than any
            continue
        if not fields:
            return None
        width, often = Counter(fields).most_common(1)[0]
        if width < 2:
            continue
        score = (round(often / len(fields), 2), int(fields[0] == width), width)
        if score > best:
            best, found = score, sign
    return found
