"""A cluster begins, grows, changes and shrinks on its admin, and the others follow what was signed."""

from __future__ import annotations

import random
import re

import pytest

from discompute_lite.core.access import decide_operation
from discompute_lite.crypto.certificates import read_ca_certificate, read_device_certificate
from discompute_lite.crypto.p256 import device_id, private_key
from discompute_lite.model.errors import (
    Forbidden, InvalidParams, LocalProtocolError, NotFound, ProtocolError, StateError,
)
from discompute_lite.model.limits import Limits
from discompute_lite.model.statement import Statement
from discompute_lite.roles.own_cluster import OwnCluster, found_cluster, restored_seat
from discompute_lite.wire.pairing_grant import (
    read_backup, read_backup_addresses, read_grant, write_backup, write_grant,
)

LIMITS = Limits()
ANN, BEN, CAT, DOG = (private_key(number) for number in (501, 502, 503, 504))
AT = 1756800000


class Seat(OwnCluster):
    """One device's view, which remembers what was put on its disk, and has chance of its own."""

    def __init__(self, grant, key):
        self.disk = [grant]
        self.key = key
        super().__init__(grant, device_id(key), LIMITS, self.disk.append)

    def restarted(self):
        return Seat(self.disk[-1], self.key)


chance = random.Random(5).randbytes


@pytest.fixture(scope="module")
def founded():
    return found_cluster(ANN, "Ann's Mac", "mac", LIMITS, chance, AT)


@pytest.fixture
def admin(founded):
    return Seat(founded, ANN)


def join(admin, key, name, *, role="member"):
    """Let a device in, as pairing does, through the bytes of the grant."""
    added = admin.welcome(device_id(key), role, name, "linux", AT + 1)
    grant = admin.let_in(key.public, added, chance, with_key=role == "admin")
    return Seat(read_grant(write_grant(grant, key.public, LIMITS), key.public, LIMITS), key)


def tell(one, *others):
    """Send all that one device knows to the others; return whose standing changed."""
    lines = [each.line for each in one.membership.statements()]
    return [other.merge_lines(lines, chance) for other in others]


def roles(seat):
    return {each.name: each.role for each in seat.membership.members()}


def test_the_first_device_is_the_admin_of_its_own_cluster(admin, founded):
    assert admin.is_admin and roles(admin) == {"Ann's Mac": "admin"}
    assert read_device_certificate(founded.certificate, read_ca_certificate(founded.ca)) == ANN.public
    assert admin.refusal(device_id(ANN)) is None


def test_a_device_that_was_let_in_is_a_member_of_the_same_cluster(admin):
    ben = join(admin, BEN, "Ben's PC")
    assert roles(ben) == roles(admin) == {"Ann's Mac": "admin", "Ben's PC": "member"}
    assert not ben.is_admin and ben.grant.ca_key is None and ben.grant.beacon_key == admin.grant.beacon_key
    assert ben.membership.digest() == admin.membership.digest()
    assert decide_operation("member", ben.sender(device_id(BEN))).allowed
    assert not decide_operation("member", ben.sender(device_id(CAT))).allowed


def test_what_changes_is_on_the_disk_before_anybody_hears_of_it(admin):
    join(admin, BEN, "Ben's PC")
    assert roles(admin.restarted()) == roles(admin) and admin.restarted().is_admin


def full_disk(grant):
    raise StateError("the disk is full; free some space, then try again: /x/statements")


def test_row_37_what_an_admin_cannot_keep_does_not_hold_and_is_done_when_there_is_room(admin, monkeypatch):
    ben = join(admin, BEN, "Ben's PC")
    before, digest = admin.grant, admin.membership.digest()
    with monkeypatch.context() as full:
        full.setattr(admin, "_keep", full_disk)
        for action in (
            lambda: admin.remove(device_id(BEN), AT + 5, chance),
            lambda: admin.change(device_id(BEN), "role", "worker", AT + 5),
            lambda: join(admin, CAT, "Cat's phone"),
        ):
            with pytest.raises(StateError, match="the disk is full"):
                action()
            assert admin.grant == before and admin.membership.digest() == digest, "as if nobody had asked"
    admin.remove(device_id(BEN), AT + 6, chance)
    tell(admin, ben)
    assert admin.restarted().membership.is_revoked(device_id(BEN)) and ben.membership.is_revoked(device_id(BEN))


def test_row_37_what_others_have_decided_holds_on_a_full_disk_and_is_kept_later(admin, monkeypatch):
    ben, cat = join(admin, BEN, "Ben's PC"), join(admin, CAT, "Cat's phone")
    tell(admin, ben)
    admin.remove(device_id(CAT), AT + 5, chance)
    with monkeypatch.context() as full:
        full.setattr(ben, "_keep", full_disk)
        assert tell(admin, ben) == [[device_id(CAT)]], "told, so that it is acted upon"
        ben.take_beacon_key(admin.grant.beacon_key)
        assert ben.refusal(cat.me) is not None and "disk is full" in ben.unkept
        ben.try_to_keep()
        assert "disk is full" in ben.unkept and not ben.restarted().membership.is_revoked(cat.me)
    ben.try_to_keep()
    assert ben.unkept == "" and ben.restarted().membership.is_revoked(cat.me)
    assert ben.restarted().grant.beacon_key == admin.grant.beacon_key


def test_a_member_hears_of_a_new_one_and_keeps_it(admin):
    ben = join(admin, BEN, "Ben's PC")
    assert ben.refusal(device_id(CAT)) is None and ben.sender(device_id(CAT)).role == "", "it may say who it is"
    join(admin, CAT, "Cat's phone", role="worker")
    assert tell(admin, ben) == [[device_id(CAT)]]
    assert roles(ben.restarted())["Cat's phone"] == "worker"
    assert tell(admin, ben) == [[]] and len(ben.disk) == 2, "nothing new is not written again"


def test_a_removed_device_is_sent_away_everywhere_and_cannot_come_back(admin):
    ben, cat = join(admin, BEN, "Ben's PC"), join(admin, CAT, "Cat's phone")
    before = admin.grant.beacon_key
    admin.remove(device_id(BEN), AT + 100, chance)
    assert admin.grant.beacon_key != before and admin.restarted().grant.beacon_key == admin.grant.beacon_key
    tell(admin, cat)
    for seat in (admin, cat, cat.restarted()):
        assert seat.refusal(device_id(BEN)).message.startswith(
            "This device was removed from the cluster by Ann's Mac on 2025-09-02.")
        assert seat.sender(device_id(BEN)).role == ""
    tell(ben, admin, cat)
    assert admin.membership.is_revoked(device_id(BEN)) and cat.membership.is_revoked(device_id(BEN))
    with pytest.raises(Forbidden, match="new identity"):
        join(admin, BEN, "Ben's PC")
    with pytest.raises(NotFound, match="no device of this cluster"):
        admin.remove(device_id(BEN), AT, chance)


def test_a_device_that_never_got_its_grant_is_let_in_again(admin):
    join(admin, BEN, "Ben's PC")
    again = join(admin, BEN, "Ben's PC, again")
    assert roles(again)["Ben's PC, again"] == "member" and len(again.membership.members()) == 2


def test_only_an_admin_changes_the_cluster(admin):
    ben = join(admin, BEN, "Ben's PC")
    for change in (lambda: ben.remove(device_id(ANN), AT, chance), lambda: join(ben, CAT, "Cat's"),
                   lambda: ben.change(device_id(BEN), "name", "King", AT)):
        with pytest.raises(Forbidden, match="Do it on Ann's Mac"):
            change()


def test_a_second_admin_does_what_the_first_does_and_either_may_leave(admin):
    ben = join(admin, BEN, "Ben's PC", role="admin")
    assert ben.is_admin
    join(ben, CAT, "Cat's phone")
    ben.remove(device_id(ANN), AT + 5, chance)
    assert ben.membership.admins() == [device_id(BEN)]
    with pytest.raises(Forbidden, match="only admin"):
        ben.remove(device_id(BEN), AT + 6, chance)
    tell(ben, admin)
    assert not admin.is_admin


def test_row_46_admins_who_were_apart_agree_and_removal_wins(admin):
    ben = join(admin, BEN, "Ben's PC", role="admin")
    join(admin, CAT, "Cat's phone")
    tell(admin, ben)
    admin.remove(device_id(CAT), AT + 1, chance)
    for number in range(3):
        ben.change(device_id(CAT), "name", f"Cat {number}", AT + 50)
    tell(admin, ben)
    tell(ben, admin)
    assert ben.membership.digest() == admin.membership.digest()
    assert ben.membership.is_revoked(device_id(CAT))


def test_row_46_what_is_replayed_or_not_signed_changes_nothing_and_is_counted(admin):
    ben = join(admin, BEN, "Ben's PC")
    join(admin, CAT, "Cat's phone")
    added = [each.line for each in admin.membership.statements()]
    admin.remove(device_id(CAT), AT + 1, chance)
    tell(admin, ben)
    digest = ben.membership.digest()
    assert ben.merge_lines(added, chance) == [] and ben.membership.digest() == digest
    assert ben.membership.is_revoked(device_id(CAT)) and ben.refused == 0
    forged = [line.replace(b"Cat's", b"Dan's") for line in added if b"Cat's" in line]
    assert forged and ben.merge_lines([*forged, b"{", b"\xff"], chance) == [] and ben.membership.digest() == digest
    assert ben.refused == len(forged) + 2


def test_names_roles_and_permissions_change(admin):
    ben = join(admin, BEN, "Ben's PC")
    admin.change(device_id(BEN), "role", "worker", AT)
    admin.change(device_id(BEN), "name", "Ben's old PC", AT)
    admin.change(device_id(BEN), "sends", "named", AT)
    tell(admin, ben)
    sender = ben.sender(device_id(BEN))
    assert (sender.role, sender.name, sender.sends) == ("worker", "Ben's old PC", "named")


@pytest.mark.parametrize(("what", "value", "error", "match"), [
    ("role", "owner", InvalidParams, "worker, member, admin"), ("sends", "", InvalidParams, "any, named, nobody"),
    ("colour", "green", InvalidParams, "no 'colour'; change its name"), ("role", "admin", Forbidden, "invite --admin"),
])
def test_what_cannot_be_is_refused_with_what_can(admin, what, value, error, match):
    join(admin, BEN, "Ben's PC")
    with pytest.raises(error, match=match):
        admin.change(device_id(BEN), what, value, AT)
    assert admin.sender(device_id(BEN)).role == "member"


def test_two_admins_who_removed_devices_apart_agree_on_a_beacon_key_that_is_newer_than_both(admin):
    ben = join(admin, BEN, "Ben's PC", role="admin")
    for key in (CAT, DOG):
        join(admin, key, "a phone", role="worker")
    tell(admin, ben)
    before = admin.grant.beacon_key
    admin.remove(device_id(CAT), AT, chance), ben.remove(device_id(DOG), AT, chance)
    apart = {seat.grant.beacon_key for seat in (admin, ben)}
    assert len(apart) == 2 and before < min(apart)
    # Both speak at once, as they do when a link opens.
    keys = admin.grant.beacon_key, ben.grant.beacon_key
    ben.take_beacon_key(keys[0]), admin.take_beacon_key(keys[1])
    assert admin.grant.beacon_key == ben.grant.beacon_key == max(keys)
    tell(admin, ben), tell(ben, admin)
    keys = admin.grant.beacon_key, ben.grant.beacon_key
    ben.take_beacon_key(keys[0]), admin.take_beacon_key(keys[1])
    assert admin.grant.beacon_key == ben.grant.beacon_key == admin.restarted().grant.beacon_key > max(apart)


def test_who_is_no_admin_any_more_has_no_key_of_the_cluster(admin):
    ben = join(admin, BEN, "Ben's PC", role="admin")
    admin.change(device_id(BEN), "role", "member", AT)
    tell(admin, ben)
    assert ben.grant.ca_key is None and ben.restarted().grant.ca_key is None and not ben.is_admin
    with pytest.raises(Forbidden, match="Do it on Ann's Mac"):
        ben.remove(device_id(ANN), AT, chance)


def test_two_admins_who_demote_each_other_keep_the_key_that_a_backup_may_be_made_of(admin):
    ben = join(admin, BEN, "Ben's PC", role="admin")
    admin.change(device_id(BEN), "role", "member", AT), ben.change(device_id(ANN), "role", "member", AT)
    tell(admin, ben), tell(ben, admin)
    assert not admin.membership.admins() and None not in (admin.grant.ca_key, ben.grant.ca_key)


def test_the_only_admin_leaves_nobody_behind_without_one(admin):
    admin.check_may_leave()
    ben = join(admin, BEN, "Ben's PC")
    with pytest.raises(Forbidden, match="--leave --backup"):
        admin.check_may_leave()
    ben.check_may_leave()
    cat = join(admin, CAT, "Cat's Mac", role="admin")
    admin.check_may_leave(), cat.check_may_leave()


def test_the_only_admin_stays_one(admin):
    with pytest.raises(Forbidden, match="only admin"):
        admin.change(device_id(ANN), "role", "member", AT)


def test_what_others_send_is_counted_where_it_is_no_good_and_never_raises(admin):
    other = Seat(found_cluster(CAT, "Cat's", "linux", LIMITS, chance, AT), CAT)
    lines = [each.line for each in other.membership.statements()]
    assert admin.merge_lines([b"", b"\xff", b"{}", *lines, lines[0].replace(b"Cat", b"Dog")], chance) == []
    assert admin.refused == 5 and len(admin.disk) == 1


def test_a_newer_beacon_key_is_kept_and_an_older_one_is_not(admin):
    ben = join(admin, BEN, "Ben's PC")
    newer = b"\x00\x00\x00\x01" + bytes(28)
    ben.take_beacon_key(newer)
    ben.take_beacon_key(admin.grant.beacon_key)
    assert ben.restarted().grant.beacon_key == newer
    with pytest.raises(InvalidParams, match="32 bytes"):
        ben.take_beacon_key(bytes(31))


# ---- the backup -------------------------------------------------------------------------------------

ABOUT_CAT = Statement("", 0, "add", "", "admin", "", AT + 9, "Cat's Mac", "mac")


def test_a_cluster_lives_on_from_a_backup_on_another_device(admin):
    ben = join(admin, BEN, "Ben's PC")
    admin.change(device_id(BEN), "sends", "named", AT)
    backup = read_backup(write_backup(admin.grant, LIMITS), LIMITS)
    cat = Seat(restored_seat(backup, CAT, ABOUT_CAT, LIMITS, chance), CAT)
    assert cat.is_admin and roles(cat) == {"Ann's Mac": "admin", "Ben's PC": "member", "Cat's Mac": "admin"}
    assert cat.grant.beacon_key > admin.grant.beacon_key
    cat.remove(device_id(ANN), AT + 10, chance)
    tell(cat, ben)
    assert roles(ben) == {"Ben's PC": "member", "Cat's Mac": "admin"} and ben.membership.is_revoked(device_id(ANN))


@pytest.mark.parametrize(("given", "found"), [
    ((), []), (["10.0.0.7:8080", "attic:8080"], ["10.0.0.7:8080", "attic:8080"]), (["a:1"] * 99, ["a:1"] * 64),
])
def test_a_backup_says_where_its_devices_could_be_called(admin, given, found):
    data = write_backup(admin.grant, LIMITS, given)
    assert read_backup(data, LIMITS) == read_backup(write_backup(admin.grant, LIMITS), LIMITS)
    assert read_backup_addresses(data) == found
    for odd in (b"7", b'{"a":1}', b"[7,null]", b"null"):
        spoiled = re.sub(rb'"addresses":\[[^]]*\]', b'"addresses":' + odd, data)
        assert spoiled != data and read_backup_addresses(spoiled) == []


def test_a_backup_does_not_bring_a_removed_device_back(admin):
    join(admin, CAT, "Cat's phone")
    admin.remove(device_id(CAT), AT, chance)
    with pytest.raises(Forbidden, match="new identity"):
        restored_seat(admin.grant, CAT, ABOUT_CAT, LIMITS, chance)


def test_only_an_admin_has_what_a_backup_needs(admin):
    ben = join(admin, BEN, "Ben's PC")
    with pytest.raises(LocalProtocolError, match="only an admin"):
        write_backup(ben.grant, LIMITS)
    with pytest.raises(InvalidParams, match="no cluster's key"):
        restored_seat(ben.grant, CAT, ABOUT_CAT, LIMITS, chance)


@pytest.mark.parametrize("spoil", [
    lambda data: b"", lambda data: data[:-20],
    lambda data: data.replace(b'"discompute_backup":1', b'"discompute_backup":2'),
    lambda data: data.replace(b'"ca_key"', b'"ca_kex"'), lambda data: data.replace(b'"ca":"MII', b'"ca":"MIJ'),
    lambda data: data.replace(b'"certificate":"MII', b'"certificate":"MIJ'), lambda data: b"[]",
])
def test_a_damaged_backup_is_refused(admin, spoil):
    with pytest.raises(ProtocolError):
        read_backup(spoil(write_backup(admin.grant, LIMITS)), LIMITS)


def test_a_statement_may_claim_any_moment(admin):
    join(admin, BEN, "Ben's PC")
    admin.remove(device_id(BEN), 2 ** 53, chance)
    assert "on 9999-12-31" in admin.refusal(device_id(BEN)).message
