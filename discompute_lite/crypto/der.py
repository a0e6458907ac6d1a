"""Write the few forms of DER that certificates and signatures are made of, and take such a value apart again.

Knows:   tags and lengths (X.690), object identifiers, the whole numbers of ASN.1.
Refuses: what a value means; to read lengths that are not the shortest possible, which DER forbids.
Read next: crypto/certificates.py (what is built out of these).

    >>> der_sequence(der_integer(128), der_oid("2.5.4.3")).hex()
    '3009020200800603550403'
"""

from __future__ import annotations

from typing import List, Tuple

DER_BOOLEAN, DER_INTEGER, DER_BITS, DER_OCTETS, DER_OID, DER_UTF8, DER_UTC_TIME = 1, 2, 3, 4, 6, 12, 23
DER_SEQUENCE, DER_SET = 0x30, 0x31
#: Context tags: with structure inside (`[0]` around something), and plain (`[0] IMPLICIT` of bytes).
DER_CONTEXT, DER_CONTEXT_PLAIN = 0xA0, 0x80


def der_value(tag: int, *contents: bytes) -> bytes:
    """Return tag, length and contents."""
    content = b"".join(contents)
    size = len(content)
    if size < 128:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 128 | len(length))) + length + content


def der_sequence(*parts: bytes) -> bytes:
    """Return a SEQUENCE of values that are DER already."""
    return der_value(DER_SEQUENCE, *parts)


def der_integer(number: int) -> bytes:
    """Return a number that is not negative; a first bit that would be a sign gets a zero byte before it."""
    return der_value(DER_INTEGER, number.to_bytes(number.bit_length() // 8 + 1, "big"))


def der_bits(data: bytes) -> bytes:
    """Return whole bytes as a BIT STRING; the first byte says that no bits of the last are unused."""
    return der_value(DER_BITS, b"\x00", data)


def der_oid(dotted: str) -> bytes:
    """Return an object identifier from its usual form: the first two numbers share a byte, seven bits a byte after."""
    first, second, *others = map(int, dotted.split("."))
    content = bytearray((40 * first + second,))
    for number in others:
        groups = [number & 127]
        while number > 127:
            number >>= 7
            groups.append(128 | number & 127)
        content += bytes(reversed(groups))
    return der_value(DER_OID, bytes(content))


def der_split(data: bytes) -> List[Tuple[int, bytes, bytes]]:
    """Return (tag, content, tag and length and content) of each value in a row; raise ValueError where that fails."""
    values, start = [], 0
    while start < len(data):
        position, size = start + 2, data[start + 1] if start + 1 < len(data) else 128
        if size >= 128:
            position += size - 128
            size = int.from_bytes(data[start + 2:position], "big")
        content = data[position:position + size]
        whole = data[start:position + size]
        if der_value(data[start], content) != whole:
            raise ValueError("these bytes are not DER")
        values.append((data[start], content, whole))
        start = position + size
    return values
