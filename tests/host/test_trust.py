"""A membership survives restarts and cuts, its secrets are secret, and what does not fit together is said."""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import replace

import pytest

from discompute_lite.crypto.certificates import ca_certificate, cluster_id, device_certificate
from discompute_lite.crypto.p256 import device_id, pem, pkcs8_der, private_key
from discompute_lite.host import trust
from discompute_lite.host.trust import TrustFiles, read_backup_file, write_backup_file
from discompute_lite.model.errors import StateError
from discompute_lite.model.limits import Limits
from discompute_lite.model.statement import Statement
from discompute_lite.net.tls import TlsIdentity, TlsPipe, make_tls_context
from discompute_lite.wire.pairing_grant import PairingGrant, read_backup, write_backup
from discompute_lite.wire.statements import sign_as_line

LIMITS = Limits()
CA, OTHER_CA, KEY, OTHER_KEY = (private_key(number) for number in range(601, 605))
posix_only = pytest.mark.skipif(os.name != "posix", reason="modes mean something on POSIX only")


def grant_of(ca, key=KEY, *, names=("Ann's Mac",), beacon=1, with_key=True) -> PairingGrant:
    cluster, me = cluster_id(ca.public), device_id(key)
    stated = tuple(
        sign_as_line(ca, Statement(cluster, seq, "add", me, "admin", me, 5, name), LIMITS)
        for seq, name in enumerate(names, 1)
    )
    serial = bytes(14) + b"\x01"
    return PairingGrant(
        ca_certificate(ca, serial=serial), device_certificate(ca, key.public, serial=serial), stated,
        bytes([beacon]) * 32, ca if with_key else None,
    )


FULL, PLAIN = grant_of(CA), grant_of(CA, with_key=False, beacon=2)
OTHER = grant_of(OTHER_CA, names=("x", "y"), beacon=3)


@pytest.fixture
def files(tmp_path):
    return TrustFiles(str(tmp_path), LIMITS)


def test_a_device_that_never_joined_is_alone(files):
    assert files.load(KEY) is None and TrustFiles("", LIMITS).load(KEY) is None


@pytest.mark.parametrize("grant", [FULL, PLAIN, OTHER])
def test_a_membership_survives_a_restart(files, tmp_path, grant):
    files.keep(grant)
    found = TrustFiles(str(tmp_path), LIMITS).load(KEY)
    assert found == grant and [each.line for each in found.statements] == [each.line for each in grant.statements]
    assert not files.notes


@posix_only
def test_everything_is_for_its_owner_alone(files, tmp_path):
    files.keep(FULL)
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}
    assert {path.name for path in tmp_path.iterdir()} == {"ca.key", "ca.pem", "device.pem", "beacon.key", "statements"}


@posix_only
@pytest.mark.parametrize("name", ["ca.key", "beacon.key"])
def test_a_secret_that_others_could_read_is_refused_with_the_remedy(files, tmp_path, name):
    files.keep(FULL)
    (tmp_path / name).chmod(0o644)
    with pytest.raises(StateError, match=f"run: chmod 600 .*{name}"):
        files.load(KEY)


def test_a_device_that_is_no_admin_any_more_has_no_key(files, tmp_path):
    files.keep(FULL)
    files.keep(PLAIN)
    assert not (tmp_path / "ca.key").exists() and files.load(KEY) == PLAIN


def test_what_did_not_change_is_not_written_again(files, tmp_path, monkeypatch):
    files.keep(FULL)
    written = []
    monkeypatch.setattr(trust, "write_atomically", lambda path, data: written.append(os.path.basename(path)))
    files.keep(replace(FULL, statements=grant_of(CA, names=("Ann's old Mac",)).statements))
    assert written == ["statements"]


@pytest.mark.parametrize("before", [None, FULL, PLAIN])
@pytest.mark.parametrize("after", [FULL, OTHER, replace(PLAIN, beacon_key=bytes(32))])
@pytest.mark.parametrize("steps", range(8))
def test_a_cut_leaves_one_membership_or_none(files, tmp_path, monkeypatch, before, after, steps):
    """Whatever is there after the cut fits together; a device that changes clusters is in neither for a moment."""
    if before is not None:
        files.keep(before)
    left = [steps]

    def until_the_cut(do):
        def step(*arguments):
            if not left[0]:
                raise StateError("cut")
            left[0] -= 1
            do(*arguments)
        return step

    with monkeypatch.context() as patch:
        patch.setattr(trust, "write_atomically", until_the_cut(trust.write_atomically))
        patch.setattr(trust, "remove_file", until_the_cut(trust.remove_file))
        try:
            files.keep(after)
        except StateError:
            pass
    found = TrustFiles(str(tmp_path), LIMITS).load(KEY)
    assert found is None or found.ca in (after.ca, before and before.ca)
    if before is not None and before.ca == after.ca:
        assert found is not None, "a change within a cluster never loses the membership"
    files.keep(after)
    assert files.load(KEY) == after


@pytest.mark.parametrize(("name", "sentence"), [
    ("ca.pem", "cluster's certificate is damaged"), ("device.pem", "certificate is missing or damaged"),
    ("beacon.key", "beacon key is missing or damaged"), ("ca.key", "cluster's key is damaged"),
])
@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: data[:-5], lambda data: b"\xff" + data])
def test_a_damaged_file_is_named_with_what_to_do(files, tmp_path, name, sentence, damage):
    files.keep(FULL)
    (tmp_path / name).write_bytes(damage((tmp_path / name).read_bytes()))
    with pytest.raises(StateError, match=f"{sentence}. .*pair this device again.*{name}"):
        files.load(KEY)


@pytest.mark.parametrize("name", ["device.pem", "beacon.key"])
def test_a_file_that_is_missing_is_named(files, tmp_path, name):
    files.keep(FULL)
    (tmp_path / name).unlink()
    with pytest.raises(StateError, match="missing or damaged"):
        files.load(KEY)


def test_a_device_with_a_new_key_is_told_so(files):
    files.keep(FULL)
    with pytest.raises(StateError, match="new identity"):
        files.load(OTHER_KEY)


def test_another_clusters_key_is_refused(files, tmp_path):
    files.keep(replace(FULL, ca_key=OTHER_CA))
    with pytest.raises(StateError, match="another cluster's"):
        files.load(KEY)


def test_of_damaged_statements_the_good_ones_are_kept(files, tmp_path):
    files.keep(grant_of(CA, names=("one", "two", "three")))
    path = tmp_path / "statements"
    path.write_bytes(path.read_bytes().replace(b'"name":"two"', b'"name":"tvo"'))
    assert [each.name for each in files.load(KEY).statements] == ["one", "three"]
    assert "2 statements of it are good" in files.notes[0]
    assert b"tvo" in (tmp_path / "statements.damaged").read_bytes()


def test_a_forged_sum_does_not_make_up_for_a_forged_cluster(files, tmp_path):
    """Who may write these files is the user; what is no statement of this cluster is still not taken for one."""
    files.keep(FULL)
    (tmp_path / "statements").write_bytes(trust._statements_text(OTHER.statements))
    assert files.load(KEY).statements == () and files.notes


def test_leaving_removes_what_belongs_to_the_cluster(files, tmp_path):
    files.keep(FULL)
    files.leave()
    files.leave()
    assert not list(tmp_path.iterdir()) and files.load(KEY) is None


def test_a_device_that_can_keep_nothing_cannot_join():
    with pytest.raises(StateError, match="--state-dir"):
        TrustFiles("", LIMITS).keep(FULL)


def test_what_is_kept_is_what_tls_takes(tmp_path):
    """Two devices of one cluster, each with its own folder, know each other after the handshake; strangers stay out."""

    def pipe(name, key, ca, *, is_server):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        files = TrustFiles(str(folder), LIMITS)
        files.keep(grant_of(ca, key))
        (folder / "device.key").write_text(pem("PRIVATE KEY", pkcs8_der(key)))
        root = pem("CERTIFICATE", files.load(key).ca)
        identity = TlsIdentity(files.certificate_file, str(folder / "device.key"), root)
        context = make_tls_context(identity, is_server=is_server)
        return TlsPipe(context, LIMITS, is_server=is_server, deadline=9.0)

    def shake_hands(*pipes):
        for _ in range(6):
            for sender, receiver in (pipes, pipes[::-1]):
                data = sender.data_to_send()
                if data:
                    receiver.receive_data(data)
        return [each.device_id for each in pipes]

    client = pipe("client", KEY, CA, is_server=False)
    server = pipe("server", OTHER_KEY, CA, is_server=True)
    assert shake_hands(client, server) == [device_id(OTHER_KEY), device_id(KEY)]
    stranger = pipe("stranger", KEY, OTHER_CA, is_server=False)
    assert device_id(KEY) not in shake_hands(stranger, pipe("server", OTHER_KEY, CA, is_server=True))


# ---- the backup -------------------------------------------------------------------------------------


def test_a_backup_is_private_and_never_overwritten(tmp_path):
    path = tmp_path / "cluster.backup"
    write_backup_file(str(path), write_backup(FULL, LIMITS))
    assert os.name != "posix" or stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_backup(read_backup_file(str(path)), LIMITS) == FULL
    with pytest.raises(StateError, match="choose another name"):
        write_backup_file(str(path), b"")
    assert read_backup_file(str(path)) == write_backup(FULL, LIMITS)


def test_row_37_half_a_backup_is_not_left(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(trust, "sync_file", fail)
    with pytest.raises(StateError, match="disk is full"):
        write_backup_file(str(tmp_path / "cluster.backup"), b"a backup")
    assert not list(tmp_path.iterdir())


def test_a_backup_that_is_not_there_is_named(tmp_path):
    with pytest.raises(StateError, match="no such file.*cluster.backup"):
        read_backup_file(str(tmp_path / "cluster.backup"))
