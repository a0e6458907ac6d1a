"""Make a network of hosts inside this machine: `sudo python3 tools/testbed.py 3 -- python3 -m discompute_lite start`

Knows:   Linux's network namespaces, joined by a bridge in one more: nothing reaches the machine's own network.
Refuses: to leave anything behind, and to run where it may not (no root, no `ip`).
Read next: tests/system/test_mdns.py, which lives in it.

The command runs on every host until Ctrl-C; its lines come with the host in front. Each host has a home of its own.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from typing import IO, List, Sequence

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
#: Hosts have the addresses .1, .2, … of this network, which exists in the testbed alone.
NETWORK = "10.99.0"


class Testbed:
    """Hold hosts on one bridge; a context manager."""

    #: pytest collects classes called Test….
    __test__ = False

    def __init__(self, hosts: int, *, is_ipv6: bool = False) -> None:
        """Make them, with IPv4, or with IPv6's link-local addresses alone; raise OSError or CalledProcessError where
        the system does not let us."""
        self._is_ipv6 = is_ipv6
        self._names: List[str] = []
        #: The namespace of the bridge, whose ports are port1, port2, …
        self.bridge = f"dlt{os.getpid()}"
        try:
            self._add(self.bridge)
            ip("-n", self.bridge, "link", "add", "bridge", "type", "bridge")
            ip("-n", self.bridge, "link", "set", "bridge", "up")
            for number in range(1, hosts + 1):
                self._add_host(f"{self.bridge}-{number}", number)
        except BaseException:
            self.close()
            raise

    def command(self, host: int, command: Sequence[str]) -> List[str]:
        """Return what runs `command` on a host; hosts count from 1."""
        return ["ip", "netns", "exec", self._host(host), *command]

    def address(self, host: int) -> str:
        """Return a host's address, of IPv6 without the interface."""
        return f"fe80::{host}" if self._is_ipv6 else f"{NETWORK}.{host}"

    def unplug(self, host: int) -> None:
        """Pull a host's cable: its own end stays up, and nothing comes through."""
        ip("-n", self.bridge, "link", "set", f"port{host}", "nomaster")

    def plug(self, host: int) -> None:
        """Put it in again."""
        ip("-n", self.bridge, "link", "set", f"port{host}", "master", "bridge")

    def close(self) -> None:
        """Remove everything."""
        for name in self._names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
        self._names.clear()

    def __enter__(self) -> Testbed:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _host(self, number: int) -> str:
        return f"{self.bridge}-{number}"

    def _add(self, name: str) -> None:
        ip("netns", "add", name)
        self._names.append(name)
        ip("-n", name, "link", "set", "lo", "up")

    def _add_host(self, name: str, number: int) -> None:
        self._add(name)
        ip("link", "add", "eth0", "netns", name, "type", "veth", "peer", "name", f"port{number}", "netns", self.bridge)
        self.plug(number)
        ip("-n", self.bridge, "link", "set", f"port{number}", "up")
        if self._is_ipv6:
            ip("-n", name, "link", "set", "eth0", "addrgenmode", "none")
            ip("-n", name, "link", "set", "eth0", "up")
            # Without the second in which the system looks whether somebody else has it.
            ip("-n", name, "addr", "add", f"{self.address(number)}/64", "dev", "eth0", "nodad")
            return
        ip("-n", name, "addr", "add", f"{self.address(number)}/24", "brd", "+", "dev", "eth0")
        ip("-n", name, "link", "set", "eth0", "up")
        # Multicast and the limited broadcast go where the default route leads.
        ip("-n", name, "route", "add", "default", "dev", "eth0")


def ip(*words: str) -> None:
    """Run one `ip` command; raise CalledProcessError with what it says."""
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


def why_no_testbed() -> str:
    """Return what this machine lacks for a testbed, "" where it can have one."""
    if not sys.platform.startswith("linux") or shutil.which("ip") is None:
        return "there is no `ip` here (apt-get install iproute2)"
    if os.geteuid() != 0:
        return "network namespaces need root"
    try:
        Testbed(1).close()
    except (OSError, subprocess.CalledProcessError) as error:
        return f"network namespaces cannot be made here ({getattr(error, 'stderr', '') or error})".replace("\n", "")
    return ""


def follow(host: int, lines: IO[str]) -> None:
    """Print a host's lines."""
    for line in lines:
        print(f"host {host}: {line}", end="", flush=True)


def main() -> int:
    """Run one command on every host."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("hosts", type=int, help="how many")
    parser.add_argument("command", nargs="+", help="what runs on each, after --")
    arguments = parser.parse_args()
    reason = why_no_testbed()
    if reason:
        print(f"testbed: {reason}", file=sys.stderr)
        return 2
    with Testbed(arguments.hosts) as bed, tempfile.TemporaryDirectory(prefix="discompute-testbed-") as folder:
        running = []
        for host in range(1, arguments.hosts + 1):
            home = os.path.join(folder, str(host))
            os.mkdir(home)
            process = subprocess.Popen(
                bed.command(host, arguments.command), cwd=ROOT, env={**os.environ, "HOME": home}, text=True,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            )
            running.append(process)
            threading.Thread(target=follow, args=(host, process.stdout), daemon=True).start()
        try:
            return max(process.wait() for process in running)
        except KeyboardInterrupt:
            # The terminal has told them too.
            for process in running:
                process.wait()
            return 130


if __name__ == "__main__":
    sys.exit(main())
