"""An invitation and a joiner meet over lines that carry real bytes; people are asked, and told what to do."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from discompute_lite.crypto.p256 import device_id, private_key
from discompute_lite.model.errors import (
    CallTimeout, Forbidden, LinkClosed, NothingListens, StateError, Unauthenticated, Unavailable, Unreachable,
)
from discompute_lite.model.limits import Limits
from discompute_lite.roles.own_cluster import OwnCluster, found_cluster
from discompute_lite.roles.pairing import InvitationTerms, Inviter, Joining
from discompute_lite.wire.invitation import JoinWords

LIMITS = Limits()
ANN, BEN, CAT = (private_key(number) for number in (701, 702, 703))
HOST = "10.0.0.1:49200"
chance = random.Random(7).randbytes


class Line:
    """One end of a connection, as a pairing port's; what is sent arrives in an event of its own."""

    def __init__(self, clock, remote_address):
        self.clock, self.remote_address = clock, remote_address
        self.other = self.listener = None
        self.is_closed = False

    def send(self, data):
        self.clock.post(self._arrive, data)

    def _arrive(self, data):
        if not self.other.is_closed:
            self.other.listener.received(data)

    def finish(self):
        self.is_closed = True
        self.clock.post(self._end)

    def _end(self):
        if not self.other.is_closed:
            self.other.is_closed = True
            self.other.listener.ended()


class Door:
    """All pairing ports of a world: one is open at a time."""

    def __init__(self, clock):
        self.clock = clock
        self.answer, self.certificate = None, b""
        self.lines, self.calls = [], []
        #: What the joiner is shown, where somebody sits in between.
        self.shown = None

    def open(self, key, certificate, answer):
        self.answer, self.certificate = answer, certificate
        return 49200

    def close(self):
        self.answer = None

    def call(self, address, called):
        self.calls.append(address)
        self.clock.post(self._connect, address, called)

    def _connect(self, address, called):
        if self.answer is None and address == HOST:
            called(None, b"", NothingListens("nothing listens there; is the node there running?"))
            return
        if address != HOST:
            called(None, b"", Unreachable("nobody listens there"))
            return
        host, joiner = Line(self.clock, "192.168.1.23"), Line(self.clock, address)
        host.other, joiner.other = joiner, host
        host.listener = self.answer(host)
        joiner.listener = called(joiner, self.shown or self.certificate, None)
        self.lines += [host, joiner]


class Meeting:
    """An admin, whoever joins, and the person in front of the admin's screen."""

    def __init__(self, clock):
        self.clock = clock
        self.door = Door(clock)
        self.says, self.asked, self.told = True, [], []
        self.cluster = OwnCluster(
            found_cluster(ANN, "Ann's Mac", "mac", LIMITS, chance, 5), device_id(ANN), LIMITS, lambda grant: None,
        )
        self.inviter = Inviter(
            self.door, clock, lambda: 1756800000.0, LIMITS, chance, lambda kind, sentence: self.told.append(sentence),
            self.ask,
        )
        self.kept, self.done = [], []

    def ask(self, asked, answer):
        self.asked.append(asked)
        if self.says is not None:
            answer(self.says)

    def invite(self, **terms):
        return self.inviter.invite(self.cluster, InvitationTerms(**terms))

    def join(self, code, key=BEN, *, kind="linux", addresses=(HOST,), keep=None, seconds=3.0, limits=LIMITS):
        words = JoinWords(code, addresses)
        joining = Joining(words, key, {"name": "Ben's", "kind": kind}, self.door, self.clock, limits, chance)
        joining.start(keep or self.kept.append, lambda kind, sentence: self.told.append(sentence),
                      lambda grant, error: self.done.append(grant or error))
        self.clock.advance(seconds)
        return self.done[-1] if self.done else None

    def role(self, key):
        return self.cluster.membership.role_of(device_id(key))

    def assert_all_closed(self):
        assert self.door.lines and all(line.is_closed for line in self.door.lines)


@pytest.fixture
def meeting(world):
    return Meeting(world.clock)


@pytest.mark.parametrize(("kind", "role"), [("linux", "member"), ("iphone", "worker"), ("android", "worker")])
def test_a_device_joins_after_a_person_said_yes(meeting, kind, role):
    grant = meeting.join(meeting.invite().code, kind=kind)
    assert meeting.kept == [grant] and meeting.role(BEN) == role
    assert [asked.name for asked in meeting.asked] == ["Ben's"]
    assert "say yes there" in meeting.told[0]
    assert meeting.told[-1] == f"Ben's ({device_id(BEN)[:8]}) has joined the cluster"
    assert not meeting.inviter.unseen and meeting.inviter.port == 0 and meeting.door.answer is None
    meeting.assert_all_closed()


def test_a_person_says_no(meeting):
    meeting.says = False
    assert isinstance(meeting.join(meeting.invite().code), Forbidden)
    assert meeting.role(BEN) == "" and not meeting.kept
    assert meeting.inviter.port, "somebody else may still join"


def test_a_token_lets_a_classroom_in_without_questions(meeting):
    code = meeting.invite(with_token=True, asks_nobody=True, joins=2).code
    assert len(code) == 26
    for key in (BEN, CAT):
        meeting.join(code, key)
        assert meeting.role(key) == "member"
    assert not meeting.asked and meeting.door.answer is None


def test_two_who_join_at_once_come_one_after_the_other(meeting):
    code = meeting.invite(with_token=True, joins=2).code
    answers = []
    meeting.inviter._ask = lambda asked, answer: answers.append(answer)
    meeting.join(code, BEN)
    meeting.join(code, CAT, seconds=30.0)
    assert not meeting.done and len(answers) == 1
    answers[0](True)
    meeting.clock.advance(3.0)
    answers[1](True)
    meeting.clock.advance(3.0)
    assert meeting.role(BEN) == meeting.role(CAT) == "member" and len(meeting.done) == 2


def test_a_second_admin_has_the_key(meeting):
    grant = meeting.join(meeting.invite(with_key=True).code)
    assert grant.ca_key is not None and meeting.role(BEN) == "admin"


def test_row_11_wrong_codes_are_told_on_both_screens_and_end_it(meeting):
    meeting.invite()
    away = []
    meeting.inviter.turned_away = lambda *facts: away.append(facts)
    for sentence in ("2 tries left", "1 try left", "after 3 wrong codes"):
        error = meeting.join("00000000")
        assert isinstance(error, Unauthenticated) and sentence in error.message
    assert meeting.told[1] == (
        "A device at 192.168.1.23 used a wrong code; tries left: 2. If that was not you, press Ctrl-C.")
    assert "Pairing stopped after 3 wrong codes" in meeting.told[-1] and meeting.door.answer is None
    assert [facts[:2] for facts in away] == [("192.168.1.23", True)] * 3
    meeting.assert_all_closed()


def test_row_10_a_man_in_the_middle_gets_nobody_in(meeting):
    meeting.door.shown = b"his own certificate"
    assert isinstance(meeting.join(meeting.invite().code), Unauthenticated)
    assert not meeting.asked and "used a wrong code" in meeting.told[-1]


def test_an_invitation_ends_by_itself_and_is_told(meeting):
    meeting.invite(open_s=60.0)
    meeting.clock.advance(59.0)
    assert meeting.door.answer is not None
    meeting.clock.advance(2.0)
    assert meeting.door.answer is None and "expired" in meeting.told[-1]


def test_stopping_sends_away_who_waits_for_an_answer(meeting):
    meeting.says = None
    meeting.join(meeting.invite().code)
    meeting.inviter.stop()
    meeting.clock.advance(1.0)
    assert isinstance(meeting.done[-1], Unauthenticated) and meeting.role(BEN) == ""
    meeting.assert_all_closed()


def test_an_answer_that_comes_too_late_lets_nobody_in(meeting):
    answers = []
    meeting.inviter._ask = lambda asked, answer: answers.append(answer)
    meeting.join(meeting.invite(open_s=60.0).code)
    meeting.clock.advance(61.0)
    answers[0](True)
    meeting.clock.advance(1.0)
    assert meeting.role(BEN) == "" and "expired" in meeting.done[-1].message


def test_a_new_invitation_replaces_the_one_before(meeting):
    first, second = meeting.invite(), meeting.invite()
    assert first.code != second.code
    assert isinstance(meeting.join(first.code), Unauthenticated)
    meeting.join(second.code)
    assert meeting.role(BEN) == "member"


def test_only_an_admin_invites(meeting):
    grant = replace(meeting.cluster.grant, ca_key=None)
    meeting.cluster = OwnCluster(grant, device_id(BEN), LIMITS, lambda kept: None)
    with pytest.raises(Forbidden, match="Do it on Ann's Mac"):
        meeting.invite()
    assert meeting.door.answer is None


def test_a_removed_device_is_told_what_to_do_and_nobody_is_asked(meeting):
    meeting.join(meeting.invite().code)
    meeting.cluster.remove(device_id(BEN), 9, chance)
    meeting.asked.clear()
    error = meeting.join(meeting.invite().code)
    assert isinstance(error, Forbidden) and "new identity" in error.message and not meeting.asked


def test_row_14_a_joiner_that_cannot_keep_its_grant_is_listed_as_not_yet_seen(meeting):
    def full_disk(grant):
        raise StateError("The disk is full. Free some space, then try again")

    code = meeting.invite(joins=2).code
    assert isinstance(meeting.join(code, keep=full_disk), StateError)
    assert meeting.inviter.unseen == {device_id(BEN)} and "paired, not yet seen" in meeting.told[-1]
    meeting.join(code)
    assert not meeting.inviter.unseen and meeting.role(BEN) == "member"


def test_row_37_an_admin_with_a_full_disk_lets_nobody_in_and_both_sides_are_told(meeting):
    def full_disk(grant):
        raise StateError("The disk is full. Free some space, then try again")

    meeting.cluster._keep = full_disk
    error = meeting.join(meeting.invite().code)
    assert isinstance(error, Forbidden) and "cannot let anybody in just now" in error.message
    assert any("disk is full" in sentence for sentence in meeting.told) and not meeting.kept
    assert meeting.role(BEN) == "", "who cannot be written down is no member"


def test_every_address_is_tried(meeting):
    meeting.join(meeting.invite().code, addresses=("10.0.0.9:1", HOST, "10.0.0.8:1"))
    assert meeting.role(BEN) == "member" and meeting.door.calls == ["10.0.0.9:1", HOST]


def test_where_nobody_listens_it_says_so(meeting):
    assert isinstance(meeting.join("48219903", addresses=("10.0.0.9:1", "10.0.0.8:1")), Unreachable)
    assert isinstance(meeting.join("48219903", addresses=()), CallTimeout)


def test_a_link_that_was_used_says_so_and_not_that_no_node_runs(meeting):
    code = meeting.invite(with_token=True, asks_nobody=True).code
    meeting.join(code, BEN)
    refused = meeting.join(code, CAT)
    assert isinstance(refused, NothingListens)
    assert refused.message.startswith(f"nobody is let in at {HOST} any more") and "a new one" in refused.message


def test_a_wrong_code_is_not_tried_at_every_address(meeting):
    meeting.invite()
    assert isinstance(meeting.join("00000000", addresses=(HOST, HOST, HOST)), Unauthenticated)
    assert meeting.door.calls == [HOST] and meeting.inviter.invitation.tries_left == 2


def test_a_joiner_in_line_gives_up_after_a_while(meeting):
    meeting.says = None
    code = meeting.invite(with_token=True, joins=2, open_s=10_000.0).code
    meeting.join(code, BEN)
    meeting.join(code, CAT, seconds=90.0, limits=replace(LIMITS, pairing_open_s=30.0))
    assert isinstance(meeting.done[-1], (Unavailable, CallTimeout, LinkClosed))


def test_a_line_that_breaks_while_a_person_thinks_lets_the_next_one_try(meeting):
    meeting.says = None
    code = meeting.invite().code
    meeting.join(code)
    meeting.door.lines[1].finish()
    meeting.clock.advance(1.0)
    assert "did not join" in meeting.told[-1]
    meeting.says = True
    meeting.join(code, CAT)
    assert meeting.role(CAT) == "member" and meeting.role(BEN) == ""
