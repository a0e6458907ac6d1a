"""Reach a node: the one that runs on this machine, or one started here for as long as a command needs it.

Knows:   the state folder's node.json and control.token, and how to run a node in a thread.
Refuses: to send the token anywhere but to a living node of the same folder, over loopback.
Read next: faces/node_commands.py.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, Callable, Iterator, List, Optional, Sequence, Type

from ..beside import CALL_TYPED_S, TypedAnswer
from ..model.codec import from_json
from ..model.device import Device, DeviceStatus
from ..model.errors import LinkError, NotFound
from ..model.settings import Settings, peers_typed
from ..net.client import Client, address_in
from ..net.event_client import EventClient
from ..run import LocalNode, find_running_node, is_this_machine_only
from .command import Context
from .console import printable

#: Seconds that a node started for one command looks for others before its first answer.
LOOK_AROUND_S = 1.5
#: Seconds in which whoever runs on this machine has answered a beacon, wherever it listens: the second is out by then.
ANSWERED_HERE_S = 0.5
POLL_S = 0.05
#: Seconds that a node started for one command may take to end; its thread does not hold up the program beyond.
STOP_OWN_S = 5.0


class Reach:
    """Hold a client of this machine's node, and the node itself where it had to be started; a context manager."""

    def __init__(self, settings: Settings, say: Callable[[str], None]) -> None:
        """`say` is told in a sentence of each address that was typed, and where nobody answers."""
        self.local: Optional[LocalNode] = None
        self._thread: Any = None
        running = find_running_node(settings)
        try:
            if running is None:
                self.local = LocalNode(settings)
                self.local.start()
                self._thread = self.local.run_in_thread()
                self._began = time.monotonic()
                running = self.local.control_port, self.local.node.identity.token
            port, token = running
            self._address, self._token = f"127.0.0.1:{port}", token
            self.client = Client(self._address, token=token)
            self._call_typed(peers_typed(settings), say)
        except BaseException:
            self._stop_own()
            raise

    def __enter__(self) -> Reach:
        return self

    def __exit__(
        self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self.client.close()
        self._stop_own()

    def call(self, method: str, params: Any, timeout_s: float = 15.0) -> Any:
        """Call the node; raise what it answers."""
        return self.client.call(method, params, timeout_s=timeout_s)

    def events(self, task_id: str = "") -> EventClient:
        """Return what happens from now on at the node, or only what concerns one task."""
        return EventClient(self._address, self._token, task_id=task_id)

    def devices(self) -> List[Device]:
        """Return the devices that the node knows, itself first."""
        answer = self.call("GetDevices", {})
        return [from_json(Device, item, "device") for item in answer["devices"]]

    def look_around(
        self, wait_s: Optional[float], is_enough: Callable[[List[Device]], bool] = lambda devices: False, *,
        at_most_s: Optional[float] = None,
    ) -> List[Device]:
        """Return the devices after giving a node that has just started time to meet them.

        It looks for `wait_s`; or, where that is None, until nobody else can be expected, for `at_most_s`, of which the
        default is none with a node that ran already: it has met them. Ends early when `is_enough(devices)`.
        """
        if at_most_s is None:
            at_most_s = LOOK_AROUND_S if self.local is not None else 0.0
        deadline = time.monotonic() + (at_most_s if wait_s is None else wait_s)
        while True:
            # Known before the devices are asked for: who came in between is among them.
            is_over = time.monotonic() >= deadline or (wait_s is None and self._is_settled())
            devices = self.devices()
            if is_over or is_enough(devices):
                return devices
            time.sleep(POLL_S)

    def _call_typed(self, typed: Sequence[str], say: Callable[[str], None]) -> None:
        """Have the node call the addresses that were typed: one that runs has read its settings long ago."""
        if not typed:
            return
        result = self.call("Meet", {"addresses": list(typed)}, CALL_TYPED_S)
        answer = from_json(TypedAnswer, result, "the answer to Meet")
        for trouble in answer.troubles(by_own_node=self.local is not None):
            say(printable(trouble))

    def _is_settled(self) -> bool:
        """Whether everybody whom a node started here can meet has answered or refused: known on loopback only."""
        if self.local is None or not is_this_machine_only(self.local.settings.bind):
            return False
        return time.monotonic() >= self._began + ANSWERED_HERE_S and not self._is_asking()

    def _is_asking(self) -> bool:
        """Ask the node's own thread, to which all of it belongs."""
        assert self.local is not None
        node = self.local.node
        answer: SimpleQueue[bool] = SimpleQueue()
        self.local.loop.post(lambda: answer.put(node.discovery.is_asking()))
        try:
            return answer.get(timeout=LOOK_AROUND_S)
        except Empty:
            return False  # It ended meanwhile; the next call says so.

    def _stop_own(self) -> None:
        if self._thread is not None:
            assert self.local is not None
            self.local.stop()
            self._thread.join(STOP_OWN_S)
        elif self.local is not None:
            self.local.close()


def reach_from(context: Context) -> Reach:
    """Return the reach of a command, which says on its console what concerns the addresses that were typed."""
    return Reach(context.settings, context.console.note)


@contextmanager
def following(task_id: str) -> Iterator[None]:
    """Say what becomes of a task where its node is lost while it is being followed."""
    try:
        yield
    except LinkError as error:
        sentence = f"the node was lost, and this task is kept; go on with: submit --resume {task_id}"
        raise type(error)(sentence) from error


def choose_device(devices: List[Device], wanted: str) -> Device:
    """Return the device that a person means: an id, a unique beginning of one, a name, an alias or an address.

    An address without a port means the usual one, or else the only device that is there.
    """
    address = address_in(wanted) or wanted
    exact = [item for item in devices if wanted
             and (wanted in (item.id, item.name, item.lite.get("label")) or address == item.address)]
    found = exact or [item for item in devices if wanted and item.id.startswith(wanted.lower())]
    host = wanted.strip("[]")
    found = found or [item for item in devices if host and item.address.rpartition(":")[0].strip("[]") == host]
    # Who is there is meant rather than who was: a gone device's name and address are often given again.
    found = [item for item in found if item.status is not DeviceStatus.OFFLINE] or found
    if len(found) == 1:
        return found[0]
    if found:
        ids = ", ".join(item.id[:8] for item in found)
        raise NotFound(f"{wanted!r} may mean several devices ({ids}); give one of these ids")
    raise NotFound(f"no device is called {wanted!r}; `list` shows the devices on this network")
