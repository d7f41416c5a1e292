"""A command that is told to end tidies up, undisturbed by being told again."""

from __future__ import annotations

import os
import signal

import pytest

from millrace.signals import handled, interruptible

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.mark.parametrize("number", ENDING)
def test_only_the_first_signal_interrupts(number: signal.Signals) -> None:
    before = [signal.getsignal(one) for one in ENDING]
    with interruptible():
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
        for again in ENDING:
            os.kill(os.getpid(), again)
    assert [signal.getsignal(one) for one in ENDING] == before


def test_what_nohup_ignores_stays_ignored() -> None:
    with handled(signal.SIG_IGN, signal.SIGHUP), interruptible():
        os.kill(os.getpid(), signal.SIGHUP)
