"""Reach a node: the one that runs on this machine, or one started here for as long as a command needs it.

Knows:   the state folder's node.json and control.token, and how to run a node in a thread.
Refuses: to send the token anywhere but to a living node of the same folder, over loopback.
Read next: faces/node_commands.py.
"""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any, Callable, List, Optional, Type

from ..model.codec import from_json
from ..model.device import Device, DeviceStatus
from ..model.errors import NotFound
from ..model.settings import Settings
from ..net.client import Client
from ..run import LocalNode, find_running_node

#: Seconds that a node started for one command looks for others before its first answer.
LOOK_AROUND_S = 1.5
POLL_S = 0.05
#: Seconds that a node started for one command may take to end; its thread does not hold up the program beyond.
STOP_OWN_S = 5.0


class Reach:
    """Hold a client of this machine's node, and the node itself where it had to be started; a context manager."""

    def __init__(self, settings: Settings) -> None:
        self.local: Optional[LocalNode] = None
        self._thread: Any = None
        running = find_running_node(settings)
        try:
            if running is None:
                self.local = LocalNode(settings)
                self.local.start()
                self._thread = self.local.run_in_thread()
                running = self.local.control_port, self.local.node.identity.token
            port, token = running
            self.client = Client(f"127.0.0.1:{port}", token=token)
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

    def devices(self) -> List[Device]:
        """Return the devices that the node knows, itself first."""
        answer = self.call("GetDevices", {})
        return [from_json(Device, item, "device") for item in answer["devices"]]

    def look_around(
        self, wait_s: Optional[float], is_enough: Callable[[List[Device]], bool] = lambda devices: False
    ) -> List[Device]:
        """Return the devices after giving a node that has just started time to meet them.

        Ends early when `is_enough(devices)`; a node that runs already has met them.
        """
        if wait_s is None:
            wait_s = LOOK_AROUND_S if self.local is not None else 0.0
        deadline = time.monotonic() + wait_s
        while True:
            devices = self.devices()
            if is_enough(devices) or time.monotonic() >= deadline:
                return devices
            time.sleep(POLL_S)

    def _stop_own(self) -> None:
        if self._thread is not None:
            assert self.local is not None
            self.local.stop()
            self._thread.join(STOP_OWN_S)
        elif self.local is not None:
            self.local.close()


def choose_device(devices: List[Device], wanted: str) -> Device:
    """Return the device that a person means: an id, a unique beginning of one, a name, an alias or host:port."""
    exact = [item for item in devices if wanted in (item.id, item.name, item.lite.get("label"), item.address)]
    found = exact or [item for item in devices if wanted and item.id.startswith(wanted.lower())]
    # Who is there is meant rather than who was: a gone device's name and address are often given again.
    found = [item for item in found if item.status is not DeviceStatus.OFFLINE] or found
    if len(found) == 1:
        return found[0]
    if found:
        ids = ", ".join(item.id[:8] for item in found)
        raise NotFound(f"{wanted!r} may mean several devices ({ids}); give one of these ids")
    raise NotFound(f"no device is called {wanted!r}; `list` shows the devices on this network")
