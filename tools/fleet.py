"""Run many real nodes in few processes on 127.0.0.0/8, and ask them what they know: for tests and benches.

Knows:   how a process holds several nodes, each with an address, a thread and a state folder of its own.
Refuses: to stay when its standard input ends, and to leave the loopback.
Read next: tools/bench_discovery.py and tests/system/test_scale.py, which start fleets.

A process is asked by lines of JSON, [question, argument], and answers each with a line: see `Crew`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from discompute_lite.net.datagrams import DatagramSocket  # noqa: E402
from discompute_lite.run import LocalNode, describe_this_device, read_settings  # noqa: E402

#: More nodes in one process hold one another up: they share one interpreter.
CREW_NODES = 7
#: What may be on the wire, and in a person's environment, is no business of a fleet.
SETTINGS = {"DISCOMPUTE_PORT": "0", "DISCOMPUTE_EXECUTOR": "thread", "DISCOMPUTE_SLOTS": "1"}


# ---- one process --------------------------------------------------------------------------------------------


class Crew:
    """Hold the nodes of one process; every public method but `stop` answers a question."""

    def __init__(self, folder: Path, first: int, count: int, discovery_port: int) -> None:
        #: For each node what it told: (monotonic seconds, kind, sentence).
        self.told: List[List[Tuple[float, str, str]]] = [[] for _ in range(count)]
        self.nodes: List[LocalNode] = []
        #: Datagrams that were sent from here.
        self.datagrams = 0
        for number in range(count):
            environ = {
                **SETTINGS, "DISCOMPUTE_BIND": address_of(first + number),
                "DISCOMPUTE_DISCOVERY_PORT": str(discovery_port),
                "DISCOMPUTE_STATE_DIR": str(folder / f"node-{first + number}"),
                "DISCOMPUTE_NAME": f"node {first + number}",
            }
            self.nodes.append(LocalNode(read_settings({}, environ), tell=self._teller(number)))
        self._count_datagrams()

    def start(self, _: Any) -> List[float]:
        """Let all nodes meet the others; return when each began."""
        began = []
        for node in self.nodes:
            began.append(time.monotonic())
            node.start()
            node.run_in_thread()
        return began

    def ids(self, _: Any) -> List[str]:
        """Return who is here."""
        return [node.node.id for node in self.nodes]

    def known(self, _: Any) -> List[int]:
        """Return of how many others each node knows that they are there."""
        return self._of_each(lambda node: sum(each.present for each in node.node.discovery.registry.devices()))

    def links(self, _: Any) -> List[int]:
        """Return how many devices each node has a link to."""
        return self._of_each(lambda node: len(node.node.discovery.links))

    def heard(self, wanted: List[str]) -> List[Optional[float]]:
        """Return when each node first told of an event [kind, words in its sentence]; None where it has not."""
        kind, words = wanted
        return [next((at for at, what, text in list(told) if what == kind and words in text), None)
                for told in self.told]

    def spent(self, _: Any) -> Dict[str, float]:
        """Return seconds of processor and datagrams sent, so far."""
        return {"processor_s": time.process_time(), "datagrams": self.datagrams, "at": time.monotonic()}

    def stop(self) -> None:
        """End all nodes."""
        threads = [thread for thread in threading.enumerate() if thread.name == "discompute-loop"]
        for node in self.nodes:
            node.stop()
        for thread in threads:
            thread.join(5.0)

    def _of_each(self, ask: Callable[[LocalNode], Any]) -> List[Any]:
        answers: Dict[int, Any] = {}
        is_there = threading.Semaphore(0)

        def look(number: int, node: LocalNode) -> None:
            answers[number] = ask(node)
            is_there.release()

        for number, node in enumerate(self.nodes):
            node.loop.post(look, number, node)
        for _ in self.nodes:
            is_there.acquire()
        return [answers[number] for number in range(len(self.nodes))]

    def _teller(self, number: int) -> Callable[[str, str], None]:
        return lambda kind, text, **_: self.told[number].append((time.monotonic(), kind, text))

    def _count_datagrams(self) -> None:
        send = DatagramSocket.send

        def counted(sock: DatagramSocket, data: bytes, destination: Tuple[str, int]) -> None:
            send(sock, data, destination)
            self.datagrams += 1

        DatagramSocket.send = counted  # type: ignore[method-assign]


def address_of(number: int) -> str:
    """Return the address of a node of the fleet; .1 is everybody's."""
    return f"127.0.{1 + number // 200}.{2 + number % 200}"


def main() -> None:
    """Be one process of a fleet."""
    folder, first, count, discovery_port = sys.argv[1:]
    crew = Crew(Path(folder), int(first), int(count), int(discovery_port))
    print(json.dumps("made"), flush=True)
    for text in sys.stdin:
        question, argument = json.loads(text)
        answer = getattr(crew, question)(argument)
        print(json.dumps([time.monotonic(), answer]), flush=True)
    crew.stop()


# ---- all of them ----------------------------------------------------------------------------------------------


class CrewProcess:
    """Own one process of a fleet."""

    def __init__(self, folder: Path, first: int, count: int, discovery_port: int) -> None:
        self.count = count
        words = [str(folder), str(first), str(count), str(discovery_port)]
        self.process = subprocess.Popen(
            [sys.executable, __file__, *words], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._read()

    def begin(self, question: str, argument: Any = None) -> None:
        """Ask; `answer` returns what comes."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([question, argument]) + "\n")
        self.process.stdin.flush()

    def answer(self) -> Any:
        """Return (when it was given, answer) of the question before."""
        return self._read()

    def ask(self, question: str, argument: Any = None) -> Any:
        """Ask, and return the answer."""
        self.begin(question, argument)
        return self.answer()[1]

    def kill(self) -> None:
        """End it without a word."""
        self.process.kill()
        self._close()

    def end(self) -> None:
        """End it in good order."""
        if self.process.poll() is None:
            assert self.process.stdin is not None
            self.process.stdin.close()
        self._close()

    def _close(self) -> None:
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None and not pipe.closed:
                pipe.close()

    def _read(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "a process of the fleet has ended"
        return json.loads(line)


class Fleet:
    """Own the processes of a fleet; a context manager."""

    def __init__(self, folder: Path, nodes: int, discovery_port: int) -> None:
        """Make them, without letting them meet yet."""
        self.folder, self.discovery_port = folder, discovery_port
        self._speed = measured_here(folder)
        self.crews: List[CrewProcess] = []
        self._nodes = 0
        while self._nodes < nodes:
            self.add(min(CREW_NODES, nodes - self._nodes))

    def add(self, count: int) -> CrewProcess:
        """Make one more process with so many nodes."""
        for number in range(self._nodes, self._nodes + count):
            state = self.folder / f"node-{number}"
            state.mkdir(mode=0o700)
            # Measured once for all: each would measure the machine while the others do.
            (state / "speed.json").write_text(self._speed)
        crew = CrewProcess(self.folder, self._nodes, count, self.discovery_port)
        self._nodes += count
        self.crews.append(crew)
        return crew

    def start(self) -> float:
        """Let all meet; return when the last one had started (monotonic)."""
        for crew in self.crews:
            crew.begin("start")
        return float(max(crew.answer()[0] for crew in self.crews))

    def ask(self, question: str, argument: Any = None) -> List[Any]:
        """Ask all processes at once; return the answers of all nodes, or of the processes where these speak as one."""
        for crew in self.crews:
            crew.begin(question, argument)
        answers = [crew.answer()[1] for crew in self.crews]
        return [each for answer in answers for each in answer] if isinstance(answers[0], list) else answers

    def remove(self, crew: CrewProcess) -> None:
        """Count a process no more that has ended."""
        self.crews.remove(crew)

    def __enter__(self) -> Fleet:
        return self

    def __exit__(self, *exception: object) -> None:
        for crew in self.crews:
            crew.end()


def measured_here(folder: Path) -> str:
    """Return what a node stores of this machine's speed, measured now."""
    state = folder / "measured"
    state.mkdir(mode=0o700)
    describe_this_device(read_settings({}, {"DISCOMPUTE_STATE_DIR": str(state)}), with_bench=True)
    # Were it said to be measured on a busy machine, every node would measure again, in the middle of everything.
    return json.dumps({**json.loads((state / "speed.json").read_text()), "contended": False})


if __name__ == "__main__":
    main()
