"""Write and read the announcement of a device that shows itself to its own cluster only.

Knows:   48 bytes, of which a stranger learns a port and that somebody is there.
Refuses: to say who it is to whoever lacks the cluster's beacon key; to read anything before length and seal are right.
Read next: wire/beacon.py (the open one), roles/announcer.py.

    0   "DCB1"
    4   version u8, now 1
    5   flags u8: 1 is goodbye
    6   TCP port u16
    8   boot u64: random per process start
    16  sequence u64: grows
    24  pseudonym, 8 bytes: HMAC-SHA256(beacon key, "id" + device id)
    32  seal, 16 bytes: HMAC-SHA256(beacon key, the 32 bytes before)

A pseudonym lives as long as the beacon key, which changes whenever a device is removed.

    >>> data = encode_private_beacon(PrivateBeacon(8080, "00000000000000ff", 7), "k3fq9zt2", bytes(range(32)))
    >>> len(data), data[:24].hex()
    (48, '4443423101001f9000000000000000ff0000000000000007')
"""

from __future__ import annotations

import hashlib
import hmac
import re
import struct
from dataclasses import dataclass
from typing import Optional

from .beacon import PRIVATE_BEACON_START

_LAYOUT = struct.Struct("!4sBBHQQ8s")
_VERSION, _GOODBYE, _SEAL_BYTES, _PSEUDONYM_BYTES = 1, 1, 16, 8
_BOOT = re.compile("[0-9a-f]{16}")


@dataclass(frozen=True)
class PrivateBeacon:
    """Hold what such a datagram says."""

    port: int
    #: 16 hexadecimal digits.
    boot: str
    seq: int
    is_goodbye: bool = False
    #: Whose it is, for those who know the members; made by `encode_private_beacon`.
    pseudonym: bytes = b""


def beacon_pseudonym(device_id: str, beacon_key: bytes) -> bytes:
    """Return what stands for a device in its private beacons."""
    return _hmac(beacon_key, b"id" + device_id.encode("ascii"))[:_PSEUDONYM_BYTES]


def encode_private_beacon(beacon: PrivateBeacon, device_id: str, beacon_key: bytes) -> bytes:
    """Return the datagram; raise ValueError for a boot that is not 16 hexadecimal digits."""
    if not _BOOT.fullmatch(beacon.boot):
        raise ValueError("a private beacon's boot is 16 hexadecimal digits")
    start = _LAYOUT.pack(
        PRIVATE_BEACON_START, _VERSION, _GOODBYE if beacon.is_goodbye else 0, beacon.port, int(beacon.boot, 16),
        beacon.seq, beacon_pseudonym(device_id, beacon_key),
    )
    return start + _hmac(beacon_key, start)[:_SEAL_BYTES]


def decode_private_beacon(data: bytes, beacon_key: bytes) -> Optional[PrivateBeacon]:
    """Return what a datagram of our cluster says; None for all others, whatever is the matter with them."""
    if len(data) != _LAYOUT.size + _SEAL_BYTES or not beacon_key:
        return None
    start, seal = data[:_LAYOUT.size], data[_LAYOUT.size:]
    if not hmac.compare_digest(_hmac(beacon_key, start)[:_SEAL_BYTES], seal):
        return None
    magic, version, flags, port, boot, seq, pseudonym = _LAYOUT.unpack(start)
    if magic != PRIVATE_BEACON_START or version != _VERSION or not port:
        return None
    return PrivateBeacon(port, f"{boot:016x}", seq, bool(flags & _GOODBYE), pseudonym)


def _hmac(beacon_key: bytes, data: bytes) -> bytes:
    return hmac.new(beacon_key, data, hashlib.sha256).digest()
