"""Licences of everything that this package needs when it runs; `python -m tests.licences` writes docs/licences.md."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "licences.md"
# May be used, changed and sold with this package; MPL-2.0 asks for changes of its own files.
ACCEPTED = {
    "0BSD", "Apache-2.0", "BSD", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0", "ISC", "LLVM-exception", "MIT",
    "MIT-0", "MIT-CMU", "MPL-2.0", "NCSA", "PSF-2.0", "Zlib",
}  # fmt: skip
# Not accepted for what everybody installs; this extra is for those who take its licence.
APART = {"procurement": "AGPL-3.0"}
# Tried, and their licences looked at, in an environment of their own: tests/clients.
ELSEWHERE = {"ray": "Apache-2.0"}
_CLASSIFIERS = {
    "Apache Software License": "Apache-2.0", "BSD License": "BSD", "ISC License (ISCL)": "ISC", "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0", "Python Software Foundation License": "PSF-2.0",
    "GNU Affero General Public License v3": "AGPL-3.0",
}  # fmt: skip
# Read in COPYING.rst: public domain but for files under these; what is under the GPL (an Emacs mode) is in no wheel.
_READ = {"docutils": "0BSD AND BSD-2-Clause"}
_WORDS = {"Apache 2.0": "Apache-2.0", "3-Clause BSD License": "BSD-3-Clause", "MIT OR AFL-2.1": "MIT"}


# What builds of JAX and torch for NVIDIA's GPUs bring beside; they are NVIDIA's own, and not what a CPU installs.
_OF_GPUS = ("nvidia-", "cuda-", "triton")


def needs(extra: str | None = None) -> list[Requirement]:
    """What pyproject.toml asks for: of everybody, or of an extra alone."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    listed = project["dependencies"] if extra is None else project["optional-dependencies"][extra]
    return [Requirement(text) for text in listed]


def closure(*extras: str) -> set[str]:
    """Names of the installed distributions that these extras, and what is always needed, come to."""
    found: dict[str, set[str]] = {}
    own = [need for extra in (None, *extras) for need in needs(extra)]
    while own:
        need = own.pop()
        if need.name == "marl-pricing":
            own += [other for extra in need.extras for other in needs(extra)]
            continue
        name = canonicalize_name(need.name)
        new = {"", *need.extras} - found.get(name, set())
        if not new:
            continue
        found.setdefault(name, set()).update(new)
        for text in metadata.requires(name) or []:
            other = Requirement(text)
            if other.name.startswith(_OF_GPUS):
                continue
            if other.marker is None or any(other.marker.evaluate({"extra": extra}) for extra in new):
                own.append(other)
    return set(found)


def licence(name: str) -> str:
    """The licence that a distribution tells: an SPDX expression, else its classifiers, else its words."""
    told = metadata.metadata(name)
    if name in _READ:
        return _READ[name]
    if expression := told.get("License-Expression"):
        return expression
    classifiers = [text.split(" :: ")[-1] for text in told.get_all("Classifier", []) if text.startswith("License ::")]
    known = [_CLASSIFIERS[text] for text in classifiers if text in _CLASSIFIERS]
    if known and len(known) == len(classifiers):
        return " AND ".join(sorted(set(known)))
    words = (told.get("License") or "").strip().splitlines()
    return _WORDS.get(words[0], words[0]) if words else "not told"


def parts(expression: str) -> set[str]:
    """The licences of an expression; of those that one may choose between, an accepted one if there is."""
    found: set[str] = set()
    for group in re.split(r"\s+AND\s+|\s+WITH\s+", expression.replace("(", "").replace(")", "")):
        choices = re.split(r"\s+OR\s+", group)
        found.add(next((own for own in choices if own in ACCEPTED), choices[0]))
    return found


def extras() -> list[str]:
    """Extras that are not for working on this package."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [
        name for name in project["optional-dependencies"] if name not in ("dev", "clients", "clients-all", *ELSEWHERE)
    ]


def page() -> str:
    """The page: who needs what, under which licence."""
    usual = [name for name in extras() if name not in APART]
    base = closure()
    lines = [
        "# Licences of what this package needs",
        "",
        "Written by `python -m tests.licences` from what installed distributions say, and compared by a test.",
        f"Accepted are {', '.join(sorted(ACCEPTED))}.",
        "",
        "Builds of JAX and torch for NVIDIA's GPUs bring NVIDIA's libraries, under its licences, which are not listed.",
        "",
        "| distribution | licence | needed by |",
        "|---|---|---|",
    ]
    whole = {name: closure(name) - base for name in usual}
    for name in sorted(base.union(*whole.values())):
        by = "all" if name in base else ", ".join(extra for extra in usual if name in whole[extra])
        lines.append(f"| {name} | {licence(name)} | {by} |")
    for extra, own in ELSEWHERE.items():
        names = ", ".join(str(need.name) for need in needs(extra))
        lines += [
            "",
            f"The extra `{extra}` brings {names}, under {own}; what that needs is accepted too (`make clients`).",
        ]
    for extra, own in APART.items():
        names = ", ".join(str(need.name) for need in needs(extra))
        lines += [
            "",
            f"The extra `{extra}` brings {names}, which is under {own}: nothing else installs or imports it, and who "
            "hands on a program or a service that uses it has to obey that licence.",
        ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)
