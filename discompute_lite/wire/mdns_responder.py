"""Own a service's name on the local network and answer for it: the responder's half of multicast DNS.

Knows:   probing, announcing, known answers, conflicts, legacy askers and goodbyes (RFC 6762, sections 5 to 10), and
         the records of a service (RFC 6763).
Refuses: sockets, clocks and interfaces: one responder speaks for one interface; `now` and `rng` come in.
Read next: wire/mdns_browser.py (the other half), net/mdns_transport.py (who moves the datagrams).

    waiting --probe three times, 0.25 s apart--> probing --nobody objects--> owning (announce twice, 1 s apart)
       ^                                            |                           |
       |  somebody probes for the same and wins: 1 s later, same name           |
       +--- somebody has it: another name -----------+                          |
       +--------------------- somebody says otherwise: prove it again ----------+

Give received messages to `receive`, take `next_datagram` until None, and call `handle_deadline` at `next_deadline`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import Any, Deque, Dict, List, NamedTuple, Optional, Set, Tuple

from ..model.deadlines import Deadlines
from .dns import (
    DNS_A, DNS_AAAA, DNS_ANY, DNS_NSEC, DNS_PTR, DNS_RESPONSE, DNS_SRV, DNS_TRUNCATED, DNS_TXT, DnsMessage, DnsName,
    DnsQuestion, DnsRecord, MDNS_PORT, encode_dns, lower_name, nsec_data, ptr_data, srv_data,
)

#: Where all services of a network are listed (RFC 6763, section 9).
SERVICE_LIST = ("_services", "_dns-sd", "_udp", "local")
#: Seconds that others may keep our records. RFC 6762 advises 120 for what names a host, and 4,500 for the rest; here a
#: device that has gone without a word should be forgotten everywhere after two minutes.
MDNS_TTL_S = 120
LEGACY_TTL_S = 10
#: RFC 6762, section 8: three probes, so far apart; the loser of a tie tries again after a second; whoever meets fifteen
#: conflicts slows down.
PROBES, PROBE_EVERY_S, PROBE_AGAIN_S = 3, 0.25, 1.0
CONFLICTS_MANY, CONFLICT_PAUSE_S = 15, 5.0
#: Announcements, and seconds between them; no record is sent to all more often than that, but to whoever probes for it.
ANNOUNCEMENTS, ANNOUNCE_EVERY_S = 2, 1.0
DEFEND_EVERY_S = 0.25
#: Seconds that an answer waits where others might answer too, and where the asker has more to say.
ANSWER_DELAY_S, TRUNCATED_DELAY_S = (0.02, 0.12), (0.4, 0.5)
#: Answers that wait at once; a flood of questions beyond is not answered.
PENDING_ANSWERS = 64


class MdnsDatagram(NamedTuple):
    """Say what is to be sent; `destination` None is everybody."""

    data: bytes
    destination: Optional[Tuple[str, int]] = None


@dataclass
class _PendingAnswer:
    """Collect what one asker is to get, until it has said what it knows."""

    records: List[DnsRecord]
    extra: List[DnsRecord]


class MdnsResponder:
    """Answer for one service on one interface."""

    def __init__(self, service: DnsName, addresses: Tuple[Tuple[int, bytes], ...], rng: Any) -> None:
        """`addresses` are (DNS_A or DNS_AAAA, bytes) of this interface."""
        self._service = service
        self._addresses = addresses
        self._random = rng.random
        self._wanted_name, self._wanted_host = "", ""
        self._port, self._txt = 0, b"\0"
        #: Which try at a free name this is; 1 is the wanted one.
        self._try = 1
        self._conflicts = 0
        #: "idle", "probing" or "owning".
        self.state = "idle"
        self._probes = self._announcements = 0
        self._deadlines = Deadlines()
        #: (source, number of the answer) -> what waits to be sent to all.
        self._pending: Dict[Any, _PendingAnswer] = {}
        #: When a record was last sent to all, by its key; only our own records.
        self._sent_at: Dict[Any, float] = {}
        self._datagrams: Deque[MdnsDatagram] = deque()

    # ---- our side -----------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """Return the name under which the service is to be found: the wanted one, or that with a number."""
        return self._wanted_name if self._try == 1 else f"{_cut(self._wanted_name, 56)} ({self._try})"

    def offer(self, name: str, host: str, port: int, txt: bytes, now: float) -> None:
        """Offer the service under a name, or say what has changed of it."""
        name, host = _cut(name.strip() or host, 63), _cut(host, 59)
        is_renamed = (name, host) != (self._wanted_name, self._wanted_host)
        is_changed = is_renamed or (port, txt) != (self._port, self._txt)
        self._port, self._txt = port, txt
        if is_renamed:
            self._say_goodbye()
            self._wanted_name, self._wanted_host, self._try = name, host, 1
            self._start_probing(now, self._random() * PROBE_EVERY_S)
        elif is_changed and self.state == "owning":
            self._announcements = 0
            self._deadlines.set("step", now)

    def withdraw(self) -> None:
        """Say goodbye and own nothing any more."""
        self._say_goodbye()
        self.state = "idle"
        self._pending.clear()
        self._deadlines = Deadlines()

    def next_datagram(self) -> Optional[MdnsDatagram]:
        """Return what is to be sent next, or None."""
        return self._datagrams.popleft() if self._datagrams else None

    def next_deadline(self) -> Optional[float]:
        """Return when `handle_deadline` is next worth calling."""
        return self._deadlines.next()

    def handle_deadline(self, now: float) -> None:
        """Do what is due."""
        for key in self._deadlines.pop_due(now):
            if key == "step":
                self._step(now)
            else:
                answer = self._pending.pop(key)
                self._send_to_all(answer.records, answer.extra, now)

    # ---- their side ---------------------------------------------------------------------------------

    def receive(self, message: DnsMessage, source: Tuple[str, int], now: float) -> None:
        """Take a message that somebody else sent."""
        if self.state == "idle":
            return
        if message.is_response:
            self._look_for_conflicts(message.answers, now)
            return
        if self.state == "probing":
            self._settle_tie(message.authorities, now)
            return
        if message.questions:
            self._answer(message, source, now)
        elif message.answers:
            # More of what an asker knows, whose question was too long for one message.
            for key, pending in self._pending.items():
                if key[0] == source:
                    pending.records = self._unknown(pending.records, message.answers)

    # ---- owning a name ------------------------------------------------------------------------------

    def _start_probing(self, now: float, delay_s: float) -> None:
        self.state, self._probes = "probing", 0
        self._pending.clear()
        self._deadlines = Deadlines()
        self._deadlines.set("step", now + delay_s)

    def _step(self, now: float) -> None:
        if self.state == "probing" and self._probes < PROBES:
            self._probes += 1
            # Not QU: of all who share port 5353 on one machine, only one would get an answer by unicast.
            names = [self._instance(), self._host()]
            questions = tuple(DnsQuestion(name, DNS_ANY) for name in names)
            proposed = tuple(replace(record, is_flush=False) for record in self._unique_records())
            self._datagrams.append(MdnsDatagram(encode_dns(DnsMessage(questions=questions, authorities=proposed))))
            self._deadlines.set("step", now + PROBE_EVERY_S)
            return
        if self.state == "probing":
            self.state, self._announcements = "owning", 0
        self._announcements += 1
        self._sent_at.clear()
        self._send_to_all([*self._shared_records(), *self._unique_records()], [], now)
        if self._announcements < ANNOUNCEMENTS:
            self._deadlines.set("step", now + ANNOUNCE_EVERY_S)

    def _look_for_conflicts(self, records: Tuple[DnsRecord, ...], now: float) -> None:
        ours = {lower_name(record.name) for record in self._unique_records()}
        keys = {record.key for record in self._unique_records()}
        kinds = {(lower_name(record.name), record.type) for record in self._unique_records()}
        for record in records:
            name = lower_name(record.name)
            if name not in ours or record.key in keys or not record.ttl_s:
                continue
            if self.state == "probing":
                self._try += 1
                self._conflicts += 1
                self._start_probing(now, CONFLICT_PAUSE_S if self._conflicts >= CONFLICTS_MANY else PROBE_EVERY_S)
                return
            if (name, record.type) in kinds:
                # Whoever has it will say so again when we ask; where nobody does, it stays ours.
                self._start_probing(now, PROBE_EVERY_S)
                return

    def _settle_tie(self, theirs: Tuple[DnsRecord, ...], now: float) -> None:
        """Let the greater of two proposals for one name win (RFC 6762, section 8.2)."""
        for name in (self._instance(), self._host()):
            same = sorted((item.type, item.data) for item in theirs if lower_name(item.name) == lower_name(name))
            ours = sorted((item.type, item.data) for item in self._unique_records() if item.name == name)
            if same and ours < same:
                self._start_probing(now, PROBE_AGAIN_S)
                return

    # ---- answering ----------------------------------------------------------------------------------

    def _answer(self, message: DnsMessage, source: Tuple[str, int], now: float) -> None:
        found: List[DnsRecord] = []
        for question in message.questions:
            found += [record for record in self._asked_for(question) if record not in found]
        found = self._unknown(found, message.answers)
        if not found:
            return
        extra = self._behind(found)
        if source[1] != MDNS_PORT:
            self._answer_plainly(message, found, extra, source)
            return
        is_probe = bool(message.authorities)
        if all(question.is_unicast for question in message.questions) and not is_probe and self._is_fresh(found, now):
            self._datagrams.append(MdnsDatagram(_response(found + extra), source))
            return
        is_unique = all(record.is_flush for record in found)
        if is_unique and not message.flags & DNS_TRUNCATED:
            self._send_to_all(found, extra, now, DEFEND_EVERY_S if is_probe else ANNOUNCE_EVERY_S)
            return
        if len(self._pending) < PENDING_ANSWERS:
            least, most = TRUNCATED_DELAY_S if message.flags & DNS_TRUNCATED else ANSWER_DELAY_S
            key = source, len(self._pending), now
            self._pending[key] = _PendingAnswer(found, extra)
            self._deadlines.set(key, now + least + (most - least) * self._random())

    def _asked_for(self, question: DnsQuestion) -> List[DnsRecord]:
        name = lower_name(question.name)
        found = [
            record for record in (*self._shared_records(), *self._unique_records())
            if lower_name(record.name) == name and question.type in (record.type, DNS_ANY)
        ]
        return found or self._denied(name)

    def _denied(self, name: DnsName) -> List[DnsRecord]:
        """Return the record that says what a name of ours has, and so that it has nothing else (RFC 6762, 6.1)."""
        ours = [record for record in self._unique_records() if lower_name(record.name) == name]
        if not ours:
            return []
        types = sorted({record.type for record in ours})
        return [DnsRecord(ours[0].name, DNS_NSEC, MDNS_TTL_S, nsec_data(ours[0].name, types), True)]

    @staticmethod
    def _unknown(records: List[DnsRecord], known: Tuple[DnsRecord, ...]) -> List[DnsRecord]:
        """Leave out what the asker knows, for at least half of the time that we would give it."""
        known_keys = {record.key for record in known if record.ttl_s >= MDNS_TTL_S / 2}
        return [record for record in records if record.key not in known_keys]

    def _behind(self, found: List[DnsRecord]) -> List[DnsRecord]:
        """Return what the asker will want to know next."""
        wanted: Set[int] = set()
        if any(record.type == DNS_PTR and record.name == self._service for record in found):
            wanted |= {DNS_SRV, DNS_TXT}
        kinds = {record.type for record in found}
        if wanted or kinds & {DNS_SRV, DNS_A, DNS_AAAA}:
            # Addresses of both kinds, or that there is one kind only (RFC 6762, section 6.2).
            wanted |= {DNS_A, DNS_AAAA}
        behind = [item for item in self._unique_records() if item.type in wanted and item not in found]
        if DNS_A in wanted and len({kind for kind, _ in self._addresses}) == 1 and DNS_NSEC not in kinds:
            behind += self._denied(lower_name(self._host()))
        return behind

    def _is_fresh(self, records: List[DnsRecord], now: float) -> bool:
        """Whether all have lately been sent to everybody, so that one asker may have them alone."""
        return all(now - self._sent_at.get(record.key, -MDNS_TTL_S) < MDNS_TTL_S / 4 for record in records)

    def _answer_plainly(
        self, message: DnsMessage, found: List[DnsRecord], extra: List[DnsRecord], source: Tuple[str, int]
    ) -> None:
        """Answer a client of plain DNS as it expects it (RFC 6762, section 6.7)."""
        plain = tuple(replace(record, ttl_s=LEGACY_TTL_S, is_flush=False) for record in found + extra)
        answer = DnsMessage(message.id, DNS_RESPONSE, message.questions, plain)
        self._datagrams.append(MdnsDatagram(encode_dns(answer), source))

    def _send_to_all(
        self, records: List[DnsRecord], extra: List[DnsRecord], now: float, every_s: float = ANNOUNCE_EVERY_S
    ) -> None:
        due = [record for record in records if now - self._sent_at.get(record.key, -MDNS_TTL_S) >= every_s]
        if due:
            self._sent_at.update((record.key, now) for record in due + extra)
            self._datagrams.append(MdnsDatagram(_response(due + extra)))

    def _say_goodbye(self) -> None:
        if self.state == "owning":
            records = [*self._shared_records()[:1], *self._unique_records()]
            self._datagrams.append(MdnsDatagram(_response([replace(record, ttl_s=0) for record in records])))

    # ---- records ------------------------------------------------------------------------------------

    def _instance(self) -> DnsName:
        return (self.name, *self._service)

    def _host(self) -> DnsName:
        return (self._wanted_host if self._try == 1 else f"{self._wanted_host}-{self._try}", "local")

    def _shared_records(self) -> List[DnsRecord]:
        """Return those that others may have too, ours first."""
        return [
            DnsRecord(self._service, DNS_PTR, MDNS_TTL_S, ptr_data(self._instance())),
            DnsRecord(SERVICE_LIST, DNS_PTR, MDNS_TTL_S, ptr_data(self._service)),
        ]

    def _unique_records(self) -> List[DnsRecord]:
        """Return those that are ours alone."""
        instance, host = self._instance(), self._host()
        return [
            DnsRecord(instance, DNS_SRV, MDNS_TTL_S, srv_data(self._port, host), True),
            DnsRecord(instance, DNS_TXT, MDNS_TTL_S, self._txt, True),
            *(DnsRecord(host, kind, MDNS_TTL_S, data, True) for kind, data in self._addresses),
        ]


def _response(records: List[DnsRecord]) -> bytes:
    return encode_dns(DnsMessage(flags=DNS_RESPONSE, answers=tuple(records)))


def _cut(text: str, most: int) -> str:
    """Return a text's beginning, of at most so many bytes of UTF-8."""
    return text.encode("utf-8", "replace")[:most].decode("utf-8", "ignore")
