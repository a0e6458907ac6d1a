r"""Read and write DNS messages as multicast DNS uses them: questions, and records of seven types.

Knows:   the layout of RFC 1035, section 4, compressed names included, and the two bits that RFC 6762 took from the
         class: "answer by unicast" (QU) in a question, "these are all there are" (cache flush) in a record.
Refuses: everything else, with `ProtocolError`; to follow a name in circles; to know who asks whom (wire/mdns.py does).
Read next: wire/mdns.py.

    header    id, flags, and how many questions, answers, authorities and additional records follow: six u16
    question  name, type u16, class u16
    record    name, type u16, class u16, seconds to live u32, length u16, data
    name      labels, each a length and so many bytes, up to a 0 byte; or from some label on two bytes, 0xC000 plus
              the place in the message where the rest stands

    >>> data = encode_dns(DnsMessage(questions=(DnsQuestion(("_x", "_tcp", "local"), DNS_PTR),)))
    >>> data.hex()
    '000000000001000000000000025f78045f746370056c6f63616c00000c0001'
    >>> decode_dns(data).questions[0].name
    ('_x', '_tcp', 'local')
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Dict, List, Optional, Sequence, Tuple

from ..model.errors import ProtocolError

#: A name's labels, without the dot that ends it.
DnsName = Tuple[str, ...]

DNS_A, DNS_PTR, DNS_TXT, DNS_AAAA, DNS_SRV, DNS_NSEC, DNS_ANY = 1, 12, 16, 28, 33, 47, 255
#: Where multicast DNS is spoken, and the name of our service there. An asker at another port is a plain DNS client, and
#: gets a plain answer.
MDNS_PORT, MDNS_GROUP, MDNS_IPV6_GROUP = 5353, "224.0.0.251", "ff02::fb"
SERVICE = ("_discompute", "_tcp", "local")
#: A response whose sender is the one who knows; a query has none of these bits.
DNS_RESPONSE = 0x8400
#: More known answers of the same query follow in further messages.
DNS_TRUNCATED = 0x0200
_IS_RESPONSE, _OPCODE_AND_ERROR = 0x8000, 0x780F
_INTERNET, _TOP_BIT = 1, 0x8000
#: Bounds of RFC 1035, section 2.3.4, and of records in one message: what a datagram of 9,000 bytes can hold.
DNS_LABEL_BYTES, DNS_NAME_BYTES, DNS_RECORDS = 63, 255, 800
_POINTER = 0xC0
_HEADER, _QUESTION_END, _RECORD_HEAD, _SRV_HEAD = (
    struct.Struct(text) for text in ("!6H", "!2H", "!2HIH", "!3H")
)


@dataclass(frozen=True)
class DnsQuestion:
    """Ask for the records of a name; DNS_ANY asks for all types."""

    name: DnsName
    type: int
    #: The answer may come by unicast (QU).
    is_unicast: bool = False


@dataclass(frozen=True)
class DnsRecord:
    """Hold one record. `data` is in wire form without compression, so that equal data are equal bytes."""

    name: DnsName
    type: int
    ttl_s: int
    data: bytes
    #: Whoever hears this forgets all other records of this name and type.
    is_flush: bool = False

    @property
    def key(self) -> Tuple[DnsName, int, bytes]:
        """Return what makes two records the same one; names do not differ by case."""
        return lower_name(self.name), self.type, self.data


@dataclass(frozen=True)
class DnsMessage:
    """Hold one message; additional records stand behind the answers, since multicast DNS makes no difference."""

    id: int = 0
    flags: int = 0
    questions: Tuple[DnsQuestion, ...] = ()
    answers: Tuple[DnsRecord, ...] = ()
    #: In a probe: what its sender would like to own.
    authorities: Tuple[DnsRecord, ...] = ()

    @property
    def is_response(self) -> bool:
        """Whether it answers."""
        return bool(self.flags & _IS_RESPONSE)


def lower_name(name: DnsName) -> DnsName:
    """Return a name as it is compared: ASCII letters lowered, all others as they are (RFC 6762, section 16)."""
    return tuple("".join(chr(ord(char) + 32) if "A" <= char <= "Z" else char for char in label) for label in name)


# ---- the data of records ----------------------------------------------------------------------------


def srv_data(port: int, host: DnsName) -> bytes:
    """Return the data of an SRV record: priority and weight 0, port, host."""
    return _SRV_HEAD.pack(0, 0, port) + _plain_name(host)


def read_srv(data: bytes) -> Tuple[int, DnsName]:
    """Return (port, host)."""
    return _SRV_HEAD.unpack(data[:6])[2], _read_name(data, 6)[0]


def ptr_data(name: DnsName) -> bytes:
    """Return the data of a PTR record that leads to a name."""
    return _plain_name(name)


def read_ptr(data: bytes) -> DnsName:
    """Return the name that a PTR record leads to."""
    return _read_name(data, 0)[0]


def txt_data(items: List[Tuple[str, bytes]]) -> bytes:
    """Return the data of a TXT record, one `key=value` of at most 255 bytes each (RFC 6763, section 6)."""
    strings = [key.encode("ascii") + b"=" + value for key, value in items]
    return b"".join(bytes((len(text),)) + text for text in strings) or b"\0"


def read_txt(data: bytes) -> Dict[str, bytes]:
    """Return key -> value; of a key that stands twice the first counts, and what has no key is left out."""
    found: Dict[str, bytes] = {}
    at = 0
    while at < len(data):
        text = data[at + 1:at + 1 + data[at]]
        at += 1 + data[at]
        key, equals, value = text.partition(b"=")
        if key and equals and key.isascii():
            found.setdefault(key.decode("ascii").lower(), value)
    return found


def nsec_data(name: DnsName, types: Sequence[int]) -> bytes:
    """Return the data of an NSEC record: a name has records of these types, all below 256, and no others.

    As RFC 6762, section 6.1, restricts it: the name itself, block 0, and the bits of the types in their order.
    """
    bits = bytearray(max(types) // 8 + 1)
    for kind in types:
        bits[kind // 8] |= 0x80 >> kind % 8
    return _plain_name(name) + bytes((0, len(bits))) + bytes(bits)


def _plain_name(name: DnsName) -> bytes:
    return b"".join(bytes((len(raw),)) + raw for raw in (label.encode("utf-8") for label in name)) + b"\0"


# ---- writing ----------------------------------------------------------------------------------------


def encode_dns(message: DnsMessage) -> bytes:
    """Return a message; names are compressed, within the data of records only where that was so in RFC 1035."""
    sections = len(message.questions), len(message.answers), len(message.authorities), 0
    data = bytearray(_HEADER.pack(message.id, message.flags, *sections))
    places: Dict[DnsName, int] = {}
    for question in message.questions:
        _put_name(data, question.name, places)
        data += _QUESTION_END.pack(question.type, _INTERNET | (_TOP_BIT if question.is_unicast else 0))
    for record in message.answers + message.authorities:
        _put_name(data, record.name, places)
        start = len(data) + _RECORD_HEAD.size
        data += _RECORD_HEAD.pack(record.type, _INTERNET | (_TOP_BIT if record.is_flush else 0), record.ttl_s, 0)
        if record.type == DNS_PTR:
            _put_name(data, read_ptr(record.data), places)
        else:
            data += record.data
        data[start - 2:start] = (len(data) - start).to_bytes(2, "big")
    return bytes(data)


def _put_name(data: bytearray, name: DnsName, places: Dict[DnsName, int]) -> None:
    for number in range(len(name)):
        rest = name[number:]
        place = places.get(rest)
        if place is not None:
            data += (_POINTER << 8 | place).to_bytes(2, "big")
            return
        if len(data) < 0x4000:
            places[rest] = len(data)
        raw = rest[0].encode("utf-8")
        data += bytes((len(raw),)) + raw
    data += b"\0"


# ---- reading ----------------------------------------------------------------------------------------


def decode_dns(data: bytes) -> DnsMessage:
    """Return what a datagram says, records of other types left out; raise ProtocolError for what is none of DNS."""
    try:
        number, flags, *counts = _HEADER.unpack_from(data)
        if sum(counts) > DNS_RECORDS:
            raise ProtocolError(f"a DNS message has at most {DNS_RECORDS} questions and records")
        if flags & _OPCODE_AND_ERROR:
            return DnsMessage(number, flags)  # Another kind of message, and RFC 6762 says: silently ignored.
        at, questions = _HEADER.size, []
        for _ in range(counts[0]):
            name, at = _read_name(data, at)
            kind, cls = _QUESTION_END.unpack_from(data, at)
            at += _QUESTION_END.size
            questions.append(DnsQuestion(name, kind, bool(cls & _TOP_BIT)))
        sections = []
        for count in counts[1:]:
            records, at = _read_records(data, at, count)
            sections.append(records)
    except (struct.error, IndexError, UnicodeDecodeError):
        raise ProtocolError("these bytes are not a DNS message") from None
    answers, authorities, additional = sections
    return DnsMessage(number, flags, tuple(questions), tuple(answers + additional), tuple(authorities))


def _read_records(data: bytes, at: int, count: int) -> Tuple[List[DnsRecord], int]:
    records = []
    for _ in range(count):
        name, at = _read_name(data, at)
        kind, cls, ttl_s, length = _RECORD_HEAD.unpack_from(data, at)
        at += _RECORD_HEAD.size
        if at + length > len(data):
            raise ProtocolError("a DNS record is longer than its message")
        raw = _read_data(data, at, length, kind)
        at += length
        if raw is not None and cls & ~_TOP_BIT == _INTERNET:
            records.append(DnsRecord(name, kind, ttl_s, raw, bool(cls & _TOP_BIT)))
    return records, at


def _read_data(data: bytes, at: int, length: int, kind: int) -> Optional[bytes]:
    """Return a record's data with names written out; None for types that nobody asks for here."""
    if kind == DNS_PTR:
        return _plain_name(_read_name(data, at)[0])
    if kind == DNS_SRV:
        return data[at:at + 6] + _plain_name(_read_name(data, at + 6)[0]) if length > 6 else None
    if kind in (DNS_A, DNS_AAAA):
        return data[at:at + length] if length == (4 if kind == DNS_A else 16) else None
    return data[at:at + length] if kind == DNS_TXT else None


def _read_name(data: bytes, at: int) -> Tuple[DnsName, int]:
    """Return the name that stands at `at`, and the place after it."""
    labels: List[str] = []
    size, after, earliest = 1, -1, at
    while True:
        length = data[at]
        if length & _POINTER == _POINTER:
            place = (length & 0x3F) << 8 | data[at + 1]
            after = at + 2 if after < 0 else after
            # Only ever further back, so this ends.
            if place >= earliest:
                raise ProtocolError("a DNS name points forward")
            at = earliest = place
            continue
        if length > DNS_LABEL_BYTES or at + 1 + length > len(data):
            raise ProtocolError("a DNS label is too long")
        at += 1
        if not length:
            return tuple(labels), at if after < 0 else after
        size += 1 + length
        if size > DNS_NAME_BYTES:
            raise ProtocolError(f"a DNS name has at most {DNS_NAME_BYTES} bytes")
        labels.append(data[at:at + length].decode("utf-8"))
        at += length
