"""The page over a folder of runs: what differs, what came of them, where their reports are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from marl_pricing.learning import runs
from marl_pricing.learning.run_files import RunError
from marl_pricing.studies.index import differing, entries, main, write_index

SETTINGS = """name: {name}
market: {{num_sellers: {sellers}, reward: {{omega: {omega}}}, episode_length: {sellers}}}
learner: {{gamma: 0.99}}
run: {{folder: {name}}}
"""


def a_run(folder: Path, name: str, omega: float, sellers: int = 2) -> None:
    told = {"started": f"2026-01-0{int(omega) + 1}_10-00-00", "command": "python train.py", "versions": {}}
    runs.create(folder, SETTINGS.format(name=name, omega=omega, sellers=sellers), told | {"revision": "x"})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    a_run(tmp_path / "competitive" / "first", "competitive", 1.0)
    a_run(tmp_path / "coop & co", "coop & co", 0.0, sellers=3)
    evaluation = tmp_path / "competitive" / "first" / "evaluation"
    evaluation.mkdir()
    (evaluation / "report.html").write_text("<p>")
    told = {"in_short": ["Sellers earn <5>."], "sentences": [], "runs": {"competitive": {"folder": ".."}}}
    (evaluation / "summary.json").write_text(json.dumps(told))
    return tmp_path


def test_runs_are_found_with_what_differs_and_their_report(root: Path) -> None:
    found = entries(root)
    assert [own.name for own in found] == ["competitive", "coop & co"]  # the newest first
    assert found[0].report == "competitive/first/evaluation/report.html" and found[0].headline == "Sellers earn <5>."
    assert not found[1].report and found[1].profit is None
    # Names and folders are no settings that differ; what differs between the same runs is told once.
    assert differing(found) == [["market.num_sellers", "market.reward.omega", "market.episode_length"]]
    html = write_index(root).read_text("utf-8")
    assert "href='competitive/first/evaluation/report.html'" in html and "Sellers earn &lt;5&gt;." in html
    assert "market.num_sellers=3 (+2)" in html and "coop &amp; co" in html and "1 with a report" in html


def test_a_broken_run_is_named_and_the_others_stay(root: Path) -> None:
    (root / "coop & co" / "config.yaml").write_text("name: changed")
    found = entries(root)
    assert [bool(own.fault) for own in found] == [False, True] or [bool(own.fault) for own in found] == [True, False]
    assert "was changed since it was written" in write_index(root).read_text("utf-8")


def test_a_folder_without_runs_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RunError, match="there is no run in it"):
        entries(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main([str(tmp_path / "nothing")])
    assert ended.value.code == 2 and "there is no such folder" in capsys.readouterr().err
