"""How much work a device takes: each strain begins at one mark and ends at another, and says what it is."""

import pytest

from discompute_lite.core.allowance import STRAINS, Feeling, AllowancePolicy


def verdicts(*feelings, slots=4, **asked):
    policy = AllowancePolicy()
    return [policy.allow(slots, Feeling(**feeling), **asked).slots for feeling in feelings]


@pytest.mark.parametrize(
    "level, charging, slots", [(0.19, False, 0), (0.20, False, 4), (0.05, True, 4), (-1.0, False, 4), (0.0, False, 0)]
)
def test_a_low_battery_takes_no_new_work_unless_it_charges(level, charging, slots):
    allowance = AllowancePolicy().allow(4, Feeling(battery_level=level, is_charging=charging))
    assert allowance.slots == slots and bool(allowance.reason) == (slots == 0)


@pytest.mark.parametrize("name, values, slots", [
    ("battery_level", (0.5, 0.19, 0.22, 0.25, 0.22), (4, 0, 0, 4, 4)),
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


def test_slots_that_a_person_chose_do_not_yield_to_the_owner():
    assert verdicts({"cpu_usage": 1.0}, yields_to_owner=False) == [4]
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
    strained = Feeling(0.01, False, True, 99.0, 0.99, 1.0, 0.0)
    for strain in STRAINS:
        assert strain.holds(strained, 0.2, False) and len(strain.reason(strained, 0.2)) > 20
