"""A beacon of ours is read by us, by the Go program and by EXO; theirs are read by us; nothing else is."""

from __future__ import annotations

import base64
import hashlib
import hmac
import importlib
import json
import re
from dataclasses import replace
from typing import Any, Dict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discompute_lite.model.errors import LocalProtocolError, ProtocolError
from discompute_lite.model.limits import Limits
from discompute_lite.wire.beacon import (
    Beacon,
    decode_beacon,
    encode_beacon,
    interface_kind,
    interface_priority,
    verify_beacon,
)

LIMITS = Limits()
GOLDEN_KEY = bytes(range(32))
GOLDEN = Beacon(
    node_id="k3fq9zt2", port=8080, model="MacBook Pro", chip="Apple M3 Max", memory_mb=65536, fp32=14.2, fp16=28.4,
    int8=56.8, kind="macbook", priority=1, interface_name="en0", interface_type="wifi", timestamp=1756800000,
    name="Ann's Mac", status="AVAILABLE", boot="9f2c", seq=12, reply=True, every_s=2.5,
)
FULL = replace(GOLDEN, type="goodbye", label="ann", pair=40123, cluster="abcdefgh", reply=False, every_s=7.25)

#: What the Go program and EXO send, as their sources write it.
GO = {
    "type": "discovery", "node_id": "discompute_1a2b3c4d", "grpc_port": 50051,
    "device_capabilities": {"model": "Mac mini", "chip": "Apple M2", "memory": 16384,
                            "flops": {"fp32": 3.55, "fp16": 7.1, "int8": 14.2}, "type": "mac_mini"},
    "priority": 2, "interface_name": "en1", "interface_type": "ethernet", "timestamp": 1756800000,
}
EXO = {
    "type": "discovery", "node_id": "5f0c8e6e-6a1d-4c61-9d0e-0a9c2c1b7a11", "grpc_port": 52001,
    "device_capabilities": {"model": "Linux Box", "chip": "NVIDIA GEFORCE RTX 4090", "memory": 24576,
                            "flops": {"fp32": 82.58, "fp16": 165.16, "int8": 330.32}},
    "priority": 4, "interface_name": "enp3s0", "interface_type": "Ethernet",
}


def dump(message: Any) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode()


def ours() -> Dict[str, Any]:
    return json.loads(encode_beacon(FULL, LIMITS))


def with_member(message: Dict[str, Any], path: str, value: Any) -> bytes:
    """Return the datagram with the member at a dotted path replaced."""
    copy = json.loads(json.dumps(message))
    *parents, last = path.split(".")
    target = copy
    for parent in parents:
        target = target[parent]
    target[last] = value
    return dump(copy)


def without_member(message: Dict[str, Any], path: str) -> bytes:
    copy = json.loads(json.dumps(message))
    *parents, last = path.split(".")
    target = copy
    for parent in parents:
        target = target[parent]
    del target[last]
    return dump(copy)


def assert_refused(data: bytes, about: str = ".") -> None:
    with pytest.raises(ProtocolError, match=about):
        decode_beacon(data, LIMITS)


# ---- ours -------------------------------------------------------------------------------------------


def test_the_golden_example_is_what_is_sent():
    text = importlib.import_module("discompute_lite.wire.beacon").__doc__
    lines = re.search(r'^    \{"type".*?\}\}$', text, re.M | re.S)[0].split("\n")
    drawn = "".join(line.strip() for line in lines).encode()
    assert encode_beacon(GOLDEN, LIMITS, GOLDEN_KEY) == drawn
    assert decode_beacon(drawn, LIMITS, GOLDEN_KEY) == replace(GOLDEN, mac_ok=True)


@pytest.mark.parametrize("beacon", [GOLDEN, FULL, Beacon("a", 1)])
def test_what_is_sent_is_what_is_read(beacon):
    assert decode_beacon(encode_beacon(beacon, LIMITS), LIMITS) == beacon


def test_lite_stands_last_and_optional_members_only_where_they_mean_something():
    assert list(ours())[-1] == "lite"
    plain = json.loads(encode_beacon(GOLDEN, LIMITS))["lite"]
    assert list(plain) == ["v", "name", "status", "boot", "seq", "reply", "every"]
    assert list(ours()["lite"])[-3:] == ["label", "pair", "cluster"]


def test_numbers_that_are_not_are_sent_as_unknown():
    odd = replace(GOLDEN, fp32=float("nan"), fp16=float("inf"), int8=-1.0, timestamp=1756800000.9, memory_mb=65536.0)
    message = json.loads(encode_beacon(odd, LIMITS))
    assert message["device_capabilities"]["flops"] == {"fp32": 0, "fp16": 0, "int8": 0}
    assert type(message["timestamp"]) is int and type(message["device_capabilities"]["memory"]) is int


texts = st.text(max_size=2000)


half_pairs = st.text(st.characters(min_codepoint=0xD7F0, max_codepoint=0xE000), max_size=50)


@given(texts, texts, texts, half_pairs, st.booleans())
def test_any_names_fit_one_datagram(name, model, label, chip, is_sealed):
    long = replace(FULL, node_id="a" * 64, boot="b" * 32, name=name, model=model, label=label, chip=chip)
    data = encode_beacon(long, LIMITS, GOLDEN_KEY if is_sealed else b"")
    assert len(data) <= LIMITS.datagram_bytes
    read = decode_beacon(data, LIMITS, GOLDEN_KEY)
    assert read.mac_ok is (True if is_sealed else None)
    assert name.startswith(read.name) and model.startswith(read.model) and label.startswith(read.label)
    untouched = ("node_id", "boot", "seq", "status", "cluster", "pair", "port", "timestamp")
    assert all(getattr(read, field) == getattr(long, field) for field in untouched)


def test_only_as_much_is_cut_as_is_needed():
    long = replace(GOLDEN, name="n" * 5000)
    assert len(encode_beacon(long, LIMITS, GOLDEN_KEY)) == LIMITS.datagram_bytes
    assert decode_beacon(encode_beacon(long, LIMITS), LIMITS).model == GOLDEN.model
    assert len(encode_beacon(replace(GOLDEN, name="界" * 5000), LIMITS)) > LIMITS.datagram_bytes - 3


@pytest.mark.parametrize("node_id", ["", "a" * 65])
def test_we_send_no_id_that_we_would_not_read(node_id):
    with pytest.raises(LocalProtocolError):
        encode_beacon(replace(GOLDEN, node_id=node_id), LIMITS)


def test_ids_are_never_cut():
    with pytest.raises(LocalProtocolError, match="does not fit"):
        encode_beacon(replace(GOLDEN, boot="b" * 2000), LIMITS)


# ---- the seal ---------------------------------------------------------------------------------------


def test_the_seal_is_the_hmac_of_all_before_it():
    data = encode_beacon(FULL, LIMITS, GOLDEN_KEY)
    start, seal = data[:-35], data[-35:]
    expected = base64.b64encode(hmac.new(GOLDEN_KEY, start, hashlib.sha256).digest()[:16])
    assert seal == b',"mac":"' + expected + b'"}}'


def test_a_seal_is_checked_only_with_a_key():
    sealed, plain = encode_beacon(FULL, LIMITS, GOLDEN_KEY), encode_beacon(FULL, LIMITS)
    assert decode_beacon(sealed, LIMITS).mac_ok is None
    assert decode_beacon(plain, LIMITS, GOLDEN_KEY).mac_ok is None
    assert decode_beacon(sealed, LIMITS, GOLDEN_KEY).mac_ok is True
    assert decode_beacon(sealed, LIMITS, b"another key").mac_ok is False
    assert not verify_beacon(plain, GOLDEN_KEY)


@given(st.data())
def test_no_sealed_byte_can_be_changed(data):
    sealed = bytearray(encode_beacon(FULL, LIMITS, GOLDEN_KEY))
    position = data.draw(st.integers(0, len(sealed) - 36))
    sealed[position] ^= data.draw(st.integers(1, 255))
    assert not verify_beacon(bytes(sealed), GOLDEN_KEY)


@pytest.mark.parametrize(
    "append", [lambda data: data[:-2] + b',"x":1}}', lambda data: data[:-1] + b',"x":1}', lambda data: data + b"\x00"]
)
def test_nothing_may_follow_the_seal(append):
    forged = append(encode_beacon(FULL, LIMITS, GOLDEN_KEY))
    assert not verify_beacon(forged, GOLDEN_KEY)


def test_a_seal_that_is_none_is_false():
    forged = with_member(ours(), "lite.mac", "A" * 22 + "==")
    assert decode_beacon(forged, LIMITS, GOLDEN_KEY).mac_ok is False
    assert decode_beacon(with_member(ours(), "lite.mac", 7), LIMITS, GOLDEN_KEY).mac_ok is False


# ---- the others read ours ---------------------------------------------------------------------------

#: The Go structs, as internal/discovery/udp.go declares them.
GO_TYPES = {
    "type": str, "node_id": str, "grpc_port": "int", "priority": "int", "interface_name": str, "interface_type": str,
    "timestamp": "int",
    "device_capabilities": {"model": str, "chip": str, "memory": "int", "type": str,
                            "flops": {"fp32": float, "fp16": float, "int8": float}},
}


def go_unmarshal(text: bytes) -> None:
    """Read as encoding/json reads into the Go struct; raise TypeError where Go reports an error."""

    class Number(str):
        pass

    def check(value: Any, kind: Any, where: str) -> None:
        if isinstance(kind, dict):
            if not isinstance(value, dict):
                raise TypeError(where)
            for key, item in value.items():
                if key.lower() in kind:
                    check(item, kind[key.lower()], f"{where}.{key}")
        elif kind is str:
            if not isinstance(value, str) or isinstance(value, Number):
                raise TypeError(where)
        elif not isinstance(value, Number) or (kind == "int" and not re.fullmatch(r"-?\d+", value)):
            raise TypeError(where)

    check(json.loads(text, parse_int=Number, parse_float=Number), GO_TYPES, "beacon")


def exo_accepts(text: bytes) -> bool:
    """Read as EXO's udp_discovery.py does: the keys it subscripts, the pydantic model of the capabilities."""
    message = json.loads(text)
    if message["type"] != "discovery":
        return False
    device = message["device_capabilities"]
    assert all(isinstance(device[key], str) for key in ("model", "chip")) and type(device["memory"]) is int
    assert all(isinstance(device["flops"][key], (int, float)) for key in ("fp32", "fp16", "int8"))
    assert isinstance(message["node_id"], str) and type(message["grpc_port"]) is int
    return all(key in message for key in ("priority", "interface_name", "interface_type"))


@pytest.mark.parametrize("beacon", [GOLDEN, replace(FULL, type="discovery"), Beacon("a", 1)])
@pytest.mark.parametrize("key", [b"", GOLDEN_KEY])
def test_the_others_can_read_ours(beacon, key):
    data = encode_beacon(beacon, LIMITS, key)
    go_unmarshal(data)
    assert exo_accepts(data)


def test_the_others_ignore_our_goodbye():
    data = encode_beacon(FULL, LIMITS)
    go_unmarshal(data)
    assert json.loads(data)["type"] != "discovery" and not exo_accepts(data)


def test_the_emulated_go_reader_is_as_strict_as_go():
    for path, value in [("timestamp", 1.5), ("priority", "1"), ("node_id", 7), ("device_capabilities.memory", 1e3)]:
        with pytest.raises(TypeError):
            go_unmarshal(with_member(GO, path, value))
    go_unmarshal(with_member(GO, "http_port", 8080))


# ---- we read the others -----------------------------------------------------------------------------


def test_a_go_node_is_read():
    beacon = decode_beacon(dump(GO), LIMITS)
    assert beacon == Beacon(
        node_id="discompute_1a2b3c4d", port=50051, model="Mac mini", chip="Apple M2", memory_mb=16384, fp32=3.55,
        fp16=7.1, int8=14.2, kind="mac_mini", priority=2, interface_name="en1", interface_type="ethernet",
        timestamp=1756800000, foreign="discompute (Go)",
    )


def test_an_exo_node_is_read():
    beacon = decode_beacon(dump(EXO), LIMITS)
    assert (beacon.foreign, beacon.port, beacon.memory_mb, beacon.fp16) == ("EXO", 52001, 24576, 165.16)
    assert (beacon.timestamp, beacon.kind, beacon.boot) == (0, "", "")


def test_the_mac_worker_of_the_original_is_read():
    beacon = decode_beacon(with_member(GO, "http_port", 8080), LIMITS)
    assert beacon.foreign == "discompute (Go)"


def test_keys_of_foreign_nodes_match_in_any_case():
    shouted = json.loads(json.dumps(GO), object_pairs_hook=lambda pairs: {key.upper(): value for key, value in pairs})
    assert decode_beacon(dump(shouted), LIMITS) == decode_beacon(dump(GO), LIMITS)


@pytest.mark.parametrize(
    ("path", "value", "field", "read"),
    [
        ("grpc_port", 8080.0, "port", 8080),
        ("grpc_port", "8080", "port", 8080),
        ("grpc_port", 70000, "port", 0),
        ("grpc_port", -1, "port", 0),
        ("grpc_port", None, "port", 0),
        ("grpc_port", True, "port", 0),
        ("grpc_port", [], "port", 0),
        ("timestamp", 1756800000.75, "timestamp", 1756800000),
        ("timestamp", 1e300, "timestamp", 0),
        ("timestamp", "²", "timestamp", 0),
        ("priority", "high", "priority", 0),
        ("device_capabilities.memory", -5, "memory_mb", 0),
        ("device_capabilities.flops.fp32", "fast", "fp32", 0.0),
        ("device_capabilities.flops.fp32", -1, "fp32", 0.0),
    ],
)
def test_odd_numbers_of_foreign_nodes_are_made_the_best_of(path, value, field, read):
    assert getattr(decode_beacon(with_member(GO, path, value), LIMITS), field) == read


@pytest.mark.parametrize("path", [
    "grpc_port", "priority", "timestamp", "interface_name", "interface_type", "device_capabilities",
    "device_capabilities.flops", "device_capabilities.memory", "device_capabilities.type", "device_capabilities.model",
])
def test_foreign_nodes_may_leave_things_out(path):
    assert decode_beacon(without_member(GO, path), LIMITS).node_id == GO["node_id"]


@pytest.mark.parametrize(
    ("path", "value"),
    [("type", "goodbye"), ("type", "hello"), ("type", 1), ("node_id", ""), ("node_id", "a" * 65), ("node_id", 7),
     ("node_id", None), ("device_capabilities", []), ("device_capabilities", None), ("device_capabilities.flops", 3),
     ("device_capabilities.model", 5), ("interface_name", None), ("interface_type", {})],
)
def test_even_foreign_nodes_keep_to_some_rules(path, value):
    assert_refused(with_member(GO, path, value), path.split(".")[-1])


@pytest.mark.parametrize("path", ["type", "node_id"])
def test_a_foreign_node_says_what_and_who_it_is(path):
    assert_refused(without_member(GO, path), path)


# ---- what is refused --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("type", "hello"), ("type", None), ("node_id", ""), ("node_id", "a" * 65), ("node_id", 1),
        ("grpc_port", 0), ("grpc_port", 65536), ("grpc_port", 8080.0), ("grpc_port", True), ("grpc_port", "8080"),
        ("timestamp", 1.5), ("timestamp", None), ("priority", 1.0), ("interface_name", 1), ("interface_type", None),
        ("device_capabilities", "x"), ("device_capabilities.memory", -1), ("device_capabilities.memory", 1.5),
        ("device_capabilities.model", []), ("device_capabilities.chip", 1), ("device_capabilities.type", None),
        ("device_capabilities.flops", None), ("device_capabilities.flops.fp32", "1"),
        ("device_capabilities.flops.int8", -1), ("device_capabilities.flops.fp16", False),
        ("lite", None), ("lite", []), ("lite", 1), ("lite.v", 0), ("lite.v", "1"), ("lite.v", 1.0),
        ("lite.name", 5), ("lite.status", 1), ("lite.boot", 7), ("lite.seq", -1), ("lite.seq", 1.5),
        ("lite.seq", True), ("lite.reply", 1), ("lite.reply", "true"), ("lite.every", 0), ("lite.every", -1),
        ("lite.every", 3601), ("lite.every", 1e300), ("lite.every", True), ("lite.every", "2"), ("lite.label", 1),
        ("lite.pair", 65536), ("lite.pair", -1), ("lite.pair", 1.0), ("lite.cluster", 1),
    ],
)
def test_a_wrong_type_or_number_is_named(path, value):
    assert_refused(with_member(ours(), path, value), path.split(".")[-1])


@pytest.mark.parametrize("path", [
    "type", "node_id", "grpc_port", "device_capabilities", "device_capabilities.model", "device_capabilities.type",
    "device_capabilities.flops.fp16", "priority", "interface_name", "interface_type", "timestamp", "lite.v",
    "lite.boot", "lite.seq",
])
def test_nodes_of_ours_leave_nothing_out(path):
    assert_refused(without_member(ours(), path), path.split(".")[-1])


@pytest.mark.parametrize("path", ["name", "status", "reply", "every", "label", "pair", "cluster"])
def test_the_rest_has_defaults(path):
    read = decode_beacon(without_member(ours(), f"lite.{path}"), LIMITS)
    assert read.node_id == FULL.node_id


def test_later_versions_and_unknown_members_are_read_past():
    message = json.loads(with_member(ours(), "lite.v", 2))
    message["lite"]["hat"] = message["hat"] = {"deep": [1]}
    message["lite"]["status"] = "DREAMING"
    assert decode_beacon(dump(message), LIMITS) == replace(FULL, status="UNKNOWN")


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\x00", b"{}", b"[]", b"null", b"7", b'"discovery"', b"\xff\xfe", b"{", b'{"type":"discovery"}',
        b"\xef\xbb\xbf" + dump(GO), dump(GO).decode().encode("utf-16"), dump(GO) + b"x", dump(GO) + dump(GO),
        dump(GO)[:-1], dump(GO).replace(b'"type":"discovery"', b'"type":"discovery","type":"discovery"'),
        dump(GO).replace(b"16384", b"NaN"), dump(GO).replace(b"16384", b"1e400"), dump(GO).replace(b"16384", b"9" * 30),
        dump(GO).replace(b"16384", b"[" * 100 + b"]" * 100), b"[" * 1200, b"9" * 1200,
        dump(GO).replace(b"Mac mini", b"\\ud800"),
    ],
)
def test_other_bytes_are_refused(data):
    assert_refused(data)


@pytest.mark.parametrize("length", [1201, 4096, 65507])
def test_longer_datagrams_are_refused_whatever_they_say(length):
    assert_refused(dump(GO).ljust(length), "limit of 1200")
    assert_refused(b"DCB1".ljust(length), "limit of 1200")
    assert decode_beacon(dump(GO).ljust(1200), LIMITS).foreign


def test_private_beacons_are_somebody_elses():
    assert decode_beacon(b"DCB1" + bytes(44), LIMITS) is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-2 ** 70, 2 ** 70) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["model", "flops", "seq", "v"]), inner),
    max_leaves=8,
)


@given(st.sampled_from(["", "lite.", "device_capabilities.", "device_capabilities.flops."]), st.data())
def test_any_message_is_a_beacon_or_a_protocol_error(prefix, data):
    message = data.draw(st.sampled_from([GO, EXO, ours()]))
    if prefix == "lite." and "lite" not in message:
        prefix = ""
    names = "type node_id grpc_port timestamp memory fp32 seq every mac lite pair flops"
    datagram = with_member(message, prefix + data.draw(st.sampled_from(names.split())), data.draw(json_values))
    try:
        beacon = decode_beacon(datagram, LIMITS, GOLDEN_KEY)
    except ProtocolError:
        return
    assert 0 < len(beacon.node_id) <= 64 and 0 <= beacon.port < 65536 and 0 < beacon.every_s <= 3600
    assert type(beacon.timestamp) is int and beacon.memory_mb >= 0 and beacon.mac_ok is not True


@given(st.binary(max_size=1300), st.integers(0, 400), st.booleans())
def test_any_bytes_are_a_beacon_or_a_protocol_error(noise, position, is_splice):
    data = encode_beacon(FULL, LIMITS, GOLDEN_KEY)
    data = data[:position] + noise[:3] + data[position + 3:] if is_splice else noise
    try:
        decode_beacon(data, LIMITS, GOLDEN_KEY)
    except ProtocolError:
        pass


# ---- interfaces -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("en0", "wifi"), ("wlan0", "wifi"), ("wlp2s0", "wifi"), ("wlx00c0ca123456", "wifi"), ("Wi-Fi", "wifi"),
        ("Wi-Fi 2", "wifi"), ("WLAN", "wifi"), ("Wireless Network Connection", "wifi"), ("swlan0", "wifi"),
        ("eth0", "ethernet"), ("en1", "ethernet"), ("en10", "ethernet"), ("enp3s0", "ethernet"), ("eno1", "ethernet"),
        ("ens33", "ethernet"), ("end0", "ethernet"), ("Ethernet 2", "ethernet"), ("Local Area Connection", "ethernet"),
        ("pdp_ip0", "cellular"), ("rmnet_data1", "cellular"), ("ccmni0", "cellular"), ("wwan0", "cellular"),
        ("wwp0s20u4", "cellular"), ("Cellular", "cellular"), ("Mobile Broadband", "cellular"),
        ("usb0", "usb"), ("rndis0", "usb"), ("enx00e04c680001", "usb"),
        ("lo", "other"), ("lo0", "other"), ("docker0", "other"), ("veth12ab", "other"), ("br-1a2b", "other"),
        ("utun3", "other"), ("awdl0", "other"), ("llw0", "other"), ("bridge100", "other"), ("tailscale0", "other"),
        ("vEthernet (WSL)", "other"), ("Bluetooth Network Connection", "other"), ("", "other"),
    ],
)
def test_interfaces_are_told_by_name(name, kind):
    assert interface_kind(name) == kind


def test_priorities_are_those_of_the_go_program():
    kinds = ("wifi", "ethernet", "cellular", "usb", "other", "unknown")
    assert [interface_priority(kind) for kind in kinds] == [1, 2, 3, 4, 10, 10]
