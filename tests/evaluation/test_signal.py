"""What browsing tells of coming orders."""

from __future__ import annotations

from pathlib import Path

import jax
import pytest

from marl_pricing.evaluation import signal
from tests.markets import make
from tests.traffic.visitors import with_sessions


def test_the_correlation_falls_with_the_share_of_agents() -> None:
    own = with_sessions(
        "bank", sessions=60, level={"persistence": 0.95, "volatility": 0.25}, inventory={"rule": "unlimited"}
    )
    got = signal.browsing_signal(jax.random.key(0), *own, shares=(0.0, 0.4, 0.8), num_episodes=100)
    assert got["correlation"].is_monotonic_decreasing
    assert got["low"][0] > got["high"][1] and got["low"][1] > got["high"][2]
    assert (got["low"] < got["correlation"]).all() and (got["correlation"] < got["high"]).all()


def test_a_market_without_a_signal_is_refused() -> None:
    with pytest.raises(ValueError, match=r"traffic\.model='analytic'"):
        signal.browsing_signal(jax.random.key(0), *make())
    with pytest.raises(ValueError, match="level that moves"):
        signal.browsing_signal(jax.random.key(0), *with_sessions("bank"))


def test_the_command_draws_and_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "deep" / "signal.svg"
    assert signal.main(["--out", str(path), "--episodes", "2"]) == 0
    assert path.read_text().startswith("<?xml") and "figure:" in capsys.readouterr().out
    for arguments in (["--out", "x.pdf"], ["--out", "x.svg", "--episodes", "1"]):
        with pytest.raises(SystemExit):
            signal.main(arguments)
        assert "accepted is" in capsys.readouterr().err
