"""A real browser, driven from the command line: the page itself posts what a script found in it to who waits for it."""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
_MOST = 180  # seconds that an answer may take on a busy machine
# Before anything else of the page runs: everything that goes wrong is kept.
_LISTEN = """<script>window.faults = [];
window.addEventListener("error", event => faults.push(String(event.message || event.target.src)), true);
window.addEventListener("unhandledrejection", event => faults.push(String(event.reason)));
const complain = console.error; console.error = (...words) => { faults.push(words.join(" ")); complain(...words); };
</script>"""
# In real time: what a page unpacks in other threads does not wait for a clock that is made to run ahead.
_ANSWER = """<script>window.addEventListener("load", async () => {
let found; try { found = await (async () => { %s })(); } catch (fault) { found = {fault: String(fault)}; }
const body = JSON.stringify({found, faults: window.faults});
await fetch("%s", {method: "POST", mode: "no-cors", body}); });</script>"""


def find() -> str:
    """The browser's path; a test that has none is skipped, except in CI, where it is a failure."""
    name = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)
    if name is None:
        told = "no Chromium found (install Debian's package chromium, or set CHROMIUM to its path)"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(told)
    return name


@contextmanager
def _waiting() -> Iterator[tuple[str, queue.Queue[bytes]]]:
    """An address, and what is posted to it."""
    posted: queue.Queue[bytes] = queue.Queue()

    class Take(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.put(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *told: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Take)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/", posted
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def ask(page: Path, script: str, width: int = 1280, dark: bool = False) -> dict[str, Any]:
    """Open a page and run the body of an async function in it.

    Returns:
        `found`, what the function returned, and `faults`, all errors that the page had.
    """
    text = page.read_text("utf-8").replace("<head>", "<head>" + _LISTEN, 1)
    head, tail = text.rsplit("</body>", 1)
    watched = page.with_name(f".{page.stem}-watched.html")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, _waiting() as (address, posted):
        watched.write_text(head + _ANSWER % (script, address) + "</body>" + tail, "utf-8")
        options = [
            "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
            "--disable-background-networking", "--disable-component-update", f"--user-data-dir={folder}",
            f"--window-size={width},1000", "--remote-debugging-port=0",
        ]  # fmt: skip
        options += ["--blink-settings=preferredColorScheme=0"] if dark else []
        said = Path(folder) / "said.txt"
        with said.open("wb") as told:
            process = subprocess.Popen(
                [find(), *options, watched.as_uri()], stdout=told, stderr=told, start_new_session=True
            )
        try:
            return json.loads(posted.get(timeout=_MOST))
        except queue.Empty:
            raise AssertionError(f"no answer in {_MOST} s: {said.read_text('utf-8', 'replace')[-2000:]}") from None
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            watched.unlink()
