"""Tasks that take too much, with real children: ended, told to whoever sent them, and gone without a trace."""

from __future__ import annotations

import dataclasses
import os
import socket
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from discompute_lite.host.active_limits import limits_for_tasks, limits_of_children
from discompute_lite.host.child_limits import ChildLimits
from discompute_lite.host.probe import Probe
from discompute_lite.host.process_executor import ProcessExecutor
from discompute_lite.model.device import Hardware
from discompute_lite.model.limits import MIB, Limits
from discompute_lite.model.settings import Settings
from discompute_lite.run import relaunch_command
from discompute_lite.tasks.jobs import source_hash
from discompute_lite.tasks.values import dump_value, load_value
from discompute_lite.tasks.work import WorkRequest

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="what is limited differs elsewhere")


def job(body, part=None, wall_s=0.0):
    """Return a request to run `work(part)` with this body."""
    source = "import os, sys, time, socket, resource, subprocess\ndef work(part):\n"
    source += "".join(f"    {line}\n" for line in body.strip().splitlines())
    data = dump_value({"source": source, "sha256": source_hash(source), "name": "my.py", "part": part})
    return WorkRequest("run", "job", data, "t/0.1", wall_s=wall_s)


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Limited:
    """An executor of one slot whose children have these limits."""

    def __init__(self, scratch, limit_s):
        self.scratch, self.limit_s, self.executor = scratch, limit_s, None

    def to(self, **limits):
        command = [*relaunch_command("host.child:child_main"), ChildLimits(**limits).argument()]
        self.executor = ProcessExecutor(1, command, os.environ, str(self.scratch))
        return self

    def outcome(self, body, **named):
        return self.executor.submit(job(body, **named)).result(self.limit_s)

    def value(self, body, **named):
        outcome = self.outcome(body, **named)
        assert outcome.ok, outcome.error
        return load_value(outcome.data)

    def assert_ended(self, words, body, **named):
        """The task is ended and blamed in a sentence with these words, and the slot takes the next."""
        outcome = self.outcome(body, **named)
        assert (outcome.ok, outcome.error_type, outcome.blame) == (False, "OverLimit", "task"), outcome
        assert words in outcome.error
        assert self.value("return 'next'") == "next"

    def wait_until(self, condition):
        until = time.monotonic() + self.limit_s
        while not condition():
            assert time.monotonic() < until, "it never happened"
            time.sleep(0.02)


@pytest.fixture
def limited(tmp_path, scale):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    here = Limited(scratch, scale(20.0))
    yield here
    if here.executor is not None:
        groups = here.executor.children()
        here.executor.shutdown()
        # The guard is in its child's group: nobody is left there.
        here.wait_until(lambda: not any(map(has_members, groups)))
    assert list(scratch.iterdir()) == []


def has_members(group):
    """Whether a process of this group lives; one that has ended may wait for its parent to notice."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat") as file:
                state, _, of_group = file.read().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(of_group) == group and state != "Z":
            return True
    return False


# ---- what ends a task -------------------------------------------------------------------------------------------


@pytest.mark.smoke
def test_row_40_a_memory_hog_is_ended_and_blamed(limited):
    body = "hog = 'x' * part\ntime.sleep(100)"
    limited.to(memory_bytes=100 * MIB).assert_ended("gives 100 MiB to each subtask", body, part=300 * MIB)


def test_a_request_may_give_less_memory_than_the_device_does(limited):
    hog = "hog = 'x' * part\ntime.sleep(100)"
    limited.to(memory_bytes=1000 * MIB)
    assert limited.value("return 'a child with all of it is ready for the next'")
    outcome = limited.executor.submit(replace(job(hog, 300 * MIB), memory_bytes=100 * MIB)).result(limited.limit_s)
    assert outcome.error_type == "OverLimit" and "gives 100 MiB to each subtask" in outcome.error
    # Its process is nobody else's: the next request has what the device gives.
    assert limited.value("return len('x' * part)", part=300 * MIB) == 300 * MIB


def test_code_in_c_that_never_comes_back_to_python_is_ended_too(limited):
    # One call that holds the interpreter all the while: no thread of the process itself could see to it.
    limited.to(memory_bytes=100 * MIB).assert_ended("of memory", "sum([list(range(1000))] * 10 ** 9, [])")


def test_memory_of_what_the_task_starts_counts(limited):
    body = f"subprocess.run([{sys.executable!r}, '-c', 'x = bytes(1) * (300 << 20); input()'], stdin=subprocess.PIPE)"
    body = body.replace("subprocess.run", "subprocess.Popen") + ".wait()"
    limited.to(memory_bytes=100 * MIB).assert_ended("of memory", body)


def test_memory_shared_between_forks_counts_once(limited):
    body = """
block = os.urandom(1 << 20) * 64
pids = []
for number in range(4):
    pids.append(os.fork())
    if not pids[-1]:
        time.sleep(1)
        os._exit(len(block) % 251)
return [os.waitpid(pid, 0)[1] >> 8 for pid in pids]"""
    assert limited.to(memory_bytes=200 * MIB).value(body) == [64 * MIB % 251] * 4


def test_row_40_too_many_processes_are_ended_all_of_them(limited, tmp_path):
    note = tmp_path / "pids"
    body = """
with open(part, "w") as note:
    for number in range(60):
        pid = os.fork()
        if not pid:
            os.setsid()
            time.sleep(100)
        note.write(f"{pid}\\n")
time.sleep(100)"""
    limited.to(processes=20).assert_ended("more than 20 processes at once", body, part=str(note))
    pids = [int(line) for line in note.read_text().split()]
    limited.wait_until(lambda: not any(map(is_running, pids)))


def test_row_40_endless_files_are_ended(limited):
    body = "for number in range(10 ** 9):\n    open(str(number), 'w').close()\n    time.sleep(0.001)"
    limited.to(folder_files=100).assert_ended("more than 100 files", body)


def test_a_full_folder_is_ended(limited):
    body = """
for number in range(8):
    with open(str(number), 'wb') as file: file.write(b'x' * (1 << 20))
time.sleep(100)"""
    limited.to(folder_bytes=4 * MIB).assert_ended("in its folder", body)


# ---- what is an error in the task -------------------------------------------------------------------------------


@pytest.mark.parametrize("limits, body, error_type", [
    ({"file_bytes": MIB}, "with open('big', 'wb') as file: file.write(b'x' * (2 << 20))", "OSError"),
    ({"open_files": 40}, "return [open(os.devnull) for number in range(100)]", "OSError"),
    ({"address_bytes": 1024 * MIB}, "return len(bytearray(4 << 30))", "MemoryError"),
])
def test_the_kernel_refuses_the_rest(limited, limits, body, error_type):
    outcome = limited.to(**limits).outcome(body)
    assert (outcome.error_type, outcome.blame) == (error_type, "task"), outcome
    assert limited.value("return 'next'") == "next"


def test_no_core_files_and_a_brake_on_forks(limited):
    body = "return resource.getrlimit(resource.RLIMIT_CORE), resource.getrlimit(resource.RLIMIT_NPROC)[0]"
    core, forks = limited.to(processes=32).value(body)
    assert core == (0, 0)
    assert 1024 < forks < 100_000


def test_row_40_endless_output_is_bounded_and_the_task_ended_in_time(limited, scale):
    outcome = limited.to().outcome("while True: print('x' * 1000)", wall_s=scale(1.0))
    assert (outcome.error_type, outcome.blame) == ("TimedOut", "task")
    assert "bytes were printed before what follows" in outcome.output and len(outcome.output) < 66_000


def test_row_40_what_a_task_does_to_its_output_is_no_word_of_its_process(limited):
    body = "os.write(1, b'{\"ok\": true}\\n' * 10_000)\nos.close(1)\nos.close(2)\nreturn 7"
    assert limited.to().value(body) == 7 and limited.value("return 'next'") == "next"


@pytest.mark.parametrize("body, error_type, words", [
    ("import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: pass", "TimedOut", "longer than its"),
    ("os.kill(os.getpid(), 11)", "Died", "segmentation fault"),
    ("os._exit(0)", "Died", "ended by itself with exit status 0"),
    ("raise SystemExit(0)", "SystemExit", "SystemExit"),
    ("raise KeyboardInterrupt", "KeyboardInterrupt", "KeyboardInterrupt"),
    ("os.closerange(3, 200)\ntime.sleep(100)", "Died", "closed its pipes"),
])
def test_row_40_whatever_it_does_its_end_is_told_exactly(limited, body, error_type, words):
    outcome = limited.to().outcome(body, wall_s=1.0 if error_type == "TimedOut" else 0.0)
    assert (outcome.ok, outcome.error_type) == (False, error_type), outcome
    assert words in outcome.error
    assert limited.value("return 'next'") == "next"


def test_row_40_who_leaves_group_and_parents_survives_and_info_says_so(limited, tmp_path):
    note = tmp_path / "pid"
    body = """
if not os.fork():
    os.setsid()
    if not os.fork():
        with open(part, "w") as file: file.write(f"{os.getpid()}.")
        time.sleep(100)
    os._exit(0)
os.wait()
while not (os.path.exists(part) and open(part).read().endswith(".")): time.sleep(0.01)
os._exit(0)"""
    assert limited.to().outcome(body, part=str(note)).error_type == "Died"
    pid = int(note.read_text().rstrip("."))
    try:
        survives = is_running(pid)
    finally:
        os.kill(pid, 9)
    said = limits_of_children(ChildLimits(processes=32), is_offline=False)["processes"]
    assert survives and "leave its group may outlive it" in said


def test_row_44_a_task_sees_its_own_folder_and_few_variables(limited, tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET", "not for tasks")
    names, files, folder = limited.to().value("return sorted(os.environ), os.listdir('.'), os.getcwd()")
    allowed = {"PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "HOME", "TMPDIR", "TEMP", "TMP",
               "USERPROFILE"}
    assert {name for name in names if not name.endswith("_THREADS")} - {"VECLIB_MAXIMUM_THREADS"} <= allowed
    assert sorted(files) == [".printed", ".start"] and folder.startswith(str(limited.scratch))
    assert os.stat(folder).st_mode & 0o777 == 0o700


def test_row_44_a_task_inherits_no_descriptor(limited, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("not for tasks")
    with open(secret) as file, socket.create_server(("127.0.0.1", 0)) as listener:
        os.set_inheritable(file.fileno(), True)
        os.set_inheritable(listener.fileno(), True)
        open_here = limited.to().value("""
found = []
for number in os.listdir("/proc/self/fd"):
    try: found.append(os.readlink(f"/proc/self/fd/{number}"))
    except OSError: pass
return found""")
    inside = [name for name in open_here if not name.startswith(("pipe:", "/dev/null", "/proc/", str(limited.scratch)))]
    assert open_here and not inside


def test_the_owners_programs_go_first_but_the_guard_does_not_wait(limited):
    mine = os.nice(0)
    found = limited.to(memory_bytes=100 * MIB).value("""
others = [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()]
mine = [pid for pid in others if os.path.exists(f"/proc/{pid}") and os.getsid(pid) == os.getsid(0)]
return os.nice(0), [os.getpriority(os.PRIO_PROCESS, pid) for pid in mine]
""")
    assert found == (min(19, mine + 10), [mine])
    assert limits_of_children(ChildLimits(), is_offline=False)["priority"].startswith("nice 10")


@pytest.mark.skipif(not hasattr(os, "sched_getscheduler"), reason="os.sched_getscheduler")
def test_a_task_that_is_woken_takes_no_processor_from_the_node(limited):
    assert os.sched_getscheduler(0) == os.SCHED_OTHER
    assert limited.to().value("return os.sched_getscheduler(0)") == os.SCHED_BATCH


def test_a_task_may_wait_for_all_its_children(limited):
    body = """
if not os.fork(): os._exit(0)
found = 0
try:
    while os.wait(): found += 1
except ChildProcessError:
    return found"""
    assert limited.to().value(body) == 1


def test_where_orphans_become_the_nodes_own_none_is_left_behind(limited):
    """As for a node that is process 1 of a container: whatever loses its parent is its to take leave of."""
    command = [*relaunch_command("host.child:child_main"), ChildLimits().argument()]
    code = f"""
import ctypes, os, sys
sys.path[:] = {sys.path!r}
from discompute_lite.host.process_executor import ProcessExecutor
from discompute_lite.tasks.work import WorkRequest
PR_SET_CHILD_SUBREAPER = 36
assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
for number in range(3):
    executor = ProcessExecutor(1, {command!r}, {{}}, {str(limited.scratch)!r})
    assert executor.submit(WorkRequest("run", "echo", b"7", "t/0.1")).result().ok
    executor.shutdown()
try:
    sys.exit(f"left behind: {{os.waitpid(-1, os.WNOHANG)}}")
except ChildProcessError:
    pass
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=limited.limit_s)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_signal_to_the_whole_group_leaves_the_guard(limited):
    body = """
import signal
signal.signal(signal.SIGTERM, lambda *_: None)
os.kill(0, signal.SIGTERM)
hog = 'x' * (300 << 20)
time.sleep(100)"""
    limited.to(memory_bytes=100 * MIB).assert_ended("of memory", body)


# ---- network ----------------------------------------------------------------------------------------------------


@pytest.fixture
def listening():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


CALL = "with socket.create_connection(('127.0.0.1', part), 5): return 'connected', os.getuid(), os.getpid()"


def test_with_the_network_a_task_reaches_it(limited, listening):
    assert limited.to().value(CALL, part=listening)[:2] == ("connected", os.getuid())


def test_without_it_a_task_reaches_nobody_and_is_who_it_was(limited, listening):
    if subprocess.run(relaunch_command("host.child_limits:network_check_main"), check=False).returncode:
        pytest.skip("no user namespaces here")
    outcome = limited.to(network=False).outcome(CALL, part=listening)
    assert outcome.error_type == "OSError" and "unreachable" in outcome.error
    assert limited.value("open('own', 'w').close()\nreturn os.getuid(), os.stat('own').st_uid") == (os.getuid(),) * 2


NEIGHBOURS = """
with open("own", "w") as file: file.write(part)
seen = os.listdir("..")
return os.getcwd(), seen, [open(os.path.join("..", name, "own")).read() for name in seen]"""


def test_row_44_without_the_network_a_task_sees_no_other_tasks_folder(limited):
    if subprocess.run(relaunch_command("host.child_limits:network_check_main"), check=False).returncode:
        pytest.skip("no user namespaces here")
    neighbour = limited.to(network=False).scratch / "child-of-another-task"
    neighbour.mkdir()
    (neighbour / "own").write_text("not for others")
    folder, seen, read = limited.value(NEIGHBOURS, part="mine")
    assert (seen, read) == ([os.path.basename(folder)], ["mine"])
    assert {*seen, neighbour.name} <= {path.name for path in limited.scratch.iterdir()}, "all is there"
    assert (limited.scratch / seen[0] / "own").read_text() == "mine"


NO_BIND = """
import ctypes, os, sys
from discompute_lite.host import child_limits
library = ctypes.CDLL(None)
class WithoutBind:
    def __init__(self, name): pass
    unshare, umount2 = library.unshare, library.umount2
    def mount(self, source, target, kind, flags, data):
        return 1 if flags == 0x1000 else library.mount(source, target, kind, flags, data)
ctypes.CDLL = WithoutBind
os.chdir(sys.argv[1])
print(child_limits.leave_network(), child_limits.hide_other_folders(os.getcwd()), sorted(os.listdir(".")))
"""


def test_row_44_where_the_wall_cannot_be_built_a_task_keeps_its_folder_as_it_is(tmp_path):
    if subprocess.run(relaunch_command("host.child_limits:network_check_main"), check=False).returncode:
        pytest.skip("no user namespaces here")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "part").touch()
    done = subprocess.run([sys.executable, "-c", NO_BIND, str(tmp_path / "mine")], capture_output=True, text=True,
                          check=True)
    assert done.stdout.split(maxsplit=2) == ["True", "False", "['part']\n"]


def test_without_the_network_a_tasks_own_folder_is_bounded_as_ever_and_the_node_reads_it(limited):
    body = "for number in range(10 ** 9):\n    open(str(number), 'w').close()\n    time.sleep(0.001)"
    limited.to(network=False, folder_files=100).assert_ended("more than 100 files", body)


def test_row_44_with_it_folders_are_walls_for_other_users_only_and_what_a_task_leaves_goes_with_it(limited):
    folder, seen, _ = limited.to().value(NEIGHBOURS, part="mine")
    assert os.stat(folder).st_mode & 0o777 == 0o700 and seen == [os.path.basename(folder)]
    # The next task, whose process is another, finds nothing of it.
    request = replace(job(NEIGHBOURS, "other's"), attempt_id="u/0.1")
    other = load_value(limited.executor.submit(request).result(limited.limit_s).data)
    assert other[1:] == ([os.path.basename(other[0])], ["other's"]) and not os.path.exists(folder)
    said = [limits_for_tasks(Settings(), Probe(), Hardware(), is_offline)["files"] for is_offline in (False, True)]
    assert said == ["not limited: tasks may read and change what you may, another task's folder too while it runs",
                    "not limited: tasks may read and change what you may, but not another task's folder"]


# ---- when the node is killed ------------------------------------------------------------------------------------


@pytest.mark.parametrize("work", [
    "while True: time.sleep(1)",
    # Long in C, with the interpreter held: only somebody else can end it.
    "import re\nre.match(r'(a+)+$', 'a' * 60 + 'b')",
])
def test_orphans_are_gone_within_two_seconds(limited, tmp_path, scale, work):
    note = tmp_path / "pids"
    body = ("child = subprocess.Popen(['sleep', '100'])\n"
            f"with open(part, 'w') as file: file.write(f'{{os.getpid()}} {{child.pid}}.')\n{work}")
    command = [*relaunch_command("host.child:child_main"), ChildLimits().argument()]
    code = (f"import sys; sys.path[:] = {sys.path!r}; "
            "from discompute_lite.host.process_executor import ProcessExecutor; "
            "from discompute_lite.tasks.work import WorkRequest; "
            f"executor = ProcessExecutor(1, {command!r}, {{}}, {str(limited.scratch)!r}); "
            f"executor.submit({job(body, part=str(note))!r}).result()")
    node = subprocess.Popen([sys.executable, "-c", code])
    try:
        limited.wait_until(lambda: note.exists() and note.read_text().endswith("."))
    finally:
        node.kill()
        node.wait()
    pids = [int(word) for word in note.read_text().rstrip(".").split()]
    until = time.monotonic() + scale(2.0)
    while any(map(is_running, pids)):
        assert time.monotonic() < until, "an orphan works on"
        time.sleep(0.02)
    limited.to()  # The next node sweeps what is left on the disk.


def test_what_the_node_allows_a_task_to_print_and_to_say_of_errors_reaches_its_process(limited):
    allowed = replace(Limits(), output_bytes=100, error_text_bytes=60, error_trace_bytes=150, subtasks=3)
    limited.to(**dataclasses.asdict(ChildLimits.of_device(allowed, 0, True)))
    assert len(limited.outcome("print('x' * 1000)").output) < 300
    error = limited.outcome("raise ValueError('y' * 1000)").error
    assert len(error.partition("\n")[0].encode()) <= 60 < len(error.encode()) <= 150
    split = "def split():\n    return range(4)\ndef work(part):\n    return part\n"
    data = dump_value({"source": split, "name": "my.py"})
    outcome = limited.executor.submit(WorkRequest("split", "job", data, "t/split")).result(limited.limit_s)
    assert not outcome.ok and "more than 3 parts" in outcome.error
