"""The browser: services are found when all is known of them, kept fresh, and lost in time."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any, List, Tuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discompute_lite.model.errors import ProtocolError
from discompute_lite.wire.dns import (
    DNS_A, DNS_AAAA, DNS_PTR, DNS_RESPONSE, DNS_SRV, DNS_TXT, DnsMessage, DnsRecord, decode_dns, encode_dns, ptr_data,
    srv_data, txt_data,
)
from discompute_lite.wire.mdns_browser import KNOWN_ANSWERS, MdnsBrowser, MdnsFound, MdnsLost
from discompute_lite.wire.mdns_responder import MDNS_PORT

SERVICE = ("_discompute", "_tcp", "local")
PEER = ("192.0.2.9", MDNS_PORT)


def records(name: str = "Ann", port: int = 8080, address: bytes = b"\xc0\0\2\1", ttl_s: int = 120, text: bytes = b"1"
            ) -> List[DnsRecord]:
    instance, host = (name, *SERVICE), (f"host-{name}", "local")
    return [
        DnsRecord(SERVICE, DNS_PTR, ttl_s, ptr_data(instance)),
        DnsRecord(instance, DNS_SRV, ttl_s, srv_data(port, host), True),
        DnsRecord(instance, DNS_TXT, ttl_s, txt_data([("a", text)]), True),
        DnsRecord(host, DNS_A, ttl_s, address, True),
    ]


def found(name: str = "Ann", port: int = 8080, address: bytes = b"\xc0\0\2\1", text: bytes = b"1") -> MdnsFound:
    return MdnsFound(name, port, {"a": text}, (address,))


class Stage:
    """Hold one browser and its clock."""

    def __init__(self, most: int = 4096) -> None:
        self.now = 100.0
        self.browser = MdnsBrowser(SERVICE, random.Random(1), most)
        self.browser.start(self.now)
        self.asked: List[Tuple[float, DnsMessage]] = []
        self.events: List[Any] = []

    def hear(self, answers: List[DnsRecord], source: Tuple[str, int] = PEER) -> Stage:
        message = decode_dns(encode_dns(DnsMessage(flags=DNS_RESPONSE, answers=tuple(answers))))
        self.browser.receive(message, source, self.now)
        return self.take()

    def run(self, seconds: float) -> Stage:
        until = self.now + seconds
        while True:
            due = self.browser.next_deadline()
            if due is None or due > until:
                break
            self.now = max(self.now, due)
            self.browser.handle_deadline(self.now)
            self.take()
        self.now = until
        return self

    def take(self) -> Stage:
        while True:
            datagram = self.browser.next_datagram()
            if datagram is None:
                break
            self.asked.append((self.now, decode_dns(datagram.data)))
        while True:
            event = self.browser.next_event()
            if event is None:
                return self
            self.events.append(event)


def test_it_asks_ever_more_seldom():
    stage = Stage().run(100.0)
    times = [when for when, _ in stage.asked]
    assert 0.02 <= times[0] - 100.0 <= 0.12
    assert [round(late - early) for early, late in zip(times, times[1:])] == [1, 2, 4, 8, 16, 32]
    assert all(message.questions[0].name == SERVICE for _, message in stage.asked)


def test_a_whole_answer_is_a_service():
    assert Stage().hear(records()).events == [found()]


@given(st.permutations(range(4)))
def test_the_order_of_records_does_not_matter(order):
    parts = records()
    assert Stage().hear([parts[index] for index in order]).events == [found()]


def test_what_comes_in_pieces_is_put_together():
    parts = records()
    stage = Stage()
    for record in parts[:3]:
        assert stage.hear([record]).events == []
    assert stage.hear([parts[3]]).events == [found()]


def test_the_same_again_is_no_news_and_a_change_is():
    stage = Stage().hear(records()).hear(records())
    assert stage.events == [found()]
    stage.run(2.0).hear(records(text=b"2")).run(2.0)
    assert stage.events == [found(), found(text=b"2")]


def test_a_device_that_moves_has_its_new_address_alone():
    stage = Stage().hear(records()).run(2.0).hear(records(address=b"\xc0\0\2\7")).run(2.0)
    assert stage.events[-1] == found(address=b"\xc0\0\2\7")


def test_two_addresses_of_one_answer_are_both_kept():
    second = DnsRecord(("host-Ann", "local"), DNS_A, 120, b"\xc0\0\2\7", True)
    stage = Stage().hear([*records(), second]).run(5.0)
    assert stage.events == [MdnsFound("Ann", 8080, {"a": b"1"}, (b"\xc0\0\2\1", b"\xc0\0\2\7"))]


def test_a_goodbye_is_told_at_once_and_nobody_is_asked_what_is_missing():
    stage = Stage().hear(records()).hear(records(ttl_s=0))
    assert stage.events == [found(), MdnsLost("Ann", True)]
    assert stage.run(1.5).events == [found(), MdnsLost("Ann", True)]
    assert {question.type for _, message in stage.asked for question in message.questions} == {DNS_PTR}


def test_what_is_offered_again_after_a_goodbye_is_found_again():
    stage = Stage().hear(records()).hear(records(ttl_s=0)).run(0.5).hear(records()).run(5.0)
    assert stage.events == [found(), MdnsLost("Ann", True), found()]


def test_an_address_that_is_taken_back_is_no_goodbye():
    """A device whose last address on this network goes is silent here; it has not left."""
    address = records()[3:]
    stage = Stage().hear(records()).hear([replace(record, ttl_s=0) for record in address]).run(1.5)
    assert stage.events == [found(), MdnsLost("Ann", False)]


def test_silence_is_asked_about_four_times_and_then_is_a_loss():
    stage = Stage().hear(records()).run(119.0)
    asked = [
        (when - 100.0) / 120 for when, message in stage.asked
        if DNS_SRV in [question.type for question in message.questions]
    ]
    assert asked == pytest.approx([0.81, 0.86, 0.91, 0.96], abs=0.011)
    assert stage.events == [found()]
    stage.run(2.0)
    assert stage.events == [found(), MdnsLost("Ann", False)]


def test_an_answer_in_time_keeps_it():
    stage = Stage().hear(records())
    for _ in range(10):
        stage.run(100.0).hear(records())
    assert stage.events == [found()]


def test_what_is_missing_is_asked_for_and_not_for_ever():
    stage = Stage().hear(records()[:1]).run(60.0)
    wanted = [question.type for _, message in stage.asked for question in message.questions if question.name != SERVICE]
    assert wanted == [DNS_SRV, DNS_TXT] * 3
    stage = Stage().hear(records()[:3]).run(1.0)
    wanted = [question for _, message in stage.asked for question in message.questions if question.name != SERVICE]
    assert [(question.name, question.type) for question in wanted] == [
        (("host-Ann", "local"), DNS_A), (("host-Ann", "local"), DNS_AAAA)] * 2


def test_a_question_says_what_is_known():
    stage = Stage().hear(records()).run(30.0)
    known = [
        [record.data for record in message.answers] for _, message in stage.asked
        if message.questions[0].name == SERVICE
    ]
    assert known[0] == [ptr_data(("Ann", *SERVICE))]
    for number in range(100):
        stage.hear(records(f"dev-{number}"))
    stage.run(60.0)
    assert max(len(message.answers) for _, message in stage.asked) == KNOWN_ANSWERS


def test_other_services_and_plain_answers_are_not_kept():
    stage = Stage()
    printer = [DnsRecord(("_ipp", "_tcp", "local"), DNS_PTR, 120, ptr_data(("P", "_ipp", "_tcp", "local"))),
               DnsRecord(("host-Ann", "local"), DNS_A, 120, b"\1\2\3\4")]
    stage.hear(printer).hear(records(), ("192.0.2.9", 40000)).run(1.0)
    assert stage.events == [] and not stage.browser._held


def test_a_flood_of_services_stays_in_bounds():
    stage = Stage(most=40)
    for number in range(500):
        stage.hear(records(f"dev-{number}"))
    assert len(stage.browser._held) <= 40 and len(stage.events) == 10
    stage.run(200.0)
    assert not stage.browser._held and not stage.browser._hosts and not stage.browser._pointers
    stage.hear(records())
    assert stage.events[-1] == found()


@pytest.mark.parametrize("name", ["ANN", "ann"])
def test_names_do_not_differ_by_case(name):
    stage = Stage().hear(records()[:1]).hear(records(name)[1:])
    assert [event.port for event in stage.events] == [8080]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3), st.sampled_from((0, 1, 120)), st.booleans(),
                          st.floats(0.0, 200.0)), max_size=25))
def test_any_story_leaves_nothing_behind(story):
    stage = Stage()
    for name, part, ttl_s, is_all, pause_s in story:
        these = records(name, ttl_s=ttl_s)
        stage.hear(these if is_all else [these[part]]).run(pause_s)
    stage.run(5000.0)
    assert not stage.browser._held and not stage.browser._keys and not stage.browser._found
    there = set()
    for event in stage.events:
        # Nothing is lost that was not found, and what is found is lost in the end.
        assert isinstance(event, MdnsFound) or event.name in there
        (there.add if isinstance(event, MdnsFound) else there.remove)(event.name)
    assert not there


@given(st.binary(max_size=200))
def test_any_bytes_upset_nobody(data):
    stage = Stage().hear(records())
    try:
        message = decode_dns(data)
    except ProtocolError:
        return
    stage.browser.receive(message, PEER, stage.now)
    stage.take().run(500.0)
