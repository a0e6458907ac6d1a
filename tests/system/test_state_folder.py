"""A damaged state folder: no command works with half an identity, or with rules that it cannot read."""

from __future__ import annotations

import os
import shutil

import pytest

#: What a member keeps that a node cannot do without.
VITAL = ["device.key", "control.token", "ca.pem", "device.pem", "ca.key", "beacon.key", "policy.json"]
SECRETS = ["device.key", "control.token", "ca.key", "beacon.key"]


def by_link(path):
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


def by_link_to_nowhere(path):
    path.unlink()
    path.symlink_to(path.with_name("nowhere"))


def by_emptying(path):
    path.write_bytes(b"")


def by_cutting(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def by_other_bytes(path):
    path.write_bytes(b"\xff\0" * 100)


def by_folder(path):
    path.unlink()
    path.mkdir()


def by_pipe(path):
    path.unlink()
    os.mkfifo(path, 0o600)


def by_mode(path):
    path.chmod(0o604)


def by_owner(path):
    os.chown(path, 12345, -1)


DAMAGES = [by_link, by_link_to_nowhere, by_emptying, by_cutting, by_other_bytes, by_folder, by_pipe]
CASES = [(name, damage) for name in VITAL for damage in DAMAGES] + [(name, by_mode) for name in SECRETS]


def picture(path):
    """Return what there is under a name, to be compared."""
    facts = os.lstat(path)
    return facts.st_mode, facts.st_uid, facts.st_ino, facts.st_mtime_ns, facts.st_size


@pytest.fixture
def member(field, posix):
    """The folder of an admin that has said what may run there."""
    [folder] = field.let_belong("whole")
    assert field.type("policy", "accept=nobody", DISCOMPUTE_STATE_DIR=str(folder)).code == 0
    assert all((folder / name).is_file() for name in VITAL)
    return folder


def test_row_16_whatever_is_wrong_with_a_file_it_is_named_with_what_to_do_and_stays(field, member, fails):
    cases = CASES + ([(name, by_owner) for name in SECRETS] if os.geteuid() == 0 else [])
    for number, (name, damage) in enumerate(cases):
        folder = shutil.copytree(member, field.folder / f"damaged-{number}")
        damage(folder / name)
        before = picture(folder / name)
        fails(field.type("tasks", DISCOMPUTE_STATE_DIR=str(folder)), 2, str(folder / name))
        assert picture(folder / name) == before, (name, damage)
        assert not (folder / "node.json").exists()


def test_row_16_a_node_does_not_start_with_a_damaged_key_or_rules(field, member, fails):
    for name in ("device.key", "policy.json"):
        folder = shutil.copytree(member, field.folder / f"without-{name}")
        by_cutting(folder / name)
        fails(field.run("start", "--port", "0", DISCOMPUTE_STATE_DIR=str(folder)), 2, "damaged", str(folder / name))


@pytest.mark.parametrize("damage", [by_link, by_folder, by_pipe])
@pytest.mark.parametrize("name", ["lock", "scratch", "audit", "statements"])
def test_row_16_what_stands_in_the_way_of_a_file_is_named(field, member, fails, name, damage):
    folder = shutil.copytree(member, field.folder / "damaged")
    (folder / name).touch()
    damage(folder / name)
    if (name, damage) != ("scratch", by_folder):
        fails(field.type("tasks", DISCOMPUTE_STATE_DIR=str(folder)), 2, str(folder / name))


def test_row_16_what_is_less_than_vital_is_kept_aside_and_said(field, member):
    damaged = ["peers.json", "speed.json", "statements"]
    for name in damaged:
        (member / name).write_bytes(b"\xff\0\n")
    (member / "audit").write_bytes(b"no line of ours\n")
    node = field.start("whole")
    for name in damaged:
        field.wait_for(lambda name=name: node.said("note", f"{name} was damaged"), f"it says so of {name}")
    field.wait_for(lambda: node.said("warning", "the audit log was damaged"), "it says so of the log")
    for name in (*damaged, "audit"):
        assert (member / f"{name}.damaged").is_file(), name
