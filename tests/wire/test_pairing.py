"""Two devices that know one code pair, whole and byte by byte; whoever does not, or sits in between, gets nothing."""

from __future__ import annotations

import base64
import json
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from discompute_lite.crypto.certificates import ca_certificate, cluster_id, device_certificate, pairing_certificate
from discompute_lite.crypto.p256 import PrivateKey, device_id, encode_point, private_key
from discompute_lite.model.errors import (
    CallTimeout, Forbidden, LinkClosed, LocalProtocolError, ParseError, ProtocolError, TooLarge, Unauthenticated,
    Unavailable,
)
from discompute_lite.model.limits import Limits
from discompute_lite.model.statement import Statement
from discompute_lite.wire.invitation import Invitation
from discompute_lite.wire.pairing import (
    PairingAsked, PairingBroken, PairingGranted, PairingHost, PairingJoiner, PairingWaits, PairingStored,
)
from discompute_lite.wire.pairing_grant import PairingGrant, read_grant, write_grant
from discompute_lite.wire.statements import sign_as_line

LIMITS = Limits()
CA, OTHER_CA, ADMIN, JOINER, STRANGER = (private_key(number) for number in range(401, 406))
CLUSTER = cluster_id(CA.public)
SERIAL = b"serial number 2"
CERTIFICATE = pairing_certificate(private_key(410), serial=SERIAL)
FORGED_CERTIFICATE = pairing_certificate(private_key(411), serial=SERIAL)
CODE = "48219903"
NEVER = float("inf")


def stated(device: PrivateKey, seq: int = 1, what: str = "add", ca: PrivateKey = CA) -> Statement:
    statement = Statement(
        cluster_id(ca.public), seq, what, device_id(device), "member", device_id(ADMIN), 1756800000, "Ann's iPhone",
    )
    return sign_as_line(ca, statement, LIMITS)


ADDED, ADMIN_ADDED = stated(JOINER), stated(ADMIN)
GRANT = PairingGrant(
    ca_certificate(CA, serial=SERIAL), device_certificate(CA, JOINER.public, serial=SERIAL), (ADMIN_ADDED, ADDED),
    bytes(range(32)),
)


class Pair:
    """A host and a joiner, joined by two pipes in which bytes can be held, cut and changed."""

    def __init__(self, *, code=CODE, invitation=None, seen=CERTIFICATE, step=None, now=10.0, seed=1):
        rng = random.Random(seed)
        self.now = now
        self.step = step
        self.invitation = invitation or Invitation(CODE, LIMITS, expires_at=300.0)
        self.host = PairingHost(self.invitation, CERTIFICATE, LIMITS, rng.randbytes, now)
        describe = {"name": "Ann's iPhone", "kind": "iphone"}
        self.joiner = PairingJoiner(code, JOINER, describe, seen, LIMITS, rng.randbytes, now)
        #: What each side said, and what each side's events were.
        self.sent = {self.host: b"", self.joiner: b""}
        self.events = {self.host: [], self.joiner: []}

    def deliver(self, data, receiver):
        for start in range(0, len(data), self.step or len(data) or 1):
            receiver.receive_data(data[start:start + (self.step or len(data))])
            self.collect(receiver)

    def collect(self, side):
        for event in iter(lambda: side.next_event(self.now), None):
            self.events[side].append(event)

    def talk(self):
        """Carry bytes until nobody has anything to say."""
        for _ in range(12):
            for sender, receiver in ((self.host, self.joiner), (self.joiner, self.host)):
                self.collect(sender)
                data = sender.data_to_send()
                self.sent[sender] += data
                self.deliver(data, receiver)
        return self

    def admit(self, grant=GRANT):
        self.host.admit(grant, self.now)
        return self.talk()

    def said(self, side):
        """Return the messages of one side."""
        return [json.loads(line) for line in self.sent[side].splitlines()]


def kinds(events):
    return [type(event) for event in events]


def assert_broken(events, error, match=""):
    broken = events[-1]
    assert isinstance(broken, PairingBroken) and type(broken.error) is error, broken
    assert match in broken.error.message
    return broken


# ---- the right code ---------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [None, 1, 7])
def test_a_device_that_knows_the_code_becomes_a_member(step):
    pair = Pair(step=step).talk()
    asked, = pair.events[pair.host]
    assert asked == PairingAsked(device_id(JOINER), JOINER.public, "Ann's iPhone", "iphone")
    assert pair.events[pair.joiner] == [PairingWaits()]
    pair.admit()
    granted = pair.events[pair.joiner][-1]
    assert isinstance(granted, PairingGranted) and granted.grant == GRANT
    assert [each.line for each in granted.grant.statements] == [ADMIN_ADDED.line, ADDED.line]
    assert not pair.host.is_closing, "it is a member when it has kept what it was given, not before"
    pair.joiner.confirm_stored()
    pair.talk()
    assert pair.events[pair.host][-1] == PairingStored(device_id(JOINER))
    assert pair.host.is_closing and pair.joiner.is_closing
    assert pair.invitation.is_over(pair.now)


def test_the_messages_are_those_of_the_protocol_page():
    pair = Pair().talk().admit()
    pair.joiner.confirm_stored()
    pair.talk()
    assert [sorted(message) for message in pair.said(pair.host)] == [["sid", "v"], ["pB"], ["body", "cB", "mac"]]
    joiner_said = [sorted(message) for message in pair.said(pair.joiner)]
    assert joiner_said == [["kind", "name", "pA", "point"], ["cA"], ["stored"]]
    share, proof, _ = pair.said(pair.joiner)
    assert base64.b64decode(share["point"]) == encode_point(JOINER.public)
    assert len(base64.b64decode(share["pA"])) == 65 and len(base64.b64decode(proof["cA"])) == 32
    assert max(map(len, (pair.sent[pair.host] + pair.sent[pair.joiner]).splitlines())) < 8 * 2 ** 20


def test_a_second_admin_is_given_the_clusters_key():
    pair = Pair().talk().admit(replace(GRANT, ca_key=CA))
    assert pair.events[pair.joiner][-1].grant.ca_key == CA


def test_secrets_are_not_shown():
    granted = PairingGranted(replace(GRANT, ca_key=CA))
    assert repr(bytes(range(32))) not in repr(granted.grant) and "grant" not in repr(granted)[15:]


def test_the_person_at_the_host_says_no():
    pair = Pair().talk()
    pair.host.refuse(pair.now)
    pair.talk()
    assert_broken(pair.events[pair.joiner], Forbidden, "said no")
    assert_broken(pair.events[pair.host], Forbidden)
    assert pair.invitation.tries_left == 3 and not pair.invitation.is_over(pair.now)


def test_a_decision_that_comes_too_late_changes_nothing():
    pair = Pair().talk()
    pair.host.receive_end(pair.now)
    pair.host.admit(GRANT, pair.now)
    pair.host.refuse(pair.now)
    pair.talk()
    assert len(pair.events[pair.host]) == 2 and pair.invitation.joins_left == 1


# ---- the wrong code ---------------------------------------------------------------------------------


def test_row_11_three_wrong_codes_stop_it_and_the_right_one_comes_too_late():
    invitation = Invitation(CODE, LIMITS, expires_at=300.0)
    for number, sentence in enumerate(("2 tries left", "1 try left", "after 3 wrong codes")):
        pair = Pair(code="00000000", invitation=invitation, now=10.0 + 2 * number, seed=number).talk()
        assert_broken(pair.events[pair.joiner], Unauthenticated, sentence)
        assert assert_broken(pair.events[pair.host], Unauthenticated, sentence).was_wrong_code
        assert pair.host.is_closing and pair.joiner.is_closing
        assert PairingAsked not in kinds(pair.events[pair.host])
    pair = Pair(invitation=invitation, now=20.0).talk()
    assert_broken(pair.events[pair.joiner], Unauthenticated, "after 3 wrong codes")


def test_row_10_a_man_in_the_middle_who_forwards_everything_gets_nothing():
    """He ends TLS on both sides, so the joiner sees his certificate; the person typed the right code."""
    pair = Pair(seen=FORGED_CERTIFICATE).talk()
    assert assert_broken(pair.events[pair.host], Unauthenticated, "2 tries left").was_wrong_code
    assert_broken(pair.events[pair.joiner], Unauthenticated)
    assert PairingAsked not in kinds(pair.events[pair.host]) and pair.invitation.tries_left == 2


def test_a_man_in_the_middle_who_puts_in_his_own_key_gets_nothing():
    pair = Pair()
    pair.deliver(pair.host.data_to_send(), pair.joiner)
    share = json.loads(pair.joiner.data_to_send())
    share["point"] = base64.b64encode(encode_point(STRANGER.public)).decode()
    pair.deliver(json.dumps(share).encode() + b"\n", pair.host)
    pair.talk()
    assert assert_broken(pair.events[pair.host], Unauthenticated).was_wrong_code


def test_a_host_that_does_not_know_the_code_cannot_take_a_device_in():
    """It has its own cluster and says yes to everything."""
    pair = Pair(code="00000000")
    pair.deliver(pair.host.data_to_send(), pair.joiner)
    pair.deliver(pair.joiner.data_to_send(), pair.host)
    pair.deliver(pair.host.data_to_send(), pair.joiner)
    proof = pair.host._keys
    body = write_grant(GRANT, JOINER.public, LIMITS)
    confirmation, mac = (base64.b64encode(data).decode() for data in (proof.confirmation_b, bytes(32)))
    message = {"cB": confirmation, "body": body, "mac": mac}
    pair.deliver(json.dumps(message).encode() + b"\n", pair.joiner)
    assert_broken(pair.events[pair.joiner], Unauthenticated, "does not know the code")
    assert PairingGranted not in kinds(pair.events[pair.joiner])


@pytest.mark.parametrize("spoil", [
    lambda message: message["body"].update(beacon_key=base64.b64encode(bytes(32)).decode()),
    lambda message: message["body"]["statements"].pop(0),
    lambda message: message["body"].update(extra=1),
    lambda message: message.update(mac=base64.b64encode(bytes(32)).decode()),
    lambda message: message.update(cB=base64.b64encode(bytes(32)).decode()),
    lambda message: message.update(cB=message["mac"]),
])
def test_a_grant_that_somebody_changed_is_not_believed(spoil):
    pair = Pair().talk()
    pair.host.admit(GRANT, pair.now)
    message = json.loads(pair.host.data_to_send())
    spoil(message)
    pair.deliver(json.dumps(message).encode() + b"\n", pair.joiner)
    assert_broken(pair.events[pair.joiner], Unauthenticated, "does not know the code")


def test_a_replay_of_a_pairing_that_worked_gets_nothing():
    recorded = Pair(seed=1).talk().admit()
    again = Pair(seed=2)
    again.deliver(recorded.sent[recorded.joiner], again.host)
    assert assert_broken(again.events[again.host], Unauthenticated).was_wrong_code
    assert again.invitation.tries_left == 2


def test_the_same_code_makes_other_keys_each_time():
    first, second = (Pair(seed=seed).talk() for seed in (1, 2))
    assert first.said(first.joiner)[1] != second.said(second.joiner)[1]


# ---- tries and turns --------------------------------------------------------------------------------


def test_row_12_hanging_up_after_learning_pb_uses_a_try():
    invitation = Invitation(CODE, LIMITS, expires_at=300.0)
    for number in range(3):
        pair = Pair(invitation=invitation, seed=number)
        pair.deliver(pair.host.data_to_send(), pair.joiner)
        pair.deliver(pair.joiner.data_to_send(), pair.host)
        assert b"pB" in pair.host.data_to_send()
        pair.host.receive_end(pair.now)
        pair.collect(pair.host)
        assert_broken(pair.events[pair.host], LinkClosed, "hung up")
    assert invitation.is_over(pair.now)


POINTS = {
    "off the curve": b"\x04" + b"\x01" * 64, "all zero": bytes(65), "too short": b"\x04", "empty": b"",
    "compressed": b"\x02" + encode_point(STRANGER.public)[1:33],
}


@pytest.mark.parametrize("field", ["pA", "point"])
@pytest.mark.parametrize("kind", [*POINTS, "no base64", "a number"])
def test_row_13_a_share_that_is_no_point_uses_a_try_and_the_port_lives(field, kind):
    invitation = Invitation(CODE, LIMITS, expires_at=300.0)
    pair = Pair(invitation=invitation)
    good = base64.b64encode(encode_point(STRANGER.public)).decode()
    bad = {"no base64": "!!!!", "a number": 5}.get(kind) or base64.b64encode(POINTS.get(kind, b"")).decode()
    share = {"point": good, "name": "x", "kind": "linux", "pA": good, field: bad}
    pair.deliver(json.dumps(share).encode() + b"\n", pair.host)
    assert isinstance(pair.events[pair.host][-1].error, ProtocolError)
    assert invitation.tries_left == 2
    after = Pair(invitation=invitation, now=12.0).talk()
    assert PairingAsked in kinds(after.events[after.host])


@pytest.mark.parametrize("line", [
    b"{}", b"[]", b"null", b"5", b'"pA"', b"\xff\xfe", b"{", b'{"stored":true}', b'{"cA":""}', b"GET / HTTP/1.1", b"",
    b'{"v":1,"sid":""}', b'{"name":"x"}',
])
def test_what_is_no_share_uses_no_try(line):
    pair = Pair()
    pair.deliver(line + b"\n", pair.host)
    assert isinstance(pair.events[pair.host][-1].error, ProtocolError)
    assert pair.invitation.tries_left == 3 and pair.host.is_closing
    assert b'"error"' in pair.host.data_to_send()


@pytest.mark.parametrize("share", [{"name": 5}, {"name": "x" * 129}, {"kind": None}, {"kind": "x" * 33}])
def test_a_device_that_describes_itself_wrongly_uses_a_try(share):
    pair = Pair()
    good = base64.b64encode(encode_point(STRANGER.public)).decode()
    share = {"point": good, "name": "x", "kind": "linux", "pA": good, **share}
    pair.deliver(json.dumps(share).encode() + b"\n", pair.host)
    assert_broken(pair.events[pair.host], ParseError)
    assert pair.invitation.tries_left == 2


def test_row_15_two_at_once_take_turns():
    first = Pair().talk()
    second = Pair(invitation=first.invitation, seed=2).talk()
    assert_broken(second.events[second.joiner], Unavailable, "in a few seconds")
    first.admit()
    assert isinstance(first.events[first.joiner][-1], PairingGranted)


def test_a_classroom_joins_by_one_token_one_after_the_other():
    token = "mfrggzdfmztwq2lknnwg23tpob"
    invitation = Invitation(token, LIMITS, expires_at=300.0, joins=2)
    for seed in (1, 2):
        pair = Pair(code=token, invitation=invitation, seed=seed).talk().admit()
        pair.joiner.confirm_stored()
        pair.talk()
        assert isinstance(pair.events[pair.host][-1], PairingStored)
    third = Pair(code=token, invitation=invitation, seed=3).talk()
    assert_broken(third.events[third.joiner], Unauthenticated, "has been used")


# ---- time -------------------------------------------------------------------------------------------


def test_a_silent_joiner_is_cut_off():
    pair = Pair()
    pair.host.time_out(19.9)
    assert not pair.host.is_closing
    assert pair.host.deadline == 20.0
    pair.host.time_out(20.0)
    pair.collect(pair.host)
    assert_broken(pair.events[pair.host], CallTimeout, "did not answer in time")


def test_a_silent_host_is_given_up():
    pair = Pair()
    pair.joiner.time_out(pair.joiner.deadline)
    pair.collect(pair.joiner)
    assert_broken(pair.events[pair.joiner], CallTimeout)


def test_a_person_may_take_until_the_invitation_ends():
    pair = Pair().talk()
    assert pair.host.deadline == 300.0 <= pair.joiner.deadline
    pair.host.time_out(299.9)
    assert not pair.host.is_closing
    pair.now = 300.0
    pair.host.time_out(pair.now)
    pair.talk()
    assert_broken(pair.events[pair.joiner], Unauthenticated, "expired")
    assert len([event for event in pair.events[pair.host] if isinstance(event, PairingBroken)]) == 1


def test_row_15_a_code_that_expires_on_the_way_lets_nobody_in():
    pair = Pair(now=295.0)
    pair.deliver(pair.host.data_to_send(), pair.joiner)
    pair.deliver(pair.joiner.data_to_send(), pair.host)
    pair.now = 301.0
    pair.talk()
    assert_broken(pair.events[pair.joiner], Unauthenticated, "expired")
    late = Pair(invitation=Invitation(CODE, LIMITS, expires_at=300.0), now=299.0).talk()
    late.now = 301.0
    late.admit()
    assert_broken(late.events[late.joiner], Unauthenticated, "expired")
    assert late.invitation.joins_left == 1


def test_a_joiner_that_comes_too_late_is_told_at_once():
    pair = Pair(now=300.0).talk()
    assert pair.said(pair.host) == [{"error": {"code": -32002, "message": pair.events[pair.host][-1].error.message}}]
    assert_broken(pair.events[pair.joiner], Unauthenticated, "expired")


def test_a_joiner_that_dies_before_it_kept_the_grant_is_noticed():
    pair = Pair().talk().admit()
    pair.host.receive_end(pair.now)
    pair.collect(pair.host)
    assert_broken(pair.events[pair.host], LinkClosed)
    assert pair.invitation.joins_left == 0, "a certificate was given out"


# ---- any bytes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"x" * 4097, b'{"pA":"' + b"x" * 4096 + b'"}\n'])
def test_a_long_message_is_refused_on_both_sides(data):
    for side in ("host", "joiner"):
        pair = Pair()
        pair.deliver(data, getattr(pair, side))
        assert_broken(pair.events[getattr(pair, side)], TooLarge)


def test_a_body_may_be_long_and_not_longer():
    pair = Pair().talk()
    pair.deliver(b"x" * (8 * 2 ** 20), pair.joiner)
    assert not pair.joiner.is_closing
    pair.deliver(b"x", pair.joiner)
    assert_broken(pair.events[pair.joiner], TooLarge)


@pytest.mark.parametrize(
    "hostile", [b"[" * 100_000, b'{"a":' * 100_000, b"[" + b"{}," * 100_000, b"[" + b"1," * 200_000],
)
def test_json_of_many_small_things_is_refused_before_it_is_parsed(hostile):
    pair = Pair().talk()
    pair.deliver(hostile + b"\n", pair.joiner)
    assert_broken(pair.events[pair.joiner], TooLarge, "too many parts")


def test_a_joiner_that_talks_out_of_turn_is_cut_off():
    pair = Pair().talk()
    pair.deliver(b'{"stored":true}\n', pair.host)
    assert "out of turn" in pair.events[pair.host][-1].error.message


def test_a_host_of_another_version_is_refused():
    pair = Pair()
    pair.deliver(b'{"v":2,"sid":"AAAAAAAAAAAAAAAAAAAAAA=="}\n', pair.joiner)
    assert "same version" in pair.events[pair.joiner][-1].error.message


@pytest.mark.parametrize(
    "told", [b'{"error":null}', b'{"error":{}}', b'{"error":{"code":"x","message":"y"}}', b'{"error":5}'],
)
def test_an_error_without_a_reason_is_an_error(told):
    for side in ("host", "joiner"):
        pair = Pair()
        machine = getattr(pair, side)
        machine.data_to_send()
        pair.deliver(told + b"\n", machine)
        assert "without a reason" in pair.events[machine][-1].error.message
        assert machine.data_to_send() == b"", "an error is not answered"


def outcome(side, stage, pieces):
    """Feed one side, at one stage, with pieces; return everything that can be seen."""
    pair = Pair()
    machine, other = (pair.host, pair.joiner) if side == "host" else (pair.joiner, pair.host)
    if stage:
        pair.deliver(pair.host.data_to_send(), pair.joiner)
        pair.deliver(pair.joiner.data_to_send(), pair.host)
        if stage == 2:
            pair.talk()
    for piece in pieces:
        pair.deliver(piece, machine)
    events = [(type(event), getattr(getattr(event, "error", None), "message", "")) for event in pair.events[machine]]
    assert all(isinstance(event.error, (ProtocolError, Unauthenticated)) or b"error" in b"".join(pieces)
               for event in pair.events[machine] if isinstance(event, PairingBroken))
    return events, machine.data_to_send(), machine.is_closing


ANY_LINES = st.lists(
    st.one_of(
        st.binary(max_size=60),
        st.dictionaries(
            st.sampled_from("v sid point name kind pA pB cA cB body mac stored error".split()),
            st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=20),
                      st.lists(st.integers(), max_size=3),
                      st.binary(max_size=70).map(lambda data: base64.b64encode(data).decode()),
                      st.just(base64.b64encode(encode_point(STRANGER.public)).decode()),
                      st.dictionaries(st.text(max_size=9), st.text(max_size=9), max_size=3)),
        ).map(lambda message: json.dumps(message).encode()),
    ), max_size=4,
)


@settings(max_examples=6 * settings.default.max_examples // 5)
@given(st.sampled_from(["host", "joiner"]), st.integers(0, 2), ANY_LINES, st.integers(1, 40))
def test_any_bytes_are_events_or_a_protocol_error_however_they_are_cut(side, stage, lines, size):
    data = b"\n".join(lines) + b"\n" * bool(lines)
    whole = outcome(side, stage, [data])
    assert outcome(side, stage, [data[start:start + size] for start in range(0, len(data), size)]) == whole


@settings(max_examples=3 * settings.default.max_examples // 2)
@given(st.data())
def test_a_mutated_exchange_ends_in_order(data):
    """One bit, somewhere, in what one side sends: nobody raises, and nobody becomes a member by it."""
    place, bit = data.draw(st.integers(0, 2000)), data.draw(st.integers(0, 7))
    pair = Pair()
    position = 0
    for _ in range(6):
        for sender, receiver in ((pair.host, pair.joiner), (pair.joiner, pair.host)):
            pair.collect(sender)
            sent = bytearray(sender.data_to_send())
            if position <= place < position + len(sent):
                sent[place - position] ^= 1 << bit
            position += len(sent)
            pair.deliver(bytes(sent), receiver)
        if PairingAsked in kinds(pair.events[pair.host]) and pair.invitation.joins_left:
            pair.host.admit(GRANT, pair.now)
    granted = [event for event in pair.events[pair.joiner] if isinstance(event, PairingGranted)]
    # A flip in a field that nobody needs, or in base64's idle bits, changes nothing.
    assert all(event.grant == GRANT for event in granted)


# ---- the grant --------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [
    replace(GRANT, certificate=device_certificate(CA, STRANGER.public, serial=SERIAL)),
    replace(GRANT, certificate=device_certificate(OTHER_CA, JOINER.public, serial=SERIAL)),
    replace(GRANT, ca=ca_certificate(OTHER_CA, serial=SERIAL)),
    replace(GRANT, ca=GRANT.certificate),
    replace(GRANT, statements=(ADMIN_ADDED,)),
    replace(GRANT, statements=(ADDED, stated(JOINER, 2, "revoke"))),
    replace(GRANT, beacon_key=bytes(31)),
    replace(GRANT, ca_key=OTHER_CA),
])
def test_a_grant_that_its_joiner_would_not_believe_is_not_sent(wrong):
    with pytest.raises(LocalProtocolError, match="would be refused"):
        write_grant(wrong, JOINER.public, LIMITS)


@pytest.mark.parametrize("change", [
    {"ca": None}, {"ca": ""}, {"ca": 5}, {"certificate": None}, {"statements": None}, {"statements": {}},
    {"statements": []}, {"statements": [5]}, {"statements": [{}]},
    {"statements": [json.loads(stated(JOINER, ca=OTHER_CA).line)]},
    {"beacon_key": None}, {"beacon_key": "AAAA"}, {"ca_key": ""}, {"ca_key": "AAAA"}, {"ca_key": 5},
])
def test_a_body_that_does_not_make_a_member_is_refused(change):
    body = {**write_grant(GRANT, JOINER.public, LIMITS), **change}
    with pytest.raises(ProtocolError):
        read_grant(body, JOINER.public, LIMITS)


def test_unknown_members_of_a_body_are_ignored():
    body = {**write_grant(GRANT, JOINER.public, LIMITS), "later": [1, 2]}
    assert read_grant(body, JOINER.public, LIMITS) == GRANT


def test_too_many_statements_are_not_sent():
    few = replace(LIMITS, pairing_body_bytes=6000)
    with pytest.raises(LocalProtocolError, match="too many statements"):
        write_grant(replace(GRANT, statements=(ADDED,) * 9), JOINER.public, few)
