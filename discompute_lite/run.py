"""Put a node together and run it: the one module that knows every room.

Knows:   which real clock, sockets, executor, folder and detectors a node gets; how to start ourselves again.
Refuses: decisions; whatever could be tested without a socket lives in a room of its own.
Read next: roles/node.py (what is run), faces/cli.py (who asks for it).
"""

from __future__ import annotations

import logging
import os
import random
import secrets
import shutil
import sys
import tempfile
import threading
import time
from functools import partial
from importlib import import_module
from typing import Any, Callable, List, Mapping, Optional, Tuple

from .crypto.p256 import device_id
from .host.active_limits import NETWORK_CHECK, limits_here, runs_in_processes
from .host.app_registry import Turn, take_turn
from .host.app_script import AppScript
from .host.blob_files import BlobFiles
from .host.checkpoints import CheckpointFolder
from .host.child_limits import ChildLimits
from .host.collection import collection_of_new, collection_put_off
from .host.config_file import read_config_file
from .host.detect import detect_hardware, device_name, has_processes
from .host.executors import ThreadExecutor
from .host.free_memory import SETTLED_S, return_free_memory
from .host.keyboard import Keyboard, is_in_foreground
from .host.measuring import MeasuredNode, SpeedKeeper, power_of
from .host.metrics import MetricsReader
from .host.probe import Probe
from .host.process_executor import ProcessExecutor
from .host.relaunch import read_program, relaunch_words
from .host.stop_signals import StopSignals
from .host.store import StateFolder, default_state_folders, open_state, running_folder
from .host.this_device import (
    ThisDevice, describe_device, measured_facts, settings_here, slots_here, start_measurement, start_warnings,
)
from .host.vector_files import VectorFiles
from .host.trust import read_backup_file, write_backup_file
from .member_parts import MemberParts
from .model.codec import to_json
from .model.device import Hardware
from .model.errors import StateError
from .model.setting_kinds import DEFAULT_DISCOVERY_PORT
from .model.settings import Settings, load_settings
from .model.version import VERSION
from .net.addresses import loopback_neighbours
from .net.datagrams import TransportOptions
from .net.links import Dialler
from .net.listener import stays_on_loopback
from .net.loop import Loop
from .net.own_sockets import OwnSockets
from .net.prober import Prober
from .net.tls_door import TlsDoor
from .net.transports import TRANSPORTS
from .roles.blob_bytes import MemoryBlobs
from .roles.node import Identity, Node
from .roles.ports import ClockAndWorld
from .roles.typed_lines import take_typed_line
from .roles.vector_memory import MemoryVectors

#: Seconds that a stopping node has to send its goodbyes.
GOODBYE_S = 0.15

#: The module of executors that a person names; it is there once one was made.
FOREIGN_EXECUTORS = "discompute_lite.host.foreign_executors"

#: (kind, text, **facts): one event, told in a sentence and in facts for programs.
Tell = Callable[..., None]

#: The folder of one training, and the script that waits for a node: faces reach this machine by this module.
TrainingFolder = CheckpointFolder
NodeScript = AppScript


def program_as_file() -> bytes:
    """Return this program as one file, for those who have it not; raise StateError where it was pasted."""
    return read_program()


def read_settings(flags: Mapping[str, Optional[str]], environ: Mapping[str, str], config_file: str = "") -> Settings:
    """Return the user's settings; raise `SettingsError` also when a file that was asked for cannot be read."""
    path, text = read_config_file(config_file, environ)
    return load_settings(flags, environ, text, path)


def open_state_folder(settings: Settings, probe: Probe) -> StateFolder:
    """Return the state folder that these settings mean, not yet locked."""
    folders = default_state_folders(probe.environ, os.path.expanduser("~"), on_ios=probe.inside_ios())
    return open_state(settings.state_dir, folders)


def find_running_node(settings: Settings) -> Optional[Tuple[int, str]]:
    """Return (port, token) of the first node of this user that runs from these settings' state folder."""
    try:
        root = open_state_folder(settings, Probe())
    except StateError:
        return None
    running = running_folder(root)
    return running.running_node() if running is not None else None


def save_backup(path: str, data: bytes) -> None:
    """Write a cluster's backup to a new file that only its owner can read; raise StateError."""
    write_backup_file(path, data)


def load_backup(path: str) -> bytes:
    """Return the bytes of a cluster's backup; raise StateError."""
    return read_backup_file(path)


def is_this_machine_only(bind: str) -> bool:
    """Whether the setting `bind` keeps a node, discovery included, to this machine."""
    return stays_on_loopback(bind)


def relaunch_command(entry: str, *, is_isolated: bool = True) -> List[str]:
    """Return the command that runs `entry` ("module:function" of this package) in a new Python."""
    return relaunch_words(entry, is_isolated=is_isolated)


def describe_this_device(settings: Settings, *, with_bench: bool) -> ThisDevice:
    """Detect, and with `with_bench` measure, this device.

    Makes the state folder where there is none, but no identity; a new measurement is stored there. Raises
    `StateError`, also where the measurement fails.
    """
    probe = Probe()
    report = None
    if with_bench:
        try:
            report = start_measurement(probe, relaunch_command, with_numpy=True).report()
        except OSError as error:
            raise StateError(f"no process could be started to measure ({error.strerror})", "try again later") from None
        if report is None:
            raise StateError("the measurement gave no result", "try again when this machine is less busy")
    state, network_check = open_state_folder(settings, probe), relaunch_command(NETWORK_CHECK)
    return describe_device(settings, probe, state, secrets.token_bytes, report, network_check=network_check)


def settings_of_this_device(settings: Settings) -> Settings:
    """Return the settings with what those come to here that were left to the device."""
    return settings_here(settings, Probe())


def can_start_processes() -> bool:
    """Whether this Python may start processes; inside iOS apps it may not."""
    return has_processes(Probe())


def end_in_time(code: int, say: Callable[[str], None]) -> None:
    """Have this process end with `code` soon, should a person's executor hold up its end; `say` is told of that."""
    if FOREIGN_EXECUTORS in sys.modules:
        sys.modules[FOREIGN_EXECUTORS].end_process(code, say)


class LocalNode:
    """Run one node in this process: `start`, then `run` in a thread of your choice, `stop` from any."""

    def __init__(
        self, settings: Settings, *, tell: Tell = lambda kind, text, **facts: None, probe: Optional[Probe] = None,
        loop: Optional[Loop] = None,
    ) -> None:
        """A `loop` that is given is left open at the end."""
        self.settings, self.probe = settings, probe or Probe()
        self._tell = tell
        self.hardware: Hardware = detect_hardware(self.probe)
        self.limits, self.slots = limits_here(settings, self.hardware), slots_here(settings, self.hardware)
        self.loop, self._is_loop_lent = loop or Loop(), loop is not None
        #: What makes this node a cluster's member: without a membership it is alone, and speaks no TLS.
        self.door = TlsDoor(self.loop, self.limits, lambda: to_json(self.node.greeting()))
        is_bound = stays_on_loopback(settings.bind)
        self._dialler = Dialler(self.loop, None, self.limits, loopback_only=is_bound, door=self.door)
        self.node: Node
        self.state = StateFolder("")
        self._own = OwnSockets(self.loop, settings.bind)
        self._executor: Any = None
        self._parts: Optional[MemberParts] = None
        self._scratch = ""
        self._speed: Optional[SpeedKeeper] = None
        self._turn = Turn(self.stop, self.close)
        self._is_meeting = self._is_stopping = self._is_closed = False
        #: It is there for a script or a command, and ends with it.
        self._is_passing = True

    @property
    def addresses(self) -> List[str]:
        """Return each host:port under which others may call this node, the best first."""
        return [f"{host}:{self.node.port}" for host in self.own_hosts()]

    @property
    def control_port(self) -> int:
        """Return the port of 127.0.0.1 at which this machine's commands reach the node."""
        return self._own.control_port

    def start(self, *, takes_over: bool = False) -> None:
        """Take the state folder, listen, and meet others as soon as `run` runs; raise before anything is shown.

        What raises leaves nothing behind. With `takes_over` it ends a node of this process that was started so on the
        same folder, and goes on as the same device.
        """
        self.state = open_state_folder(self.settings, self.probe)
        if takes_over and take_turn(self.state.path, self._turn):
            self._tell("note", "the node that ran here before has ended; this one goes on as the same device")
        try:
            self.state.lock()
            self._is_passing = not takes_over
            self._own.open(self.settings.port, self.settings.source_of("port") == "default",
                           lambda text: self._tell("note", text))
            identity = self._identity()
            self.node = Node(identity, self.settings, self.limits, self.hardware, self._world())
            self._dialler.receiver = self.node
            self._own.serve(self.node, self.limits, self.door)
            self._say_where_it_is(identity.boot)
            self._is_meeting = True
            self._speed = self._make_speed_keeper()
            stored = self._speed.start()
            if stored is not None:
                self.node.measured = measured_facts(stored)
            with collection_put_off():
                self.node.start(self._own.port)
            self.loop.call_later(SETTLED_S, return_free_memory)
            # Now, when everything that is kept was read.
            for note in self.state.notes + (self._parts.trust.files.notes if self._parts else []):
                self.node.tell("note", note)
        except BaseException:
            self.close()
            raise

    def run(self) -> None:
        """Run until `stop`; then leave nothing behind. For a process that is there for the node alone."""
        if isinstance(self._executor, ProcessExecutor):
            self._executor.keep_ready()
        with collection_of_new():
            self._run_loop()

    def stop(self) -> None:
        """End soon, with a goodbye; any thread may call this."""
        self.loop.post(self._begin_stop)

    def leave_after(self, seconds: float) -> None:
        """Take work for so long, then no more, end what runs within some seconds, and stop; to be called once started.

        What this node has submitted itself goes on at its next start, or on the device with the copy.
        """
        self.loop.call_later(seconds, lambda: self.node.feelings.leave(self._begin_stop))

    def listen_to_keyboard(self, stdin: Any) -> bool:
        """Stop when somebody types `q`, call an address that is typed; return whether that is heard here."""
        return Keyboard(
            stdin, self.loop, on_quit=self._begin_stop, on_line=partial(take_typed_line, self.node),
            may_read=(lambda number: True) if self.probe.inside_ios() else is_in_foreground).is_heard

    def run_in_thread(self) -> threading.Thread:
        """Run in a thread of its own, which a script that ends may leave at work."""
        self.start_threads()
        thread = threading.Thread(target=self._run_loop, name="discompute-loop", daemon=True)
        thread.start()
        return thread

    def start_threads(self) -> None:
        """Start now what threads there will be: when a script has ended, none can be started."""
        if isinstance(self._executor, (ProcessExecutor, ThreadExecutor)):
            self._executor.start_threads()

    def _run_loop(self) -> None:
        try:
            self.loop.run()
        finally:
            self.close()

    def stop_on_signals(self) -> StopSignals:
        """Stop on Ctrl-C, SIGTERM and a closed terminal; to be called before `run`, and restored after it."""
        # Not `stop`, which takes a lock that this thread may hold when the signal comes.
        return StopSignals(self.loop.watch, self._begin_stop)

    def own_hosts(self) -> List[str]:
        """Return the addresses under which other machines may call this one, the best first; IPv6 in brackets."""
        return self._own.own_hosts()

    # ---- putting together -------------------------------------------------------------------------

    def _identity(self) -> Identity:
        key = self.state.load_or_make_key(secrets.token_bytes)
        name = self.settings.name or device_name(self.probe, self.hardware)
        return Identity(device_id(key), secrets.token_hex(8), name, VERSION, self.state.control_token())

    def _world(self) -> ClockAndWorld:
        settings, reader = self.settings, MetricsReader(
            self.probe, state_folder=self.state.path, changed=lambda: self.loop.post(lambda: self.node.feelings.look()))
        self.state.notes += [reader.app.why_not] * bool(reader.app.why_not)
        options = TransportOptions(
            bind=settings.bind, port=settings.discovery_port, interface=settings.discovery_interface,
            peers=settings.peers, interop=settings.interop, limits=self.limits,
        )
        makers = [one for one in map(TRANSPORTS.get, settings.discovery if settings.announce != "off" else ()) if one]
        self._executor = self._make_executor()
        self._parts = MemberParts(self.state, self.loop, self.limits, self.door, settings, self._tell)
        return ClockAndWorld(
            clock=self.loop, wall=time.time, rng=random.Random(secrets.randbits(64)), own_hosts=self.own_hosts,
            dialler=self._dialler, transports=[make(self.loop, options) for make in makers],
            executor=self._executor, store=self.state, tell=self._tell, read_metrics=reader.read, slots=self.slots,
            sockets=self._own, prober=Prober(self.loop, settings.bind, settings.discovery_interface),
            neighbours=loopback_neighbours(
                settings.port, usual=settings.discovery_port == DEFAULT_DISCOVERY_PORT,
                host="::1" if settings.bind == "::1" else "127.0.0.1"),
            connection_closed=self._own.forget_connection, journals=self.state.open_journals(self.loop.post),
            blob_bytes=BlobFiles(os.path.join(self._scratch, "blobs")) if self._scratch else MemoryBlobs(),
            vectors=MemoryVectors() if ":" in settings.executor or not (self._scratch or self.state.path)
            or not self.probe.importable("mmap") else
            VectorFiles(os.path.join(self._scratch or self.state.path, "vectors")), **self._parts.ports(),
            allocate=lambda size: self.loop.attachments.allocate(size, self.limits.receive_kept_bytes),
        )

    def _make_executor(self) -> Any:
        wanted, slots, allow_pickle = self.settings.executor, self.slots, self.settings.allow_pickle

        def say(text: str) -> None:
            self.loop.post(self.node.tell, "warning", text)

        if ":" in wanted:
            # Loaded here: the small file for phones does without it.
            return import_module(FOREIGN_EXECUTORS).external_executor(wanted, self.limits, allow_pickle, say)
        if not runs_in_processes(self.settings, self.probe):
            return ThreadExecutor(slots, self.limits, allow_pickle)
        # In the state folder what a killed node leaves is swept away at the next start.
        self._scratch = self.state.make_scratch_folder() if self.state.path else tempfile.mkdtemp()
        limits = ChildLimits.of_device(
            self.limits, self.hardware.capabilities.memory_mb, self.settings.task_network, allow_pickle)
        command = [*relaunch_command("host.child:child_main"), limits.argument()]
        folder = os.path.join(self._scratch, "tasks")
        return ProcessExecutor(slots, command, os.environ, folder, loop=self.loop, limits=self.limits, say=say)

    def _say_where_it_is(self, boot: str) -> None:
        try:
            self.state.write_node_json(os.getpid(), self.control_port, boot, is_passing=self._is_passing,
                                       meets={**self.settings.of_meeting(), "port": self._own.port})
        except StateError as error:
            self.node.tell("warning", str(error))
        for warning in start_warnings(self.settings, self.probe, relaunch_command(NETWORK_CHECK)):
            self.node.tell("warning", warning)

    # ---- measuring --------------------------------------------------------------------------------

    def _make_speed_keeper(self) -> SpeedKeeper:
        node = self.node
        measured = MeasuredNode(
            # To measure takes all cores: what is spread from here is work, too.
            is_idle=lambda: node.worker.is_idle and not node.attempts.is_at_work,
            power=lambda: power_of(node.own_device().capabilities),
            publish=lambda report: node.set_measured(measured_facts(report)),
            warn=lambda text: node.tell("warning", text))
        start = partial(start_measurement, self.probe, relaunch_command, with_numpy=False)
        return SpeedKeeper(self.loop, self.state, start, measured)

    # ---- stopping ---------------------------------------------------------------------------------

    def _begin_stop(self) -> None:
        if self._is_stopping:
            return
        self._is_stopping = True
        if self._speed is not None:
            self._speed.stop()
        self.node.stop()
        self._own.stop_listening()
        self.loop.call_later(GOODBYE_S, self.loop.stop)

    def close(self) -> None:
        """Release everything that `start` took, however far it came; not while `run` runs. A second call is fine."""
        if self._is_closed:
            return
        self._is_stopping = True
        if self._is_meeting:
            self.node.stop()
        if self._speed is not None:
            self._speed.stop()
        if self._executor is not None:
            self._executor.shutdown(now=True)
        self._own.close()
        if self._parts is not None:
            self._parts.close()
        if self._scratch:
            shutil.rmtree(self._scratch, ignore_errors=True)
        try:
            self.state.close()
        except StateError as error:
            logging.getLogger("discompute").warning("%s", error)
        if not self._is_loop_lent:
            self.loop.close()
        self._is_closed = True  # Last: who was interrupted here can finish it.
        self._turn.is_over.set()
