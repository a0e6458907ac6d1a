"""Progress of many results: how it reads, how it fits, when it is drawn."""

import io

import pytest

from discompute_lite.faces.console import Console
from discompute_lite.faces.meter import DRAW_EVERY_S, Meter, duration_text, metered


class Screen(io.StringIO):
    """A terminal that remembers what is on its last line."""

    def isatty(self):
        return True

    @property
    def line(self):
        return self.getvalue().rpartition("\r\x1b[K")[2]


@pytest.fixture
def screen(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    return Screen()


def meter_on(screen, clock, **known):
    return Meter(Console(err=screen), clock=lambda: clock[0], **known)


@pytest.mark.parametrize("columns, line", [
    (80, "███████░░░░░░░░░░░░░░░░░░░░░░░  25 % 2,500 of 10,000, 1,250/s, 6 s left"),
    (40, "█████░░░░░░░░░░░░░░░░░  25 % 6 s left"),
    (20, "██░░░░░░  25 % 6 s "),
])
def test_a_bar_fits_the_terminal(screen, monkeypatch, columns, line):
    monkeypatch.setenv("COLUMNS", str(columns))
    clock = [0.0]
    meter = meter_on(screen, clock, total=10_000)
    clock[0] = 2.0
    meter.step(2500)
    assert screen.line == line and len(line) < columns
    meter.end()
    assert screen.line == ""


def test_without_a_total_only_the_count_is_shown(screen, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    clock = [0.0]
    meter = meter_on(screen, clock)
    meter.draw()
    assert screen.line == "0 done"
    clock[0] = 4.0
    meter.step(10)
    assert screen.line == "10 done, 2.5/s"


def test_it_is_not_drawn_more_often_than_an_eye_follows(screen):
    clock = [0.0]
    meter = meter_on(screen, clock, total=1000)
    for _ in range(1000):
        clock[0] += DRAW_EVERY_S / 100
        meter.step()
    assert 9 <= screen.getvalue().count("\r") <= 11


def test_nothing_is_drawn_into_a_file():
    out = io.StringIO()
    assert list(metered(iter(range(5)), Meter(Console(err=out), total=5))) == [0, 1, 2, 3, 4] and out.getvalue() == ""


def test_the_bar_goes_when_the_results_are_given_up(screen):
    closed = []

    def results():
        try:
            yield from range(5)
        finally:
            closed.append(True)

    taken = metered(results(), Meter(Console(err=screen), total=5))
    assert next(taken) == 0 and screen.line
    taken.close()
    assert closed and screen.line == ""


@pytest.mark.parametrize("seconds, text", [
    (0.2, "0 s"), (89, "89 s"), (90, "2 min"), (3600, "60 min"), (7500, "2 h 5 min"),
])
def test_durations_read_as_people_say_them(seconds, text):
    assert duration_text(seconds) == text
