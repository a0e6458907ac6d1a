"""Speak both sides of the pairing exchange: bytes in, events out; one connection, one device, one code.

Knows:   the six messages, their order, lengths and times; SPAKE2 bound to the TLS certificate and to the joiner's key.
Refuses: TLS, sockets, screens and files; who may join is a person's decision, taken between `PairingAsked` and `admit`.
Read next: wire/invitation.py (codes and tries), crypto/spake2.py, wire/pairing_grant.py (what a joiner is given).

Inside TLS whose certificate nobody trusts, JSON lines, bytes in base64:

    host                                        joiner
    {"v":1,"sid":…}                   ->        w = HKDF(code, salt=sid, 48 bytes) mod n
                                      <-        {"point":…,"name":…,"kind":…,"pA":…}     one try is taken
    {"pB":…}                          ->
                                      <-        {"cA":…}                                 the code was right or wrong
    a person says yes
    {"cB":…,"body":{…},"mac":…}       ->        checks, keeps
                                      <-        {"stored":true}

An error is {"error":{"code":…,"message":…}}, and ends it. The names that go into the key are "joiner" and the hash of
the joiner's point, "host" and the hash of the certificate that each side sees: whoever ends TLS in the middle and
forwards every byte makes two different keys, although the person typed the right code.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List, Optional, Union

from ..crypto.p256 import CurvePoint, PrivateKey, device_id, encode_point, generate_key
from ..crypto.spake2 import Spake2, Spake2Keys
from ..crypto.statements import canonical_json
from ..model.errors import (
    CallError, CallTimeout, DiscomputeError, Forbidden, InvalidRequest, LinkClosed, ParseError, TooLarge,
    Unauthenticated,
)
from ..model.limits import Limits
from .invitation import Invitation
from .pairing_grant import PairingGrant, check_body_shape, read_grant, write_grant
from .pairing_messages import (
    base64_in, base64_text, error_message, exchange_finished, host_identity, joiner_identity, pairing_password,
    point_in, told_error,
)
from .strict_json import encode_json, parse_strict

PAIRING_VERSION = 1
_SID_BYTES = 16
#: Characters of the name that a joiner gives itself, and of its kind.
_JOINER_NAME_CHARS, _JOINER_KIND_CHARS = 128, 32
#: Nesting of the deepest message: the body, its statements, one of these, what it says.
_PAIRING_JSON_DEPTH = 8


@dataclass(frozen=True)
class PairingAsked:
    """The joiner knows the code: ask the person, then `admit` or `refuse`."""

    device_id: str
    public: CurvePoint
    #: What the device says about itself; show it without control characters.
    name: str
    kind: str


@dataclass(frozen=True)
class PairingStored:
    """The joiner has kept what it was given: it is a member."""

    device_id: str


@dataclass(frozen=True)
class PairingWaits:
    """The joiner's proof is on its way: if the code was right, the person at the host is asked now."""


@dataclass(frozen=True)
class PairingGranted:
    """The host let this device in: keep the grant, then call `confirm_stored`."""

    grant: PairingGrant = field(repr=False)


@dataclass(frozen=True)
class PairingBroken:
    """It ended without a pairing: close the connection after sending what there is to send."""

    error: DiscomputeError
    #: The other side used a wrong code, or sat in the middle.
    was_wrong_code: bool = False


PairingEvent = Union[PairingAsked, PairingStored, PairingWaits, PairingGranted, PairingBroken]


class PairingSession:
    """Cut lines, keep time, and end at the first thing that is wrong; the two sides are the classes below.

    Feed with `receive_data`, take events until None, send `data_to_send()` after each call, close once `is_closing`.
    """

    def __init__(self, limits: Limits, now: float) -> None:
        self._limits = limits
        self._data = bytearray()
        self._searched = 0
        self._sent: List[bytes] = []
        self._events: List[PairingEvent] = []
        #: What is awaited: a message of `_readers`, the caller's "decision", or "" once it is over.
        self._awaited = ""
        self._readers: Dict[str, Callable[[Dict[str, Any], float], None]] = {}
        #: When the awaited message must be there, absolute; the caller calls `time_out` then.
        self.deadline: float = now + limits.pairing_message_s

    @property
    def is_closing(self) -> bool:
        """Whether it is over: send what there is, then close."""
        return not self._awaited

    def receive_data(self, data: Union[bytes, bytearray, memoryview]) -> None:
        """Take bytes as they came; what comes after the end is dropped."""
        if self._awaited:
            self._data += data

    def next_event(self, now: float) -> Optional[PairingEvent]:
        """Return the next event, or None until more bytes come; never raises, whatever the bytes."""
        while not self._events and self._awaited:
            try:
                line = self._next_line()
                if line is None:
                    break
                self._read(line, now)
            except DiscomputeError as error:
                self._break(error, now)
        return self._events.pop(0) if self._events else None

    def data_to_send(self) -> bytes:
        """Return what is to be sent, once."""
        data, self._sent = b"".join(self._sent), []
        return data

    def receive_end(self, now: float) -> None:
        """Take note that the connection is gone."""
        self._break(LinkClosed("The other device hung up before the pairing was complete. Try again."), now, tell=False)

    def time_out(self, now: float) -> None:
        """End it if `deadline` has passed."""
        if now >= self.deadline:
            self._break(CallTimeout("The other device did not answer in time. Try again."), now)

    # ---- inside -----------------------------------------------------------------------------------

    def _next_line(self) -> Optional[bytes]:
        if self._awaited == "decision":
            if self._data:
                raise InvalidRequest("a message came out of turn; wait for the other side's")
            return None
        most = self._limits.pairing_body_bytes if self._awaited == "body" else self._limits.pairing_line_bytes
        end = self._data.find(b"\n", self._searched)
        self._searched = len(self._data)
        if (self._searched if end < 0 else end) > most:
            raise TooLarge(f"a message of the pairing exchange is longer than {most} bytes")
        if end < 0:
            return None
        line = bytes(self._data[:end])
        del self._data[:end + 1]
        self._searched = 0
        return line

    def _read(self, line: bytes, now: float) -> None:
        check_body_shape(line, self._limits)
        message = parse_strict(line, _PAIRING_JSON_DEPTH)
        if not isinstance(message, dict):
            raise InvalidRequest("a message of the pairing exchange is a JSON object")
        if "error" in message:
            self._break(told_error(message["error"]), now, tell=False)
        else:
            self._readers[self._awaited](message, now)

    def _send(self, message: Dict[str, Any], awaited: str, deadline: float) -> None:
        self._sent.append(encode_json(message) + b"\n")
        self._awaited, self.deadline = awaited, deadline

    def _break(
        self, error: DiscomputeError, now: float, *, tell: bool = True, was_wrong_code: bool = False
    ) -> None:
        """End it: tell the other side, unless it knows already or is gone; tell the caller."""
        if not self._awaited:
            return
        if tell:
            self._sent.append(encode_json(error_message(error)) + b"\n")
        self._events.append(PairingBroken(error, was_wrong_code))
        self._finish(now, was_wrong_code)

    def _finish(self, now: float, was_wrong: bool = False) -> None:
        self._awaited = ""
        self._data.clear()


class PairingHost(PairingSession):
    """Be the side that lets a device in. `certificate` is the DER that its TLS shows."""

    def __init__(
        self, invitation: Invitation, certificate: bytes, limits: Limits, random_bytes: Callable[[int], bytes],
        now: float,
    ) -> None:
        super().__init__(limits, now)
        self.invitation = invitation
        self._certificate = certificate
        self._random_bytes = random_bytes
        self._sid = random_bytes(_SID_BYTES)
        self._keys: Optional[Spake2Keys] = None
        self._asked: Optional[PairingAsked] = None
        self._readers = {"share": self._read_share, "proof": self._read_proof, "stored": self._read_stored}
        self._awaited = "share"
        over = invitation.why_over(now)
        if over is not None:
            self._break(over, now)
        else:
            self._send({"v": PAIRING_VERSION, "sid": base64_text(self._sid)}, "share", self.deadline)

    def admit(self, grant: PairingGrant, now: float) -> None:
        """Let the device in, after `PairingAsked`; raise LocalProtocolError where the grant is not for it.

        An invitation that has expired meanwhile ends with an event instead.
        """
        if not self.awaits_decision(now):
            return
        assert self._keys is not None and self._asked is not None, "a person is asked after the proof"
        body = write_grant(grant, self._asked.public, self._limits)
        self.invitation.use(self)
        self._send(
            {
                "cB": base64_text(self._keys.confirmation_b), "body": body,
                "mac": base64_text(_body_mac(self._keys, body)),
            },
            "stored", now + self._limits.pairing_message_s,
        )

    def awaits_decision(self, now: float) -> bool:
        """Whether `admit` would let the device in: it still waits, and the invitation is still open."""
        if self._awaited == "decision" and now >= self.invitation.expires_at:
            self._break(Unauthenticated("The code has expired. Ask for a new one with `invite`."), now)
        return self._awaited == "decision"

    def refuse(self, now: float, error: Optional[CallError] = None) -> None:
        """Send the device away, after `PairingAsked`; without a reason it is told that a person said no."""
        if self._awaited == "decision":
            self._break(
                error or Forbidden("The person at the other device said no. Ask them, then try again."), now
            )

    def time_out(self, now: float) -> None:
        """End it if `deadline` has passed; while a person is asked that is the invitation's end."""
        if not self.awaits_decision(now):
            super().time_out(now)

    def _read_share(self, message: Dict[str, Any], now: float) -> None:
        if "pA" not in message:
            raise InvalidRequest("a joiner says its point, its name, its kind and its share pA")
        refusal = self.invitation.begin(self, now)
        if refusal is not None:
            raise refusal
        # From here on a try is used, whatever is wrong with the rest.
        point, name, kind = base64_in(message, "point"), message.get("name"), message.get("kind")
        if not isinstance(name, str) or len(name) > _JOINER_NAME_CHARS:
            raise ParseError(f"name is a text of at most {_JOINER_NAME_CHARS} characters")
        if not isinstance(kind, str) or len(kind) > _JOINER_KIND_CHARS:
            raise ParseError(f"kind is a text of at most {_JOINER_KIND_CHARS} characters")
        public = point_in(message, "point")
        exchange = Spake2(
            is_a=False, password=pairing_password(self.invitation.code, self._sid), identity_a=joiner_identity(point),
            identity_b=host_identity(self._certificate), secret=generate_key(self._random_bytes),
        )
        self._keys = exchange_finished(exchange, base64_in(message, "pA"))
        self._asked = PairingAsked(device_id(public), public, name, kind)
        self._send({"pB": base64_text(exchange.share)}, "proof", now + self._limits.pairing_message_s)

    def _read_proof(self, message: Dict[str, Any], now: float) -> None:
        assert self._keys is not None and self._asked is not None, "a proof comes after the shares"
        if not hmac.compare_digest(base64_in(message, "cA"), self._keys.confirmation_a):
            sentence = self.invitation.wrong_code_sentence()
            self._break(Unauthenticated(sentence), now, was_wrong_code=True)
        elif now >= self.invitation.expires_at:
            self._break(Unauthenticated("The code has expired. Ask for a new one with `invite`."), now)
        else:
            self.invitation.prove(self)
            self._awaited, self.deadline = "decision", self.invitation.expires_at
            self._events.append(self._asked)

    def _read_stored(self, message: Dict[str, Any], now: float) -> None:
        assert self._asked is not None, "what is stored was asked for"
        if message.get("stored") is not True:
            raise InvalidRequest('a joiner that has kept everything says {"stored": true}')
        self._events.append(PairingStored(self._asked.device_id))
        self._finish(now)

    def _finish(self, now: float, was_wrong: bool = False) -> None:
        super()._finish(now, was_wrong)
        self.invitation.end(self, now, was_wrong=was_wrong)


class PairingJoiner(PairingSession):
    """Be the device that joins. `certificate` is the DER that it was shown; nobody has vouched for it."""

    def __init__(
        self, code: str, key: PrivateKey, describe: Dict[str, str], certificate: bytes, limits: Limits,
        random_bytes: Callable[[int], bytes], now: float,
    ) -> None:
        """`describe` has the device's `name` and `kind`, for the person who is asked."""
        super().__init__(limits, now)
        self._code = code
        self._key = key
        self._describe = describe
        self._certificate = certificate
        self._random_bytes = random_bytes
        self._exchange: Optional[Spake2] = None
        self._keys: Optional[Spake2Keys] = None
        self._readers = {"sid": self._read_sid, "share": self._read_share, "body": self._read_body}
        self._awaited = "sid"

    def confirm_stored(self) -> None:
        """Tell the host that the grant is on disk; now it is over."""
        if self._awaited == "decision":
            self._send({"stored": True}, "", self.deadline)

    def _read_sid(self, message: Dict[str, Any], now: float) -> None:
        if message.get("v") != PAIRING_VERSION:
            raise InvalidRequest("The other device pairs in another way. Update both to the same version.")
        sid, point = base64_in(message, "sid"), encode_point(self._key.public)
        if len(sid) != _SID_BYTES:
            raise ParseError(f"sid has {_SID_BYTES} bytes")
        self._exchange = Spake2(
            is_a=True, password=pairing_password(self._code, sid), identity_a=joiner_identity(point),
            identity_b=host_identity(self._certificate), secret=generate_key(self._random_bytes),
        )
        self._send(
            {
                "point": base64_text(point), "pA": base64_text(self._exchange.share),
                "name": self._describe["name"][:_JOINER_NAME_CHARS],
                "kind": self._describe["kind"][:_JOINER_KIND_CHARS],
            },
            "share", now + self._limits.pairing_message_s,
        )

    def _read_share(self, message: Dict[str, Any], now: float) -> None:
        assert self._exchange is not None, "our share was sent before"
        self._keys = exchange_finished(self._exchange, base64_in(message, "pB"))
        # A person has to look up and press a key; until the invitation ends at the latest.
        patience_s = self._limits.pairing_open_s + self._limits.pairing_message_s
        self._send({"cA": base64_text(self._keys.confirmation_a)}, "body", now + patience_s)
        self._events.append(PairingWaits())

    def _read_body(self, message: Dict[str, Any], now: float) -> None:
        assert self._keys is not None, "the keys were made before"
        body = message.get("body")
        if not isinstance(body, dict):
            raise ParseError("body is a JSON object")
        proof, mac = base64_in(message, "cB"), base64_in(message, "mac")
        is_proved = hmac.compare_digest(proof, self._keys.confirmation_b)
        if not is_proved or not hmac.compare_digest(mac, _body_mac(self._keys, body)):
            raise Unauthenticated(
                "The other device does not know the code, so it may be somebody in between."
                " Ask for a new code on a network that you trust."
            )
        grant = read_grant(body, self._key.public, self._limits)
        self._awaited, self.deadline = "decision", float("inf")
        self._events.append(PairingGranted(grant))


def _body_mac(keys: Spake2Keys, body: Dict[str, Any]) -> bytes:
    return hmac.new(keys.shared_key, canonical_json(body), hashlib.sha256).digest()
