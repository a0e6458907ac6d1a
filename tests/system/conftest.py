"""Run real nodes on 127.0.0.0/8, each with a state folder of its own, and see that nothing of them is left.

Knows:   how a node is started, watched and ended; the wire, as the protocol page tells it.
Refuses: to import the program: what is tested here is what a person or a foreign client meets.
Read next: test_node.py.
"""

from __future__ import annotations

import http.client
import json
import os
import queue
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence

import pytest

POLL_S = 0.01
#: Seconds that an event of a host in a network of namespaces may take: silence is noticed after half a minute.
EXPECT_S = 60.0
#: Words in a node's standard error that no input may bring about.
DISGRACES = ("Traceback", "ERROR", "Exception ignored", "Error:")


class Refused(Exception):
    """Hold the error that a node answered."""

    def __init__(self, error: Dict[str, Any]) -> None:
        super().__init__(error.get("message", ""))
        self.code = error.get("code")


class LineClient:
    """Speak JSON lines with attachments over one connection, knowing the protocol page and nothing else."""

    def __init__(self, address: Any, *, token: str = "", source: str = "", limit_s: float = 10.0) -> None:
        self.socket = socket.create_connection(address, limit_s, (source, 0) if source else None)
        self._file = self.socket.makefile("rb")
        self._last_id = 0
        if token:
            self.call("Hello", {"auth": token})

    def call(self, method: str, params: Any = None, blobs: Sequence[bytes] = ()) -> Any:
        """Return a result; raise `Refused` for an error, ConnectionError where the node hangs up."""
        call_id = self.send(method, params, blobs)
        while True:
            message = self.receive()
            if message.get("id") == call_id and "method" not in message:
                return self.outcome_of(message)

    def send(self, method: str, params: Any = None, blobs: Sequence[bytes] = ()) -> int:
        """Send a call; return its id."""
        self._last_id += 1
        message = {"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": params or {}}
        if blobs:
            message["attachments"] = [len(blob) for blob in blobs]
        self.socket.sendall(json.dumps(message).encode() + b"\n" + b"".join(blobs))
        return self._last_id

    def receive(self) -> Any:
        """Return the next message, its attachments in their places."""
        line = self._file.readline()
        if not line:
            raise ConnectionError("the node hung up")
        message = json.loads(line)
        sizes = message.get("attachments", []) if isinstance(message, dict) else []
        blobs = [self._file.read(size) for size in sizes]
        return self._filled(message, blobs) if blobs else message

    def rest(self) -> bytes:
        """Return everything that still comes until the node hangs up."""
        try:
            return self._file.read()
        except ConnectionResetError:
            return b""

    @staticmethod
    def outcome_of(message: Any) -> Any:
        """Return the result of an answer, or raise its error."""
        if "error" in message:
            raise Refused(message["error"])
        return message["result"]

    def close(self) -> None:
        """Hang up."""
        self._file.close()
        self.socket.close()

    def __enter__(self) -> LineClient:
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()

    def _filled(self, value: Any, blobs: List[bytes]) -> Any:
        if isinstance(value, dict):
            if set(value) == {"$attachment"}:
                return blobs[value["$attachment"]]
            return {key: self._filled(item, blobs) for key, item in value.items()}
        return [self._filled(item, blobs) for item in value] if isinstance(value, list) else value


class Done(NamedTuple):
    """Hold what a command left."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Return its standard output, which is one JSON document."""
        return json.loads(self.out)


class Typist:
    """Run one command after the other in one interpreter, as an app does: each costs its work and no start."""

    PROGRAM = """
import contextlib, io, json, os, sys
from discompute_lite.faces.cli import main
for line in sys.stdin:
    words, environ = json.loads(line)
    os.environ.clear()
    os.environ.update(environ)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(words)
    print(json.dumps([code, out.getvalue(), err.getvalue()]), flush=True)
"""

    def __init__(self, errors: Path) -> None:
        self._errors = errors
        with open(errors, "wb") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-c", self.PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file,
                text=True, encoding="utf-8",
            )

    def type(self, words: Sequence[str], environ: Dict[str, str]) -> Done:
        """Run a command to its end."""
        self._process.stdin.write(json.dumps([words, environ]) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, self._errors.read_text(encoding="utf-8")
        return Done(*json.loads(line))

    def end(self, limit_s: float) -> None:
        """End, and see that nothing went wrong beside the commands."""
        try:
            self._process.communicate("", timeout=limit_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
        assert (self._process.returncode, self._errors.read_text(encoding="utf-8")) == (0, "")


class Invitation:
    """One `invite --json` at a node: what it printed, and a way to answer it."""

    def __init__(self, field: Field, node: NodeProcess, *words: str) -> None:
        self.field, self.node = field, node
        self.process = subprocess.Popen(
            [sys.executable, "-m", "discompute_lite", "invite", "--json", *words],
            env=field.for_command(DISCOMPUTE_STATE_DIR=str(node.state)), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, encoding="utf-8",
        )
        self.facts = json.loads(self.process.stdout.readline())

    def at(self) -> str:
        """Return the code with the address at which it holds."""
        return f"{self.facts['code']}@{self.facts['address']}"

    def end(self, answers: str = "") -> Done:
        """Answer what is asked, and wait for its end."""
        out, err = self.process.communicate(answers, timeout=self.field.scale(30.0))
        return Done(self.process.returncode, out, err)


class Field:
    """Start nodes and commands of one test in one folder; end and look after them."""

    def __init__(self, folder: Path, scale: Callable[[float], float], typist: Typist, circle: Circle) -> None:
        self.folder = folder
        self.scale = scale
        self._typist = typist
        self._circle = circle
        self.nodes: List[Any] = []
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        self.discovery_port = free_udp_port()

    def environ(self, **changes: Optional[str]) -> Dict[str, str]:
        """Return the environment of nodes: loopback, our folder for temporary files."""
        environ = dict(
            os.environ, DISCOMPUTE_BIND="127.0.0.1", DISCOMPUTE_DISCOVERY_PORT=str(self.discovery_port),
            TMPDIR=str(self.temporary),
        )
        for name, value in changes.items():
            environ.pop(name, None)
            if value is not None:
                environ[name] = value
        return environ

    def start(
        self, name: str, *words: str, port: str = "0", lines: int = 0, within: Sequence[str] = (),
        **changes: Optional[str]
    ) -> Any:
        """Start a node and wait until it is ready.

        `port` "" leaves the choice to it; of what it says only the first `lines` are read, 0 for all; `within` is a
        command that becomes the one that it is given.
        """
        node = NodeProcess(self, name, [*(["--port", port] if port else []), *words], changes, lines, within)
        self.nodes.append(node)
        node.wait_ready()
        return node

    def let_belong(self, *names: str) -> List[Path]:
        """Make devices of these names, which have not started yet, members of one cluster; return their folders."""
        return [self._circle.give_place(self, self.folder / name) for name in names]

    def invite(self, node: NodeProcess, *words: str) -> Invitation:
        """Begin to let devices in at a node."""
        return Invitation(self, node, *words)

    def pair(self, host: NodeProcess, *folders: Path) -> None:
        """Let devices, by their folders, join a node's cluster, which it makes where it has none, as a class does."""
        invitation = self.invite(host, "--token", "--yes", "--count", str(len(folders)))
        for folder in folders:
            done = self.type("join", invitation.facts["link"], DISCOMPUTE_STATE_DIR=str(folder))
            assert done.code == 0, done.err
        done = invitation.end()
        assert done.code == 0, done.err

    def start_members(self, count: int, *words: str, **changes: Optional[str]) -> List[Any]:
        """Start nodes of one cluster side by side."""
        self.let_belong(*_names(count))
        return self.start_several(count, *words, **changes)

    def start_several(self, count: int, *words: str, **changes: Optional[str]) -> List[Any]:
        """Start nodes side by side, which have nothing in common."""
        names = _names(count)
        fresh = [NodeProcess(self, name, ["--port", "0", *words], changes) for name in names]
        self.nodes += fresh
        for node in fresh:
            node.wait_ready()
        return fresh

    def run(self, *words: str, limit_s: float = 30.0, **changes: Optional[str]) -> Done:
        """Run a command in a process of its own."""
        command = [sys.executable, "-m", "discompute_lite", *words]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, env=self.for_command(**changes),
            timeout=self.scale(limit_s),
        )
        return Done(done.returncode, done.stdout.decode("utf-8"), done.stderr.decode("utf-8"))

    def type(self, *words: str, **changes: Optional[str]) -> Done:
        """Run a command in the interpreter that all of these share."""
        return self._typist.type(words, self.for_command(**changes))

    def for_command(self, **changes: Optional[str]) -> Dict[str, str]:
        """Return the environment of a command: a person's, who has a folder of his own."""
        return self.environ(**{"DISCOMPUTE_STATE_DIR": str(self.folder / "command"), **changes})

    def wait_for(self, condition: Callable[[], Any], what: str = "it", limit_s: float = 15.0) -> Any:
        """Return the first true value of `condition()`; fail when none comes."""
        until = time.monotonic() + self.scale(limit_s)
        while True:
            value = condition()
            if value:
                return value
            assert time.monotonic() < until, f"{what} never happened"
            time.sleep(POLL_S)

    def wait_until_met(self, nodes: Sequence[Any]) -> None:
        """Wait until all list one another as available, with what they can do."""
        for node in nodes:
            self.wait_for(lambda node=node: all(map(node.sees, nodes)), f"{node.name} meets the others")

    def processes(self) -> List[int]:
        """Return the processes that this test has started, directly or not."""
        return processes_about(self.folder)

    def job(self, name: str, source: str) -> str:
        """Write a job file; return its path."""
        path = self.folder / name
        path.write_text(source, encoding="utf-8")
        return str(path)

    def clear(self) -> None:
        """End everything, then see that nothing is left."""
        for node in self.nodes:
            node.ask_to_end()
        for node in self.nodes:
            node.end()
        self.wait_for(lambda: not self.processes(), "the end of all processes", 5.0)
        assert sorted(os.listdir(self.temporary)) == [], "temporary files are left"
        for node in self.nodes:
            node.check_traces()


def _names(count: int) -> List[str]:
    return [f"node-{number}" for number in range(1, count + 1)]


class Circle:
    """A cluster that is made once by `invite` and `join`, when the first test wants one, and whose places are lent.

    A place is the state folder of a device that belongs to it; each test starts its own copies.
    """

    PLACES = 4

    def __init__(self, folder: Path, scale: Callable[[float], float], typist: Typist) -> None:
        self._folder, self._scale, self._typist = folder, scale, typist
        self._is_made = False
        #: How many places each field has been lent.
        self._lent: Dict[Path, int] = {}

    def give_place(self, field: Field, folder: Path) -> Path:
        """Put the next place into a folder, unless a device was put there before."""
        if not self._is_made:
            self._make()
        if not folder.exists():
            number = self._lent[field.folder] = self._lent.get(field.folder, 0) + 1
            shutil.copytree(self._folder / f"place-{number}", folder)
        return folder

    def _make(self) -> None:
        field = Field(self._folder, self._scale, self._typist, self)
        places = [self._folder / f"place-{number}" for number in range(1, self.PLACES + 1)]
        field.pair(field.start(places[0].name, "--discovery", "peers"), *places[1:])
        field.clear()
        self._is_made = True


class NodeProcess:
    """Own one `start --json`."""

    def __init__(
        self, field: Field, name: str, words: Sequence[str], changes: Dict[str, Optional[str]], lines: int = 0,
        within: Sequence[str] = (),
    ) -> None:
        self.field, self.name = field, name
        self.state = field.folder / name
        self.events: List[Dict[str, Any]] = []
        self.was_killed = self._is_asked = False
        self.id, self.port = "", 0
        self._errors = field.folder / f"{name}.err"
        self._clients: List[LineClient] = []
        #: Held by a test that wants nobody to read what it prints.
        self.reading = threading.Lock()
        command = [*within, sys.executable, "-m", "discompute_lite", "start", "--json", "--name", name]
        command += ["--state-dir", str(self.state), *words]
        with open(self._errors, "wb") as errors:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, env=field.environ(**changes)
            )
        self._reader = threading.Thread(target=self._read, args=(lines,), daemon=True)
        self._reader.start()

    def wait_ready(self) -> None:
        """Wait for the line that says where it listens."""
        self.field.wait_for(lambda: self.events or self.process.poll() is not None, f"the start of {self.name}")
        assert self.events, f"{self.name} did not start: {self.complaints()}"
        assert self.events[0]["event"] == "ready"
        self.id, self.port = self.events[0]["device"]["id"], self.events[0]["port"]

    @property
    def token(self) -> str:
        """Return what shows that its owner calls."""
        return (self.state / "control.token").read_text(encoding="ascii").strip()

    def client(self, *, is_owner: bool = True, host: str = "127.0.0.1", source: str = "") -> LineClient:
        """Return a new connection; the node closes it at the end, if the test does not."""
        client = LineClient(
            (host, self.port), token=self.token if is_owner else "", source=source, limit_s=self.field.scale(10.0)
        )
        self._clients.append(client)
        return client

    def call(self, method: str, params: Any = None) -> Any:
        """Make one call as the owner, over a connection that is kept."""
        if not hasattr(self, "_kept"):
            self._kept = self.client()
        return self._kept.call(method, params)

    def devices(self) -> Dict[str, Any]:
        """Return what it lists: id -> device."""
        return {device["id"]: device for device in self.call("GetDevices")["devices"]}

    def sees(self, other: NodeProcess) -> bool:
        """Whether it lists another as available, with what it can do."""
        device = self.devices().get(other.id, {})
        return device.get("status") == "AVAILABLE" and device["capabilities"]["cpu_cores"] > 0

    def answers(self) -> bool:
        """Whether a new caller is served."""
        with self.client(is_owner=False) as client:
            return client.call("Ping")["timestamp"] > 0

    def get(self, path: str, **headers: str) -> Any:
        """Make one HTTP request without a body; return (status, text)."""
        return self.request("GET", path, headers=headers)

    def request(self, method: str, path: str, body: Optional[bytes] = None, headers: Any = None) -> Any:
        """Make one HTTP request; return (status, text)."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=self.field.scale(10.0))
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read().decode("utf-8")
        finally:
            connection.close()

    def said(self, kind: str, text: str = "") -> bool:
        """Whether it told of an event."""
        return any(event["event"] == kind and text in event.get("text", "") for event in list(self.events))

    def submit(self, source: str, *, subtasks: int = 0, **args: Any) -> str:
        """Submit a job as the owner; return its id."""
        data = json.dumps({"source": source, "args": args, "name": "job.py"})
        task = {"task_type": "job", "task_data": data_of(data), "metadata": {"name": "job.py"}}
        answer = self.call("SubmitTask", {"task": task, "target_subtasks": subtasks})
        assert answer["success"], answer["message"]
        return answer["task_id"]

    def state_of(self, task_id: str) -> str:
        """Return a task's state."""
        return self.call("GetTaskStatus", {"task_id": task_id})["task"]["lite"]["state"]

    def running_on(self, task_id: str) -> List[str]:
        """Return the devices that run pieces of a task just now."""
        subtasks = self.call("GetTaskStatus", {"task_id": task_id})["subtasks"]
        return [item["assigned_device_id"] for item in subtasks if item["status"] == "RUNNING"]

    def result_of(self, task_id: str, limit_s: float = 30.0) -> Any:
        """Wait for a task's end; return (state, value or message)."""
        self.field.wait_for(
            lambda: self.state_of(task_id) not in ("PENDING", "RUNNING"), f"the end of task {task_id}", limit_s
        )
        answer = self.call("GetTaskResult", {"task_id": task_id})
        if answer["state"] != "COMPLETED":
            return answer["state"], answer["message"]
        data = answer["result_data"]
        return answer["state"], json.loads(data if isinstance(data, bytes) else bytes_of(data))

    def children(self) -> List[int]:
        """Return the processes that it has started."""
        return [pid for pid in self.field.processes() if pid != self.process.pid and parent_of(pid) == self.process.pid]

    def kill(self, number: int = signal.SIGTERM) -> None:
        """Send a signal."""
        self.was_killed = self.was_killed or number == getattr(signal, "SIGKILL", None)
        self.process.send_signal(number)

    def wait_end(self, limit_s: float = 5.0) -> int:
        """Wait until it has ended; return its exit code."""
        code = self.process.wait(self.field.scale(limit_s))
        self._reader.join(self.field.scale(5.0))
        return code

    def ask_to_end(self) -> None:
        """Send the polite signal."""
        for client in self._clients:
            client.close()
        # Once: at the very end of its life a second signal is no longer heard by the program, but ends its process.
        if self.process.poll() is None and not self._is_asked:
            self._is_asked = True
            if hasattr(signal, "SIGCONT"):
                self.process.send_signal(signal.SIGCONT)
            self.process.terminate()

    def end(self) -> None:
        """Wait until it has ended, or fail."""
        if self.process.poll() is None:
            try:
                self.wait_end()
            except subprocess.TimeoutExpired:
                self.was_killed = True
                self.process.kill()
                self.process.wait()
                raise AssertionError(f"{self.name} did not end when it was asked to") from None
        self._reader.join(self.field.scale(5.0))

    def complaints(self) -> str:
        """Return its standard error so far."""
        return self._errors.read_text(encoding="utf-8", errors="replace")

    def check_traces(self) -> None:
        """See that it has not lost its composure, and has tidied up."""
        complaints = self.complaints()
        assert not any(word in complaints for word in DISGRACES), f"{self.name} wrote: {complaints}"
        if not self.was_killed and self.id:
            assert self.process.returncode == 0
            assert not (self.state / "node.json").exists()
            assert not (self.state / "scratch").exists()

    def _read(self, lines: int) -> None:
        with self.process.stdout:
            for line in self.process.stdout:
                if not line.endswith(b"\n"):
                    break  # Cut off as it ended, because nobody read it.
                with self.reading:
                    self.events.append(json.loads(line))
                if len(self.events) == lines:
                    break


class NetworkHost:
    """Run one program on a host and read its lines of JSON."""

    def __init__(self, bed: Any, number: int, command: List[str], environ: Dict[str, str], errors: Path) -> None:
        self.errors = errors
        with open(errors, "wb") as file:
            self.process = subprocess.Popen(
                bed.command(number, command), env=environ, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=file,
            )
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def expect(self, *events: str, **wanted: Any) -> Dict[str, Any]:
        """Return the next line that is one of these events, if any are given, and says all that is wanted."""
        until, seen = time.monotonic() + EXPECT_S * float(os.environ.get("DISCOMPUTE_TEST_SCALE", "1")), []
        while time.monotonic() < until:
            try:
                line = self._lines.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                break
            if not line:
                break
            event = json.loads(line)
            seen.append(event)
            said = event.get("event") in events or not events
            if said and all(event.get(key) == value for key, value in wanted.items()):
                return event
        raise AssertionError(f"{events or ''}{wanted} never came, but {seen}: {self.errors.read_text()}")

    def _read(self) -> None:
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put("")

    def end(self) -> None:
        """End a node as a person would; whatever else reads to the end of its standard input."""
        if self.process.poll() is None:
            self.process.stdin.close()
            if "discompute_lite" in self.process.args:
                self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._reader.join()
        self.process.stdout.close()


def data_of(text: str) -> str:
    """Return bytes as JSON carries them: base64."""
    import base64
    return base64.b64encode(text.encode("utf-8")).decode("ascii")


def bytes_of(text: str) -> bytes:
    """Return what base64 stands for."""
    import base64
    return base64.b64decode(text)


def processes_about(folder: Path) -> List[int]:
    """Return the living processes whose command or environment names this folder, our own and its parents aside."""
    if not os.path.isdir("/proc/self"):
        listed = subprocess.run(["ps", "-axww", "-o", "pid=,command="], capture_output=True, text=True).stdout
        return [int(line.split()[0]) for line in listed.splitlines() if str(folder) in line and "ps -axww" not in line]
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) in (os.getpid(), os.getppid()):
            continue
        try:
            about = Path("/proc", name, "cmdline").read_bytes() + b"\0" + Path("/proc", name, "environ").read_bytes()
            state = Path("/proc", name, "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if os.fsencode(str(folder)) in about and state not in ("Z", "X"):
            found.append(int(name))
    return found


def parent_of(pid: int) -> int:
    """Return a process's parent, 0 where it is gone."""
    try:
        return int(Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError):
        return 0


@pytest.fixture(scope="session")
def is_alive() -> Callable[[int], bool]:
    """Return what says whether there is a process of a number, be it one that nobody has waited for."""

    def look(pid: int) -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        return True

    return look


def free_udp_port() -> int:
    """Return a UDP port of the loopback that nobody uses just now."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@pytest.fixture(scope="session")
def testbed(load_tool: Callable[[str], Any]) -> Any:
    """Return tools/testbed.py as a module; skip where this machine cannot have one."""
    module = load_tool("testbed")
    reason = module.why_no_testbed()
    if reason:
        pytest.skip(reason)
    return module


@pytest.fixture(scope="session")
def host_program() -> Any:
    """Return the class that runs a program on a host of a testbed."""
    return NetworkHost


@pytest.fixture(scope="session")
def typist(tmp_path_factory: pytest.TempPathFactory, scale: Callable[[float], float]) -> Iterator[Typist]:
    """Give all tests one interpreter that runs commands."""
    typist = Typist(tmp_path_factory.mktemp("typist") / "errors")
    yield typist
    typist.end(scale(10.0))


@pytest.fixture(scope="session")
def circle(tmp_path_factory: pytest.TempPathFactory, scale: Callable[[float], float], typist: Typist) -> Circle:
    """Give all tests one cluster to be members of."""
    return Circle(tmp_path_factory.mktemp("circle"), scale, typist)


@pytest.fixture
def field(tmp_path: Path, scale: Callable[[float], float], typist: Typist, circle: Circle) -> Iterator[Field]:
    """Give a test its own nodes; they end with it, and leave nothing."""
    field = Field(tmp_path, scale, typist, circle)
    yield field
    field.clear()


@pytest.fixture(scope="module")
def shared(
    tmp_path_factory: pytest.TempPathFactory, scale: Callable[[float], float], typist: Typist, circle: Circle
) -> Iterator[Any]:
    """Give the tests of one file one node, which must be well again after each of them."""
    field = Field(tmp_path_factory.mktemp("shared"), scale, typist, circle)
    field.start("shared", "--slots", "2")
    yield field
    field.clear()


@pytest.fixture
def node(shared: Field) -> Iterator[Any]:
    """Give a test the file's node; afterwards it serves the next caller at once."""
    node = shared.nodes[0]
    yield node
    assert node.process.poll() is None
    assert node.answers()


@pytest.fixture
def fails() -> Callable[[Done, int, str], None]:
    """Check that a command failed as promised: this code, and one line that says what happened and what to do."""

    def check(done: Any, code: int, *words: str) -> None:
        done = Done(*done)
        assert done.code == code, (done.out, done.err)
        assert done.out == ""
        lines = done.err.splitlines()
        assert len(lines) == 1, done.err
        assert lines[0].startswith("discompute: ")
        assert "; " in lines[0] or ". " in lines[0], "it does not say what to do"
        for word in words:
            assert word in lines[0], lines[0]

    return check


@pytest.fixture(scope="session")
def posix() -> None:
    """Skip where there are no signals and process groups."""
    if os.name != "posix":
        pytest.skip("needs POSIX signals")
