"""What is typed is understood, or answered by what to type instead; help fits a phone's console."""

import os
import sys
from functools import cache

import pytest

from discompute_lite.faces import console
from discompute_lite.faces.command import LISTED
from discompute_lite.faces.command_line import CommandLine, CommandParser
from discompute_lite.faces.console import APP_WIDTH
from discompute_lite.model.errors import SettingsError
from discompute_lite.model.settings import SETTINGS


def complaint(*words):
    with pytest.raises(SettingsError) as refusal:
        CommandLine(LISTED).parse(words)
    return refusal.value.message


@cache
def command_line(*_circumstances):
    """Return what reads a command line: the same for all tests of which it would say the same."""
    return CommandLine(LISTED)


def says_no_width(stream):
    return True


def help_of(capsys, *words):
    line = command_line(os.environ.get("COLUMNS"), sys.argv[0], console.is_app_console)
    assert line.parse([*words, "--help"]) is None
    return capsys.readouterr().out


@pytest.mark.parametrize("columns", [40, 80])
@pytest.mark.parametrize("name", ["", *LISTED])
def test_every_help_fits_its_terminal(capsys, monkeypatch, name, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr("sys.argv", ["__main__.py"])
    text = help_of(capsys, *name.split())
    assert [line for line in text.splitlines() if len(line) >= columns] == []


@pytest.mark.parametrize("name", ["", *LISTED])
def test_every_help_fits_the_console_of_an_app_which_says_no_width(capsys, monkeypatch, name):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.argv", ["discompute.py"])
    monkeypatch.setattr("discompute_lite.faces.console.is_app_console", says_no_width)
    text = help_of(capsys, *name.split())
    assert [line for line in text.splitlines() if len(line) > APP_WIDTH] == []


def test_what_may_be_left_out_stands_in_brackets(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert "policy [RULE=VALUE ...]" in help_of(capsys, "policy")
    assert "devices [DEVICE] [FIELD=VALUE ...]" in help_of(capsys, "devices")
    assert "send DEVICE TEXT ..." in help_of(capsys, "send")


def test_settings_are_listed_where_they_are_looked_for_and_taken_everywhere(capsys):
    flags = [setting.flag for setting in SETTINGS if setting.flag]
    for words in ([], ["start"]):
        text = help_of(capsys, *words)
        assert [flag for flag in flags if f"  {flag} " not in text] == []
    brief = help_of(capsys, "cancel")
    assert "settings:" not in brief and "Every setting is a flag too" in brief
    assert CommandLine(LISTED).parse(["cancel", "x", "--state-dir", "/tmp/y"]).set_state_dir == "/tmp/y"


@pytest.mark.parametrize("words, advice", [
    (["strt"], "there is no command 'strt'; did you mean start?"),
    (["zzz"], "there is no command 'zzz'; see "),
    (["start", "--prot", "1"], "there is no flag --prot; did you mean --port?"),
    (["start", "--foo"], "there is no flag --foo; see "),
    (["start", "--folow"], "there is no flag --folow; see "),
    (["logs", "x", "--folow"], "there is no flag --folow; did you mean --follow?"),
    (["start", "--follow"], "start has no flag --follow; see "),
    (["--follow"], "--follow stands after a command; see "),
])
def test_a_slip_of_the_pen_is_answered_by_what_this_command_takes(words, advice):
    assert complaint(*words).startswith(advice)


@pytest.mark.parametrize("words, first, more", [
    (["start"], None, None),
    (["start", "--peer", "10.0.0.2", "--peer", "10.0.0.3:81"], None, ["10.0.0.2", "10.0.0.3:81"]),
    (["--peer", "a", "list", "--peer", "b"], ["a"], ["b"]),
])
def test_addresses_may_be_given_again_and_again_before_and_after_the_command(words, first, more):
    arguments = CommandLine(LISTED).parse(words)
    assert (getattr(arguments, "peers_first", None), getattr(arguments, "peers_more", None)) == (first, more)


def test_the_help_of_every_command_says_how_a_device_is_called_by_its_address(capsys):
    for name in LISTED:
        assert "--peer HOST[:PORT]" in help_of(capsys, name)


def test_help_is_not_painted_whatever_the_python(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    parser = CommandParser(prog="x")
    parser.add_argument("--flag", help="does it")
    assert "\033" not in parser.format_help()
