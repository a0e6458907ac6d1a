"""Write and read the announcement that nodes send by UDP, and read those of the Go discompute and of EXO.

Knows:   the JSON datagram of the protocol page, its length, its seal (`mac`), and how the three programs differ.
Refuses: addresses, sockets and belief: a beacon says what somebody sent, whoever that was. Texts come out as
         they came in; whoever shows them takes care of control characters.
Read next: core/registry.py (what is made of it), net/transports.py (who moves it).

One JSON object, at most 1,200 bytes; `lite` is ours and stands last, `mac` is the last member of it:

    {"type":"discovery","node_id":"k3fq9zt2","grpc_port":8080,"device_capabilities":{"model":"MacBook Pro",
    "chip":"Apple M3 Max","memory":65536,"flops":{"fp32":14.2,"fp16":28.4,"int8":56.8},"type":"macbook"},
    "priority":1,"interface_name":"en0","interface_type":"wifi","timestamp":1756800000,"lite":{"v":1,
    "name":"Ann's Mac","status":"AVAILABLE","boot":"9f2c","seq":12,"reply":true,"every":2.5,
    "mac":"cp/cWKK1h6vjdYyV4KyCLQ=="}}

(Sealed with the bytes 0 to 31; the line breaks are not part of it.) The first eight members are what the
two others read: `timestamp` and `memory` must be integers, or a Go node cannot read any of it; EXO wants
`priority`, `interface_name`, `interface_type` and all of `flops`.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import math
import re
from dataclasses import dataclass, replace
from typing import Any, Dict, Mapping, Optional

from ..model.device import DeviceStatus
from ..model.errors import LocalProtocolError, ProtocolError, TooLarge
from ..model.limits import Limits
from .strict_json import encode_json, parse_strict

#: How a private beacon begins; those are pseudonymous, and somebody else's to read.
PRIVATE_BEACON_START = b"DCB1"
#: Characters of a node's id. Beyond: ProtocolError.
NODE_ID_CHARS = 64
#: The longest interval that a node may claim; silence of four of them is death, so a lie must not make it immortal.
BEACON_EVERY_MAX_S = 3600.0
#: Bytes of the HMAC that are sent: 128 bits are enough against guessing, and datagrams are small.
BEACON_MAC_BYTES = 16

GO_PROGRAM = "discompute (Go)"
EXO_PROGRAM = "EXO"

#: What the Go program sends for each kind of interface; for the others' sake only, we rank by round trips.
_INTERFACE_PRIORITIES = {"wifi": 1, "ethernet": 2, "cellular": 3, "usb": 4}
#: Kinds by name, first match wins: en0 is the Wi-Fi of iPhones and MacBooks, wl* and en* are systemd's names, enx
#: the ones that it makes from the address of a USB adapter, the long ones Windows'. Tunnels and bridges are "other".
_INTERFACE_KINDS = (
    ("wifi", re.compile(r"en0$|wl|mlan\d|ath\d|ap\d|swlan|wi-?fi|wireless network", re.I)),
    ("cellular", re.compile(r"pdp_ip|rmnet|ccmni|wwan|wwp|ppp\d|cellular|mobile", re.I)),
    ("usb", re.compile(r"usb|enx[0-9a-f]{12}$|rndis|ncm\d", re.I)),
    ("ethernet", re.compile(r"en(\d+$|[dops])|eth\d|em\d|ethernet|local area connection", re.I)),
)
#: The sealed end of a datagram: nothing may follow the seal, or it would be unsealed.
_BEACON_SEAL = re.compile(rb',"mac"[ \t\r\n]*:[ \t\r\n]*"([A-Za-z0-9+/]{22}==)"[ \t\r\n]*\}[ \t\r\n]*\}[ \t\r\n]*\Z')
_BEACON_STATUSES = tuple(status.value for status in DeviceStatus)
#: Texts that may be shortened when a datagram gets too long: what people see, never what machines compare.
_SHORTENED_FIELDS = ("name", "model", "label", "chip", "interface_name")
_BEACON_INT_MAX = 2 ** 63 - 1


@dataclass(frozen=True)
class Beacon:
    """Hold what one datagram says. Fields from `name` on travel under `lite` and are empty for foreign nodes."""

    node_id: str
    #: The TCP port to call; 0 where a foreign node sent none.
    port: int
    #: "discovery" or "goodbye".
    type: str = "discovery"
    model: str = ""
    chip: str = ""
    memory_mb: int = 0
    #: TFLOPS of the GPU, nominal; 0 where unknown.
    fp32: float = 0.0
    fp16: float = 0.0
    int8: float = 0.0
    #: The device's type, one of model/device.py's DEVICE_TYPES for ours; others may say anything.
    kind: str = ""
    #: Never believed: the Go program means "lower is better", EXO "higher is better".
    priority: int = 10
    interface_name: str = ""
    interface_type: str = ""
    #: Unix seconds by the sender's clock.
    timestamp: int = 0
    name: str = ""
    #: A name of `DeviceStatus`.
    status: str = "UNKNOWN"
    #: Random per process start; with `seq` it tells a restart from a repeat.
    boot: str = ""
    seq: int = 0
    #: Asks for one answer by unicast.
    reply: bool = False
    #: The sender's interval, seconds, above 0 and at most BEACON_EVERY_MAX_S.
    every_s: float = 2.5
    label: str = ""
    #: The pairing port, 0 while pairing is closed.
    pair: int = 0
    #: The first characters of the cluster's id, "" while alone.
    cluster: str = ""
    #: True or False when a seal was there and we had a key to check it, else None.
    mac_ok: Optional[bool] = None
    #: The program that sent it when it was not ours: "discompute (Go)" or "EXO".
    foreign: str = ""


# ---- writing ----------------------------------------------------------------------------------------


def encode_beacon(beacon: Beacon, limits: Limits, beacon_key: bytes = b"") -> bytes:
    """Return the datagram, sealed when there is a key.

    Names that make it too long are shortened from their ends, the longest first. Raises
    LocalProtocolError only for ids that no name can make room for.
    """
    if not 0 < len(beacon.node_id) <= NODE_ID_CHARS:
        raise LocalProtocolError(f"a node's id has 1 to {NODE_ID_CHARS} characters")
    while True:
        data = _sealed_beacon(_beacon_json(beacon), beacon_key)
        excess = len(data) - limits.datagram_bytes
        if excess <= 0:
            return data
        longest = max(_SHORTENED_FIELDS, key=lambda field: len(getattr(beacon, field)))
        text = getattr(beacon, longest)
        if not text:
            raise LocalProtocolError(f"a beacon of {len(data)} bytes does not fit; use shorter ids")
        # JSON makes up to six bytes of a character, so this never cuts more than is needed.
        beacon = replace(beacon, **{longest: text[:-max(1, excess // 6)]})


def _beacon_json(beacon: Beacon) -> bytes:
    lite: Dict[str, Any] = {
        "v": 1, "name": beacon.name, "status": beacon.status, "boot": beacon.boot, "seq": int(beacon.seq),
        "reply": beacon.reply, "every": round(min(max(beacon.every_s, 0.001), BEACON_EVERY_MAX_S), 3),
    }
    for key in ("label", "pair", "cluster"):
        if getattr(beacon, key):
            lite[key] = getattr(beacon, key)
    flops = {key: _nominal_tflops(getattr(beacon, key)) for key in ("fp32", "fp16", "int8")}
    message = {
        "type": beacon.type,
        "node_id": beacon.node_id,
        "grpc_port": int(beacon.port),
        "device_capabilities": {
            "model": beacon.model, "chip": beacon.chip, "memory": int(beacon.memory_mb), "flops": flops,
            "type": beacon.kind,
        },
        "priority": int(beacon.priority),
        "interface_name": beacon.interface_name,
        "interface_type": beacon.interface_type,
        "timestamp": int(beacon.timestamp),
        "lite": lite,
    }
    return encode_json(_without_surrogates(message))


def _without_surrogates(value: Any) -> Any:
    """Replace halves of surrogate pairs: Python puts them into host names that are not UTF-8."""
    if isinstance(value, dict):
        return {key: _without_surrogates(item) for key, item in value.items()}
    return value.encode("utf-8", "replace").decode("utf-8") if isinstance(value, str) else value


def _nominal_tflops(value: float) -> float:
    return round(float(value), 3) if math.isfinite(value) and value > 0 else 0.0


def _sealed_beacon(data: bytes, beacon_key: bytes) -> bytes:
    if not beacon_key:
        return data
    start = data[:-2]
    return start + b',"mac":"' + base64.b64encode(_beacon_mac(start, beacon_key)) + b'"}}'


def _beacon_mac(start: bytes, beacon_key: bytes) -> bytes:
    return hmac.digest(beacon_key, start, "sha256")[:BEACON_MAC_BYTES]


# ---- reading ----------------------------------------------------------------------------------------


def decode_beacon(data: bytes, limits: Limits, beacon_key: bytes = b"") -> Optional[Beacon]:
    """Return what a datagram says, None for a private beacon; raise ProtocolError for all other bytes.

    Without a key nothing is verified and `mac_ok` stays None.
    """
    if len(data) > limits.datagram_bytes:
        raise TooLarge(f"a datagram of {len(data)} bytes passes the limit of {limits.datagram_bytes}")
    if data.startswith(PRIVATE_BEACON_START):
        return None
    message = parse_strict(data, limits.json_depth)
    if not isinstance(message, dict):
        raise ProtocolError("a beacon must be a JSON object")
    if "lite" not in message:
        return _read_foreign(message)
    beacon = _read_ours(message)
    if beacon_key and "mac" in message["lite"]:
        beacon = replace(beacon, mac_ok=verify_beacon(data, beacon_key))
    return beacon


def unsealed(data: bytes) -> bytes:
    """Return what of a datagram stands before its seal, all where it has none."""
    seal = _BEACON_SEAL.search(data)
    return data if seal is None else data[:seal.start()]


def verify_beacon(data: bytes, beacon_key: bytes) -> bool:
    """Whether the datagram ends with the seal that this key makes."""
    seal = _BEACON_SEAL.search(data)
    if seal is None:
        return False
    return hmac.compare_digest(_beacon_mac(data[:seal.start()], beacon_key), binascii.a2b_base64(seal.group(1)))


def _read_ours(message: Mapping[str, Any]) -> Beacon:
    kind = _beacon_text(message, "type")
    if kind not in ("discovery", "goodbye"):
        raise ProtocolError("a beacon's type must be discovery or goodbye")
    device, lite = _beacon_object(message, "device_capabilities"), _beacon_object(message, "lite")
    flops = _beacon_object(device, "flops")
    _beacon_integer(lite, "v", 1, _BEACON_INT_MAX)
    status = _beacon_text(lite, "status", "UNKNOWN")
    return Beacon(
        node_id=_beacon_node_id(message),
        port=_beacon_integer(message, "grpc_port", 1, 65535),
        type=kind,
        model=_beacon_text(device, "model"),
        chip=_beacon_text(device, "chip"),
        memory_mb=_beacon_integer(device, "memory", 0, _BEACON_INT_MAX),
        fp32=_beacon_number(flops, "fp32"),
        fp16=_beacon_number(flops, "fp16"),
        int8=_beacon_number(flops, "int8"),
        kind=_beacon_text(device, "type"),
        priority=_beacon_integer(message, "priority", -_BEACON_INT_MAX, _BEACON_INT_MAX),
        interface_name=_beacon_text(message, "interface_name"),
        interface_type=_beacon_text(message, "interface_type"),
        timestamp=_beacon_integer(message, "timestamp", -_BEACON_INT_MAX, _BEACON_INT_MAX),
        name=_beacon_text(lite, "name", ""),
        status=status if status in _BEACON_STATUSES else "UNKNOWN",
        boot=_beacon_text(lite, "boot"),
        seq=_beacon_integer(lite, "seq", 0, _BEACON_INT_MAX),
        reply=_beacon_flag(lite, "reply"),
        every_s=_beacon_interval(lite),
        label=_beacon_text(lite, "label", ""),
        pair=_beacon_integer(lite, "pair", 0, 65535, default=0),
        cluster=_beacon_text(lite, "cluster", ""),
    )


def _read_foreign(message: Mapping[str, Any]) -> Beacon:
    """Read a beacon of another program: Go matches keys in any case, and numbers may be missing or odd."""
    message = {key.lower(): value for key, value in message.items()}
    if _beacon_text(message, "type") != "discovery":
        raise ProtocolError("the type of a beacon without lite must be discovery")
    device = _lowered_object(message, "device_capabilities")
    flops = _lowered_object(device, "flops")
    is_exo = "timestamp" not in message and "type" not in device
    port = _odd_integer(message.get("grpc_port"))
    return Beacon(
        node_id=_beacon_node_id(message),
        port=port if 0 < port < 65536 else 0,
        model=_beacon_text(device, "model", ""),
        chip=_beacon_text(device, "chip", ""),
        memory_mb=max(0, _odd_integer(device.get("memory"))),
        fp32=_odd_tflops(flops.get("fp32")),
        fp16=_odd_tflops(flops.get("fp16")),
        int8=_odd_tflops(flops.get("int8")),
        kind=_beacon_text(device, "type", ""),
        priority=_odd_integer(message.get("priority")),
        interface_name=_beacon_text(message, "interface_name", ""),
        interface_type=_beacon_text(message, "interface_type", ""),
        timestamp=_odd_integer(message.get("timestamp")),
        foreign=EXO_PROGRAM if is_exo else GO_PROGRAM,
    )


# ---- members ----------------------------------------------------------------------------------------


def _beacon_node_id(message: Mapping[str, Any]) -> str:
    node_id = _beacon_text(message, "node_id")
    if not 0 < len(node_id) <= NODE_ID_CHARS:
        raise ProtocolError(f"a beacon's node_id must have 1 to {NODE_ID_CHARS} characters")
    return node_id


def _beacon_text(source: Mapping[str, Any], key: str, default: Optional[str] = None) -> str:
    value = source.get(key, default)
    if not isinstance(value, str):
        raise ProtocolError(f"a beacon's {key} must be a string")
    return value


def _beacon_flag(source: Mapping[str, Any], key: str) -> bool:
    value = source.get(key, False)
    if value is not True and value is not False:
        raise ProtocolError(f"a beacon's {key} must be true or false")
    return value


def _beacon_object(source: Mapping[str, Any], key: str) -> Dict[str, Any]:
    value = source.get(key)
    if not isinstance(value, dict):
        raise ProtocolError(f"a beacon's {key} must be an object")
    return value


def _lowered_object(source: Mapping[str, Any], key: str) -> Dict[str, Any]:
    return {name.lower(): value for name, value in _beacon_object(source, key).items()} if key in source else {}


def _beacon_integer(source: Mapping[str, Any], key: str, least: int, most: int, default: Optional[int] = None) -> int:
    value = source.get(key, default)
    # bool is an int to Python and not to anybody else.
    if type(value) is not int or not least <= value <= most:
        raise ProtocolError(f"a beacon's {key} must be an integer from {least} to {most}")
    return value


def _beacon_number(source: Mapping[str, Any], key: str) -> float:
    value: Any = source.get(key)
    if type(value) not in (int, float) or value < 0:
        raise ProtocolError(f"a beacon's {key} must be a number that is not negative")
    return float(value)


def _beacon_interval(lite: Mapping[str, Any]) -> float:
    value = lite.get("every", 2.5)
    if type(value) not in (int, float) or not 0 < value <= BEACON_EVERY_MAX_S:
        raise ProtocolError(f"a beacon's every must be seconds above 0, at most {BEACON_EVERY_MAX_S:.0f}")
    return float(value)


def _odd_integer(value: Any) -> int:
    """Return the integer that another program meant, 0 where that cannot be told."""
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,18}", value):
        return int(value)
    if type(value) is float and abs(value) < 2 ** 53:
        return int(value)
    return value if type(value) is int else 0


def _odd_tflops(value: Any) -> float:
    return _nominal_tflops(value) if type(value) in (int, float) else 0.0


# ---- interfaces -------------------------------------------------------------------------------------


def interface_priority(kind: str) -> int:
    """Return the number that the Go program gives a kind of interface."""
    return _INTERFACE_PRIORITIES.get(kind, 10)


def interface_kind(name: str) -> str:
    """Guess "wifi", "ethernet", "cellular" or "usb" from an interface's name on any system, else "other"."""
    for kind, pattern in _INTERFACE_KINDS:
        if pattern.match(name):
            return kind
    return "other"
