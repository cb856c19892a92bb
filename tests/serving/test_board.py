"""The dashboard: what it says, who may read it, and the page in a real browser."""

from __future__ import annotations

import asyncio
import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.evaluation.browser import find
from tests.serving.asking import request, shop
from tests.serving.running import running

_KEY = "k" * 20


def _get(app: object, target: str, **headers: str):
    return asyncio.run(request(app, "GET", target, **{"host": "127.0.0.1:5002"} | headers))


def test_windows_products_and_guardrails_are_summed(tmp_path: Path) -> None:
    with shop(tmp_path, surge_high=4.0, max_change=0.1) as own:
        own.event("add_item_to_cart", 1, product="hotel-twin")
        own.event("purchase_complete", 2, product="hotel-twin")
        own.event("view_item_page", 3, product="hotel-single")
        own.post("/api/kafka/ingest", {"sessionId": "<b>x"})
        own.until(601)
        told = _get(own.service.board_app, "/data").json
        assert [window["orders"] for window in told["windows"]] == [1, 0]
        assert [window["proxy"] for window in told["windows"]] == [9.0, 0.0]
        first = told["products"][0]
        assert (first["id"], first["base"], first["prices"][0]) == ("hotel-twin", 124.0, 136.4)
        assert told["hits"]["max_change"] == 1 + 1  # up in one window, down in the next
        assert told["num_dead_letters"] == 1 and told["dead_letters"][0]["body"] == '{"sessionId": "<b>x"}'
        assert told["others"] == 0 and len(told["products"]) == len(own.service.catalogue)
        assert len(_get(own.service.board_app, "/data?last_n=1").json["windows"]) == 1
        assert _get(own.service.board_app, "/data?last_n=0").status == 422


def test_who_may_read_it(tmp_path: Path) -> None:
    with shop(tmp_path / "open") as own:
        assert _get(own.service.board_app, "/data").status == 200
        # A page from elsewhere whose name leads here.
        assert _get(own.service.board_app, "/data", host="evil.example:5002").status == 403
        page = _get(own.service.board_app, "/")
        assert page.status == 200 and "script-src 'self'" in page.headers["content-security-policy"]
        for name in ("board.js", "board.css", "plotly.js"):
            assert _get(own.service.board_app, f"/{name}").status == 200
    key = tmp_path / "key"
    key.write_text(_KEY)
    with shop(tmp_path / "closed", admin_key_file=str(key)) as own:
        assert _get(own.service.board_app, "/data").status == 401
        found = _get(own.service.board_app, "/data", host="shop.example", authorization=f"Bearer {_KEY}")
        assert found.status == 200


@pytest.mark.slow
def test_the_page_shows_it_and_runs_nothing_that_was_sent(tmp_path: Path) -> None:
    bad = '{"sessionId": "<img src=x onerror=document.title=1>"}'
    with running(tmp_path / "shop", "clock=events", "survives=kill") as own, tempfile.TemporaryDirectory() as folder:
        own.ask(own.events, "POST", "/api/kafka/ingest", bad)
        for seconds in (0, 400):
            body = (
                '{"sessionId": "s", "storeMode": "hotel", "eventName": "view_item_page", "page": "/", '
                f'"productId": "hotel-twin", "ts": "2027-01-15T08:{seconds // 60:02d}:00Z"}}'
            )
            assert own.ask(own.events, "POST", "/api/kafka/ingest", body)["success"]
        command = [
            find(), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}", "--disable-sync",
            "--disable-background-networking", "--virtual-time-budget=9000", "--dump-dom", own.addresses["dashboard"],
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=True, env=os.environ)
    page = done.stdout
    assert 'data-shown="yes"' in page and "<title>Shop</title>" in page
    assert "Twin room" in page and "&lt;img src=x onerror=" in page and "<img src=x" not in page
    assert page.count('class="main-svg"') >= 4  # Plotly drew
