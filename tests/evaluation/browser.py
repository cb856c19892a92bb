"""A real browser, driven from the command line: the page itself says what a script found in it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from html import unescape
from pathlib import Path
from typing import Any

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
# Before anything else of the page runs: everything that goes wrong is kept.
_LISTEN = """<script>window.faults = [];
window.addEventListener("error", event => faults.push(String(event.message || event.target.src)), true);
window.addEventListener("unhandledrejection", event => faults.push(String(event.reason)));
const complain = console.error; console.error = (...words) => { faults.push(words.join(" ")); complain(...words); };
</script>"""
_ANSWER = """<script>window.addEventListener("load", async () => {
let found; try { found = await (async () => { %s })(); } catch (fault) { found = {fault: String(fault)}; }
const answer = document.createElement("script"); answer.type = "application/json"; answer.id = "answer";
answer.textContent = JSON.stringify({found, faults: window.faults}).replaceAll("<", "\\\\u003c");
document.body.append(answer); });</script>"""


def find() -> str:
    """The browser's path; a test that has none is skipped, except in CI, where it is a failure."""
    name = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)
    if name is None:
        told = "no Chromium found (install Debian's package chromium, or set CHROMIUM to its path)"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(told)
    return name


def ask(page: Path, script: str, width: int = 1280, dark: bool = False) -> dict[str, Any]:
    """Open a page and run the body of an async function in it.

    Returns:
        `found`, what the function returned, and `faults`, all errors that the page had.
    """
    text = page.read_text("utf-8").replace("<head>", "<head>" + _LISTEN, 1)
    head, tail = text.rsplit("</body>", 1)
    with tempfile.TemporaryDirectory() as folder:
        watched = page.with_name(f".{page.stem}-watched.html")
        watched.write_text(head + _ANSWER % script + "</body>" + tail, "utf-8")
        options = [
            "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
            "--disable-background-networking", "--disable-component-update", f"--user-data-dir={folder}",
            f"--window-size={width},1000", "--virtual-time-budget=20000", "--dump-dom",
        ]  # fmt: skip
        options += ["--blink-settings=preferredColorScheme=0"] if dark else []
        try:
            done = subprocess.run(
                [find(), *options, watched.as_uri()], capture_output=True, text=True, timeout=180, check=True
            )
        finally:
            watched.unlink()
    answer = re.search(r'<script type="application/json" id="answer">(.*?)</script>', done.stdout, re.DOTALL)
    assert answer, done.stdout[-2000:] + done.stderr[-2000:]
    return json.loads(unescape(answer.group(1)))
