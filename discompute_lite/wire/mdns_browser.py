"""Find the services of one type on the local network: the asking half of multicast DNS.

Knows:   when to ask and what to say that is known already, how long records live, and when they must be asked for again
         (RFC 6762, sections 5, 7.1 and 10); which records make a service (RFC 6763).
Refuses: records of other services, sockets and clocks; and to hold more than `records_most`.
Read next: wire/mdns_responder.py (the other half), net/mdns_transport.py.

    PTR   _discompute._tcp.local            -> Ann's Mac._discompute._tcp.local    (one for each service)
    SRV   Ann's Mac._discompute._tcp.local  -> port 8080 of discompute-k3fq9zt2.local
    TXT   Ann's Mac._discompute._tcp.local  -> key=value, …
    A     discompute-k3fq9zt2.local         -> 192.168.1.20

A service is found when all four are there, found again when one of them changes, and lost when PTR, SRV or TXT is.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import Any, Deque, Dict, List, Optional, Tuple

from ..model.deadlines import Deadlines
from .dns import (
    DNS_A, DNS_AAAA, DNS_PTR, DNS_SRV, DNS_TXT, DnsMessage, DnsName, DnsQuestion, DnsRecord, MDNS_PORT, encode_dns,
    lower_name, read_ptr, read_srv, read_txt,
)
from .mdns_responder import ANSWER_DELAY_S, MdnsDatagram

#: Seconds from one question to the next: doubled up to an hour, as new services announce themselves.
BROWSE_FIRST_S, BROWSE_LAST_S = 1.0, 3600.0
#: Parts of a record's life after which it is asked for again, and how far chance shifts that (RFC 6762, section 5.2).
REFRESH_AT, REFRESH_JITTER = (0.80, 0.85, 0.90, 0.95), 0.02
#: Services that are named as known in a question: what fits one datagram; the others are told once more.
KNOWN_ANSWERS = 24
#: A record that its owner took back lives on for a second, in case somebody else has it too.
LAST_SECOND_S = 1.0
#: Seconds for which nobody's record is believed without being asked for again.
RECORD_LIFE_MOST_S = 4500
#: Seconds after which what is missing of a service is asked for, and how often.
MISSING_AFTER_S, MISSING_TRIES = 0.3, 3


@dataclass(frozen=True)
class MdnsFound:
    """A service is there, or has changed."""

    name: str
    port: int
    txt: Dict[str, bytes]
    #: In wire form, IPv4 first.
    addresses: Tuple[bytes, ...]


@dataclass(frozen=True)
class MdnsLost:
    """A service was not heard of any more, or with `is_goodbye` has said so itself."""

    name: str
    is_goodbye: bool = False


class _HeldRecord:
    """Hold one record until it must be asked for again, and until it ends."""

    __slots__ = ("record", "heard_at", "life_s", "step", "is_taken_back")

    def __init__(self, record: DnsRecord, now: float) -> None:
        self.record = record
        self.heard_at = now
        self.life_s = float(min(record.ttl_s, RECORD_LIFE_MOST_S))
        #: How many of `REFRESH_AT` have passed.
        self.step = 0
        #: Its owner said that it does not hold any more.
        self.is_taken_back = False


class MdnsBrowser:
    """Look for one type of service on one interface."""

    def __init__(self, service: DnsName, rng: Any, records_most: int = 4096) -> None:
        self._service, self._lower = service, lower_name(service)
        self._random = rng.random
        self._records_most = records_most
        #: key -> record; and (lower name, type) -> the keys of its records, none empty.
        self._held: Dict[Any, _HeldRecord] = {}
        self._keys: Dict[Tuple[DnsName, int], List[Any]] = {}
        #: instance's lower name -> key of the PTR record that leads to it; host's lower name -> instances on it.
        self._pointers: Dict[DnsName, Any] = {}
        self._hosts: Dict[DnsName, List[DnsName]] = {}
        #: instance's lower name -> what was last told of it.
        self._found: Dict[DnsName, MdnsFound] = {}
        #: instance's lower name -> how often what is missing of it was asked for.
        self._missing: Dict[DnsName, int] = {}
        self._every_s = BROWSE_FIRST_S
        self._deadlines = Deadlines()
        self._events: Deque[Any] = deque()
        self._datagrams: Deque[MdnsDatagram] = deque()

    # ---- our side -----------------------------------------------------------------------------------

    def start(self, now: float) -> None:
        """Begin to ask."""
        least, most = ANSWER_DELAY_S
        self._every_s = BROWSE_FIRST_S
        self._deadlines.set("browse", now + least + (most - least) * self._random())

    def next_event(self) -> Optional[Any]:
        """Return the next `MdnsFound` or `MdnsLost`, or None."""
        return self._events.popleft() if self._events else None

    def next_datagram(self) -> Optional[MdnsDatagram]:
        """Return what is to be sent next, or None."""
        return self._datagrams.popleft() if self._datagrams else None

    def next_deadline(self) -> Optional[float]:
        """Return when `handle_deadline` is next worth calling."""
        return self._deadlines.next()

    def handle_deadline(self, now: float) -> None:
        """Do what is due."""
        asked: Dict[Tuple[DnsName, int], None] = {}
        for key in self._deadlines.pop_due(now):
            if key == "browse":
                self._browse(now)
            elif len(key) == 2:
                self._ask_for_missing(key[1], now)
            elif now >= self._held[key].heard_at + self._held[key].life_s:
                self._forget(key, now)
            else:
                held = self._held[key]
                held.step += 1
                asked[held.record.name, held.record.type] = None
                self._set_deadline(key)
        if asked:
            self._ask([DnsQuestion(name, kind) for name, kind in asked])

    # ---- their side ---------------------------------------------------------------------------------

    def receive(self, message: DnsMessage, source: Tuple[str, int], now: float) -> None:
        """Take a message that somebody else sent."""
        if not message.is_response or source[1] != MDNS_PORT:
            return
        touched: Dict[DnsName, None] = {}
        # PTR before SRV before addresses: each says whether the next is wanted.
        for record in sorted(message.answers, key=lambda item: (item.type in (DNS_A, DNS_AAAA), item.type != DNS_PTR)):
            if self._is_wanted(record):
                self._take(record, now)
                for name in self._instances_of(record):
                    touched[name] = None
        for name in touched:
            self._tell(name, now)

    def _is_wanted(self, record: DnsRecord) -> bool:
        name = lower_name(record.name)
        if record.type == DNS_PTR:
            return name == self._lower and self._is_instance(read_ptr(record.data))
        if record.type in (DNS_SRV, DNS_TXT):
            return self._is_instance(record.name)
        return name in self._hosts

    def _is_instance(self, name: DnsName) -> bool:
        return len(name) == 1 + len(self._service) and lower_name(name[1:]) == self._lower

    def _take(self, record: DnsRecord, now: float) -> None:
        key, place = record.key, (lower_name(record.name), record.type)
        if not record.ttl_s:
            if key in self._held:
                self._end_soon(key, now)
                self._held[key].is_taken_back = True
            return
        if record.is_flush:
            for other in self._keys.get(place, ()):
                # What came within this second may be another part of the same answer.
                if other != key and now - self._held[other].heard_at > LAST_SECOND_S:
                    self._end_soon(other, now)
        if key not in self._held:
            if len(self._held) >= self._records_most:
                return
            self._keys.setdefault(place, []).append(key)
            self._index(record, key)
        self._held[key] = _HeldRecord(record, now)
        self._set_deadline(key)

    def _end_soon(self, key: Any, now: float) -> None:
        held = self._held[key]
        held.heard_at, held.life_s, held.step = now, LAST_SECOND_S, len(REFRESH_AT)
        self._set_deadline(key)

    def _forget(self, key: Any, now: float) -> None:
        held = self._held.pop(key)
        record = held.record
        names = self._instances_of(record)
        place = lower_name(record.name), record.type
        self._keys[place].remove(key)
        if not self._keys[place]:
            del self._keys[place]
        self._unindex(record, key)
        for name in names:
            self._tell(name, now)

    def _set_deadline(self, key: Any) -> None:
        held = self._held[key]
        part = REFRESH_AT[held.step] + REFRESH_JITTER * self._random() if held.step < len(REFRESH_AT) else 1.0
        self._deadlines.set(key, held.heard_at + held.life_s * part)

    # ---- services -----------------------------------------------------------------------------------

    def _records(self, name: DnsName, kind: int) -> List[DnsRecord]:
        return [self._held[key].record for key in self._keys.get((name, kind), ())]

    def _index(self, record: DnsRecord, key: Any) -> None:
        if record.type == DNS_PTR:
            self._pointers[lower_name(read_ptr(record.data))] = key
        elif record.type == DNS_SRV:
            self._hosts.setdefault(lower_name(read_srv(record.data)[1]), []).append(lower_name(record.name))

    def _unindex(self, record: DnsRecord, key: Any) -> None:
        if record.type == DNS_PTR:
            instance = lower_name(read_ptr(record.data))
            if self._pointers.get(instance) == key:
                del self._pointers[instance]
        elif record.type == DNS_SRV:
            host = lower_name(read_srv(record.data)[1])
            self._hosts[host].remove(lower_name(record.name))
            if not self._hosts[host]:
                del self._hosts[host]

    def _instances_of(self, record: DnsRecord) -> List[DnsName]:
        """Return the services that a record is part of."""
        name = lower_name(record.name)
        if record.type == DNS_PTR:
            return [lower_name(read_ptr(record.data))]
        return [name] if record.type in (DNS_SRV, DNS_TXT) else list(self._hosts.get(name, ()))

    def _resolved(self, instance: DnsName) -> Optional[MdnsFound]:
        pointer = self._pointers.get(instance)
        services, texts = self._records(instance, DNS_SRV), self._records(instance, DNS_TXT)
        if pointer is None or not (services and texts):
            return None
        # The newest, where an owner has just changed it.
        port, host = read_srv(services[-1].data)
        addresses = [item.data for kind in (DNS_A, DNS_AAAA) for item in self._records(lower_name(host), kind)]
        name = read_ptr(self._held[pointer].record.data)[0]
        return MdnsFound(name, port, read_txt(texts[-1].data), tuple(addresses)) if addresses else None

    def _is_taken_back(self, instance: DnsName) -> bool:
        """Whether a service has said goodbye: by what leads to it, or by its place. An address that goes is none."""
        keys = [self._pointers.get(instance), *self._keys.get((instance, DNS_SRV), ())]
        return any(self._held[key].is_taken_back for key in keys if key is not None)

    def _tell(self, instance: DnsName, now: float) -> None:
        is_leaving = self._is_taken_back(instance)
        # Its records are kept for a second more, should its goodbye be contradicted; it is told at once all the same,
        # or whoever loses the connection meanwhile would take it for dead.
        before, found = self._found.get(instance), None if is_leaving else self._resolved(instance)
        if found is None:
            if before is not None:
                del self._found[instance]
                self._events.append(MdnsLost(before.name, is_leaving))
            if instance in self._pointers and not is_leaving:
                self._missing.setdefault(instance, 0)
                self._deadlines.set(("missing", instance), now + MISSING_AFTER_S)
            else:
                self._missing.pop(instance, None)
                self._deadlines.cancel(("missing", instance))
            return
        self._missing.pop(instance, None)
        self._deadlines.cancel(("missing", instance))
        if found != before:
            self._found[instance] = found
            self._events.append(found)

    # ---- asking -------------------------------------------------------------------------------------

    def _browse(self, now: float) -> None:
        known: List[DnsRecord] = []
        for key in self._keys.get((self._lower, DNS_PTR), ())[-KNOWN_ANSWERS:]:
            held = self._held[key]
            left_s = held.heard_at + held.life_s - now
            if left_s > held.life_s / 2:
                known.append(replace(held.record, ttl_s=int(left_s), is_flush=False))
        self._ask([DnsQuestion(self._service, DNS_PTR)], tuple(known))
        self._deadlines.set("browse", now + self._every_s)
        self._every_s = min(BROWSE_LAST_S, 2 * self._every_s)

    def _ask_for_missing(self, instance: DnsName, now: float) -> None:
        tries = self._missing.get(instance, MISSING_TRIES)
        if tries >= MISSING_TRIES or self._resolved(instance) is not None:
            return
        self._missing[instance] = tries + 1
        questions = [DnsQuestion(instance, kind) for kind in (DNS_SRV, DNS_TXT) if not self._records(instance, kind)]
        for record in self._records(instance, DNS_SRV)[-1:]:
            questions += [DnsQuestion(read_srv(record.data)[1], kind) for kind in (DNS_A, DNS_AAAA)]
        self._ask(questions)
        self._deadlines.set(("missing", instance), now + MISSING_AFTER_S * 2 ** (tries + 1))

    def _ask(self, questions: List[DnsQuestion], known: Tuple[DnsRecord, ...] = ()) -> None:
        self._datagrams.append(MdnsDatagram(encode_dns(DnsMessage(questions=tuple(questions), answers=known))))
