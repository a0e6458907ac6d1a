"""Disks that are full or read-only, for real: what cannot be kept is refused, and all is well when there is room again.

Knows:   how a node is given a small disk that nobody else sees: a mount namespace of its own (Linux).
Refuses: to fill a disk that anybody else uses.
Read next: tests/roles/test_durability.py, tests/host/test_journals.py (each step alone).
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

#: Whoever is not root makes the disk as root of a user namespace. Windows, which has neither, reads this file too.
IS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
AS_ROOT = [] if IS_ROOT else ["--map-root-user"]
ENTER = [] if IS_ROOT else ["--user", "--preserve-credentials"]
MOUNT = 'mkdir -p "$1" && mount -t tmpfs -o "$0" none "$1" && shift && exec "$@"'
JOB = "def split(): return [1, 2, 3]\ndef work(part): return part\ndef merge(parts): return sum(parts)\n"


class SmallDisk:
    """A node with a folder on a disk of its own."""

    def __init__(self, field, folder, options, *words):
        self.node = field.start("small", *words, within=["unshare", *AS_ROOT, "--mount", "sh", "-c", MOUNT, options,
                                                         str(field.folder / folder)])
        #: As the node sees it: nobody else sees that disk.
        self.node.state = self.seen(self.node.state)
        self.folder = self.seen(field.folder / folder)

    def seen(self, path):
        return Path(f"/proc/{self.node.process.pid}/root{path}")

    def fill(self):
        """Take all blocks and all names that there are."""
        with pytest.raises(OSError, match="No space left"), open(self.folder / "fill", "wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass
        with pytest.raises(OSError, match="No space left"):
            for number in range(10_000):
                (self.folder / f"fill-{number}").touch()

    def free(self):
        for path in self.folder.glob("fill*"):
            path.unlink()

    def inside(self, script, *words):
        """Do something to its mounts."""
        enter = ["nsenter", "--target", str(self.node.process.pid), *ENTER, "--mount"]
        subprocess.run([*enter, "sh", "-ec", script, *words], check=True)

    def submitted(self, source=JOB):
        """Return whether a task was taken, and what was said."""
        task = {"task_type": "job", "task_data": data_of(source), "metadata": {"name": "job.py"}}
        answer = self.node.call("SubmitTask", {"task": task})
        return answer["success"], answer["message"]

    def works(self):
        return self.node.result_of(self.node.submit(JOB)) == ("COMPLETED", 6)


def data_of(source):
    import base64
    import json
    return base64.b64encode(json.dumps({"source": source, "args": {}, "name": "job.py"}).encode()).decode()


@pytest.fixture
def small_disk(field):
    with subprocess.Popen(
        ["unshare", *AS_ROOT, "--mount", "sh", "-c", MOUNT, "size=1m", str(field.folder / "try"), "true"],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    ) if os.path.exists("/proc/self/ns/mnt") else pytest.skip("needs mount namespaces") as tried:
        if tried.wait():
            pytest.skip(f"this system lets nobody have a disk of his own: {tried.stderr.read().decode().strip()}")
    return lambda folder, options, *words: SmallDisk(field, folder, options, *words)


def test_row_37_on_a_full_disk_new_tasks_are_refused_and_what_runs_ends_well(field, small_disk):
    disk = small_disk("small/journals", "size=2m,nr_inodes=200,mode=700", "--slots", "2")
    go = field.folder / "go"
    held = f"import os, time\ndef work(part=None):\n    while not os.path.exists({str(go)!r}): time.sleep(0.01)\n"
    under_way = disk.node.submit(held)
    disk.fill()
    for _ in range(2):
        is_taken, why = disk.submitted()
        assert not is_taken and "the disk is full; free some space" in why.lower()
    go.touch()
    assert disk.node.result_of(under_way) == ("COMPLETED", None)
    disk.free()
    field.wait_for(lambda: disk.submitted()[0], "it takes tasks again")
    assert disk.works()


def test_row_37_on_a_full_disk_nobody_is_let_in_and_no_rule_changes(field, small_disk):
    disk = small_disk("small", "size=2m,nr_inodes=200,mode=700")
    disk.fill()
    for method, params in (("Invite", {}), ("SetPolicy", {"policy": {"everybody": {"accept": "nobody"}}})):
        with pytest.raises(Exception, match="the disk is full; free some space"):
            disk.node.call(method, params)
    assert disk.node.call("GetPolicy")["policy"]["everybody"]["accept"] == "any"
    disk.free()
    assert disk.node.call("Invite", {})["code"]
    assert disk.node.call("SetPolicy", {"policy": {"everybody": {"accept": "nobody"}}})


def test_row_37_without_room_for_a_tasks_folder_it_is_refused_with_the_reason(field, small_disk):
    disk = small_disk("small/scratch/tasks", "size=1m,nr_inodes=20,mode=700", "--slots", "1")
    disk.fill()
    is_taken, why = disk.submitted()
    assert not is_taken and "No space left on device" in why and "make room on the disk" in why
    disk.free()
    assert disk.works()


def test_row_37_in_a_read_only_folder_tasks_are_refused_until_it_can_be_written(field, small_disk):
    disk = small_disk("small", "size=8m,nr_inodes=200,mode=700")
    journals = str(disk.node.field.folder / "small" / "journals")
    disk.inside('mkdir -p "$0" && mount --bind "$0" "$0" && mount -o remount,ro,bind "$0"', journals)
    is_taken, why = disk.submitted()
    assert not is_taken and "may not be read or written; choose another folder with --state-dir" in why
    disk.inside('umount "$0"', journals)
    field.wait_for(lambda: disk.submitted()[0], "it takes tasks again")
    assert disk.works()
