"""What this package needs: under accepted licences, pinned, without contradictions, locked by hashes."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import metadata

from packaging.utils import canonicalize_name

from tests.licences import ACCEPTED, APART, PAGE, ROOT, closure, extras, licence, needs, page, parts

LOCK = ROOT / "requirements.lock"


def pins(text: str) -> dict[str, str]:
    """Versions by name, of lines name==version."""
    found = re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)", text, re.MULTILINE)
    return {canonicalize_name(name): version for name, version in found}


def test_licences_are_accepted() -> None:
    names = closure(*(extra for extra in extras() if extra not in APART))
    assert {"jax", "torch", "pyblp", "optuna"} <= names
    assert {name: own for name in sorted(names) if not parts(own := licence(name)) <= ACCEPTED} == {}


def test_a_licence_that_asks_for_more_is_seen() -> None:
    for text in ("AGPL-3.0", "MIT AND GPL-3.0-only", "not told", "GPL-2.0 OR LGPL-2.1", "BSD-3-Clause-Clear"):
        assert not parts(text) <= ACCEPTED
    assert parts("GPL-2.0 OR (MIT)") <= ACCEPTED
    assert parts("Apache-2.0 WITH LLVM-exception AND MIT") <= ACCEPTED


def test_an_extra_of_another_licence_stands_apart() -> None:
    usual = closure(*(extra for extra in extras() if extra not in APART))
    for extra in APART:
        assert not {canonicalize_name(need.name) for need in needs(extra)} & usual
        assert f"The extra `{extra}` brings" in page()


def test_the_page_of_licences_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page()


def test_every_version_is_pinned_as_it_is_installed() -> None:
    pinned = pins((ROOT / "constraints.txt").read_text(encoding="utf-8"))
    names = closure(*extras(), "dev")
    installed = {name: metadata.version(name).partition("+")[0] for name in sorted(names)}  # torch: 2.13.0+cpu
    assert installed == {name: pinned.get(name) for name in sorted(names)}


def test_what_is_installed_fits_together() -> None:
    done = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_containers_lock_has_what_it_needs_by_hash_and_names_no_host() -> None:
    text = LOCK.read_text(encoding="utf-8")
    locked = pins(text)
    assert closure("calibration", "serve", "kafka", "postgres", "redis") <= locked.keys()
    pinned = pins((ROOT / "constraints.txt").read_text(encoding="utf-8"))
    assert {name: version for name, version in locked.items() if pinned.get(name) != version} == {}
    entries = re.split(r"\n(?=[A-Za-z0-9])", text[text.index("absl-py==") :])
    assert len(entries) == len(locked) and all(re.search(r"--hash=sha256:[0-9a-f]{64}", own) for own in entries)
    assert "://" not in text and "index" not in text
