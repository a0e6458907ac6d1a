"""Exchange heartbeats over links: often while work is under way, seldom otherwise.

Knows:   when each link's next heartbeat is due, and which are without an answer.
Refuses: to conclude anything from silence (core/registry.py does).
Read next: roles/discovery.py.
"""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Set, Union

from ..core.events import HeartbeatHeard, HeartbeatMissed, RoundTripMeasured
from ..model.codec import from_json, to_json
from ..model.deadlines import COMPANY_S, Deadlines
from ..model.device import ComputeMetrics, Device, DeviceCapabilities, DeviceStatus
from ..model.errors import DiscomputeError
from .bounds import bounded_capabilities, devices_that_fit
from .methods import HeartbeatAnswer
from .peer import Peer
from .ports import LinkPort

#: Heartbeats: over an idle link; with attempts under way; the same on loopback and wire.
IDLE_BEAT_S, BUSY_BEAT_S, BUSY_NEAR_BEAT_S = 15.0, 1.0, 0.25
#: Seconds for which the heartbeat of an idle link may wait until the node is awake for something else.
BEAT_PATIENCE_S = COMPANY_S
#: Over more idle links than so many, heartbeats are rarer in proportion: a crowd must cost nobody more. Whoever is
#: silent is noticed by its beacons all the same (`BEACONS_MISSED`).
UNSTRETCHED_BEATS = 8
#: A heartbeat that says the same as the last within this is no news: it costs a third of one that is.
REPEAT_S = 0.1
#: An answer to a heartbeat that takes longer than this is told to the registry as silence.
BEAT_ANSWER_S = 2.0
#: Seconds between two such tellings.
BEAT_OVERDUE_S = 1.0
#: A device whose beacons were heard and then missed so often in a row is asked at once: its link may be cut.
BEACONS_MISSED = 3


#: What a heartbeat is answered that came too soon for news: nothing has changed, nothing runs. As JSON, once for all.
QUIET_ANSWER: Dict[str, Any] = to_json(HeartbeatAnswer(success=True))


class Heartbeats:
    """Keep the links of one node alive and known to be."""

    def __init__(self, node: Any, discovery: Any) -> None:
        self._node = node
        self._discovery = discovery
        #: device id -> when its next heartbeat is due; exactly the devices with a link.
        self._beats = Deadlines()
        #: Those of them with whom there was work when the next heartbeat was planned.
        self._busy: Set[str] = set()
        #: device id -> when the heartbeat without an answer was sent.
        self._beats_sent: Dict[str, float] = {}
        #: device id -> when the silence of its beacons becomes odd; one may outlast its link, and then asks nobody.
        self._beacon_due: Dict[str, float] = {}

    def begin(self, device_id: str) -> None:
        """A link to this device is open, or work with it began: its next heartbeat is due accordingly."""
        due, before = self._node.clock.now() + self._beat_s(device_id), self._beats.when(device_id)
        # Never later than it was: work that begins all the time must not put the heartbeat off for ever.
        if before is None or due < before:
            self._beats.set(device_id, due)
        if before is None:
            # Most links begin with a beacon: the next ones are waited for although they have still to come.
            known = self._discovery.registry.get(device_id)
            if known is not None and known.every_s:
                self.beacon_heard(device_id, known.every_s)

    def link_changed(self, device_id: str) -> None:
        """Calls to this device go over another link than before: no answer is owed over this one."""
        self._beats_sent.pop(device_id, None)
        self.begin(device_id)

    def forgive(self, late_s: float) -> None:
        """Take back so many seconds of silence: it was this process that stood still."""
        self._beats_sent = {device_id: sent_at + late_s for device_id, sent_at in self._beats_sent.items()}

    def end(self, device_id: str) -> None:
        """There is no link to this device any more."""
        self._beats.cancel(device_id)
        self._busy.discard(device_id)
        self._beats_sent.pop(device_id, None)

    def beacon_heard(self, device_id: str, every_s: float) -> None:
        """A beacon came: where beacons come at all, their end is the first sign of a cut cable or a sleeping phone."""
        if device_id in self._beats:
            self._beacon_due[device_id] = self._node.clock.now() + BEACONS_MISSED * every_s

    def ask_the_silent(self) -> None:
        """Send a heartbeat over the links of devices whose beacons have ceased, long before it is due."""
        now = self._node.clock.now()
        for device_id in [device_id for device_id, due in self._beacon_due.items() if now >= due]:
            del self._beacon_due[device_id]
            if device_id not in self._beats_sent:
                self.beat(device_id)

    def next_deadline(self) -> Optional[float]:
        """Return when `send_due` is next worth calling."""
        return self._beats.next()

    def patience_s(self) -> float:
        """Return for how long what is due then may wait: not at all while there is work, or an answer is owed."""
        return 0.0 if self._busy or self._beats_sent else BEAT_PATIENCE_S

    def send_due(self, now: float) -> None:
        """Send the heartbeats that are due."""
        for device_id in self._beats.pop_due(now):
            self.beat(device_id)

    def received(
        self, link: LinkPort, device_id: str, capabilities: Optional[DeviceCapabilities], status: DeviceStatus,
        metrics: Optional[ComputeMetrics], lite: Optional[Dict[str, Any]] = None,
    ) -> Union[HeartbeatAnswer, Dict[str, Any]]:
        """Take a heartbeat; answer with what changed since this caller was last told, as a message or as JSON."""
        peer = link.peer
        device_id, registry = peer.node_id or device_id, self._discovery.registry
        known = registry.get(device_id)
        if known is None or (known.linked and not peer.node_id):
            # Unknown; or somebody without a Hello speaks for a device that speaks for itself.
            return HeartbeatAnswer(success=False)
        if lite and lite.get("knows") == registry.knows(but=device_id):
            # In a crowd that hears itself everybody knows everybody: to tell it again would be most of its talk.
            peer.told_version = registry.version
        now = self._node.clock.now()
        said = (capabilities, status, metrics)
        if said != peer.said or now - peer.said_at > REPEAT_S:
            peer.said, peer.said_at = said, now
            feels = status if status is not DeviceStatus.UNKNOWN else None
            told = bounded_capabilities(capabilities) if capabilities is not None else None
            self._discovery.apply(HeartbeatHeard(device_id, feels, metrics, told))
        elif peer.told_version == registry.version and not self._node.worker.running:
            # No news from them, none for them.
            return QUIET_ANSWER
        # Only who proved to be somebody has attempts here; a name alone is easily given.
        sender = peer.node_id if self._node.belonging.is_trusted(link) else ""
        return HeartbeatAnswer(True, self._news_for(peer, device_id), [], self._node.heartbeat_notes(sender))

    def _news_for(self, peer: Peer, device_id: str) -> List[Device]:
        """Return what changed since this caller was last told, as much as one answer carries.

        Another node, which hears for itself how devices feel, is told of those that came, and where they are.
        """
        registry = self._discovery.registry
        if peer.told_version == registry.version:
            return []
        changed = registry.changed_since(peer.told_version)
        if peer.boot:
            news = sorted((entry.met_version, entry) for entry in changed if entry.met_version > peer.told_version)
        else:
            news = [(entry.version, entry) for entry in changed]
        news = [(version, entry) for version, entry in news if entry.device_id != device_id]
        wall, now = self._node.wall(), self._node.clock.now()
        told = devices_that_fit((entry.to_device(wall, now) for _, entry in news), self._node.settings_limits)
        peer.told_version = registry.version if len(told) in (0, len(news)) else news[len(told) - 1][0]
        return told

    def _beat_s(self, device_id: str) -> float:
        if not self._node.has_work_with(device_id):
            self._busy.discard(device_id)
            stretched = max(1.0, len(self._beats) / UNSTRETCHED_BEATS)
            return IDLE_BEAT_S * stretched * (0.8 + 0.4 * self._node.rng.random()) - BEAT_PATIENCE_S
        self._busy.add(device_id)
        link = self._discovery.link_to(device_id)
        return BUSY_NEAR_BEAT_S if link is not None and link.is_loopback else BUSY_BEAT_S

    def beat(self, device_id: str) -> None:
        """Send a heartbeat now, or tell the registry how long the last one has been without an answer."""
        link, now = self._discovery.link_to(device_id), self._node.clock.now()
        if link is None:
            return
        sent_at = self._beats_sent.get(device_id)
        if sent_at is not None:
            is_overdue = now >= sent_at + BEAT_ANSWER_S
            self._beats.set(device_id, now + BEAT_OVERDUE_S if is_overdue else sent_at + BEAT_ANSWER_S)
            if is_overdue:
                self._unanswered(device_id, link, link.hearing.silent_s(sent_at, now))
            return
        self._beats_sent[device_id] = now
        # Until it is answered: then `_beat_answered` says when the next one is due.
        self._beats.set(device_id, now + BEAT_ANSWER_S)
        device = self._node.own_device()
        params: Dict[str, Any] = {
            "device_id": device.id, "capabilities": to_json(device.capabilities), "status": device.status.value,
            "metrics": to_json(device.compute_metrics),
        }
        params["lite"] = {
            **self._node.heartbeat_notes_for(device_id), "knows": self._discovery.registry.knows(but=device_id)}
        link.call("Heartbeat", params, lambda result, error: self._beat_answered(device_id, link, now, result, error))

    def _unanswered(self, device_id: str, link: LinkPort, silent_s: float) -> None:
        """Judge a device that owes an answer by what else is heard of it, and let it hear of us.

        An answer stands behind whatever its device is sending, and its question behind what we are, which may take
        minutes; where one of both has no room for that, nothing passes. Meanwhile each tells the other that it lives.
        """
        if silent_s >= BEAT_ANSWER_S:
            self._discovery.apply(HeartbeatMissed(device_id, silent_s))
        else:
            self._discovery.apply(HeartbeatHeard(device_id))
            if self._node.belonging.is_trusted(link):
                self._node.attempts.still_there(device_id)
                self._node.worker.heard_from(device_id)
        link.notify("Ping", {})

    def _beat_answered(
        self, device_id: str, link: LinkPort, sent_at: float, result: Any, error: Optional[DiscomputeError]
    ) -> None:
        if self._beats_sent.get(device_id) == sent_at:
            del self._beats_sent[device_id]
            self._beats.set(device_id, max(self._node.clock.now(), sent_at + self._beat_s(device_id)))
            if not self._busy and not self._beats_sent:
                self._discovery.schedule_anew()
        if error is not None or self._discovery.is_stopping:
            return
        self._discovery.apply(RoundTripMeasured(device_id, self._address_of(link), self._node.clock.now() - sent_at))
        try:
            answer = from_json(HeartbeatAnswer, result, "the answer to Heartbeat")
            status = from_json(DeviceStatus, answer.lite["status"], "lite.status") if "status" in answer.lite else None
        except DiscomputeError:
            return
        self._discovery.apply(HeartbeatHeard(device_id, status))
        if self._node.belonging.is_trusted(link):
            self._node.heartbeat_notes_heard(device_id, answer.lite)
        if "exchange" in self._node.settings.discovery:
            for device in answer.updated_devices:
                self._discovery.told(device, device_id)

    def _address_of(self, link: LinkPort) -> str:
        return link.remote_address if link.is_dialled else ""
