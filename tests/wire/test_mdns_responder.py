"""The responder: a name is proven, announced, defended, given up; everybody gets what they do not know."""

from __future__ import annotations

import random
from typing import Any, List, Optional, Tuple

import pytest

from discompute_lite.wire.dns import (
    DNS_A, DNS_AAAA, DNS_ANY, DNS_PTR, DNS_RESPONSE, DNS_SRV, DNS_TRUNCATED, DNS_TXT, DnsMessage, DnsName, DnsQuestion,
    DnsRecord, decode_dns, encode_dns, nsec_data, ptr_data, srv_data,
)
from discompute_lite.wire.mdns_responder import MDNS_PORT, MDNS_TTL_S, SERVICE_LIST, MdnsResponder

SERVICE = ("_discompute", "_tcp", "local")
ANN, HOST = ("Ann", *SERVICE), ("host-a", "local")
PEER, LEGACY = ("192.0.2.9", MDNS_PORT), ("192.0.2.9", 40000)


class Stage:
    """Hold one responder and its clock; everything sent is kept as (when, message, destination)."""

    def __init__(self, *addresses: Tuple[int, bytes], seed: int = 1) -> None:
        self.now = 100.0
        self.responder = MdnsResponder(SERVICE, addresses or ((DNS_A, b"\xc0\x00\x02\x01"),), random.Random(seed))
        self.sent: List[Tuple[float, DnsMessage, Optional[Tuple[str, int]]]] = []

    def offer(self, name: str = "Ann", host: str = "host-a", port: int = 8080, txt: bytes = b"\x03a=1") -> Stage:
        self.responder.offer(name, host, port, txt, self.now)
        self.take()
        return self

    def owning(self) -> Stage:
        self.offer().run(5.0)
        assert self.responder.state == "owning"
        self.sent.clear()
        return self

    def run(self, seconds: float) -> Stage:
        until = self.now + seconds
        while True:
            due = self.responder.next_deadline()
            if due is None or due > until:
                break
            self.now = max(self.now, due)
            self.responder.handle_deadline(self.now)
            self.take()
        self.now = until
        return self

    def hear(self, message: DnsMessage, source: Tuple[str, int] = PEER) -> Stage:
        # As it would be over the wire.
        self.responder.receive(decode_dns(encode_dns(message)), source, self.now)
        self.take()
        return self

    def take(self) -> None:
        while True:
            datagram = self.responder.next_datagram()
            if datagram is None:
                return
            self.sent.append((self.now, decode_dns(datagram.data), datagram.destination))


def ask(name: DnsName, kind: int, known: Any = (), *, unicast: bool = False, flags: int = 0) -> DnsMessage:
    return DnsMessage(flags=flags, questions=(DnsQuestion(name, kind, unicast),), answers=tuple(known))


def theirs(name: DnsName = ANN, port: int = 9, ttl_s: int = 120) -> DnsMessage:
    record = DnsRecord(name, DNS_SRV, ttl_s, srv_data(port, ("other", "local")), True)
    return DnsMessage(flags=DNS_RESPONSE, answers=(record,))


def kinds(message: DnsMessage) -> List[int]:
    return [record.type for record in message.answers]


def test_a_name_is_asked_for_three_times_and_announced_twice():
    stage = Stage().offer().run(10.0)
    times, messages = [when for when, _, _ in stage.sent], [message for _, message, _ in stage.sent]
    assert 100.0 <= times[0] <= 100.25
    assert [round(late - early, 3) for early, late in zip(times, times[1:])] == [0.25, 0.25, 0.25, 1.0]
    for probe in messages[:3]:
        assert [question.name for question in probe.questions] == [ANN, HOST] and not probe.is_response
        assert all(question.type == DNS_ANY for question in probe.questions)
        assert [record.type for record in probe.authorities] == [DNS_SRV, DNS_TXT, DNS_A]
    for announcement in messages[3:]:
        assert announcement.is_response and kinds(announcement) == [DNS_PTR, DNS_PTR, DNS_SRV, DNS_TXT, DNS_A]
        assert [record.is_flush for record in announcement.answers] == [False, False, True, True, True]


def test_nothing_is_answered_before_the_name_is_ours():
    stage = Stage().offer().run(0.3)
    stage.sent.clear()
    stage.hear(ask(SERVICE, DNS_PTR))
    assert stage.sent == []


def test_who_has_the_name_keeps_it():
    stage = Stage().offer().run(0.3)
    stage.hear(theirs()).run(10.0)
    assert stage.responder.name == "Ann (2)" and stage.responder.state == "owning"
    assert stage.sent[-1][1].answers[2].name == ("Ann (2)", *SERVICE)
    assert ("host-a-2", "local") in [record.name for record in stage.sent[-1][1].answers]


def test_a_long_name_has_room_for_its_number():
    stage = Stage()
    stage.offer("ä" * 60).run(0.3)
    long = stage.responder.name
    assert len(long.encode()) <= 63
    stage.hear(theirs((long, *SERVICE))).run(10.0)
    assert stage.responder.name.endswith(" (2)") and len(stage.responder.name.encode()) <= 63


def test_many_conflicts_slow_a_device_down():
    stage = Stage().offer()
    for _ in range(20):
        stage.run(0.3)
        if stage.responder.state == "probing":
            stage.hear(theirs((stage.responder.name, *SERVICE)))
    before = len(stage.sent)
    stage.run(4.0)
    assert len(stage.sent) <= before + 1


@pytest.mark.parametrize("port, is_lost", [(65000, True), (1, False)])
def test_of_two_who_ask_at_once_the_greater_wins(port, is_lost):
    stage = Stage().offer().run(0.3)
    stage.sent.clear()
    proposal = DnsRecord(ANN, DNS_SRV, 120, srv_data(port, HOST))
    text = DnsRecord(ANN, DNS_TXT, 120, b"\x03a=1")
    began = stage.now
    stage.hear(DnsMessage(questions=(DnsQuestion(ANN, DNS_ANY),), authorities=(text, proposal)))
    stage.run(10.0)
    assert stage.responder.name == "Ann" and stage.responder.state == "owning"
    assert (stage.sent[0][0] - began >= 1.0) == is_lost


def test_the_same_proposal_is_no_tie():
    stage = Stage().offer().run(0.3)
    own = stage.sent[0][1]
    stage.sent.clear()
    stage.hear(own).run(0.3)
    assert len(stage.sent) >= 1


def test_two_devices_of_one_name_end_with_two_names():
    ann, bob = Stage(), Stage((DNS_A, b"\xc0\x00\x02\x02"), seed=2)
    ann.offer(host="host-a"), bob.offer(host="host-b", port=8081)
    for _ in range(400):
        for here, there in ((ann, bob), (bob, ann)):
            here.run(0.05)
            for _, message, _ in here.sent:
                there.hear(message)
            here.sent.clear()
    assert {ann.responder.name, bob.responder.name} == {"Ann", "Ann (2)"}
    assert ann.responder.state == bob.responder.state == "owning"


def test_who_probes_for_our_name_hears_that_it_is_ours():
    stage = Stage().owning()
    stage.run(0.4).hear(ask(ANN, DNS_ANY))
    probe = DnsMessage(questions=(DnsQuestion(ANN, DNS_ANY),), authorities=theirs().answers)
    stage.sent.clear()
    stage.run(0.3).hear(probe)
    assert kinds(stage.sent[0][1])[:2] == [DNS_SRV, DNS_TXT] and stage.sent[0][2] is None


def test_a_contradiction_makes_us_prove_the_name_again():
    stage = Stage().owning()
    stage.hear(theirs())
    assert stage.responder.state == "probing"
    stage.run(10.0)
    assert stage.responder.state == "owning" and stage.responder.name == "Ann"


def test_a_goodbye_of_somebody_else_is_no_contradiction():
    assert Stage().owning().hear(theirs(ttl_s=0)).responder.state == "owning"


@pytest.mark.parametrize("name, kind, first", [
    (SERVICE, DNS_PTR, [DNS_PTR]), (SERVICE, DNS_ANY, [DNS_PTR]), (SERVICE_LIST, DNS_PTR, [DNS_PTR]),
    (ANN, DNS_SRV, [DNS_SRV]), (ANN, DNS_TXT, [DNS_TXT]), (ANN, DNS_ANY, [DNS_SRV, DNS_TXT]), (HOST, DNS_A, [DNS_A]),
    (("ANN", "_DISCOMPUTE", "_tcp", "LOCAL"), DNS_SRV, [DNS_SRV]),
])
def test_each_question_has_its_answer(name, kind, first):
    stage = Stage().owning().run(2.0).hear(ask(name, kind)).run(1.0)
    ((_, message, destination),) = stage.sent
    assert kinds(message)[:len(first)] == first and destination is None


@pytest.mark.parametrize("name, kind, bits", [
    (HOST, DNS_AAAA, "0001" "40"), (ANN, DNS_A, "0005" "0000800040"), (HOST, DNS_SRV, "0001" "40"),
])
def test_of_what_is_ours_it_is_said_that_there_is_no_such_record(name, kind, bits):
    """As RFC 6762, section 6.1, wants it, the name in the record being its own."""
    stage = Stage().owning().run(2.0)
    stage.responder.receive(ask(name, kind), PEER, stage.now)
    data = stage.responder.next_datagram().data
    assert nsec_data(name, [DNS_A])[-3:].hex() == "000140" and data.endswith(bytes.fromhex(bits))
    assert data.count(b"\x00\x2f\x80\x01") == 1, "one NSEC record, which is all there is"


def test_addresses_of_both_kinds_are_told_together():
    ours = ((DNS_A, b"\xc0\x00\x02\x01"), (DNS_AAAA, bytes(15) + b"\1"))
    stage = Stage(*ours).owning().run(2.0)
    for kind, other in ((DNS_A, DNS_AAAA), (DNS_AAAA, DNS_A)):
        stage.sent.clear()
        ((_, message, _),) = stage.hear(ask(HOST, kind)).run(1.5).sent
        assert kinds(message) == [kind, other]
        assert {(record.type, record.data) for record in message.answers} == set(ours)


@pytest.mark.parametrize("name, kind", [(("Bob", *SERVICE), DNS_SRV), (("local",), DNS_ANY)])
def test_what_is_not_ours_is_not_answered(name, kind):
    assert Stage().owning().run(2.0).hear(ask(name, kind)).run(1.0).sent == []


def test_whoever_asks_for_the_service_gets_all_there_is_to_know():
    stage = Stage().owning().run(2.0).hear(ask(SERVICE, DNS_PTR)).run(1.0)
    when, message, _ = stage.sent[0]
    assert kinds(message) == [DNS_PTR, DNS_SRV, DNS_TXT, DNS_A]


def test_a_shared_answer_waits_a_moment_and_a_unique_one_does_not():
    stage = Stage().owning().run(2.0)
    asked = stage.now
    stage.hear(ask(HOST, DNS_A)).hear(ask(SERVICE, DNS_PTR)).run(1.0)
    assert stage.sent[0][0] == asked and 0.02 <= stage.sent[1][0] - asked <= 0.12


@pytest.mark.parametrize("ttl_s, is_known", [(MDNS_TTL_S, True), (MDNS_TTL_S // 2, True), (MDNS_TTL_S // 2 - 1, False)])
def test_who_knows_it_for_long_is_not_told_again(ttl_s, is_known):
    known = DnsRecord(SERVICE, DNS_PTR, ttl_s, ptr_data(ANN))
    stage = Stage().owning().run(2.0).hear(ask(SERVICE, DNS_PTR, [known])).run(1.0)
    assert (stage.sent == []) == is_known


def test_an_asker_who_knows_much_is_waited_for():
    known = DnsRecord(SERVICE, DNS_PTR, MDNS_TTL_S, ptr_data(ANN))
    stage = Stage().owning().run(2.0)
    stage.hear(ask(SERVICE, DNS_PTR, flags=DNS_TRUNCATED)).run(0.3)
    assert stage.sent == []
    stage.hear(DnsMessage(answers=(known,))).run(1.0)
    assert stage.sent == []
    stage.hear(ask(SERVICE, DNS_PTR, flags=DNS_TRUNCATED)).run(1.0)
    assert kinds(stage.sent[0][1])[0] == DNS_PTR


def test_nothing_is_sent_to_all_more_than_once_a_second():
    stage = Stage().owning().run(2.0)
    for _ in range(20):
        stage.hear(ask(HOST, DNS_A)).run(0.05)
    assert len(stage.sent) == 1


def test_a_flood_of_questions_is_answered_in_bounds():
    stage = Stage().owning().run(2.0)
    for number in range(1000):
        stage.hear(ask(SERVICE, DNS_PTR), (f"192.0.2.{number % 200}", MDNS_PORT))
    assert len(stage.run(1.0).sent) == 1


def test_one_asker_is_answered_alone_where_all_have_lately_been_told():
    stage = Stage().owning().run(2.0).hear(ask(ANN, DNS_SRV, unicast=True))
    assert stage.sent[0][2] == PEER
    stage.run(MDNS_TTL_S / 4)
    stage.hear(ask(ANN, DNS_SRV, unicast=True))
    assert stage.sent[1][2] is None


def test_plain_dns_gets_a_plain_answer():
    question = DnsQuestion(SERVICE, DNS_PTR)
    stage = Stage().owning().run(2.0).hear(DnsMessage(id=77, questions=(question,)), LEGACY)
    _, message, destination = stage.sent[0]
    assert destination == LEGACY and message.id == 77 and message.questions == (question,)
    assert all(record.ttl_s <= 10 and not record.is_flush for record in message.answers)


def test_news_are_announced_and_nothing_new_is_not():
    stage = Stage().owning().run(5.0)
    stage.offer().run(5.0)
    assert stage.sent == []
    stage.offer(txt=b"\x03a=2").run(5.0)
    assert [message.answers[3].data for _, message, _ in stage.sent] == [b"\x03a=2"] * 2


def test_a_goodbye_takes_everything_back():
    stage = Stage().owning()
    stage.responder.withdraw()
    stage.take()
    ((_, message, _),) = stage.sent
    assert {record.ttl_s for record in message.answers} == {0}
    assert [record.type for record in message.answers] == [DNS_PTR, DNS_SRV, DNS_TXT, DNS_A]
    assert SERVICE_LIST not in [record.name for record in message.answers]
    assert stage.hear(ask(SERVICE, DNS_PTR)).run(5.0).sent == [stage.sent[0]]


def test_another_name_takes_the_old_one_back():
    stage = Stage().owning().offer("Bob").run(5.0)
    assert stage.sent[0][1].answers[1].name == ANN and stage.sent[0][1].answers[1].ttl_s == 0
    assert stage.sent[-1][1].answers[2].name == ("Bob", *SERVICE)
