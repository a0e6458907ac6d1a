"""Know beacons again: a node says the same every few seconds, and only two numbers in it are others.

Knows:   the last beacon of each source, in pieces around its time and its number.
Refuses: to believe a seal that it has not verified, and to know anything again that a parser would read otherwise.
Read next: wire/beacon.py (which reads what is new).

Between two beacons of a node that has no news, these digits differ, and the seal that follows from them:

    {"type":"discovery", … "timestamp":1756800000,"lite":{ … "seq":12, … ,"mac":"…"}}
    |----------------head----------------|          |--middle--|  |tail|

Whatever has the same head, middle and tail, and digits of a whole number between them, says the same.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import Any, NamedTuple, Optional, Tuple

from .beacon import Beacon, unsealed, verify_beacon

#: Sources that are remembered; the one not heard for longest is forgotten first. Half a MiB.
BEACON_SOURCES = 1024
_WHOLE = rb"(0|[1-9][0-9]{0,14})"
#: In a text of JSON a quotation mark is never followed by a colon, nor by a name that ends with one unescaped.
_PIECES = re.compile(rb'(.*?"timestamp":)' + _WHOLE + rb'(,"lite":\{.*?"seq":)' + _WHOLE + rb"(,.*)\Z", re.S)


class RecalledBeacon(NamedTuple):
    """Hold a beacon that was known again."""

    #: As it was read first: its `seq` and `timestamp` are older.
    beacon: Beacon
    seq: int
    #: What its reader made of it.
    note: Any


class BeaconMemory:
    """Remember what each source said last."""

    def __init__(self) -> None:
        #: source -> (pieces, beacon, note).
        self._known: OrderedDict[str, Tuple[Tuple[bytes, ...], Beacon, Any]] = OrderedDict()

    def remember(self, source: str, data: bytes, beacon: Beacon, note: Any) -> None:
        """Keep a datagram that was read, and what was made of it."""
        pieces, _ = beacon_pieces(data)
        if not pieces:
            return
        self._known[source] = pieces, beacon, note
        self._known.move_to_end(source)
        while len(self._known) > BEACON_SOURCES:
            self._known.popitem(last=False)

    def recall(self, source: str, data: bytes, beacon_key: bytes = b"") -> Optional[RecalledBeacon]:
        """Return what a datagram says, where its source said the same before; None where it has to be read."""
        known = self._known.get(source)
        if known is None:
            return None
        pieces, seq = beacon_pieces(data)
        last, beacon, note = known
        if pieces != last or _seal_holds(data, pieces, beacon_key) != beacon.mac_ok:
            return None
        self._known.move_to_end(source)
        return RecalledBeacon(beacon, seq, note)


def beacon_pieces(data: bytes) -> Tuple[Tuple[bytes, ...], int]:
    """Return what stays the same of a datagram, and its number; nothing where it has another form."""
    text = unsealed(data)
    match = _PIECES.match(text)
    if match is None:
        return (), 0
    head, _, middle, seq, tail = match.groups()
    return (head, middle, tail, b"sealed" if len(text) < len(data) else b""), int(seq)


def _seal_holds(data: bytes, pieces: Tuple[bytes, ...], beacon_key: bytes) -> Optional[bool]:
    """Return what `Beacon.mac_ok` would be; the last of the pieces says whether there is a seal."""
    return verify_beacon(data, beacon_key) if beacon_key and pieces and pieces[-1] else None
