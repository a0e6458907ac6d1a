"""Meet the other nodes and keep believing in them: beacons, Hello, registration, heartbeats.

Knows:   when to announce, whom to dial, what to tell, and which links are open.
Refuses: to decide who is alive (core/registry.py does), to move bytes (transports and links do).
Read next: core/registry.py, wire/beacon.py.

Ways of meeting, all feeding one registry: beacons over UDP; addresses that the user gave or that are remembered
(`Hello` over TCP); devices that peers speak of; on loopback, `Hello` to the neighbouring ports; and where all of these
find nobody, `Hello` to whoever listens in the own network (roles/sweeper.py).
"""

from __future__ import annotations

from functools import partial
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence

from ..core.events import (
    BeaconHeard, DeviceDescribed, DeviceTold, Dial, GoodbyeHeard, LinkLost, LinkOpened, Tick,
)
from ..core.own_events import LinkWanted
from ..core.known import KnownDevice
from ..core.registry import DeviceRegistry
from ..model.device import Device, DeviceStatus
from ..model.errors import NotFound, StateError
from .alarm import LATE_S, Alarm
from .announcer import Announcer
from .bounds import ID_CHARS, NAME_CHARS, bounded_device
from .greeter import Greeter
from .heartbeats import IDLE_BEAT_S, Heartbeats
from .meeting_methods import MetAddress
from .keeper import Keeper
from .methods import Greeting
from .own_device import own_device_for
from .ports import Later, LinkPort, OnReply
from .sweeper import Sweeper

#: Addresses remembered for the next start.
REMEMBERED = 64
#: Seconds between two tellings that our status is another: short subtasks change it a hundred times a second.
STATE_TOLD_EVERY_S = 1.0
#: Seconds that a call waits for the link that is opened for it: a phone wakes up in two or three.
LINK_WAIT_S = 5.0
NO_LINK = "there is no link to that device just now; try again"


class WaitingCall(NamedTuple):
    """Hold a call to a device to which a link is being opened."""

    method: str
    params: Any
    on_reply: OnReply
    timeout_s: Optional[float]


class Discovery:
    """Run one node's meeting and membership; `node` is the composition that it belongs to."""

    def __init__(self, node: Any, registry: DeviceRegistry) -> None:
        self._node = node
        self.registry = registry
        #: Open links of each device, the preferred one first; no empty lists, no closed links. Devices stand in the
        #: order in which their links were last of use.
        self.links: Dict[str, List[LinkPort]] = {}
        #: Calls to devices that are being linked for them; no empty lists.
        self._waiting: Dict[str, List[WaitingCall]] = {}
        self._announcer = Announcer(node, self)
        self._greeter = Greeter(node, self)
        self._sweeper = Sweeper(node, self, self._greeter.greet_found, self._greeter.remembered)
        self.heartbeats = Heartbeats(node, self)
        self._keeper = Keeper(node, self)
        self._alarm = Alarm(node.clock, self._woken)
        #: When our state was last told to everybody, and the timer that does it next.
        self._state_told_at = -STATE_TOLD_EVERY_S
        self._state_timer: Any = None
        self.is_stopping = False

    # ---- life -------------------------------------------------------------------------------------

    def start(self) -> None:
        """Open the transports, announce this node, say Hello to known addresses."""
        self._announcer.start()
        self._greeter.greet_seeds()
        self._sweeper.start()
        self._keeper.start()
        self._schedule()

    def stop(self) -> None:
        """Say goodbye and close the links."""
        self.is_stopping = True
        self._announcer.stop()
        self._remember()
        self._greeter.say_goodbye()
        for links in list(self.links.values()):
            for link in list(links):
                link.notify("Goodbye", {"is_leaving": True})
                link.finish()

    # ---- what the node and its methods ask ------------------------------------------------------------

    def is_asking(self) -> bool:
        """Whether somebody whom we asked has neither answered nor refused yet."""
        return self._greeter.open_questions > 0

    def list_devices(self, link: Optional[LinkPort] = None) -> List[Device]:
        """Return this device, as the other end of a link is told of it, and all known ones in the order of coming."""
        wall, now = self._node.wall(), self._node.clock.now()
        known = [device.to_device(wall, now) for device in self.registry.devices()]
        return [own_device_for(self._node, link) if link is not None else self._node.own_device(), *known]

    def link_to(self, device_id: str) -> Optional[LinkPort]:
        """Return the best open link to a device, or None."""
        links = self.links.get(device_id)
        return links[0] if links else None

    def greeted_link_to(self, device_id: str, is_fit: Callable[[LinkPort], bool]) -> Optional[LinkPort]:
        """Return a link to a device that is ready for calls and fit for these, or None."""
        for link in self.links.get(device_id, []):
            if link.peer.is_greeted and is_fit(link):
                return link
        return None

    def trusted_link_to(self, device_id: str) -> Optional[LinkPort]:
        """Return a link to a device of the cluster by which it may be called, or None."""
        return self.greeted_link_to(device_id, self._node.belonging.is_trusted)

    def call(
        self, device_id: str, method: str, params: Any, on_reply: OnReply, timeout_s: Optional[float] = None
    ) -> None:
        """Call a device over its link, which is opened for that where need be; else `on_reply` gets `NotFound`."""
        link, known = self.link_to(device_id), self.registry.get(device_id)
        if link is None and (known is None or not known.present):
            self._node.clock.post(on_reply, None, NotFound(NO_LINK))
        elif link is None:
            call = WaitingCall(method, params, on_reply, timeout_s)
            self._waiting.setdefault(device_id, []).append(call)
            self._node.clock.call_later(LINK_WAIT_S, self._give_up, device_id, call)
            self.want_link(device_id)
        else:
            self._used(device_id)
            link.call(method, params, on_reply, timeout_s=timeout_s)

    def want_link(self, device_id: str) -> None:
        """There is a use for a link to this device."""
        if device_id not in self.links:
            self.apply(LinkWanted(device_id))

    def want_links_for_work(self) -> None:
        """There is work: link the cluster's devices that are known by their beacons alone, within `idle_links`."""
        is_member = self._node.belonging.is_member_here
        unlinked = [known.device_id for known in self.registry.devices() if known.present and not known.linked]
        for device_id in [each for each in unlinked if is_member(each)][: self._node.settings_limits.idle_links]:
            self.want_link(device_id)

    def _give_up(self, device_id: str, call: WaitingCall) -> None:
        calls = self._waiting.get(device_id, [])
        if call in calls:
            calls.remove(call)
            if not calls:
                del self._waiting[device_id]
            call.on_reply(None, NotFound(NO_LINK))

    def greeted(self, link: LinkPort, greeting: Greeting) -> bool:
        """Take note of a node that said Hello to us, or answered ours; return whether the link is its from now on."""
        node_id, boot = greeting.node_id, greeting.boot[:NAME_CHARS]
        if link.verified_id not in ("", node_id):
            # Over TLS a device is whom its certificate proves, whatever it calls itself.
            return False
        links, peer, is_trusted = self.links.get(node_id, []), self._node.peer_of(link), self._node.belonging.is_trusted
        if not is_trusted(link) and any(is_trusted(other) for other in links):
            # Whoever only says that he is a device, while that device itself is here and proved it, is not.
            return False
        peer.node_id, peer.boot = node_id, boot
        link.is_link = True
        host = link.remote_address.rpartition(":")[0]
        address = link.remote_address if link.is_dialled else f"{host}:{greeting.port}" if greeting.port else ""
        # The newest goes first: an older one may be half-open, with nobody left at its other end.
        self.links.pop(node_id, None)
        self.links[node_id] = [link, *links]
        link.hearing.on_unread = partial(self._unread, link)
        self.heartbeats.link_changed(node_id)
        self.apply(LinkOpened(node_id, greeting.name[:NAME_CHARS], address, boot, bool(link.verified_id)))
        for other in links:
            if other.peer.boot != boot:
                other.close("its node was restarted")
        self._close_idle_links()
        # Our answer to its Hello has to go first: by that it knows whose work comes.
        self._node.clock.post(self._link_ready, link)
        return True

    def _unread(self, link: LinkPort) -> None:
        """A link is not read any more, and its device, whose calls wait, has to hear that we live."""
        if self.link_to(link.peer.node_id) is link:
            self.heartbeats.beat(link.peer.node_id)
            self._schedule()

    def _link_ready(self, link: LinkPort) -> None:
        if not link.is_closed:
            link.peer.is_greeted = True
            self._node.link_opened(link.peer.node_id)
            for call in self._waiting.pop(link.peer.node_id, []):
                link.call(call.method, call.params, call.on_reply, timeout_s=call.timeout_s)

    def register(self, link: LinkPort, device: Device) -> str:
        """Take a device's own description; return what is wrong with it, or ""."""
        peer, device = link.peer, bounded_device(device)
        if not 1 <= len(device.id) <= ID_CHARS:
            return f"a device needs an id of 1 to {ID_CHARS} characters"
        if peer.node_id and device.id != peer.node_id:
            return "a device may describe itself only: the id is not the one given in Hello"
        if peer.node_id:
            self.described(device)
        elif device.id != self._node.id:
            # A client written from the protocol page alone registers without a Hello: it is known as if by beacon.
            now = self._node.clock.now()
            boot = str(device.lite.get("boot", ""))[:NAME_CHARS]
            self.apply(BeaconHeard(device, device.address, boot, int(now * 1000), IDLE_BEAT_S, "register"))
        return ""

    def link_closed(self, link: LinkPort) -> None:
        """Forget a closed link; the registry decides whether its device is gone."""
        node_id = link.peer.node_id
        links = self.links.get(node_id, [])
        if link not in links:
            return
        links.remove(link)
        if not links:
            del self.links[node_id]
            self.heartbeats.end(node_id)
            if not self.is_stopping:
                why = link.broken_by.message if link.broken_by is not None else ""
                self.apply(LinkLost(node_id, on_purpose=link.peer.is_retired, why=why))
        self._node.device_changed(node_id)

    def drop_links(self, device_id: str) -> None:
        """Close what is still open to a device that is believed dead: a half-open link helps nobody."""
        for link in list(self.links.get(device_id, [])):
            link.close("the device does not answer")

    def retire(self, link: LinkPort) -> None:
        """Close a link in good order: its device has not gone, and neither have we."""
        link.peer.is_retired = True
        link.notify("Goodbye", {"is_leaving": False})
        link.finish()

    def retire_all(self) -> None:
        """Close all links in good order."""
        for links in list(self.links.values()):
            for link in list(links):
                self.retire(link)

    def said_goodbye(self, link: LinkPort, is_leaving: bool) -> None:
        """The peer of this link closes it: it is leaving, or only makes room for other links."""
        if not link.peer.node_id:
            return
        link.peer.is_retired = True
        if is_leaving:
            self.apply(GoodbyeHeard(link.peer.node_id, link.peer.boot))

    def own_state_changed(self) -> None:
        """Tell everybody that our status is another: at once, but no more than once in `STATE_TOLD_EVERY_S`."""
        clock = self._node.clock
        if self._state_timer is None:
            when = max(clock.now(), self._state_told_at + STATE_TOLD_EVERY_S)
            self._state_timer = clock.call_at(when, self._tell_own_state)

    def _tell_own_state(self) -> None:
        self._state_timer = None
        if self.is_stopping:
            return
        self._state_told_at = self._node.clock.now()
        self._announcer.announce(False)
        for node_id in list(self.links):
            self.heartbeats.beat(node_id)
        self._schedule()

    def own_description_changed(self) -> None:
        """Tell everybody more than heartbeats say: our slots or our measured speed are others."""
        self.own_state_changed()
        for node_id, links in list(self.links.items()):
            self._greeter.register_at(links[0], node_id)

    def work_began(self, device_id: str) -> None:
        """Exchange heartbeats with this device often from now on."""
        if device_id in self.links:
            self._used(device_id)
            self.heartbeats.begin(device_id)
            self._schedule()

    def prove_links(self) -> None:
        """Ask over every link at once whether the other end is there."""
        for node_id in list(self.links):
            self.heartbeats.beat(node_id)
        self._schedule()

    def leave_addresses(self, addresses: Sequence[str]) -> None:
        """Close the links by way of own addresses that are gone: what waits for them would wait for long."""
        for link in [link for links in self.links.values() for link in links if link.local_host in addresses]:
            link.close(f"this device is not {link.local_host} any more")

    def look_again(self) -> None:
        """Announce ourselves, ask for answers, and say Hello to all who have no link to us."""
        if not self.is_stopping:
            self._announcer.announce(True)
            self._greeter.greet_everybody()
            self._sweeper.ask()

    def meet(self, addresses: List[str], show: Callable[[List[MetAddress]], Any]) -> Later:
        """Call devices at addresses that a person typed; answer with `show(outcomes)` once all were tried."""
        return self._greeter.meet(addresses, show)

    def say_hello(self, address: str, device_id: str) -> None:
        """Say Hello to a device at an address, whatever becomes of it."""
        self._greeter.say_hello(address, device_id)

    def told(self, device: Device, by: str) -> None:
        """A peer spoke of another device: an address to try."""
        is_reachable = device.address and device.status is not DeviceStatus.OFFLINE and not device.lite.get("foreign")
        if not is_reachable or device.id == self._node.id or not 1 <= len(device.id) <= ID_CHARS:
            return
        if self.registry.is_told_news(device):
            self.apply(DeviceTold(bounded_device(device), by))

    def described(self, device: Device) -> None:
        """A device described itself over its own link."""
        self.apply(DeviceDescribed(bounded_device(device)))
        self._node.device_changed(device.id)

    # ---- inside -----------------------------------------------------------------------------------

    def apply(self, event: Any) -> None:
        """Give the registry a fact and do what it wishes."""
        for action in self.registry.apply(event, self._node.clock.now()):
            if isinstance(action, Dial):
                self._greeter.dial_device(action.device_id, action.addresses)
            else:
                self._node.membership_changed(action)
        self._schedule()

    def schedule_anew(self) -> None:
        """What was waited for has come: do not wake up at the time at which its absence would have been told."""
        self._alarm.clear()
        self._schedule()

    def _schedule(self) -> None:
        """Wake up at the earliest of the registry's and the heartbeats' deadlines."""
        if not self.is_stopping:
            self._alarm.set(self.heartbeats.next_deadline(), self.heartbeats.patience_s())
            self._alarm.set(self.registry.next_deadline())

    def _woken(self, late_s: float) -> None:
        if self.is_stopping:
            return
        if late_s > LATE_S:
            self.heartbeats.forgive(late_s)
        self.heartbeats.send_due(self._node.clock.now())
        self.apply(Tick())

    def _used(self, device_id: str) -> None:
        """Put a device's links last among those that may be closed."""
        self.links[device_id] = self.links.pop(device_id)

    def _close_idle_links(self) -> None:
        """Keep at most `idle_links`; knowing a device needs no link, beacons carry on."""
        most = self._node.settings_limits.idle_links
        idle = [node_id for node_id in self.links if not self._node.has_work_with(node_id)]
        for node_id in idle[: max(0, len(idle) - most)]:
            for link in list(self.links.get(node_id, [])):
                self.retire(link)

    def first_addresses(self, is_wanted: Callable[[KnownDevice], bool]) -> List[str]:
        """Return where the devices that are wanted are called, the most promising address of each."""
        return [
            address for device in self.registry.devices() if is_wanted(device)
            for address in self.registry.addresses(device.device_id)[:1]
        ]

    def _remember(self) -> None:
        addresses = self.first_addresses(lambda device: device.linked)
        if not addresses:
            return
        try:
            self._node.store.write_json("peers.json", {"addresses": addresses[:REMEMBERED]})
        except StateError as error:
            # The goodbyes are still to be said.
            self._node.tell("warning", error.message)
