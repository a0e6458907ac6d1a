"""Signals that end a node: who listens, who is told, and that everything is given back."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from discompute_lite.host.stop_signals import StopSignals
from discompute_lite.net.loop import Loop


@pytest.fixture
def bells():
    return []


@pytest.fixture
def signals(bells):
    def watch(bell, on_stop, _on_writable):
        bell.setblocking(False)
        bells.append(bell)

    return lambda: StopSignals(watch, lambda: None)


def test_a_signal_rings_the_bell_and_former_listeners_come_back(signals, bells):
    before = signal.getsignal(signal.SIGTERM)
    listening = signals()
    signal.raise_signal(signal.SIGTERM)
    assert bells[0].recv(9) == b"\0"
    listening.restore()
    assert signal.getsignal(signal.SIGTERM) == before


def test_the_loop_hears_it_once_and_sleeps_while_goodbyes_are_said():
    loop, heard = Loop(), []
    listening = StopSignals(loop.watch, lambda: heard.append(loop.call_later(0.02, loop.stop)))
    signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGTERM)
    loop.run()
    listening.restore()
    loop.close()
    assert len(heard) == 1


@pytest.mark.skipif(os.name != "posix", reason="stands in for Windows elsewhere")
def test_on_windows_the_interpreter_itself_wakes_the_loop(signals, bells, monkeypatch):
    """There a wait for sockets is not ended by Ctrl-C, so that no handler is called until it ends by itself."""
    before = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(before)
    monkeypatch.setattr(sys, "platform", "win32")
    listening = signals()
    # The interpreter's byte, the signal's number, comes beside that of the handler.
    signal.raise_signal(signal.SIGTERM)
    assert bytes([signal.SIGTERM]) in bells[0].recv(9)
    listening.restore()
    assert signal.set_wakeup_fd(before) == before
