"""Who answers for a task, and who keeps its copy."""

import pytest

from discompute_lite.core.ownership import (
    MOST_TERM, Claim, KeeperCandidate, choose_keeper, is_believed, is_proven, next_term, outranks, proof_of,
)

A, B, C = "a" * 52, "b" * 52, "c" * 52


@pytest.mark.parametrize("claim, other, stays", [
    ((2, B), (1, A), True), ((1, A), (2, B), False), ((2, A), (2, B), True), ((2, B), (2, A), False),
])
def test_the_later_term_stays_and_of_one_term_the_smaller_id(claim, other, stays):
    assert outranks(Claim(*claim), Claim(*other)) is stays


def test_of_two_owners_exactly_one_stays():
    claims = [Claim(term, owner) for term in (1, 2, 3) for owner in (A, B, C)]
    for claim in claims:
        assert all(outranks(claim, other) != outranks(other, claim) for other in claims if other != claim)


@pytest.mark.parametrize("candidates, owner, first, requires, keeper", [
    ([], A, A, [], None),
    ([A], A, A, [], None),
    ([A, B, C], A, A, [], B),
    ([A, B, C], B, C, ["gpu"], C),
    ([B, C], A, A, [C], C),
    ([B], A, A, [C], None),
    ([A, B, C], A, A, [A], None),
    ([A, C], B, A, [B], A),
    ([C], B, A, [B], None),
])
def test_the_copy_goes_where_it_was_submitted_or_where_it_may(candidates, owner, first, requires, keeper):
    assert choose_keeper([KeeperCandidate(each) for each in candidates], Claim(1, owner), first, requires) == keeper


def test_a_phone_keeps_a_copy_where_nobody_else_can():
    assert choose_keeper([KeeperCandidate(B, True), KeeperCandidate(C)], Claim(1, A), A, []) == C
    assert choose_keeper([KeeperCandidate(B, True)], Claim(1, A), A, []) == B


# ---- who is believed -----------------------------------------------------------------------------------------------

SECRET, TASK = "5e" * 16, "0123456789ab"


def test_a_claim_is_believed_of_whoever_knows_the_tasks_secret():
    claim = Claim(2, B)
    proof = proof_of(SECRET, TASK, *claim)
    assert SECRET not in proof and is_believed(claim, proof, SECRET, TASK)


@pytest.mark.parametrize("claim, proof, task", [
    (Claim(2, B), "", TASK), (Claim(2, B), "Ünsinn", TASK), (Claim(2, B), SECRET, TASK),
    (Claim(2, B), proof_of("ee" * 16, TASK, 2, B), TASK),  # another secret
    (Claim(3, B), proof_of(SECRET, TASK, 2, B), TASK),     # what was said of another term,
    (Claim(2, C), proof_of(SECRET, TASK, 2, B), TASK),     # of another owner,
    (Claim(2, B), proof_of(SECRET, TASK, 2, B), "another"),
    (Claim(2, B), proof_of(SECRET, TASK, "shown", B), TASK),
])
def test_without_the_secret_or_with_what_was_said_of_something_else_it_is_not(claim, proof, task):
    assert not is_believed(claim, proof, SECRET, task)


@pytest.mark.parametrize("term", [-2 ** 63, -1, 0, MOST_TERM + 1, 2 ** 63 - 1])
@pytest.mark.parametrize("secret", [SECRET, ""])
def test_a_term_that_nobody_can_have_reached_is_not_believed_whatever_is_known(term, secret):
    assert not is_believed(Claim(term, B), proof_of(secret, TASK, term, B), secret, TASK)


def test_a_task_without_a_secret_believes_everybody_as_it_always_has():
    assert is_believed(Claim(2, B), "", "", TASK) and is_proven("anything", "", TASK, "shown", B)


def test_terms_end_where_they_can_still_be_written_and_of_the_last_the_smaller_id_stays():
    assert next_term(1) == 2 and next_term(MOST_TERM - 1) == next_term(MOST_TERM) == MOST_TERM
    assert outranks(Claim(next_term(MOST_TERM), A), Claim(MOST_TERM, B))
