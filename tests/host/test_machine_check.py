"""What a checkup sees of the machine, from recordings of systems with and without firewalls, and from a real folder."""

from __future__ import annotations

import os
import sys

import pytest
from .recorded import RecordedProbe

from discompute_lite.host.firewalls import firewalls
from discompute_lite.host.detect_linux import surroundings
from discompute_lite.host.machine_check import gateway, look_at_machine, trial_of_state
from discompute_lite.host.probe import Probe
from discompute_lite.host.store import StateFolder, open_state
from discompute_lite.model.errors import StateError

ROUTE = "Iface\tDestination\tGateway\tFlags\neth0\t0001A8C0\t00000000\t0001\neth0\t00000000\t0101A8C0\t0003\n"


def machine(platform="linux", *, uname=("Linux", "", "6.1", "", "x86_64"), files=None, commands=None, **facts):
    return RecordedProbe({"platform": platform, "uname": list(uname), "files": files or {},
                          "commands": commands or {}, **facts})


@pytest.mark.parametrize("probe, found", [
    (machine(), []),
    (machine(files={"/etc/ufw/ufw.conf": "# x\nENABLED=yes\n"}), ["ufw"]),
    (machine(files={"/etc/ufw/ufw.conf": "ENABLED=no\n"}), []),
    (machine(commands={"firewall-cmd --state": "running\n"}), ["firewalld"]),
    (machine(commands={"nft list ruleset": "chain input { type filter hook input; policy drop; }"}),
     ["of the kernel (nft, iptables)"]),
    (machine(commands={"iptables -S INPUT": "-P INPUT ACCEPT\n-A INPUT -p udp -j DROP\n"}),
     ["of the kernel (nft, iptables)"]),
    (machine(commands={"nft list ruleset": "", "iptables -S INPUT": "-P INPUT ACCEPT\n"}), []),
    (machine("darwin", commands={"/usr/libexec/ApplicationFirewall/socketfilterfw --getglobalstate":
                                 "Firewall is enabled. (State = 1)"}), ["of macOS"]),
    (machine("darwin", commands={"/usr/libexec/ApplicationFirewall/socketfilterfw --getglobalstate":
                                 "Firewall is disabled. (State = 0)"}), []),
    (machine("win32", registry={
        r"SYSTEM\CurrentControlSet\Services\SharedAccess\Parameters\FirewallPolicy\PublicProfile\EnableFirewall": 1,
    }), ["of Windows"]),
])
def test_firewalls_are_recognised_by_what_their_system_says(probe, found):
    assert [name for name, _ in firewalls(probe, 8080, 5005)] == found


def test_the_cure_of_a_known_firewall_is_a_command_with_these_ports():
    probe = machine(files={"/etc/ufw/ufw.conf": "ENABLED=yes"})
    assert list(firewalls(probe, 8081, 5006)) == [("ufw", "sudo ufw allow 8081/tcp; sudo ufw allow 5006/udp")]


@pytest.mark.skipif(sys.byteorder != "little", reason="the recording is of a little-endian machine")
def test_the_router_of_linux():
    assert gateway(machine(files={"/proc/net/route": ROUTE})) == "192.168.1.1"


@pytest.mark.parametrize("probe, address", [
    (machine(files={"/proc/net/route": "Iface\tDestination\n"}), ""),
    (machine(), ""),
    (machine("darwin", commands={"/sbin/route -n get default": "   route to: default\n    gateway: 192.168.1.1\n"}),
     "192.168.1.1"),
    (machine("darwin", commands={"/sbin/route -n get default": "    gateway: link#12\n"}), ""),
    (machine("win32", commands={"route print -4 0.0.0.0": "  0.0.0.0   0.0.0.0   10.0.0.1   10.0.0.7   25\n"}),
     "10.0.0.1"),
])
def test_the_router_elsewhere(probe, address):
    assert gateway(probe) == address


@pytest.mark.parametrize("probe, inside", [
    (machine(), ""), (machine(files={"/.dockerenv": ""}), "container"),
    (machine(files={"/run/.containerenv": ""}), "container"),
    (machine(uname=("Linux", "", "5.15.0-microsoft-standard-WSL2", "", "x86_64")), "wsl"),
    (machine("darwin", files={"/.dockerenv": ""}), ""),
])
def test_what_it_runs_inside_of(probe, inside):
    assert surroundings(probe) == inside


def test_a_good_folder_is_tried_and_left_as_it_was(tmp_path):
    state = open_state(str(tmp_path / "state"))
    before = sorted(os.listdir(state.path))
    facts = look_at_machine(Probe(), state, None, (8080, 5005), 1e9)
    assert facts.state_problem == "" and facts.is_state_kept and facts.disk_free_mb > 0
    assert sorted(os.listdir(state.path)) == before


def test_a_damaged_key_is_a_problem_of_the_folder(tmp_path):
    state = open_state(str(tmp_path / "state"))
    state.load_or_make_key(os.urandom)
    with open(state.key_file, "w") as file:
        file.write("no key")
    assert trial_of_state(state).what == "the key file is damaged"


def test_what_is_wrong_with_a_folder_and_what_helps_are_told_apart_whatever_its_name(tmp_path):
    path = str(tmp_path / "a. b; c")
    facts = look_at_machine(Probe(), StateFolder(path), None, (8080, 5005), 1e9)
    assert facts.state_problem == f"{os.path.join(path, 'doctor.json')} cannot be used (no such file or directory)"
    assert facts.state_cure == "choose another folder with --state-dir"


def test_memory_only_is_no_problem_and_is_said():
    facts = look_at_machine(Probe(), StateFolder(""), None, (8080, 5005), 1e9)
    assert (facts.state_problem, facts.is_state_kept, facts.disk_free_mb) == ("", False, -1)
    assert not look_at_machine(Probe(), None, StateError("it is a file", "move it"), (1, 2), 1e9).state_path


def test_modules_that_an_app_lacks_are_named():
    class Lacking(Probe):
        def importable(self, name):
            return name not in ("ssl", "ctypes")

    assert look_at_machine(Lacking(), None, None, (1, 2), 1e9).missing == ("ssl", "ctypes")
