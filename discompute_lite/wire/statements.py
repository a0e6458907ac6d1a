"""Write a signed statement about a device as a line of JSON, and read such lines.

Knows:   the fields and their ranges, the signature, the length.
Refuses: which statement holds (core/membership.py). Unknown fields are signed with the rest, kept, and ignored.
Read next: crypto/statements.py (what is signed), model/statement.py (what the words mean).

    {"s":{"at":1756800000,"by":"<id>","cluster":"<id>","id":"<id>","kind":"iphone","name":"Ann's iPhone","role":
    "worker","sends":"any","seq":7,"v":1,"what":"add"},"sig":"<r and s, base64>"}

(The line break is not part of it.)
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import replace
from typing import Any, Dict

from ..crypto.certificates import cluster_id
from ..crypto.p256 import CurvePoint, PrivateKey
from ..crypto.statements import canonical_json, is_signed_statement, sign_statement, statement_digest
from ..model.errors import LocalProtocolError, ParseError, ProtocolError
from ..model.limits import Limits
from ..model.statement import SENDS_WORDS, STATEMENT_SEQ_MAX, WHOLE_ID, Statement
from .strict_json import parse_strict

STATEMENT_VERSION = 1
#: Characters of a name or word; with JSON's escapes they may still be cut to fit the line.
_STATEMENT_TEXT_CHARS = 256


def sign_as_line(ca: PrivateKey, statement: Statement, limits: Limits) -> Statement:
    """Return the statement with digest and line; names that make it too long are cut at their ends."""
    if statement.cluster != cluster_id(ca.public):
        raise LocalProtocolError("a statement is about the cluster whose key signs it")
    while True:
        said = _said(statement)
        line = canonical_json({"s": said, "sig": base64.b64encode(sign_statement(ca, said)).decode("ascii")})
        excess = len(line) - limits.statement_bytes
        if excess <= 0:
            return replace(statement, digest=statement_digest(said), line=line)
        if not statement.name:
            raise LocalProtocolError(f"a statement of {len(line)} bytes does not fit")
        # An escaped character takes twelve bytes at most, so this never cuts more than is needed.
        statement = replace(statement, name=statement.name[:-max(1, excess // 12)])


def read_statement_line(
    line: bytes, ca_public: CurvePoint, limits: Limits, *, is_checked: bool = False
) -> Statement:
    """Return the statement in a line; raise `ProtocolError` unless its cluster signed it.

    The signature costs about 5 ms; `is_checked` says that this device has checked this very line before.
    """
    if len(line) > limits.statement_bytes:
        raise ParseError(f"a statement is longer than {limits.statement_bytes} bytes")
    return read_signed_statement(parse_strict(line), ca_public, limits, is_checked=is_checked)


def read_signed_statement(
    document: Any, ca_public: CurvePoint, limits: Limits, *, is_checked: bool = False
) -> Statement:
    """Do the same with the JSON value of a line."""
    said = document.get("s") if isinstance(document, dict) else None
    if not isinstance(said, dict):
        raise ParseError('a statement is {"s": {…}, "sig": "…"}')
    statement = _read_said(said)
    try:
        signature = base64.b64decode(str(document.get("sig")), validate=True)
    except (binascii.Error, ValueError):
        raise ParseError("a statement's signature is base64") from None
    line = canonical_json({"s": said, "sig": base64.b64encode(signature).decode("ascii")})
    if len(line) > limits.statement_bytes:
        raise ParseError(f"a statement is longer than {limits.statement_bytes} bytes")
    if statement.cluster != cluster_id(ca_public) or not (
        is_checked or is_signed_statement(ca_public, said, signature)
    ):
        raise ProtocolError("this statement was not signed by this cluster; it is ignored")
    return replace(statement, digest=statement_digest(said), line=line)


def _said(statement: Statement) -> Dict[str, Any]:
    return {
        "v": STATEMENT_VERSION, "cluster": statement.cluster, "seq": statement.seq, "what": statement.what,
        "id": statement.device_id, "role": statement.role, "by": statement.by, "at": statement.at,
        "name": statement.name, "kind": statement.kind, "sends": statement.sends,
    }


def _read_said(said: Dict[str, Any]) -> Statement:
    if _whole_number(said, "v") != STATEMENT_VERSION:
        raise ParseError("a statement is of another version; update this device")
    sends = _statement_text(said, "sends", "any")
    return Statement(
        cluster=_id_in(said, "cluster"), seq=_whole_number(said, "seq"), what=_statement_text(said, "what"),
        device_id=_id_in(said, "id"), role=_statement_text(said, "role"), by=_id_in(said, "by"),
        at=_whole_number(said, "at"), name=_statement_text(said, "name", ""), kind=_statement_text(said, "kind", ""),
        # A word of a newer version may mean less than all; it is read as nothing.
        sends=sends if sends in SENDS_WORDS else "nobody",
    )


def _whole_number(said: Dict[str, Any], name: str) -> int:
    number = said.get(name)
    if type(number) is not int or not 0 <= number <= STATEMENT_SEQ_MAX:
        raise ParseError(f"{name} of a statement is a whole number from 0 to {STATEMENT_SEQ_MAX}")
    return number


def _id_in(said: Dict[str, Any], name: str) -> str:
    text = said.get(name)
    if not isinstance(text, str) or not WHOLE_ID.fullmatch(text):
        raise ParseError(f"{name} of a statement is an id of 52 characters")
    return text


def _statement_text(said: Dict[str, Any], name: str, default: Any = None) -> str:
    text = said.get(name, default)
    if not isinstance(text, str) or len(text) > _STATEMENT_TEXT_CHARS:
        raise ParseError(f"{name} of a statement is a text of at most {_STATEMENT_TEXT_CHARS} characters")
    return text
