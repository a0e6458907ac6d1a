"""Offer `share`: lend this program to a phone as one file, with the one line that fetches, checks and runs it there.

Knows:   that line, for apps in which a person pastes it and for shells in which it is a command.
Refuses: to send the link by which a device joins: it is shown here, where only this device's owner reads it.
Read next: roles/sharing.py (what is served), tools/bundle.py (what the file is).
"""

from __future__ import annotations

import time
from typing import Any, Dict

from ..model.errors import DiscomputeError
from ..run import program_as_file
from .command import JSON_FLAG, Context, argument, command, whole_number
from .console import Console
from .reach import Reach

#: What this module adds to the table of commands.
SHARE_COMMANDS = ("share",)
#: Seconds between two looks at whether the node still runs.
SHARE_LOOK_S = 5.0
#: Fetches the file, refuses any other, keeps it for the next time, and has all its modules.
FETCH = (
    'import hashlib,zlib,urllib.request as u;d=zlib.decompress(u.urlopen("http://{address}{path}").read());'
    'assert hashlib.sha256(d).hexdigest()=="{sha256}";open("discompute.py","wb").write(d);'
    'exec(d,{{"__name__":"discompute","__file__":"discompute.py"}});del d;from discompute_lite.faces.cli import main;'
)
START, JOIN = 'main(["start"])', 'main(["join","{link}"]);'


@command(
    "share",
    argument("--minutes", type=whole_number(1, 1440), metavar="M", help="how long it is offered (default 10)"),
    argument("--invite", action="store_true", help="let who uses the line join the cluster, without asking"), JSON_FLAG,
)
def share_command(context: Context) -> int:
    """Lend this program to a phone as one file; print the one line to paste there."""
    console, wanted = context.console, context.arguments
    with Reach(context.settings, context.console.note) as reach:
        # Made here: it takes some seconds, for which the node would hear nobody.
        offer = reach.call("Share", {"program": program_as_file(), "open_s": 60.0 * (wanted.minutes or 0)})
        try:
            link = ""
            if wanted.invite:
                terms = {"with_token": True, "asks_nobody": True, "open_s": offer["open_s"]}
                link = reach.call("Invite", terms)["link"]
            _show_offer(console, offer, link)
            _wait_for_end(reach, offer["open_s"], is_inviting=bool(link))
        finally:
            _end_offer(reach, is_inviting=wanted.invite)
    console.note("not offered any more")
    return 0


def share_line(address: str, offer: Dict[str, Any], link: str = "") -> str:
    """Return the line of Python that fetches the file from host:port, checks it, joins by a link and runs a node."""
    fetch = FETCH.format(address=address, path=offer["path"], sha256=offer["sha256"])
    return fetch + (JOIN.format(link=link) if link else "") + START


def _show_offer(console: Console, offer: Dict[str, Any], link: str) -> None:
    address = offer["addresses"][0]
    line, page = share_line(address, offer, link), f"http://{address}/join"
    if console.is_json:
        console.json({"line": line, "page": page, "link": link, **{
            name: offer[name] for name in ("addresses", "sha256", "size", "open_s")
        }})
        return
    console.print("On the phone, in Pythonista or Pyto: make an empty script, paste this line, run it.", "strong")
    console.result(line)
    console.show_qr(line)
    console.print("In a-Shell, or in any terminal:", "strong")
    console.result(f"python3 -c '{line}'")
    console.print(f"Or with a browser: {page}")
    console.print(f"The file's SHA-256: {offer['sha256']}")
    if not link:
        console.print("To let it join your cluster too, run `invite`, or `share --invite` instead of this.")
    minutes = offer["open_s"] / 60
    console.note(f"offered to everybody on this network for {minutes:g} {'minute' if minutes == 1 else 'minutes'};"
                 " Ctrl-C ends it")


def _wait_for_end(reach: Reach, open_s: float, *, is_inviting: bool) -> None:
    until = time.monotonic() + open_s
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(SHARE_LOOK_S, left))
        # An invitation lives as long as somebody looks at it; and a node that has ended offers nothing.
        reach.call("WatchInvite" if is_inviting else "GetDevices", {})


def _end_offer(reach: Reach, *, is_inviting: bool) -> None:
    try:
        reach.call("StopShare", {})
        if is_inviting:
            reach.call("StopInvite", {})
    except DiscomputeError:
        pass  # The node has ended, and with it what it offered.
