"""The same statements are the same membership, in any order and number, and a removed device stays removed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discompute_lite.core.membership import Membership
from discompute_lite.model.limits import Limits
from discompute_lite.model.statement import STATEMENT_SEQ_MAX, Statement

ANN, BEN, CAT, DAN = (letter * 52 for letter in "abcd")
CLUSTER = "z" * 52
FEW = replace(Limits(), statements=3)


def said(what, device_id, seq, **more):
    statement = Statement(CLUSTER, seq, what, device_id, role="member", by=ANN, at=1000)
    statement = replace(statement, **more)
    return replace(statement, digest=repr(statement))


def merged(*statements, limits=FEW):
    membership = Membership(CLUSTER, limits)
    for statement in statements:
        membership.merge([statement])
        membership.check()
    return membership


statements = st.builds(
    said, st.sampled_from(["add", "role", "name", "revoke"]), st.sampled_from([letter * 52 for letter in "abcdef"]),
    st.integers(1, 6), at=st.integers(1000, 1002), role=st.sampled_from(["worker", "member", "admin", "owner"]),
)


@given(st.data(), st.lists(statements, max_size=12))
def test_any_order_any_repetition_and_any_batches_give_the_same(data, stated):
    one = Membership(CLUSTER, FEW)
    one.merge(stated)
    again = data.draw(st.permutations(stated + data.draw(st.lists(st.sampled_from(stated))) if stated else []))
    other = Membership(CLUSTER, FEW)
    while again:
        size = data.draw(st.integers(1, len(again)))
        other.merge(again[:size])
        other.check()
        again = again[size:]
    assert other.statements() == one.statements() and other.digest() == one.digest()


@given(st.lists(statements, max_size=8), st.lists(statements, max_size=8))
def test_row_46_partitions_that_meet_again_agree(left, right):
    here, there = merged(*left), merged(*right)
    kept_here, kept_there = here.statements(), there.statements()
    here.merge(kept_there)
    there.merge(kept_here)
    assert here.statements() == there.statements() == merged(*left, *right).statements()


@given(st.lists(statements, max_size=10), st.lists(statements, max_size=10))
def test_no_statement_brings_a_removed_device_back(before, after):
    membership = merged(*before, said("revoke", ANN, 1))
    assert membership.role_of(ANN) == ""
    for statement in after:
        membership.merge([statement])
        assert membership.role_of(ANN) == "" and ANN not in [each.device_id for each in membership.members()]


@given(st.permutations([said("add", ANN, 9), said("add", BEN, 9), said("add", CAT, 9)]
                       + [said("revoke", letter * 52, 1) for letter in "defgh"]))
def test_where_revocations_find_no_room_nobody_is_a_member(stated):
    """Fail closed: otherwise a flood of statements could push a revocation out."""
    membership = merged(*stated)
    assert not membership.members() and len(membership.statements()) == 3
    assert membership.ignored == 5


def test_the_newest_statement_about_a_device_holds():
    membership = merged(
        said("add", BEN, 1, role="worker", name="Ben"), said("role", BEN, 3, role="member"), said("name", BEN, 2),
    )
    assert membership.role_of(BEN) == "member"
    membership.merge([said("role", BEN, 3, at=1001, role="worker")])
    assert membership.role_of(BEN) == "worker"


def test_two_admins_who_say_different_things_at_once_are_decided_the_same_everywhere():
    one, other = said("role", BEN, 2, role="worker"), said("role", BEN, 2, role="admin")
    assert merged(one, other).role_of(BEN) == merged(other, one).role_of(BEN) != ""


def test_changes_are_told_once():
    membership = Membership(CLUSTER, FEW)
    assert membership.merge([said("add", BEN, 1), said("add", ANN, 2)]) == [ANN, BEN]
    assert membership.merge([said("add", BEN, 1), said("add", ANN, 1)]) == []
    assert membership.merge([said("revoke", BEN, 1)]) == [BEN]
    assert membership.is_revoked(BEN) and not membership.is_revoked(ANN) and not membership.is_revoked(CAT)


def test_who_found_no_room_is_told_as_changed():
    membership = merged(said("add", ANN, 1), said("add", BEN, 2), said("add", CAT, 3))
    assert membership.merge([said("add", DAN, 4)]) == [ANN, DAN]
    assert membership.statement_about(ANN) is None and membership.ignored == 1


def test_row_46_strangers_statements_are_counted_and_ignored():
    membership = merged(said("add", BEN, 1, cluster="y" * 52))
    assert membership.statement_about(BEN) is None and membership.ignored == 1


def test_row_47_an_unknown_role_gives_no_rights_and_is_kept():
    membership = merged(said("role", BEN, 1, role="owner"))
    assert membership.role_of(BEN) == "" and [each.role for each in membership.members()] == ["owner"]


def test_a_removed_device_is_told_by_whom_and_what_to_do():
    membership = merged(said("add", ANN, 1, role="admin", name="Ann's Mac"), said("revoke", BEN, 2))
    assert membership.removal_sentence(BEN, "2026-09-02") == (
        "This device was removed from the cluster by Ann's Mac on 2026-09-02. To belong to it again it needs a new"
        " identity: move its state folder away, then pair it."
    )
    assert "by cccccccc on" in merged(said("revoke", BEN, 2, by=CAT)).removal_sentence(BEN, "")


def test_a_new_statement_stands_above_all_that_are_known():
    assert merged().next_seq() == 1
    assert merged(said("add", ANN, 4), said("add", BEN, 2)).next_seq() == 5
    assert merged(said("add", ANN, STATEMENT_SEQ_MAX)).next_seq() == STATEMENT_SEQ_MAX


def test_without_any_admin_the_rest_are_members_still():
    membership = merged(said("add", ANN, 1, role="admin"), said("add", BEN, 2), said("revoke", ANN, 3))
    assert membership.admins() == [] and [each.device_id for each in membership.members()] == [BEN]


def test_two_devices_see_whether_they_know_the_same():
    one = merged(said("add", ANN, 1), said("add", BEN, 2))
    assert one.digest() == merged(said("add", BEN, 2), said("add", ANN, 1)).digest()
    assert one.digest() != merged(said("add", ANN, 1)).digest() != merged().digest()


def test_row_46_the_4097th_statement_takes_the_oldest_ones_place():
    membership = Membership(CLUSTER, Limits())
    ids = [f"{number:052d}".translate(str.maketrans("0189", "abcd")) for number in range(4097)]
    membership.merge(said("add", each, seq) for seq, each in enumerate(ids, 1))
    assert len(membership.members()) == 4096 and membership.statement_about(ids[0]) is None
    assert membership.ignored == 1


@pytest.mark.parametrize("what", ["suspend", ""])
def test_kinds_of_newer_versions_count_as_what_they_say_about_the_device(what):
    assert merged(said("add", BEN, 1), said(what, BEN, 2, role="worker")).role_of(BEN) == "worker"
