"""The real probe answers on any machine, never raises, and never starts a process inside an iOS app."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import pytest

from discompute_lite.host.probe import Probe, count_core_records


class PhoneProbe(Probe):
    """This machine, pretending to be a phone."""

    platform = "ios"  # type: ignore[assignment]


def test_every_question_has_an_answer_here() -> None:
    probe = Probe()
    assert probe.platform == sys.platform
    assert len(probe.uname()) == 5 and probe.machine() == probe.uname()[4]
    assert probe.cpu_count() >= 1
    assert isinstance(probe.environ.get("PATH", ""), str) and probe.executable
    assert probe.importable("json") and not probe.importable("no_such_module_anywhere")


@pytest.mark.skipif(sys.platform == "win32", reason="sysconf and load are POSIX")
def test_posix_questions() -> None:
    probe = Probe()
    assert probe.sysconf("SC_PAGE_SIZE") == os.sysconf("SC_PAGE_SIZE")
    assert probe.sysconf("SC_NO_SUCH_NAME") == -1
    assert probe.load_average() >= 0
    assert probe.memory_rlimit() == -1 or probe.memory_rlimit() > 0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux what other systems know")
def test_questions_of_other_systems_are_not_known_here() -> None:
    probe = Probe()
    assert probe.sysctl_number("hw.memsize") is None and probe.sysctl_text("hw.model") is None
    assert probe.windows_memory() is None and probe.windows_battery() is None and probe.windows_times() is None
    assert probe.registry(r"HARDWARE\DESCRIPTION", "x") is None and probe.windows_version() is None
    assert probe.windows_physical_cores() == 0 and probe.app_memory_left() == -1 and probe.app_bridge() is None
    assert probe.windows_saver() is False
    assert probe.android_property("ro.soc.model") == "" and not probe.inside_ios()
    assert probe.affinity() == tuple(sorted(os.sched_getaffinity(0)))


def test_files_that_cannot_be_read_are_none(tmp_path: Any) -> None:
    probe = Probe()
    (tmp_path / "model").write_bytes(b"Raspberry Pi 5\0")
    assert probe.read_text(str(tmp_path / "model")) == "Raspberry Pi 5"
    (tmp_path / "odd").write_bytes(b"\xff\xfe")
    assert probe.read_text(str(tmp_path / "odd")) == "\ufffd\ufffd"
    assert probe.read_text(str(tmp_path)) is None and probe.read_text("a\0b") is None
    assert probe.list_dir(str(tmp_path)) == ["model", "odd"]
    assert probe.list_dir(str(tmp_path / "model")) == [] and probe.list_dir("a\0b") == []


def test_a_command_prints_fails_or_is_missing() -> None:
    probe = Probe()
    assert probe.run([sys.executable, "-S", "-c", "print('hello')"], 20.0) in ("hello\n", "hello\r\n")
    assert probe.run([sys.executable, "-S", "-c", "raise SystemExit(3)"], 20.0) is None
    assert probe.run(["no-such-command-anywhere"]) is None
    assert probe.run([]) is None and probe.run(["a\0b"]) is None


def test_a_command_that_hangs_is_given_up() -> None:
    before = time.monotonic()
    assert Probe().run([sys.executable, "-S", "-c", "import time; time.sleep(30)"], 0.2) is None
    assert time.monotonic() - before < 10


def test_no_process_is_started_inside_an_ios_app() -> None:
    probe = PhoneProbe()
    assert probe.inside_ios()
    assert probe.run([sys.executable, "-S", "-c", "print('hello')"], 20.0) is None


@pytest.mark.parametrize(("platform", "machine", "executable", "environ", "inside"), [
    ("ios", "arm64", "", {}, True),
    ("darwin", "iPhone17,1", "", {}, True),
    ("darwin", "iPad8,6", "", {}, True),
    ("darwin", "iPod9,1", "", {}, True),
    ("darwin", "RealityDevice14,1", "", {}, True),
    ("darwin", "arm64", "/Applications/Pythonista.app/Wrapper/Pythonista3.app/Pythonista3", {}, True),
    ("darwin", "arm64", "", {"APPNAME": "a-Shell-mini"}, True),
    ("darwin", "arm64", "", {"SIMULATOR_MODEL_IDENTIFIER": "iPhone16,1"}, True),
    ("darwin", "x86_64", "", {"SIMULATOR_MODEL_IDENTIFIER": "iPad20,3"}, True),
    ("darwin", "arm64", "/usr/bin/python3", {}, False),
    ("darwin", "x86_64", "/usr/bin/python3", {"TERM_PROGRAM": "Apple_Terminal"}, False),
    ("linux", "iPhone17,1", "Pythonista", {}, False),
])
def test_ios_is_told_from_macos(platform: str, machine: str, executable: str, environ: Any, inside: bool) -> None:
    facts = {"platform": platform, "executable": executable, "environ": environ,
             "uname": lambda self: ("Darwin", "localhost", "25.0.0", "", machine)}
    assert type("ToldProbe", (Probe,), facts)().inside_ios() is inside


def test_cores_are_counted_in_windows_records() -> None:
    core = (0).to_bytes(4, "little") + (48).to_bytes(4, "little") + bytes(40)
    cache = (2).to_bytes(4, "little") + (56).to_bytes(4, "little") + bytes(48)
    assert count_core_records(core + cache + core) == 2
    assert count_core_records(b"") == 0
    assert count_core_records(core + bytes(8)) == 1, "a record of size 0 ends the list instead of the program"
