"""What people read of devices, tasks and logs is short; programs get all of it."""

import io
import json
import time
from types import SimpleNamespace

import pytest

from discompute_lite.faces import task_commands
from discompute_lite.faces.cluster_commands import _show_members
from discompute_lite.faces.console import Console
from discompute_lite.faces.listing import audit_line, capability_lines
from discompute_lite.faces.node_commands import _ready_facts
from discompute_lite.model.codec import to_json
from discompute_lite.model.device import Device, DeviceCapabilities, Hardware
from discompute_lite.model.settings import Settings

ID = "k3fq7zt2" + "a" * 44
HASH = "5082c656d95d" + "0" * 52


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def phone(monkeypatch):
    for name, value in (("TERM", "xterm"), ("NO_COLOR", "1"), ("COLUMNS", "40")):
        monkeypatch.setenv(name, value)
    return Console(out=Terminal(), err=Terminal())


def test_a_line_of_the_audit_log_has_ids_and_hashes_by_their_beginnings():
    at = 1_756_800_000
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
    entry = {"n": 3, "at": at, "what": "ran", "sender": ID, "size": 555, "data": HASH, "hash": HASH}
    assert audit_line(entry) == f"{when}  ran      sender k3fq7zt2, size 555, data 5082c656d95d"
    assert "\x1b" not in audit_line({"at": at, "what": "joined", "name": "a\x1b[2J"})


def test_a_phone_says_what_of_its_memory_is_for_work():
    capabilities = DeviceCapabilities(cpu_cores=6, memory_mb=6144)
    assert "    Memory: 6144 MB (1536 MB for work)" in capability_lines(capabilities, {}, 1536)
    assert "    Memory: 6144 MB" in capability_lines(capabilities, {}, "much")


def test_the_devices_of_a_cluster_stand_in_columns_that_are_no_wider_than_they_need_to_be(phone):
    rows = [(ID, "ann", "admin", "any", "here"), ("b" * 52, "ben's", "worker", "named", "away"),
            ("c" * 52, "cat", "member", "any", "here")]
    members = [dict(zip(("id", "name", "role", "sends", "state"), row)) for row in rows]
    _show_members(phone, {"cluster": "t7rtpzsh", "is_admin": True, "members": members}, ID)
    assert phone._out.getvalue().splitlines() == [
        "Cluster t7rtpzsh:", "  k3fq7zt2  ann    admin, this device", "  bbbbbbbb  ben's  worker, sends named,",
        "    away", "  cccccccc  cat    member, connected",
    ]


def test_a_line_that_is_broken_goes_on_below_where_its_text_began(phone):
    phone.print("  Hardware: linux, Intel(R) Xeon(R) Processor", indent=12)
    assert phone._out.getvalue().splitlines() == ["  Hardware: linux, Intel(R) Xeon(R)", "            Processor"]


@pytest.mark.parametrize(("announce", "bind", "state", "way"), [
    ("open", "all", "alone: lists devices", "invite here, and"),
    ("open", "127.0.0.1", "takes messages", "only from this machine (--bind 127.0.0.1): start --peer 10.0.0.1:8080"),
    ("private", "all", "answers nobody", "join CODE@host:port there; it is not seen (private)"),
])
def test_a_node_that_starts_says_what_it_answers_and_how_it_is_joined(announce, bind, state, way):
    local = SimpleNamespace(
        settings=Settings(announce=announce, bind=bind), hardware=Hardware("linux"),
        node=SimpleNamespace(slots=2, belonging=SimpleNamespace(cluster_name=lambda: "")),
        addresses=["10.0.0.1:8080", "192.168.1.5:8080"],
    )
    lines = _ready_facts(local, Device(ID, "ann", "linux", "10.0.0.1:8080"))
    facts = dict(lines)
    assert state in facts["State:"] and way in facts["Join it:"]
    assert facts["Address:"] == "10.0.0.1:8080, 192.168.1.5:8080"
    assert any("start --peer 10.0.0.1:8080" in text for _, text in lines) == (announce == "open")


class AlmostDone:
    """Stand in for a node whose task is at work at the first look, and done at the second."""

    def __init__(self):
        self.looks = 0

    def call(self, method, params, timeout_s=0.0):
        if method == "GetTaskStatus":
            return {"completion_percentage": 58.0, "lite": {"counts": {"COMPLETED": 29, "PENDING": 20}},
                    "subtasks": [{"assigned_device_id": ID, "status": "RUNNING"}]}
        self.looks += 1
        return {"success": True, "parts": [], "printed": [], "next_index": 0, "next_printed": 0,
                "state": "RUNNING" if self.looks == 1 else "COMPLETED", "result_data": to_json(json.dumps(7).encode()),
                "message": "29 of 50 subtasks are done"}


@pytest.mark.parametrize(("columns", "text"), [
    ("40", "29 done"), ("80", "29 of 50 subtasks are done, 1 device(s) at work"),
])
def test_progress_says_as_much_as_there_is_room_for(phone, monkeypatch, columns, text):
    monkeypatch.setenv("COLUMNS", columns)
    assert task_commands._follow(AlmostDone(), phone, "t1") == 7
    drawn = phone._err.getvalue().split("\r\x1b[K")[1]
    assert drawn.endswith(f" 58 % {text}") and len(drawn) < int(columns)
