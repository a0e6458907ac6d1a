"""Put several whole nodes into one process: a clock that is turned by hand, links that carry real bytes, no sockets.

Knows:   how messages travel (every one is encoded and decoded by wire/rpc), how hosts die, freeze and come back.
Refuses: to decide anything; the nodes are the real ones.
Read next: roles/ports.py (what is faked here), tests/roles/test_discovery.py (how a world reads).

All hosts share the clock. Bytes arrive at once but in an event of their own, in the order in which they were sent.
"""

from __future__ import annotations

import heapq
import json
import random
from dataclasses import dataclass
from functools import cache

import pytest

from discompute_lite.crypto.p256 import device_id, private_key
from discompute_lite.model.device import ComputeMetrics, DeviceCapabilities, Hardware
from discompute_lite.model.errors import LinkClosed, NothingListens, StateError, Unreachable
from discompute_lite.model.limits import Limits
from discompute_lite.model.settings import Settings
from discompute_lite.model.statement import Statement
from discompute_lite.net.hearing import Hearing
from discompute_lite.roles.journals import MemoryJournals
from discompute_lite.roles.node import Identity, Node
from discompute_lite.roles.own_cluster import found_cluster
from discompute_lite.roles.ports import ClockAndWorld
from discompute_lite.roles.vector_memory import MemoryVectors
from discompute_lite.tasks.values import dump_value, load_value
from discompute_lite.tasks.work import WorkOutcome, run_work
from discompute_lite.wire.http import HttpSession
from discompute_lite.wire.pairing_grant import PairingGrant
from discompute_lite.wire.rpc import CallReceived, ProtocolBroken, RpcSession
from discompute_lite.wire.statements import sign_as_line

TOKEN = "the-token-of-these-nodes"
#: The hosts that may be members of a world's cluster, which somebody else has founded, by their letters.
MEMBERS = "abcdpqxz"
#: Unix seconds at the beginning of every world; its monotonic clock begins at another number, to tell them apart.
WALL_BEGIN, NOW_BEGIN = 1_756_800_000.0, 1000.0
#: Callbacks that stand for something that came in by a socket.
ARRIVALS = ("arrived", "ended", "arrive")
#: More events at one instant than these mean that two nodes answer each other for ever.
EVENTS_AT_ONCE = 200_000


class FakeTimer:
    def __init__(self, callback, arguments):
        self.callback, self.arguments = callback, arguments

    def cancel(self):
        self.callback, self.arguments = None, ()


class WorldClock:
    """The time of a world, and what is to happen when."""

    def __init__(self):
        self.time = NOW_BEGIN
        self._heap = []
        self._number = 0
        #: How often anything has happened.
        self.happened = 0

    def now(self):
        return self.time

    def call_at(self, when, callback, *arguments):
        timer = FakeTimer(callback, arguments)
        self._number += 1
        heapq.heappush(self._heap, (max(when, self.time), self._number, timer))
        return timer

    def call_later(self, delay_s, callback, *arguments):
        return self.call_at(self.time + delay_s, callback, *arguments)

    def call_between(self, first, last, callback, *arguments):
        return self.call_at(last, callback, *arguments)

    def post(self, callback, *arguments):
        self.call_at(self.time, callback, *arguments)

    def advance(self, seconds):
        """Let so much time pass; 0 lets happen what is due now."""
        until, events = self.time + seconds, 0
        while self._heap and self._heap[0][0] <= until:
            when, _, timer = heapq.heappop(self._heap)
            events = events + 1 if when == self.time else 0
            assert events < EVENTS_AT_ONCE, "something happens for ever, and no time passes"
            self.time = when
            if timer.callback is not None:
                self.happened += 1
                timer.callback(*timer.arguments)
        self.time = until


class HostClock:
    """The clock of one host: nothing is called on a dead one, and on a frozen one only when it thaws."""

    def __init__(self, host, clock):
        self._host, self._clock = host, clock
        self.now = clock.now

    def call_at(self, when, callback, *arguments):
        timer = FakeTimer(callback, arguments)
        self._clock.call_at(when, self._call, timer, self._host.life)
        return timer

    def call_later(self, delay_s, callback, *arguments):
        return self.call_at(self.now() + delay_s, callback, *arguments)

    def call_between(self, first, last, callback, *arguments):
        return self.call_at(last, callback, *arguments)

    def post(self, callback, *arguments):
        self.call_at(self.now(), callback, *arguments)

    def _call(self, timer, life):
        if self._host.is_frozen:
            self._host.late.append((self._call, timer, life))
        elif timer.callback is not None and life == self._host.life:
            timer.callback(*timer.arguments)


class FakeLink:
    """One end of a connection, as net/stream.py's `Connection` is one: real sessions, no socket."""

    def __init__(self, clock, receiver, remote_address, limits, is_dialled):
        self._clock, self._receiver = clock, receiver
        self.remote_address = remote_address
        self.is_loopback = remote_address.startswith("127.")
        self.verified_id = ""
        self.local_host, self.local_port = "", 8080
        self.hearing, self.broken_by = Hearing(clock.now(), limits.message_s), None
        #: What came while its end had no room for it, in order; None while it reads.
        self.unread = None
        self.is_dialled = is_dialled
        self.is_closed = self.is_link = False
        #: Seconds that everything takes to the other end, how many more it may take, and bytes a second; 0 for at once.
        self.delay_s = self.jitter_s = self.bytes_s = self.free_at = 0.0
        self.arrives_at, self._chance = 0.0, random.Random(remote_address)
        #: What waits for a cut to be mended, None while there is no cut: TCP sends it again and again.
        self.kept = None
        self.peer = None
        self.other = None
        self._is_processing = False
        self.rpc = RpcSession(
            limits, on_answer=self._answered, admit=lambda method: receiver.admit_call(self, method))

    def call(self, method, params, on_reply, *, timeout_s=None, tell_timeout=False):
        if self.is_closed or self.rpc.is_closing:
            self._clock.post(on_reply, None, LinkClosed("closed"))
            return
        self.rpc.call(
            method, params, now=self._clock.now(), context=on_reply, timeout_s=timeout_s, tell_timeout=tell_timeout)
        if timeout_s is not None:
            self._clock.call_later(timeout_s, self._overdue)
        self.flush()

    def notify(self, method, params):
        if not self.is_closed and not self.rpc.is_closing:
            self.rpc.notify(method, params)
            self.flush()

    def flush(self):
        data = b"".join(bytes(piece) for piece in self.rpc.data_to_send())
        if data and self.kept is not None:
            self.kept.append(data)
        elif data and not self.is_closed:
            self.free_at = max(self.free_at, self._clock.now())
            self.free_at += len(data) / self.bytes_s if self.bytes_s else 0.0
            # What was sent later never comes sooner.
            delay_s = self.delay_s + self.jitter_s * self._chance.random()
            self.arrives_at = max(self.arrives_at, self.free_at + delay_s)
            self.other.clock_of_receiver.call_at(self.arrives_at, self.other.arrived, data)
        if self.rpc.is_closing and not self.is_closed:
            self.close("the conversation is over")

    def finish(self):
        self.rpc.is_closing = True
        if not self._is_processing:
            self.flush()

    def close(self, reason):
        if not self.is_closed:
            if self.kept is None:
                self.other.clock_of_receiver.post(self.other.ended, "the other side closed it")
            self.ended(reason)

    def cut(self):
        """From now on nothing arrives at the other end, which does not know that."""
        self.kept = []

    def mend(self):
        """What was sent arrives, or that this end is gone."""
        kept, self.kept = self.kept, None
        for data in kept or ():
            self.other.clock_of_receiver.post(self.other.arrived, data)
        if self.is_closed:
            self.other.clock_of_receiver.post(self.other.ended, "connection reset")

    def ended(self, reason):
        """The connection is gone, whoever closed it."""
        if self.is_closed:
            return
        self.is_closed = True
        for answer in self.rpc.abandon(LinkClosed(f"ended: {reason}")):
            answer.context(answer.result, answer.error)
        self._receiver.connection_closed(self, reason)

    def arrived(self, data):
        if self.is_closed:
            return
        if self.unread is not None:
            self.unread.append(data)
            return
        self.hearing.heard_at = self._clock.now()
        self.rpc.receive_data(data)
        self._process()

    def read_no_more(self):
        """There is no room here for what the other end sends."""
        self.unread = []
        self.hearing.stop(self._clock.now())
        self._clock.post(self.hearing.on_unread)

    def read_on(self):
        """There is room."""
        unread, self.unread = self.unread, None
        self.hearing.go_on(self._clock.now())
        for data in unread:
            self.arrived(data)

    @property
    def clock_of_receiver(self):
        return self._clock

    def _process(self):
        self._is_processing = True
        while not self.is_closed:
            event = self.rpc.next_event(self._clock.now())
            if event is None:
                break
            if isinstance(event, CallReceived):
                self._receiver.call_received(self, event)
            elif isinstance(event, ProtocolBroken):
                self.broken_by = event.error
            else:
                event.context(event.result, event.error)
        self._is_processing = False
        self.flush()

    def _overdue(self):
        if not self.is_closed:
            self.rpc.apply_deadlines(self._clock.now())
            self._process()

    def _answered(self):
        if not self._is_processing and not self.is_closed:
            self.flush()


class FakeDialler:
    def __init__(self, host):
        self._host = host
        #: Every address that was asked for, in order.
        self.dialled = []

    def open(self, address, default_port, on_dialled):
        self.dialled.append(address)
        host, world = self._host, self._host.world
        name, _, port = address.rpartition(":") if ":" in address else (address, ":", str(default_port))
        numeric = f"{world.names.get(name, name)}:{port}"
        there = world.hosts_by_address.get(numeric)
        if there is None or there.receiver is None or (host, there) in world.refused:
            host.clock.post(on_dialled, None, NothingListens(f"nothing listens on {address}"))
            return
        refusal = host.trust.refusal_at(host, there) if host.trust is not None and host.trust.is_member else None
        if refusal is not None:
            host.clock.post(on_dialled, None, refusal)
            return
        link = world.connect(there, from_ip=host.ip, receiver=host.node, clock=host.clock, is_dialled=True)
        if host.trust is not None and host.trust.is_member:
            link.verified_id, link.other.verified_id = there.id, host.id
        host.links.append(link)
        host.clock.post(on_dialled, link, None)


class FakeTransport:
    name, interface_name = "broadcast", "en0"

    def __init__(self, host):
        self._host = host
        self._heard = None
        self.is_open = self.is_refused = False
        #: Datagrams that this host sent, in order: (time, bytes).
        self.sent = []

    def open(self, heard):
        self._heard, self.is_open = heard, True

    def reaches_anybody(self):
        return not self.is_refused

    def announce(self, datagram):
        self.sent.append((self._host.clock.now(), datagram))
        for other in self._host.world.hosts:
            for _ in range(self._host.world.copies()):
                self._deliver(datagram, other)

    def answer(self, datagram, address):
        self.sent.append((self._host.clock.now(), datagram))
        self._deliver(datagram, self._host.world.hosts_by_udp[address])

    def targets(self):
        return ["everybody"]

    def trouble(self):
        return []

    def close(self):
        self.is_open = False

    def _deliver(self, datagram, other):
        world = self._host.world
        is_open = world.has_broadcast and (self._host, other) not in world.refused
        if is_open and other is not self._host and other.transport is not None:
            other.clock.post(other.transport.arrive, datagram, self._host.udp_address)

    def arrive(self, datagram, source):
        if self.is_open:
            self._heard(datagram, source, self.name)

    def beacons(self):
        """What this host announced, read as JSON."""
        return [json.loads(datagram) for _, datagram in self.sent]


class FakeProber:
    """Tries addresses of a world: nodes listen, `alive` hosts refuse, all others are silent."""

    def __init__(self, host):
        self._host = host
        #: What the machine's interfaces say, hosts without a node, and whether the system lets nobody be reached.
        self.interfaces, self.alive, self.is_refused = [], set(), False
        #: Every address that was tried, in order; how many are being tried, and the most that ever were at once.
        self.tried, self.open, self.most_open = [], 0, 0

    def networks(self):
        return self.interfaces

    def probe(self, address, timeout_s, tried):
        self.tried.append(address)
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        there = self._host.world.hosts_by_address.get(address)
        outcome, delay_s = "silent", timeout_s
        if self.is_refused:
            outcome, delay_s = "unreachable", 0.001
        elif there is not None and there.receiver is not None:
            outcome, delay_s = "open", 0.01
        elif address.rpartition(":")[0] in self.alive:
            outcome, delay_s = "refused", 0.01

        def ended():
            self.open -= 1
            tried(outcome, "", delay_s)

        self._host.clock.call_later(delay_s, ended)


class FakeFuture:
    def __init__(self, executor, request):
        self.request, self._executor = request, executor
        self.outcome = None
        self.stop_reason = self.standstill = ""
        self._callbacks = []
        #: It waits for a slot.
        self.is_queued = False

    def running(self):
        return self.outcome is None and not self.is_queued

    def add_done_callback(self, callback):
        self._callbacks.append(callback)
        if self.outcome is not None:
            callback(self)

    def result(self):
        return self.outcome

    def stop(self, reason):
        self.stop_reason = reason
        self.settle(WorkOutcome(False, error=reason, error_type="Stopped"))

    def settle(self, outcome):
        if self.outcome is None:
            self.outcome = outcome
            for callback in self._callbacks:
                callback(self)


class FakeExecutor:
    """Runs work at once, but for the phases in `holds`, which wait until a test lets them go on."""

    holds_to_bounds = True

    def __init__(self, clock, limits):
        self._clock, self._limits = clock, limits
        self.holds = set()
        #: Every request that came, and the futures that wait.
        self.requests = []
        self.held = []

    def submit(self, request):
        future = FakeFuture(self, request)
        self.requests.append(request)
        if request.phase in self.holds:
            self.held.append(future)
        else:
            self._clock.post(self._run, future)
        return future

    def _run(self, future):
        if future.outcome is None:
            future.settle(run_work(future.request, self._limits))

    def release(self, count=None):
        """Let held work go on, the oldest first, and let happen what follows."""
        going, self.held = self.held[:count], self.held[count:] if count is not None else []
        for future in going:
            self._run(future)

    def end(self, outcome, index=0):
        """Give one held request its outcome."""
        self.held.pop(index).settle(outcome)

    def runs(self):
        """The ids of the attempts that were begun."""
        return [request.attempt_id for request in self.requests if request.phase == "run"]

    def shutdown(self, now=True):
        pass


@cache
def membership():
    """Return what each member of a world's cluster was given, the certificate aside."""
    founder, limits = private_key(600), Limits()
    made = found_cluster(founder, "founder", "linux", limits, random.Random(6).randbytes, int(WALL_BEGIN))
    by = device_id(founder)
    added = [
        Statement(made.statements[0].cluster, number, "add", letter * 52, "member", by, int(WALL_BEGIN),
                  f"device {letter}", "linux")
        for number, letter in enumerate(MEMBERS, 2)
    ]
    lines = (sign_as_line(made.ca_key, each, limits) for each in added)
    return PairingGrant(made.ca, b"", (*made.statements, *lines), made.beacon_key, None)


class FakeTrust:
    """What a disk keeps of a membership, and a handshake that takes no time: certificates are believed to fit."""

    def __init__(self, grant=None):
        #: What was kept, the newest last.
        self.kept = [grant] if grant is not None else []
        self.grant = self.refusal = None
        #: What is wrong with the disk.
        self.problem = ""
        self.random_bytes = random.Random(8).randbytes
        self.why_no_tls = lambda: ""

    @property
    def is_member(self):
        return self.grant is not None

    def load(self):
        return self.kept[-1] if self.kept else None

    def keep(self, grant):
        self._check_disk()
        self.kept.append(grant)

    def forget(self):
        self._check_disk()
        self.kept.clear()

    def _check_disk(self):
        if self.problem:
            raise StateError(self.problem)

    def enter(self, grant, refusal):
        self.grant, self.refusal = grant, refusal

    def leave(self):
        self.grant = self.refusal = None

    def refusal_at(self, here, there):
        """Return why a member that dials gets no connection."""
        if there.trust is None or not there.trust.is_member or there.trust.grant.ca != self.grant.ca:
            return Unreachable("the handshake failed")
        return self.refusal(there.id) or there.trust.refusal(here.id)


class FakeAudit:
    """What was written down: (what happened, its facts), refusals as ("refused", …)."""

    def __init__(self):
        self.notes = []

    def note(self, what, facts):
        self.notes.append((what, dict(facts)))

    def refused(self, rule, whom, facts):
        self.notes.append(("refused", {"rule": rule, "from": whom, **facts}))

    def lines(self):
        return b""

    def refusals(self):
        return [facts for what, facts in self.notes if what == "refused"]


class FakeStore:
    def __init__(self):
        self.documents = {}

    def read_json(self, name, default, *, is_vital=False):
        return self.documents.get(name, default)

    def write_json(self, name, value):
        self.documents[name] = json.loads(json.dumps(value))


@dataclass(frozen=True)
class FakeReading:
    metrics: ComputeMetrics = ComputeMetrics(cpu_usage=0.25, memory_usage=0.5, gpu_usage=-1.0)
    battery_level: float = -1.0
    is_charging: bool = False
    is_low_power: bool = False
    heat: int = -1
    is_background: bool = False
    is_lid_closed: bool = False


class Host:
    """A machine, or one of its ports: what is left when its node dies, and where the next one starts."""

    def __init__(self, world, letter, *, ip="127.0.0.1", token=TOKEN, **settings):
        self.world, self.id, self.name = world, letter * 52, f"device {letter}"
        self.ip, self.port = ip, 8080 + len(world.hosts)
        #: Of a machine in several networks.
        self.other_ips = ()
        self.udp_address = f"{ip}:{40000 + len(world.hosts)}"
        self.token = token
        self.limits = Limits(**settings.pop("limits", {}))
        self.settings = Settings(**{"slots": 2, "discovery": ("broadcast", "peers", "exchange"), **settings})
        self.slots = self.settings.slots
        self.hardware = Hardware(type="linux", model="Test machine", capabilities=DeviceCapabilities(
            cpu_cores=self.slots, memory_mb=8192, chip="Test chip", os_version="Test 1.0"))
        self.neighbours = ()
        self.reading = FakeReading()
        self.store, self.audit, self.prober = FakeStore(), FakeAudit(), FakeProber(self)
        #: Seconds by which its wall clock is wrong.
        self.wall_is_off_s = 0.0
        #: What a disk keeps when the node dies.
        self.journals = MemoryJournals()
        self.vectors = MemoryVectors()
        self.vectors.folder = "memory"
        self.trust = None
        #: What people were told: (kind, text).
        self.told = []
        self.node = self.transport = None
        #: What connections here are given to: the node, or what `serve` put there.
        self.receiver = None
        self.links = []
        #: Changes with every start; callbacks of an earlier life are dropped.
        self.life = 0
        self.is_frozen, self.late = False, []
        self.clock = HostClock(self, world.clock)

    @property
    def address(self):
        return f"{self.ip}:{self.port}"

    def boot_of(self, life):
        return f"{self.id[0]}-boot-{life}"

    def make(self):
        """Make a node that has not started yet."""
        self.life += 1
        self.executor = FakeExecutor(self.clock, self.limits)
        self.transport = FakeTransport(self)
        self.dialler = FakeDialler(self)
        boot = self.boot_of(self.life)
        identity = Identity(self.id, boot, self.name, "0.1.0", self.token)
        self.node = Node(identity, self.settings, self.limits, self.hardware, ClockAndWorld(
            clock=self.clock, wall=lambda: self.world.wall() + self.wall_is_off_s,
            rng=random.Random(f"{self.id}{self.life}"), dialler=self.dialler,
            transports=[self.transport], executor=self.executor, store=self.store,
            tell=lambda kind, text, **_: self.told.append((kind, text)), read_metrics=self._read_metrics,
            slots=self.slots, own_hosts=lambda: [self.ip, *self.other_ips], neighbours=self.neighbours,
            journals=self.journals, trust=self.trust, audit=self.audit, prober=self.prober, vectors=self.vectors))
        self.receiver = self.node
        return self

    def serve(self, receiver):
        """Let another program listen here."""
        self.receiver = receiver
        return self

    def start(self):
        self.make()
        self.node.start(self.port)
        return self

    def kill(self):
        """The process dies without a word: its system closes its connections, nobody listens any more."""
        self.life += 1
        self.node = self.receiver = None
        if self.transport is not None:
            self.transport.close()
        self.is_frozen, self.late = False, []
        links, self.links = self.links, []
        for link in links:
            if not link.is_closed:
                link.is_closed = True
                link.other.clock_of_receiver.post(link.other.ended, "connection reset")

    def stop(self):
        """The node says goodbye and ends."""
        self.node.stop()
        self.world.settle()
        self.kill()

    def freeze(self):
        """The process stops; its connections stay open."""
        self.is_frozen = True

    def thaw(self):
        """It goes on, with its timers first: what came in meanwhile is read after them."""
        self.is_frozen = False
        late = sorted(self.late, key=lambda entry: getattr(entry[1].callback, "__name__", "") in ARRIVALS)
        self.late = []
        for call, timer, life in late:
            call(timer, life)

    def _read_metrics(self, active_tasks, throughput):
        return self.reading

    # ---- what tests ask ---------------------------------------------------------------------------

    def sees(self, other):
        """The other host's device as this one lists it, or None."""
        listed = self.node.discovery.list_devices()
        return next((device for device in listed if device.id == other.id), None)

    def is_linked_with(self, other):
        return other.id in self.node.discovery.links

    def drop_link(self, other):
        """Cut every connection between two hosts; both live on."""
        for link in list(self.node.discovery.links.get(other.id, [])):
            link.close("cut")

    def kinds_told(self):
        return [kind for kind, _ in self.told]

    def texts_told(self, kind):
        return [text for which, text in self.told if which == kind]


class FakeClient:
    """Whoever connects without being a node: a command, a script, a stranger."""

    def __init__(self, world, host, ip):
        self.world = world
        #: Methods that the node called here.
        self.received = []
        self.link = world.connect(host, from_ip=ip, receiver=self, clock=world.clock, is_dialled=True)

    @property
    def is_closed(self):
        return self.link.is_closed

    def begin(self, method, params=None, **options):
        """Make a call; return the list into which (result, error) will come."""
        replies = []
        self.link.call(method, params or {}, lambda result, error: replies.append((result, error)), **options)
        self.world.settle()
        return replies

    def call(self, method, params=None, **options):
        """Make a call; return its result or raise its error."""
        replies = self.begin(method, params, **options)
        assert replies, f"{method} is not answered yet"
        result, error = replies[0]
        if error is not None:
            raise error
        return result

    def send(self, text):
        """Send raw bytes; return what came back, as JSON."""
        self.link.other.clock_of_receiver.post(self.link.other.arrived, text)
        arrived, take = [], self.link.arrived
        self.link.arrived = arrived.append
        self.world.settle()
        self.link.arrived = take
        return [json.loads(line) for line in b"".join(arrived).splitlines()]

    def call_received(self, link, call):
        self.received.append(call.method)
        call.answer({})

    def admit_call(self, link, method):
        return None

    def connection_closed(self, link, reason):
        pass


class FakeBrowser:
    """One HTTP connection to a node."""

    def __init__(self, host, ip):
        self._host = host
        self.peer, self.remote_address, self.is_loopback = None, f"{ip}:50000", ip.startswith("127.")
        node = host.node
        self.local_port = node.port
        self.verified_id = ""
        self.is_closed = False
        #: What its other end has not read: tests set it.
        self.waiting_bytes = 0
        self.http = HttpSession(host.limits, admit=lambda head: node.admit_request(self, head))
        self.sent = b""

    def flush(self):
        self.sent += b"".join(self.http.data_to_send())

    def send(self, method, path, body=b"", **headers):
        """Send a request; headers are given as words (`content_type`)."""
        lines = {"host": f"127.0.0.1:{self._host.port}", "content-length": str(len(body))}
        lines.update({key.replace("_", "-"): text for key, text in headers.items()})
        head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{key}: {text}\r\n" for key, text in lines.items())
        self.http.receive_data(head.encode() + b"\r\n" + body)
        for request in self.http.events():
            self._host.node.request_received(self, request)
        self.flush()
        self._host.world.settle()

    def close(self):
        """Go away."""
        self.is_closed = True
        self._host.node.connection_closed(self, "gone")
        self._host.world.settle()

    def take(self):
        """Return (status, headers, body) of the first answer that has come, None while there is none."""
        if not self.sent:
            return None
        head, _, rest = self.sent.partition(b"\r\n\r\n")
        status, *lines = head.decode().split("\r\n")
        headers = {name.lower(): text for name, text in (line.split(": ", 1) for line in lines)}
        self.sent = b""
        return int(status.split()[1]), headers, rest

    def ask(self, method, path, body=b"", **headers):
        self.send(method, path, body, **headers)
        return self.take()


class World:
    """Hosts, and what connects them."""

    TOKEN = TOKEN

    def __init__(self):
        self.clock = WorldClock()
        self.hosts = []
        self.hosts_by_address, self.hosts_by_udp = {}, {}
        #: name -> numeric address.
        self.names = {}
        self.has_broadcast = True
        #: (from, to): dials and datagrams that do not arrive.
        self.refused = set()
        #: Shares of the datagrams that are lost and that come twice; seconds that everything takes over a new link.
        self.loss = self.doubled = self.delay_s = self.jitter_s = 0.0
        self._chance = random.Random(35)
        self._dials = 0

    def wall(self):
        return WALL_BEGIN + self.clock.time - NOW_BEGIN

    def host(self, letter, **options):
        """Make a host whose id is 52 times `letter`; `start` puts a node on it."""
        host = Host(self, letter, **options)
        self.hosts.append(host)
        self.hosts_by_address[host.address] = self.hosts_by_udp[host.udp_address] = host
        return host

    def member(self, letter, **options):
        """Make a host that belongs to the cluster of this world."""
        host = self.host(letter, **options)
        host.trust = FakeTrust(membership())
        return host

    def strangers(self, letters, **options):
        """Start a node for each letter, each of them alone, and let them meet."""
        hosts = [self.host(letter, **options).start() for letter in letters]
        self.advance(3.0)
        return hosts

    def nodes(self, letters, **options):
        """Start a node of this world's cluster for each letter and let them meet."""
        hosts = [self.member(letter, **options).start() for letter in letters]
        self.advance(3.0)
        return hosts

    def connect(self, there, *, from_ip, receiver, clock, is_dialled):
        """Return the dialling end of a new connection."""
        self._dials += 1
        ours = FakeLink(clock, receiver, there.address, there.limits, is_dialled)
        theirs = FakeLink(there.clock, there.receiver, f"{from_ip}:{50000 + self._dials}", there.limits, False)
        ours.local_host, theirs.local_host = from_ip, there.address.rpartition(":")[0]
        ours.other, theirs.other = theirs, ours
        ours.delay_s = theirs.delay_s = self.delay_s
        ours.jitter_s = theirs.jitter_s = self.jitter_s
        there.links.append(theirs)
        return ours

    def copies(self):
        """How often a datagram arrives."""
        drawn = self._chance.random()
        return 0 if drawn < self.loss else 2 if drawn > 1 - self.doubled else 1

    def part(self, first, second):
        """Let nothing new pass between two hosts, in either direction."""
        self.refused |= {(first, second), (second, first)}

    def cut(self, sender, receiver):
        """Let nothing more arrive from one host at another, and neither of them know."""
        self.refused.add((sender, receiver))
        for link in self._ends_of(sender, receiver):
            link.cut()

    def mend(self, sender, receiver):
        """Let arrive again what one host sends to another."""
        self.refused.discard((sender, receiver))
        for link in self._ends_of(sender, receiver):
            link.mend()

    def _ends_of(self, sender, receiver):
        return [link for link in sender.links if link.other.clock_of_receiver is receiver.clock]

    def client(self, host, *, ip="127.0.0.1", token=None, member=""):
        """Connect as a client, or as the member of this letter; with a token, say Hello with it."""
        client = FakeClient(self, host, ip)
        if member:
            client.link.verified_id, client.link.other.verified_id = host.id, member * 52
        if token is not None:
            client.call("Hello", {"auth": token})
        return client

    def owner(self, host):
        return self.client(host, token=host.token)

    def browser(self, host, ip="127.0.0.1"):
        return FakeBrowser(host, ip)

    def advance(self, seconds):
        """Let time pass, a quarter of a second in which anything happens at most between two looks at invariants."""
        self.check()
        while seconds > 0:
            step, before = min(seconds, 0.25), self.clock.happened
            self.clock.advance(step)
            seconds -= step
            if self.clock.happened != before:
                self.check()

    def settle(self):
        self.clock.advance(0)
        self.check()

    def say(self, sender, receiver, method, **params):
        """Have a node call another by hand; return the answer."""
        replies = []
        sender.node.link_for_work(receiver.id).call(method, params, lambda *reply: replies.append(reply))
        self.settle()
        (result, error), = replies
        assert error is None, error
        return result

    def check(self):
        for host in self.hosts:
            if host.node is not None:
                host.node.discovery.registry.check()
                host.node.attempts.scheduler.check()

    # ---- tasks ------------------------------------------------------------------------------------

    def echo(self, parts, **fields):
        """The parameters of SubmitTask for a task that returns `parts`, one a subtask."""
        return {"task": {"task_type": "echo", "task_data": dump_value({"parts": list(parts)}), **fields}}

    def job(self, source, **fields):
        """The parameters of SubmitTask for a job file."""
        return {"task": {"task_type": "job", "task_data": dump_value({"source": source}), **fields}}

    def value(self, data):
        """Read result data; as it came over a link: base64 text or an attachment."""
        from discompute_lite.model.codec import from_json
        return load_value(bytes(from_json(bytes, data)))


class SlowJournals(MemoryJournals):
    """A disk that is as slow as a test wants: nobody hears of what is written until it lets them."""

    is_lasting = True

    def __init__(self):
        super().__init__()
        self.waiting, self.written = [], 0

    def when_written(self, callback):
        if self.written == self.steps:
            callback("")
        else:
            self.waiting.append(callback)

    def sync(self, problem=""):
        waiting, self.waiting = self.waiting, []
        self.problem = problem
        self.written = self.written if problem else self.steps
        for callback in waiting:
            callback(problem)


@pytest.fixture
def slow_journals():
    """The class of a disk that is as slow as a test wants."""
    return SlowJournals


@pytest.fixture
def world():
    return World()
