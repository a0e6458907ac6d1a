"""How much work a device takes: each strain begins at one mark and ends at another, and says what it is."""

import pytest

from discompute_lite.core.allowance import STRAINS, Feeling, AllowancePolicy


def verdicts(*feelings, slots=4, **asked):
    policy = AllowancePolicy()
    return [policy.allow(slots, Feeling(**feeling), **asked).slots for feeling in feelings]


@pytest.mark.parametrize("level, charging, slots", [
    (0.19, False, 0), (0.20, False, 2), (0.49, False, 2), (0.50, False, 4), (0.05, True, 4), (0.40, True, 4),
    (-1.0, False, 4), (0.0, False, 0)])
def test_a_battery_gives_less_the_emptier_it_is_unless_it_charges(level, charging, slots):
    allowance = AllowancePolicy().allow(4, Feeling(battery_level=level, is_charging=charging))
    assert allowance.slots == slots and bool(allowance.reason) == (slots < 4) and not allowance.hands_back


def device(**felt):
    """What is left of four slots, and of the one of a phone, of a device that feels so: (slots, share, cause)."""
    whole, phone = (AllowancePolicy().allow(slots, Feeling(**felt)) for slots in (4, 1))
    assert (whole.cause, whole.hands_back) == (phone.cause, phone.hands_back) or not phone.cause
    return whole.slots, phone.slots * phone.share, whole.cause


#: How a device feels, what is left of a computer's four slots and of a phone's one, by what, and whether what runs is
#: handed back. What charges and what does not are rows of their own.
FEELINGS = [
    ({}, 4, 1.0, "", False),
    ({"is_background": True}, 0, 0.0, "background", True),
    ({"is_background": True, "is_charging": True, "battery_level": 1.0}, 0, 0.0, "background", True),
    ({"heat": 0}, 4, 1.0, "", False),
    ({"heat": 1}, 4, 1.0, "", False),
    ({"heat": 2}, 2, 0.5, "serious heat", False),
    ({"heat": 2, "is_charging": True, "battery_level": 0.9}, 2, 0.5, "serious heat", False),
    ({"heat": 3}, 0, 0.0, "critical heat", True),
    ({"heat": 3, "is_charging": True, "battery_level": 0.9}, 0, 0.0, "critical heat", True),
    ({"temperature": 90.0}, 2, 0.5, "warmth", False),
    ({"temperature": 98.0}, 0, 0.0, "heat", False),
    ({"is_lid_closed": True, "battery_level": 0.9}, 0, 0.0, "lid", True),
    ({"is_lid_closed": True, "battery_level": 0.9, "is_charging": True}, 4, 1.0, "", False),
    ({"is_lid_closed": True}, 4, 1.0, "", False),
    ({"is_low_power": True, "battery_level": 0.9}, 0, 0.0, "low power", False),
    ({"is_low_power": True, "battery_level": 0.9, "is_charging": True}, 4, 1.0, "", False),
    ({"battery_level": 0.1}, 0, 0.0, "battery", False),
    ({"battery_level": 0.1, "is_charging": True}, 4, 1.0, "", False),
    ({"battery_level": 0.4}, 2, 1.0, "unplugged", False),
    ({"cpu_usage": 0.9}, 2, 1.0, "owner", False),
    ({"cpu_usage": 0.9, "own_share": 0.9}, 4, 1.0, "", False),
    ({"memory_usage": 0.95}, 2, 1.0, "little memory", False),
    ({"memory_usage": 0.99}, 0, 0.0, "memory", False),
    # Together: the worst is told, and what is handed back is handed back.
    ({"battery_level": 0.1, "is_background": True}, 0, 0.0, "background", True),
    ({"battery_level": 0.1, "heat": 3}, 0, 0.0, "critical heat", True),
    ({"battery_level": 0.4, "cpu_usage": 0.9, "heat": 2}, 2, 0.5, "serious heat", False),
]


@pytest.mark.parametrize("felt, slots, phone, cause, hands_back", FEELINGS)
def test_what_is_left_of_a_computer_and_of_a_phone(felt, slots, phone, cause, hands_back):
    assert device(**felt) == (slots, phone, cause)
    assert AllowancePolicy().allow(4, Feeling(**felt)).hands_back is hands_back


def test_every_strain_has_a_row_of_its_own():
    assert {cause for _, _, _, cause, _ in FEELINGS} == {strain.name for strain in STRAINS} | {""}


def test_a_device_that_was_critically_hot_begins_again_only_when_it_is_no_longer_serious():
    policy = AllowancePolicy()
    judged = [policy.allow(4, Feeling(heat=heat)) for heat in (2, 3, 2, 2, 1, 2)]
    assert [(each.slots, each.hands_back) for each in judged] == [
        (2, False), (0, True), (0, True), (0, True), (4, False), (2, False)]


def test_what_a_device_of_few_slots_cannot_give_up_whole_it_gives_up_by_resting():
    shares = [(slots, AllowancePolicy().allow(slots, Feeling(heat=2))) for slots in (1, 2, 3, 4)]
    assert [(each.slots, each.share) for _, each in shares] == [(1, 0.5), (1, 1.0), (2, 0.75), (2, 1.0)]
    assert all(each.slots * each.share == slots / 2 for slots, each in shares)


@pytest.mark.parametrize("name, values, slots", [
    ("battery_level", (0.9, 0.19, 0.22, 0.25, 0.22), (4, 0, 0, 2, 2)),
    ("battery_level", (0.9, 0.49, 0.54, 0.55, 0.51), (4, 2, 2, 4, 4)),
    ("temperature", (70, 88, 81, 80, 87), (4, 2, 2, 4, 4)),
    ("temperature", (70, 97, 91, 90, 88, 70), (4, 0, 0, 2, 2, 4)),
    ("memory_usage", (0.5, 0.93, 0.89, 0.88, 0.92), (4, 2, 2, 4, 4)),
    ("memory_usage", (0.98, 0.96, 0.95, 0.90, 0.5), (0, 0, 2, 2, 4)),
    ("cpu_usage", (0.3, 0.6, 0.4, 0.35, 0.5), (4, 2, 2, 4, 4)),
])
def test_a_verdict_changes_back_later_than_it_changed(name, values, slots):
    assert verdicts(*({name: value} for value in values)) == list(slots)


def test_what_is_not_known_strains_nobody():
    assert verdicts({}, {"temperature": 0.0, "memory_usage": -1.0, "cpu_usage": -1.0}) == [4, 4]


def test_low_power_mode_takes_no_work_but_on_outside_power():
    assert verdicts({"is_low_power": True}, {"is_low_power": True, "is_charging": True}) == [0, 4]


def test_our_own_work_is_not_taken_for_the_owners():
    assert verdicts({"cpu_usage": 1.0, "own_share": 1.0}, {"cpu_usage": 1.0, "own_share": 0.25}) == [4, 2]


def test_slots_that_a_person_chose_yield_neither_to_the_owner_nor_to_a_half_empty_battery():
    assert verdicts({"cpu_usage": 1.0}, {"battery_level": 0.4}, yields_to_owner=False) == [4, 4]
    assert verdicts({"temperature": 99.0}, yields_to_owner=False) == [0]


def test_half_of_one_slot_is_one():
    assert verdicts({"cpu_usage": 1.0}, slots=1) == [1]


def test_of_several_strains_the_worst_is_told():
    allowance = AllowancePolicy().allow(4, Feeling(battery_level=0.1, temperature=90.0, cpu_usage=1.0))
    assert allowance.slots == 0 and allowance.reason.startswith("on battery at 10 %")


def test_asked_again_about_the_same_it_answers_the_same():
    policy, feeling = AllowancePolicy(), Feeling(temperature=85.0)
    policy.allow(4, Feeling(temperature=90.0))
    assert [policy.allow(4, feeling) for _ in range(3)] == [policy.allow(4, feeling)] * 3


def test_the_reason_names_level_and_limit():
    allowance = AllowancePolicy().allow(4, Feeling(battery_level=0.12), battery_min=0.5)
    assert allowance.reason.startswith("on battery at 12 %, below 50 %")
    assert "no slots" in AllowancePolicy().allow(0, Feeling()).reason


def test_every_strain_says_in_one_sentence_what_it_is():
    strained = Feeling(0.01, False, True, 99.0, 0.99, 1.0, 0.0, 3, True, True)
    for strain in STRAINS:
        assert strain.holds(strained, 0.2, False) and len(strain.reason(strained, 0.2)) > 20
