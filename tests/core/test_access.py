"""Roles, the cluster's permissions and the owner's rules decide, in this order, and every refusal says what to do."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discompute_lite.core.access import (
    APPROVALS_KEPT, OfferedWork, Sender, WorkPolicy, WorkRule, code_hash, decide_operation, decide_work,
    policy_to_json, read_policy,
)
from discompute_lite.model.errors import SettingsError
from discompute_lite.model.settings import ACCEPT_WORDS

ANN = Sender("a" * 52, "Ann's Mac", "member")
CODE = code_hash("jobs", "work", "def work(part): return part\n")
JOB = OfferedWork("job", "primes.py", CODE, 1200)
DIGITS = OfferedWork("digits")
NOON = 12 * 60


def accepting(accept, **more):
    return WorkPolicy(WorkRule(accept), **more)


def assert_refused(decision, rule):
    assert not decision.allowed and decision.rule == rule
    assert decision.sentence.endswith(".") and len(decision.sentence) < 200
    assert decision.error().code == -32003 and decision.error().data == {"rule": rule}
    return decision.sentence


# ---- roles ------------------------------------------------------------------------------------------

RIGHTS = {"device": ("worker", "member", "admin"), "member": ("member", "admin"), "admin": ("admin",)}


@pytest.mark.parametrize("level", RIGHTS)
@pytest.mark.parametrize("role", ["worker", "member", "admin", "", "owner"])
def test_an_operation_asks_for_a_role(level, role):
    decision = decide_operation(level, replace(ANN, role=role))
    assert decision.allowed == (role in RIGHTS[level])
    if not decision.allowed:
        sentence = assert_refused(decision, "role" if role in ("worker", "member") else "membership")
        assert role not in ("", "owner") or sentence.startswith("Pair this device first")


@pytest.mark.parametrize("accept", ACCEPT_WORDS)
@pytest.mark.parametrize("work", [JOB, DIGITS])
def test_a_worker_sends_nothing_whatever_the_owner_says(accept, work):
    assert_refused(decide_work(accepting(accept), replace(ANN, role="worker"), work, NOON), "role")
    assert_refused(decide_work(accepting(accept), replace(ANN, role=""), work, NOON), "membership")


@pytest.mark.parametrize(("sends", "work", "is_allowed"), [
    ("any", JOB, True), ("named", JOB, False), ("named", DIGITS, True), ("nobody", DIGITS, False),
    ("nobody", JOB, False),
])
def test_the_cluster_bounds_what_a_device_sends(sends, work, is_allowed):
    decision = decide_work(accepting("any"), replace(ANN, sends=sends), work, NOON)
    assert decision.allowed == is_allowed
    if not is_allowed:
        assert "Ask an admin" in assert_refused(decision, "sends")


# ---- the owner's rules ------------------------------------------------------------------------------

#: accept -> the rule that refuses code and named work, "" where they may run.
TABLE = {
    "nobody": ("accept", "accept"), "named": ("named", ""), "hash": ("hash", ""), "ask": ("ask", "ask"),
    "any": ("", ""),
}


@pytest.mark.parametrize("accept", ACCEPT_WORDS)
def test_what_a_device_accepts(accept):
    for work, rule in zip((JOB, DIGITS), TABLE[accept]):
        decision = decide_work(accepting(accept), ANN, work, NOON)
        if rule:
            assert_refused(decision, rule)
        else:
            assert decision.allowed and decision.rule == accept


def test_code_is_approved_by_hash_of_module_name_and_source():
    policy = replace(accepting("hash"), approved_code=(CODE,))
    assert decide_work(policy, ANN, JOB, NOON).allowed
    source = "def work(part): return part\n"
    for other in (("other", "work", source), ("jobs", "other", source), ("jobs", "work", source[:-1]),
                  ("jobsw", "ork", source)):
        decision = decide_work(policy, ANN, replace(JOB, code=code_hash(*other)), NOON)
        assert code_hash(*other)[:12] in assert_refused(decision, "hash")
        assert decision.question.endswith(f"? To say yes: policy --approve {code_hash(*other)}")


def test_a_sender_is_asked_about_once():
    policy = accepting("ask")
    decision = decide_work(policy, ANN, JOB, NOON)
    assert_refused(decision, "ask")
    asked = f"May Ann's Mac (aaaaaaaa) run job primes.py here, 1,200 bytes of code ({CODE[:12]})?"
    assert decision.question == f"{asked} To say yes: policy --approve aaaaaaaa"
    policy = policy.approving_sender(ANN.device_id)
    assert decide_work(policy, ANN, JOB, NOON).allowed and decide_work(policy, ANN, DIGITS, NOON).allowed
    stranger = Sender("b" * 52, role="member")
    assert decide_work(policy, stranger, DIGITS, NOON).question.startswith("May bbbbbbbb run digits here? ")


def test_only_what_a_person_here_could_allow_is_asked():
    for accept in ("nobody", "named", "any"):
        assert decide_work(accepting(accept), ANN, JOB, NOON).question == ""


def test_a_rule_for_one_sender_stands_instead_of_everybodys():
    policy = WorkPolicy(WorkRule("nobody"), {ANN.device_id: WorkRule("any", slots=2)})
    assert decide_work(policy, ANN, JOB, NOON).allowed and policy.rule_for(ANN.device_id).slots == 2
    assert_refused(decide_work(policy, replace(ANN, device_id="b" * 52), JOB, NOON), "accept")


@pytest.mark.parametrize("accept", ["named", "hash", "any"])
def test_named_types_may_be_chosen(accept):
    policy = WorkPolicy(WorkRule(accept, types=("digits", "primes")))
    assert decide_work(policy, ANN, DIGITS, NOON).allowed
    assert "digits, primes" in assert_refused(decide_work(policy, ANN, OfferedWork("matmul"), NOON), "types")


@pytest.mark.parametrize(("hours", "minute", "is_open"), [
    (("22:00-06:30",), 22 * 60, True), (("22:00-06:30",), 0, True), (("22:00-06:30",), 6 * 60 + 29, True),
    (("22:00-06:30",), 6 * 60 + 30, False), (("22:00-06:30",), 21 * 60 + 59, False), (("09:00-17:00",), NOON, True),
    (("09:00-17:00",), 17 * 60, False), (("00:00-00:00",), 1439, True), ((), 5, True),
    (("01:00-02:00", "12:00-13:00"), NOON, True),
])
def test_work_is_taken_at_its_hours(hours, minute, is_open):
    decision = decide_work(WorkPolicy(WorkRule("any", hours=hours)), ANN, JOB, minute)
    assert decision.allowed == is_open
    if not is_open:
        assert hours[0] in assert_refused(decision, "hours")


@given(st.sampled_from(ACCEPT_WORDS), st.sampled_from(["", "worker", "member", "admin"]), st.booleans(),
       st.sampled_from(["any", "named", "nobody"]), st.integers(0, 1439))
def test_an_admin_may_send_what_a_member_may_and_code_needs_more(accept, role, has_hours, sends, minute):
    policy = WorkPolicy(WorkRule(accept, hours=("08:00-12:00",) * has_hours))
    sender = replace(ANN, role=role, sends=sends)
    code, named = (decide_work(policy, sender, work, minute) for work in (JOB, DIGITS))
    assert code.allowed <= named.allowed
    assert decide_work(policy, replace(sender, role="admin"), JOB, minute).allowed >= code.allowed
    for decision in (code, named):
        assert decision.allowed == (decision.sentence == "") and decision.rule


# ---- the file ---------------------------------------------------------------------------------------


def test_a_policy_survives_its_file():
    policy = WorkPolicy(
        WorkRule("hash", ("digits",), ("22:00-06:30",), 2, 60.0, 512), {"a" * 52: WorkRule("nobody")}, (CODE,),
        ("b" * 52,),
    )
    assert read_policy(json.loads(json.dumps(policy_to_json(policy)))) == policy
    assert read_policy({}) == WorkPolicy()


@pytest.mark.parametrize("document", [
    [], {"everybody": {"accept": "everything"}}, {"everybody": {"accept": 5}}, {"everybody": {"hours": ["9-17"]}},
    {"everybody": {"hours": ["24:00-01:00"]}}, {"everybody": {"hours": "22:00-06:30"}}, {"everybody": {"slots": -1}},
    {"senders": {"a": {"accept": ""}}}, {"approved_code": ["x"]}, {"approved_senders": 5},
])
def test_a_policy_that_does_not_mean_what_it_says_is_refused(document):
    with pytest.raises(SettingsError, match="policy"):
        read_policy(document)


def test_old_approvals_make_room_for_new_ones():
    policy = WorkPolicy()
    for number in range(APPROVALS_KEPT + 1):
        policy = policy.approving_sender(str(number)).approving_sender("7")
    assert len(policy.approved_senders) == APPROVALS_KEPT
    assert "0" not in policy.approved_senders and policy.approved_senders[-1] == "7"


def test_approvals_that_a_file_has_too_many_of_or_twice_are_kept_once_the_newest():
    codes = [f"{number:064x}" for number in range(APPROVALS_KEPT + 1)]
    policy = read_policy({"approved_code": [*codes, codes[7]], "approved_senders": ["b", "a", "b"]})
    assert policy.approved_code == (*codes[1:7], *codes[8:], codes[7])
    assert policy.approved_senders == ("a", "b")
