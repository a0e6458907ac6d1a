"""Every command as a person types it: what it prints, what it says when something is wrong, and its exit code."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time

import pytest

from discompute_lite.run import relaunch_command

FINE = """
def split(n: int = 4):
    return range(n)
def work(part):
    print("part", part)
    return part * part
def merge(parts):
    return {"sum": sum(parts)}
"""
RAISES = FINE.replace("    return part * part", "    if part == 2:\n        raise ValueError('no twos')")
ENDLESS = """
import os
def work(folder: str = ""):
    open(os.path.join(folder, "begun"), "w").close()
    while True:
        pass
"""


@pytest.fixture(scope="module")
def home(shared):
    """The environment of commands that find the shared node by its state folder."""
    return {"DISCOMPUTE_STATE_DIR": str(shared.nodes[0].state)}


@pytest.fixture
def type_in(shared, home):
    """Run a command beside the shared node."""
    return lambda *words, **changes: shared.type(*words, **{**home, **changes})


# ---- what is right ------------------------------------------------------------------------------------------


@pytest.mark.smoke
def test_version(shared):
    done = shared.run("version")
    python = ".".join(map(str, sys.version_info[:3]))
    assert re.fullmatch(rf"discompute-lite \d+\.\d+\.\d+, Python {re.escape(python)}, \S+ .*\n", done.out)
    assert (done.code, done.err) == (0, "")
    facts = shared.run("version", "--json").document
    assert done.out == f"discompute-lite {facts['version']}, Python {facts['python']}, {facts['platform']}\n"
    assert shared.type("--version").out == done.out
    assert shared.type("version", "-v").out == done.out


def test_info_says_what_this_is_and_what_holds_for_tasks(field):
    done = field.type("info")
    assert done.code == 0
    assert "CPU Cores:" in done.out
    assert "  Limits for tasks:\n" in done.out
    assert "made at the first start" in done.out
    facts = field.type("info", "--json").document
    limits = facts["limits_for_tasks"]
    assert "killed" in limits["process"] and "killed" in limits["own folder"]
    if sys.platform.startswith("linux"):
        quarter = round(facts["hardware"]["capabilities"]["memory_mb"] / 4)
        assert limits["memory"].startswith(f"{quarter} MiB resident") and limits["open files"].startswith("256")
    assert limits["network"] == "not limited"
    by_thread = field.type("info", "--json", "--executor", "thread").document["limits_for_tasks"]
    assert "cannot be stopped" in by_thread["process"]
    assert by_thread["time"] == by_thread["memory"] == by_thread["priority"] == "not limited"
    without = field.type("info", "--json", "--task-network", "false").document["limits_for_tasks"]["network"]
    can_be = subprocess.run(relaunch_command("host.child_limits:network_check_main"), check=False).returncode == 0
    assert without == ("none" if can_be else "not limited: this system cannot keep tasks from it")
    thread = field.type("info", "--json", "--executor", "thread", "--task-network", "false").document
    assert thread["limits_for_tasks"]["network"] == "not limited"
    assert not (field.folder / "command" / "device.key").exists(), "looking makes no identity"


def test_info_measures(field):
    facts = field.type("info", "--json", "--bench").document
    assert facts["measured"]["score"] > 0
    assert field.type("info", "--json").document["measured"] == facts["measured"]


def test_config_shows_where_each_value_came_from(field):
    file = field.job("settings.yaml", "slots: 3\nname: first\n")
    rows = field.type("config", "--json", "--config", file, "--port", "9001", DISCOMPUTE_NAME="second").document
    found = {row["setting"]: (row["value"], row["source"]) for row in rows}
    assert found["port"] == (9001, "--port")
    assert found["name"] == ("second", "environment DISCOMPUTE_NAME")
    assert found["slots"] == (3, f"{file} line 1")
    assert found["tls"] == (True, "default")
    assert found["executor"] == ("process", "default"), "what was left to the device is shown as what it comes to"
    # Flags may also stand before the command.
    assert "first" in field.type("--config", file, "config").out
    assert "9001" in field.type("--port", "9001", "config").out


def test_config_fits_a_phone(field):
    lines = field.type("config", COLUMNS="40", DISCOMPUTE_PORT=None).out.splitlines()
    assert "port: 8080 (default)" in lines
    wide = field.type("config", COLUMNS="80", DISCOMPUTE_PORT=None).out.splitlines()
    assert re.search(r"^port +8080 +default$", "\n".join(wide), re.M)


def test_help_names_every_command_first_and_each_has_its_own(shared):
    done = shared.type("--help")
    assert done.code == 0
    for name in "start info list send submit status result tasks cancel config version demo".split():
        assert re.search(rf"^    {name} ", done.out, re.M), name
    assert done.out.index("commands:") < done.out.index("settings:")
    assert "--detach" in shared.type("submit", "--help").out
    assert shared.type().out == done.out


@pytest.mark.parametrize("name", ["", "submit", "map", "why", "status"])
def test_help_fits_a_terminal_of_80_columns(shared, name):
    lines = shared.type(*name.split(), "--help", COLUMNS="80").out.splitlines()
    assert [line for line in lines if len(line) > 79] == []
    assert not any(line.endswith(("[--priority", "[--requires", "[--items")) for line in lines), "torn from its value"


def test_list_and_send_beside_a_running_node(node, shared, type_in):
    done = type_in("list")
    assert done.code == 0
    assert done.out.startswith("Found ")
    assert f"Device ID: {node.id[:8]}\n  Name: shared\n" in done.out
    assert type_in("list", "--json").document["devices"][0]["id"] == node.id
    for device in (node.id, node.id[:8], "shared", f"127.0.0.1:{node.port}"):
        done = type_in("send", device, "hello", "there")
        assert (done.code, done.out) == (0, "shared: shown on shared\n"), done.err
    shared.wait_for(lambda: node.said("message", "hello there"), "the message is shown")


@pytest.mark.smoke
def test_a_job_file_from_submit_to_result(node, shared, home, type_in):
    path = shared.job("fine.py", FINE)
    done = shared.run("submit", path, "--n", "5", **home)
    assert (done.code, done.out) == (0, "{'sum': 30}\n"), done.err
    assert f"[{node.id[:8]}] part 4" in done.err
    assert type_in("submit", "-q", path, "5").err == ""
    document = type_in("submit", "--json", path).document
    assert (document["state"], document["result"]) == ("COMPLETED", {"sum": 14})
    task_id = type_in("submit", "--detach", path).out.strip()
    assert type_in("result", task_id).out == "{'sum': 14}\n"
    assert type_in("result", "--json", task_id).document["result"] == {"sum": 14}
    assert f"Task {task_id}: COMPLETED, 100.0 %\n" in type_in("status", task_id).out
    assert type_in("status", "--json", task_id[:6]).document["completion_percentage"] == 100.0
    assert re.search(rf"^{task_id} +COMPLETED +100.0 %  fine.py$", type_in("tasks").out, re.M)
    assert task_id in [item["task_id"] for item in type_in("tasks", "--json").document["tasks"]]
    assert type_in("submit", "primes", "--bound", "1000").out == "168\n"


@pytest.mark.parametrize("flags, line, pure", [
    ([], "", True), ([], "pure = False\n", False), (["--impure"], "pure = True\n", False),
])
def test_a_job_or_its_submission_says_that_no_piece_runs_twice_at_once(shared, type_in, flags, line, pure):
    path = shared.job("once.py", line + FINE)
    task_id = type_in("submit", "--detach", *flags, path).out.strip()
    assert type_in("result", task_id).out == "{'sum': 14}\n"
    tasks = {item["task_id"]: item for item in type_in("tasks", "--json").document["tasks"]}
    assert tasks[task_id]["lite"]["pure"] is pure


def test_a_pure_that_is_worked_out_is_refused_with_its_line(shared, type_in, fails):
    path = shared.job("unclear.py", "import os\npure = 'X' in os.environ\n" + FINE)
    fails(type_in("submit", path), 1, "unclear.py, line 2: pure says", "write pure = True or pure = False")


def test_where_no_node_runs_nothing_is_said_to_have_been_shown(field, fails):
    fails(field.type("send", "mine", "hello", DISCOMPUTE_NAME="mine"), 5, "mine is this device", "start")
    fails(field.type("send", "nosuch", "hello"), 3, "no device is called 'nosuch'", "`list`")


def test_commands_work_where_no_node_runs_and_leave_none(field):
    assert field.run("list", "--json", "--wait", "0").document["devices"][0]["status"] == "AVAILABLE"
    assert field.type("submit", "--json", field.job("fine.py", FINE)).document["result"] == {"sum": 14}
    assert field.type("tasks").err == "no tasks; submit FILE.py starts one\n"
    assert not (field.folder / "command" / "node.json").exists()
    assert not (field.folder / "command" / "scratch").exists()


# ---- what is wrong ------------------------------------------------------------------------------------------


WRONG = [
    (["nosuch"], 2, "no command 'nosuch'"),
    (["start", "--prot", "1"], 2, "did you mean --port?"),
    (["start", "extra"], 2, "'extra' is one word too many"),
    (["start", "--port"], 2, "--port needs a value"),
    (["start", "--port", "70000"], 2, "port (--port) cannot be '70000'; write a whole number from 0 to 65535"),
    (["start", "--bind", "somewhere"], 2, "bind (--bind) cannot be 'somewhere'"),
    (["start", "--executor", "nosuch:thing"], 2, "No module named 'nosuch'"),
    (["start", "--state-dir", "/dev/null/x"], 2, "/dev/null/x cannot be used (a file is in the way); choose"),
    (["list", "--wait", "nan"], 2, "--wait cannot be 'nan'; write a number"),
    (["list", "--wait", "-1"], 2, "--wait cannot be '-1'; write a number"),
    (["list", "--config", "/nonexistent.yaml"], 2, "there is no configuration file /nonexistent.yaml"),
    (["submit"], 2, "FILE.py is missing"),
    (["submit", "nosuch.py"], 2, "there is no file nosuch.py"),
    (["submit", "calls"], 2, "there is no file calls"),
    (["submit", "--priority", "11", "primes"], 2, "--priority cannot be '11'"),
    (["submit", "primes", "--bound", "x"], 2, "--bound must be a whole number, not 'x'"),
    (["submit", "primes", "--json"], 2, "submit --json primes"),
    (["submit", "primes", "--state-dir", "/x"], 2,
     "--state-dir; split takes --bound INT; submit's own flags stand before the file: submit --state-dir /x primes"),
    (["submit", "primes", "--priority=8"], 2, "submit --priority=8 primes"),
    (["join", "123"], 2, "neither a code of eight digits"),
    (["submit", "--detach", "primes"], 2, "run start first"),
    (["send", "nosuch"], 2, "TEXT is missing"),
    (["send", "127.0.0.1:1", "hi"], 5, "nobody answers at 127.0.0.1:1 (connection refused)"),
    (["demo", "--limit", "0"], 2, "--limit cannot be '0'"),
    (["list", "--nosuch", "--debug"], 2, "no flag --nosuch"),
]


@pytest.mark.parametrize("words, code, about", WRONG, ids=["-".join(words) for words, _, _ in WRONG])
def test_a_wrong_command_line_gets_one_sentence(field, fails, words, code, about):
    fails(field.type(*words), code, about)
    assert not (field.folder / "command" / "node.json").exists()


def test_unknown_devices_and_tasks(node, type_in, fails):
    for words in (["status", "nosuch"], ["result", "nosuch"], ["cancel", "nosuch"], ["status", ""], ["why", "nosuch"],
                  ["why", "nosuch/3"], ["logs", "nosuch"]):
        fails(type_in(*words), 3, "no task is called", "`tasks` lists them")
    fails(type_in("send", "nosuch", "hi"), 3, "no device is called 'nosuch'", "`list`")
    fails(type_in("send", "", "hi"), 2, "DEVICE is empty")


def test_why_and_logs_tell_of_a_task(node, type_in, field, fails):
    source = "def split():\n    print('cutting')\n    return [0, 1]\ndef work(part):\n    print('piece', part)\n"
    task_id = type_in("submit", "--detach", field.job("told.py", source)).out.strip()
    assert type_in("result", task_id).code == 0
    assert type_in("why", task_id).out == "it is over: completed\n"
    assert type_in("why", f"{task_id}/1", "--json").document["task_id"] == task_id
    fails(type_in("why", f"{task_id}/2"), 3, "no subtask 2; it has 2, counted from 0")
    fails(type_in("why", f"{task_id}/x"), 2, "'x' is no subtask")
    lines = [line.partition("] ")[2] for line in type_in("logs", task_id).out.splitlines()]
    assert lines == ["cutting", "piece 0", "piece 1"]
    printed = type_in("logs", task_id, "--json").document["printed"]
    assert [entry["phase"] for entry in printed] == ["split", "run", "run"]


def test_a_task_that_is_over_cannot_be_cancelled_and_programs_get_their_document(node, type_in, field, fails):
    task_id = type_in("submit", "--detach", field.job("fine.py", FINE)).out.strip()
    assert type_in("result", task_id).code == 0
    fails(type_in("cancel", task_id), 3, "the task is over already: COMPLETED; `tasks` lists what still runs")
    done = type_in("cancel", "--json", task_id)
    assert done.code == 3 and (done.document["task_id"], done.document["success"]) == (task_id, False)


def test_settings_that_do_not_fit(field, fails):
    fails(field.type("list", DISCOMPUTE_PORT="abc"), 2, "port (environment DISCOMPUTE_PORT) cannot be 'abc'")
    wrong = (("port: [", "line 1"), ("prt: 1", "write port"), ("slots: many", "line 1"), ("a: &x 1", "line 1"))
    for text, about in wrong:
        fails(field.type("list", "--config", field.job("settings.yaml", text)), 2, "settings.yaml", about)
    done = field.type("config", DISCOMPUTE_FUTURE="1")
    assert (done.code, done.err) == (0, "the environment variable DISCOMPUTE_FUTURE means nothing to this version\n")


def test_files_that_cannot_be_read(field, fails):
    (field.folder / "binary.py").write_bytes(b"\xff\xfe\x00")
    fails(field.type("submit", str(field.folder / "binary.py")), 2, "is not UTF-8")
    (field.folder / "latin.py").write_bytes("# coding: latin-1\ndef work(part): return 'é'\n".encode("latin-1"))
    fails(field.type("submit", str(field.folder / "latin.py")), 2, "is not UTF-8")
    fails(field.type("submit", field.job("claims.py", "# coding: latin-1\ndef work(part): pass\n")), 1,
          "claims.py, line 1: says that it is in latin-1", "save it as UTF-8")
    fails(field.type("submit", str(field.folder)), 2, "is a folder")
    fails(field.type("list", "--config", str(field.folder)), 2, "cannot be read")
    if os.name == "posix" and os.geteuid() != 0:
        (field.folder / "binary.py").chmod(0)
        fails(field.type("submit", str(field.folder / "binary.py")), 2, "cannot be read")


NO_PYTHON = [
    ("def work(", "line 1"),
    ("x = 1", "has no function work(part)"),
    ("def work(part):\n    return '\0'", "NUL"),
    ("def work(part): return " + "(" * 5000 + ")" * 5000, "nested"),
    ("# " + "x" * 10_000_000 + "\ndef work(part): pass", "longer than"),
    ("# coding: utf-7\ndef work(part): pass", "line 1"),
]


def test_a_job_that_is_no_python_is_refused_before_anything_runs(field, fails):
    """Row 41: error before any process start."""
    for source, about in NO_PYTHON:
        fails(field.type("submit", field.job("wrong.py", source)), 1, "wrong.py", about)
    assert not (field.folder / "command").exists(), "a node was started for it"


def test_a_job_that_fails_says_where(node, shared, type_in, fails):
    done = type_in("submit", "-q", shared.job("raises.py", RAISES))
    fails(done, 1, "ValueError: no twos (raises.py, line 7, in work)", "mend the job")
    debug = type_in("--debug", "submit", shared.job("raises.py", RAISES))
    assert debug.code == 1
    assert "raise ValueError('no twos')" in debug.err
    split = "def split(): return 1 / 0\ndef work(part): pass"
    fails(type_in("submit", "-q", shared.job("split.py", split)), 1, "ZeroDivisionError", "line 1, in split")
    merge = "def split(): return [1]\ndef work(part): return part\ndef merge(parts): return object()"
    fails(type_in("submit", "-q", shared.job("merge.py", merge)), 1, "object", "merge")


def test_what_split_merge_and_failures_print_is_shown(node, shared, type_in):
    job = "def split():\n    print('cutting')\n    return [0, 1]\n"
    job += "def work(part):\n    print('part', part)\n    return part\n"
    job += "def merge(parts):\n    print('joining')\n    return len(parts)\n"
    done = type_in("submit", shared.job("talks.py", job))
    said = [f"[{node.id[:8]}] {line}" for line in ("cutting", "part 0", "part 1", "joining")]
    assert (done.code, done.out) == (0, "2\n")
    heard = [line for line in done.err.splitlines() if line in said]
    # Two parts at once print in any order.
    assert (heard[0], sorted(heard[1:3]), heard[3:]) == (said[0], said[1:3], said[3:])
    for phase in ("split", "work", "merge"):
        broken = re.sub(rf"(def {phase}.*\n.*\n)", r"\1    1 / 0\n", job)
        done = type_in("submit", shared.job("broken.py", broken))
        word = {"split": "cutting", "work": "part", "merge": "joining"}[phase]
        assert done.code == 1 and f"[{node.id[:8]}] {word}" in done.err, done.err
        assert done.err.index(word) < done.err.index("ZeroDivisionError")


@pytest.mark.parametrize("body, about", [
    ("import ctypes; ctypes.string_at(0)", "signal 11"),
    ("import os; os._exit(3)", "status 3"),
    ("raise SystemExit(4)", "SystemExit"),
    ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    ("return lambda: 1", "function"),
], ids=["segfault", "exit", "SystemExit", "KeyboardInterrupt", "not-data"])
def test_a_job_that_takes_its_process_down_fails_clearly(field, fails, posix, body, about):
    """Row 40: a precise error to the caller."""
    fails(field.type("submit", "-q", field.job("down.py", f"def work(part=None):\n    {body}")), 1, about)


def test_what_a_job_printed_before_its_process_died_is_shown(node, shared, type_in):
    source = "import os\ndef work(part=None):\n    print('got this far')\n    os.kill(os.getpid(), 11)"
    done = type_in("submit", shared.job("down.py", source))
    assert done.code == 1 and f"[{node.id[:8]}] got this far" in done.err.splitlines(), done.err


def test_a_job_may_print_to_the_descriptor_and_close_its_streams(node, shared, type_in):
    """Row 40."""
    body = "os.write(1, b'raw words\\n')\n    sys.stdout.close()\n    return 7"
    done = type_in("submit", shared.job("prints.py", f"import os, sys\ndef work(part=None):\n    {body}"))
    assert (done.code, done.out) == (0, "7\n"), done.err
    assert "raw words" in done.err


def test_what_a_job_prints_cannot_command_the_terminal(node, shared, type_in):
    body = "def work(part=None):\n    print('\\x1b[2J\\u202egone')"
    done = type_in("submit", shared.job("prints.py", body))
    assert "\x1b" not in done.err
    assert "\u202e" not in done.err
    assert r"\x1b[2J" in done.err


# ---- ending early -------------------------------------------------------------------------------------------


def test_cancel_kills_an_endless_loop(node, shared, type_in, fails):
    task_id = type_in("submit", "--detach", shared.job("endless.py", ENDLESS), str(shared.folder)).out.strip()
    shared.wait_for((shared.folder / "begun").exists, "it begins")
    children = node.children()
    assert children
    done = type_in("cancel", task_id)
    assert (done.code, done.out) == (0, f"{task_id}: cancelled\n")
    assert node.state_of(task_id) == "CANCELLED"
    shared.wait_for(lambda: not any(busy(pid) for pid in children), "its process is gone", 5.0)
    done = type_in("cancel", task_id)
    fails(done, 3, "the task is over already: CANCELLED; `tasks` lists what still runs")
    fails(type_in("result", task_id), 1, "cancelled by its owner")
    done = type_in("result", "--json", task_id)
    ended = {"task_id": task_id, "state": "CANCELLED", "result": None, "message": "cancelled by its owner"}
    assert (done.code, done.document) == (1, ended)
    fails(done._replace(out=""), 1, "cancelled by its owner")


def test_programs_get_a_document_of_a_task_that_failed_too(node, shared, type_in):
    for phase in ("split", "work", "merge"):
        names = {name: "return 1 / 0" if name == phase else "return [1]" for name in ("split", "work", "merge")}
        job = "".join(f"def {name}(*_): {body}\n" for name, body in names.items())
        done = type_in("submit", "--json", shared.job("fails.py", job))
        assert (done.code, done.document["state"], done.document["result"]) == (1, "FAILED", None)
        assert "ZeroDivisionError" in done.document["message"] and done.err.startswith("discompute: ")
    assert type_in("submit", "--json", shared.job("wrong.py", "x = 1")).out == "", "there never was a task"


def busy(pid):
    """Whether this process still uses the processor."""
    def ticks():
        with open(f"/proc/{pid}/stat") as file:
            return sum(map(int, file.read().rpartition(")")[2].split()[11:13]))

    try:
        before = ticks()
        time.sleep(0.05)
        return ticks() - before > 2
    except OSError:
        return False


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_an_interrupted_submit_leaves_nothing(field, posix, name):
    command = [sys.executable, "-m", "discompute_lite", "submit", field.job("endless.py", ENDLESS), str(field.folder)]
    environ = field.for_command()
    process = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        field.wait_for((field.folder / "begun").exists, "it begins")
        process.send_signal(getattr(signal, name))
        out, err = process.communicate(timeout=field.scale(10.0))
    finally:
        process.kill()
    assert (process.returncode, out) == (130, "")
    assert err.splitlines()[-1] == "discompute: interrupted"
    assert not (field.folder / "command" / "node.json").exists()
    assert not (field.folder / "command" / "scratch").exists()


def test_a_reader_that_has_enough_is_no_error(node, shared, home, type_in):
    """As `list --watch | head -1` does."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "discompute_lite", "list", "--watch"], env=shared.environ(**home), stdout=writer,
        stderr=subprocess.PIPE, text=True, timeout=shared.scale(15.0),
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", ["config", "version"])
def test_output_that_cannot_be_written_is_an_error(shared, type_in, name):
    if not os.path.exists("/dev/full"):
        pytest.skip("needs /dev/full")
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "discompute_lite", name], env=shared.environ(), stdout=full,
            stderr=subprocess.PIPE, text=True, timeout=shared.scale(15.0),
        )
    assert (done.returncode, done.stderr) == (1, "discompute: No space left on device; mend that and try again\n")


# ---- terminals ----------------------------------------------------------------------------------------------


def on_terminal(field, words, columns, **changes):
    """Run a command on a terminal of its own; return (exit code, what appeared on it)."""
    import fcntl
    import pty
    import struct
    import termios

    keeper, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "discompute_lite", *words], stdin=end, stdout=end, stderr=end, close_fds=True,
        env=field.for_command(**{"TERM": "xterm", "COLUMNS": None, **changes}),
    )
    os.close(end)
    shown = b""
    while True:
        try:
            piece = os.read(keeper, 65536)
        except OSError:
            break  # Linux says so when the other end is closed.
        if not piece:
            break
        shown += piece
    os.close(keeper)
    return process.wait(field.scale(15.0)), shown.decode("utf-8").replace("\r\n", "\n")


def test_a_narrow_terminal_is_respected_and_colour_is_a_choice(field, posix):
    code, shown = on_terminal(field, ["info"], 40)
    assert code == 0
    assert max(map(len, plain(shown).splitlines())) <= 40
    code, shown = on_terminal(field, ["start", "--prot", "1"], 40)
    assert code == 2
    assert "\x1b[31m" in shown
    assert plain(shown) == "discompute: there is no flag --prot; did\n  you mean --port?\n"
    assert "\x1b" not in on_terminal(field, ["start", "--prot", "1"], 40, NO_COLOR="1")[1]
    assert "\x1b" not in on_terminal(field, ["start", "--prot", "1"], 40, TERM="dumb")[1]


def test_progress_is_drawn_on_a_terminal_and_taken_away(field, posix):
    source = "import time\ndef split(): return range(6)\ndef work(part):\n    time.sleep(0.1)\n    return part"
    code, shown = on_terminal(field, ["submit", field.job("slow.py", source)], 50)
    assert code == 0
    bars = [line for line in re.split(r"\r\x1b\[K|\n", shown) if "%" in line]
    assert bars
    assert max(map(len, bars)) < 50
    assert shown.endswith("[0, 1, 2, 3, 4, 5]\n")
    assert "%" not in on_terminal(field, ["submit", "-q", field.job("slow.py", source)], 50)[1]


def plain(text):
    return re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text)


def test_an_address_that_is_typed_is_called_by_the_node_that_runs(field):
    one, two = field.start_several(2, "--discovery", "peers")
    words = ("list", "--json", "--peer", f"127.0.0.1:{two.port}", "--peer", "127.0.0.1:1")
    done = field.type(*words, DISCOMPUTE_STATE_DIR=str(one.state))
    assert [device["id"] for device in done.document["devices"]] == [one.id, two.id]
    field.wait_for(lambda: two.sees(one), "the one that was called knows the caller")
    said = " ".join(done.err.split())
    assert "nobody answers at 127.0.0.1:1, it is called again and again: nothing listens" in said, said
    assert str(two.port) not in said


def test_an_address_at_which_nobody_answers_is_named_where_no_node_runs(field):
    done = field.type("list", "--peer", "127.0.0.1:1")
    assert "nobody answers at 127.0.0.1:1, start a node there: nothing listens" in " ".join(done.err.split())


def test_a_node_says_where_it_can_be_called(field):
    node = field.start("node")
    assert node.events[0]["addresses"] == [f"127.0.0.1:{node.port}"]
