"""Which signals ask a training to save and stop."""

from __future__ import annotations

import os
import signal

import pytest

from marl_pricing.learning.training import finish_first


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_what_asks_for_an_end_is_waited_for(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with finish_first() as interrupted:
        assert not interrupted
        os.kill(os.getpid(), number)
        assert interrupted
    assert signal.getsignal(number) is before


def test_a_training_under_nohup_goes_on() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with finish_first() as interrupted:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not interrupted
    finally:
        signal.signal(signal.SIGHUP, before)
