"""One device: the table of its states, its processes, and what of its words is kept."""

import pytest

from discompute_lite.core.known import (
    LITE_TEXT, LIVENESS_MOVES, PRESENT, Fact, KnownDevice, Liveness, lite_kept, told_addresses,
)
from discompute_lite.model.device import Device


def test_every_state_can_be_reached_and_every_fact_means_something():
    assert set(LIVENESS_MOVES.values()) | {Liveness.TOLD} == set(Liveness)
    assert {fact for _, fact in LIVENESS_MOVES} == set(Fact)


@pytest.mark.parametrize("state", Liveness)
def test_an_open_link_is_proof_of_life_in_every_state(state):
    assert LIVENESS_MOVES[(state, Fact.OPENED)] is Liveness.ALIVE


@pytest.mark.parametrize("fact", [Fact.BEACON, Fact.RESTART])
def test_no_beacon_ever_makes_a_device_alive(fact):
    results = {after for (_, what), after in LIVENESS_MOVES.items() if what is fact}
    assert results <= {Liveness.HEARD, Liveness.SUSPECT}


def test_only_silence_or_refusal_kills_and_only_from_life():
    for (before, fact), after in LIVENESS_MOVES.items():
        if after is Liveness.DEAD:
            assert before in PRESENT and fact in (Fact.SILENT, Fact.UNREACHED)


def test_a_boot_that_is_over_is_remembered_a_while():
    device = KnownDevice(Device(id="a"), 0.0, 8)
    for boot in ("b1", "b2", "b2", "", "b3", "b1"):
        device.enter_boot(boot)
    assert device.boot == "b1" and device.past_boots == ("b3", "b2")


@pytest.mark.parametrize("every_s, kept", [(2.5, 2.5), (-5.0, 0.1), (1e9, 300.0), (float("nan"), 300.0)])
def test_hostile_intervals_are_taken_for_the_nearest_sane_one(every_s, kept):
    device = KnownDevice(Device(id="a"), 0.0, 8)
    device.set_every(every_s)
    assert device.every_s == kept


def test_of_a_peers_words_the_known_and_small_are_kept():
    lite = {"verified": True, "label": "x" * 999, "measured": {"cpu": 1.5, "deep": {}}, "model": ["list"], "slots": 4}
    assert lite_kept(lite) == {"label": "x" * LITE_TEXT, "measured": {"cpu": 1.5}, "slots": 4}
    assert lite_kept({"measured": {str(number): number for number in range(99)}}) == {}


def test_of_what_others_tell_only_addresses_count_that_mean_the_same_everywhere():
    told = Device(id="b", address="[fe80::2%eth0]:8080", lite={"addresses": ["[fe80::2%1]:1", 7, "10.0.0.2:1"]})
    assert told_addresses(told) == ["10.0.0.2:1"]
    assert told_addresses(Device(id="b", address="[fd00::2]:8080", lite={"addresses": "x"})) == ["[fd00::2]:8080"]


def test_two_nodes_that_know_a_device_over_interfaces_of_different_names_know_the_same():
    marks = []
    for zone in ("eth0", "en7"):
        device = KnownDevice(Device(id="b"), 0.0, 8)
        device.state = Liveness.HEARD
        device.addresses.heard("10.0.0.2:8080")
        device.addresses.heard(f"[fe80::2%{zone}]:8080")
        marks.append(device.sum_up())
    assert marks[0] == marks[1] != 0
