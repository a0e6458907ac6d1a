"""Who answers for a task, and who keeps its copy."""

import pytest

from discompute_lite.core.ownership import Claim, KeeperCandidate, choose_keeper, outranks

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
