"""A node whose work runs in somebody else's executor, by `--executor module:callable`: Dask, process pools, threads."""

import base64
import json
import os
import signal
import sys
import tempfile
import textwrap

import pytest

JOB = """
import os
def split(n: int = 8):
    return range(n)
def work(part):
    print("part", part)
    if part == 99:
        raise ValueError("ninety-nine")
    return os.getpid(), part * part
def merge(parts):
    return {"pids": sorted({pid for pid, _ in parts}), "squares": [square for _, square in parts]}
"""
WAITS = """
import os, time
def work(path=""):
    open(path, "w").close()
    while not os.path.exists(path + ".go"):
        time.sleep(0.01)
"""
MAKERS = {
    "dask": """
        import os
        import dask
        from dask.distributed import Client, LocalCluster

        def make():
            # Else it leaves a folder behind in the one for temporary files.
            dask.config.set({"temporary-directory": os.path.dirname(__file__)})
            cluster = LocalCluster(n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None)
            return Client(cluster).get_executor()
    """,
    "pool": """
        import multiprocessing
        from concurrent.futures import ProcessPoolExecutor

        def make():
            return ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn"))
    """,
    "forked pool": """
        import multiprocessing
        from concurrent.futures import ProcessPoolExecutor

        def make():
            return ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork"))
    """,
    "served pool": """
        import multiprocessing
        from concurrent.futures import ProcessPoolExecutor

        def make():
            return ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("forkserver"))
    """,
    "threads": """
        from concurrent.futures import ThreadPoolExecutor

        def make():
            return ThreadPoolExecutor(2)
    """,
    "hangs": """
        import threading
        from concurrent.futures import Executor

        class Hanging(Executor):
            def submit(self, *call):
                open(__file__ + ".called", "w").close()
                threading.Event().wait()

            def shutdown(self, wait=True):
                threading.Event().wait()

        def make():
            return Hanging()
    """,
}


#: Becomes the command that it is given, as in a terminal of its own: Ctrl-C there is a signal to all its processes.
IN_A_TERMINAL = [sys.executable, "-c", "import os, sys; os.setsid(); os.execv(sys.argv[1], sys.argv[1:])"]


@pytest.fixture
def end_s():
    """Seconds that an executor's threads and processes have to end before they are ended by force."""
    return 2.0


@pytest.fixture
def short_folder():
    """A folder for temporary files with a short name, as a name of a socket in it has to be."""
    with tempfile.TemporaryDirectory(prefix="pool-") as folder:
        yield folder
        assert os.listdir(folder) == []


@pytest.fixture(params=[pytest.param("dask", marks=pytest.mark.against), "pool", "threads"])
def node(request, short_folder, field, end_s):
    """A node that runs its work in the executor of that name."""
    if request.param == "dask":
        pytest.importorskip("distributed")
    hurry = f"from discompute_lite.host import foreign_executors\nforeign_executors.END_S = {end_s}\n"
    (field.folder / "maker.py").write_text(hurry + textwrap.dedent(MAKERS[request.param]))
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    path = os.pathsep.join([root, str(field.folder)])
    within = IN_A_TERMINAL if os.name == "posix" else []
    changes = {"TMPDIR": short_folder} if request.param == "served pool" else {}
    node = field.start("foreign", "--executor", "maker:make", "--slots", "2", within=within, PYTHONPATH=path, **changes)
    node.kind = request.param
    node.called = field.folder / "maker.py.called"
    return node


def test_results_output_and_exceptions_come_from_there(node):
    state, value = node.result_of(node.submit(JOB, n=8), 60.0)
    assert state == "COMPLETED" and value["squares"] == [part * part for part in range(8)]
    assert (node.process.pid in value["pids"]) == (node.kind == "threads"), "in processes of its own, or in threads"
    task_id = node.submit(JOB, n=3)
    assert node.result_of(task_id, 60.0)[0] == "COMPLETED"
    printed = "".join(part["lite"]["output"] for part in node.call("GetTaskResult", {"task_id": task_id})["parts"])
    assert printed == "part 0\npart 1\npart 2\n"
    state, message = node.result_of(node.submit(JOB.replace("part == 99", "part == 2"), n=4), 60.0)
    assert state == "FAILED" and "ValueError: ninety-nine" in message


def test_what_runs_there_is_disowned_when_cancelled(node, field):
    """A foreign executor offers no way to end what runs: the task is over at once, and what runs of it unheeded."""
    path = str(field.folder / "begun")
    task_id = node.submit(WAITS, path=path)
    field.wait_for(lambda: os.path.exists(path), "it begins", 30.0)
    try:
        assert node.call("CancelTask", {"task_id": task_id})["success"]
        assert node.state_of(task_id) == "CANCELLED"
    finally:
        open(path + ".go", "w").close()
    assert node.result_of(node.submit(JOB, n=2), 60.0)[0] == "COMPLETED"


DIES_ONCE = """
import os

def split(path):
    return [(path, number) for number in range(4)]

def work(part):
    path, number = part
    if number == 2 and not os.path.exists(path):
        open(path, "w").close()
        os._exit(1)
    return number

def merge(parts):
    return parts
"""


@pytest.mark.parametrize("node", ["pool"], indirect=True)
def test_a_pool_that_breaks_is_made_anew_and_the_job_goes_on(node, field):
    state, value = node.result_of(node.submit(DIES_ONCE, path=str(field.folder / "died")), 60.0)
    assert (state, value) == ("COMPLETED", [0, 1, 2, 3])
    assert [event["text"] for event in node.events if event["event"] == "warning" and "executor" in event["text"]] == [
        event["text"] for event in node.events if "a new one is in its place" in event.get("text", "")]
    assert sum("a new one is in its place" in event.get("text", "") for event in node.events) == 1
    assert node.result_of(node.submit(JOB, n=2), 60.0)[0] == "COMPLETED"


@pytest.mark.parametrize("node", ["pool"], indirect=True)
def test_a_pool_whose_process_is_killed_while_it_rests_is_made_anew(node, field):
    state, value = node.result_of(node.submit(JOB, n=8), 60.0)
    assert state == "COMPLETED"
    for pid in set(value["pids"]):
        os.kill(pid, signal.SIGKILL)
    assert node.result_of(node.submit(JOB, n=4), 60.0)[0] == "COMPLETED"


FOR_EVER = """
import threading
def work(path=""):
    open(path, "w").close()
    threading.Event().wait()
"""


@pytest.mark.parametrize("node", ["pool", "threads"], indirect=True)
def test_ctrl_c_ends_a_node_though_what_runs_there_does_not_end(node, field):
    """The interpreter would wait for the threads and processes of a standard pool; for Dask's it does not."""
    path = str(field.folder / "begun")
    node.submit(FOR_EVER, path=path)
    field.wait_for(lambda: os.path.exists(path), "it begins", 30.0)
    node.kill(signal.SIGINT)
    assert node.wait_end(20.0) == 0
    assert node.complaints().count("\n") == 1 and "are ended by force" in node.complaints()


STARTS_A_PROGRAM = """
import os, subprocess, sys
PROGRAM = "import sys, time; open(sys.argv[1], 'w').close(); time.sleep(600)"
def work(path=""):
    code = subprocess.run([sys.executable, "-c", PROGRAM, path + ".begun"], stderr=subprocess.DEVNULL).returncode
    with open(path, "w") as file:
        file.write(str(code))
"""


#: As long as a busy machine may need to end in good order what has nothing more to do.
UNHURRIED = pytest.mark.parametrize("end_s", [15.0])


@UNHURRIED
@pytest.mark.parametrize("node", ["pool", "forked pool", "served pool"], indirect=True)
def test_ctrl_c_in_a_terminal_shows_no_traceback_of_a_pools_processes(node, posix):
    """It goes to all of them, those that rest too."""
    assert node.result_of(node.submit(JOB, n=4), 60.0)[0] == "COMPLETED"
    os.killpg(node.process.pid, signal.SIGINT)
    assert (node.wait_end(20.0), node.complaints()) == (0, "")


@UNHURRIED
@pytest.mark.parametrize("node", ["pool", "threads"], indirect=True)
def test_ctrl_c_in_a_terminal_ends_the_programs_that_work_started(node, field, posix):
    """They would outlive the node, which has no word of them."""
    path = str(field.folder / "code")
    node.submit(STARTS_A_PROGRAM, path=path)
    field.wait_for(lambda: os.path.exists(path + ".begun"), "the program begins", 30.0)
    os.killpg(node.process.pid, signal.SIGINT)
    assert (node.wait_end(20.0), node.complaints()) == (0, "")
    with open(path, encoding="utf-8") as file:
        assert int(file.read()) != 0


@pytest.mark.parametrize("node", ["hangs"], indirect=True)
def test_a_node_whose_executor_hangs_as_it_is_called_answers_and_ends(node, field):
    work = json.dumps({"source": JOB, "args": {}, "name": "job.py"})
    task = {"task_type": "job", "task_data": base64.b64encode(work.encode()).decode()}
    with node.client() as waiting:
        waiting.send("SubmitTask", {"task": task})
        field.wait_for(lambda: node.called.exists(), "the executor is called")
        assert node.answers()
    node.kill(signal.SIGINT)
    assert node.wait_end(20.0) == 0
