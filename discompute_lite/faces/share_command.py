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
from .console import Console, printable
from .reach import Reach, reach_from

#: Seconds between two looks at whether the node still runs.
SHARE_LOOK_S = 5.0
#: Fetches the file, refuses any other, keeps it for the next time, and has all its modules. By a socket: what of the
#: library knows HTTP would take a megabyte of the phone's memory for as long as the node runs. What hinders it on this
#: way is one sentence, where consoles would show a traceback. There is no `assert`, which Python may be told to skip,
#: and no backslash, which shells read in their own ways. Joining says no more than what came of it: its advice to start
#: a node is followed at once.
FETCH = (
    'with __import__("contextlib").ExitStack()as c:c.push(lambda t,e,b:t and sys.exit(print("discompute:",e,'
    '"- is share on in this network?")or 1));import hashlib,socket,sys,time,zlib;{call};n=bytes([13,10]);'
    's.sendall(b"GET {path} HTTP/1.0"+n+b"Host:{address}"+n*2);h,_,d=s.makefile("rb").read().partition(n*2);s.close();'
    'b" 200 "in h or sys.exit("offer ended");d=zlib.decompress(d);'
    'hashlib.sha256(d).hexdigest()=="{sha256}"or sys.exit("not the file offered");'
    'open(f:="discompute.py","wb").write(d);exec(d,{{"__name__":"discompute","__file__":f}});del d;'
    'c.pop_all();from discompute_lite.faces.cli import main;'
)
#: While a phone asks whether the app may use the network, it has no route (65 at Apple's systems): wait for the answer.
#: Addresses of IPv6, which may name an interface of this device, are seldom the best: those are called once.
#: Half a minute without a byte, and it ends: a phone that leaves the network would wait for ever.
CALL = (
    'all(((s:=socket.socket()).settimeout(30)or s.connect_ex(("{host}",{port})))==65 and not time.sleep(1)'
    'for _ in range(30))'
)
CALL_IPV6 = 's=socket.create_connection(("{host}",{port}),30)'
#: The node calls whoever lent the program: a phone hears no broadcast, and a sweep takes seconds and may miss it.
START, JOIN = 'main(["start","--peer={address}"])', 'main(["join","-q","{link}"]);'


@command(
    "share",
    argument("--minutes", type=whole_number(1, 1440), metavar="M", help="how long it is offered (default 10)"),
    argument("--invite", action="store_true", help="let who uses the line join the cluster, without asking"), JSON_FLAG,
)
def share_command(context: Context) -> int:
    """Lend this program to a phone as one file; print the one line to paste there."""
    console, wanted = context.console, context.arguments
    with reach_from(context) as reach:
        # Made here: it takes some seconds, for which the node would hear nobody.
        offer = reach.call("Share", {"program": program_as_file(), "open_s": 60.0 * (wanted.minutes or 0)})
        try:
            link, next_event = "", 0
            if wanted.invite:
                terms = {"with_token": True, "asks_nobody": True, "open_s": offer["open_s"]}
                opened = reach.call("Invite", terms)
                link, next_event = opened["link"], opened["next_event"]
            _show_offer(console, offer, link)
            _wait_for_end(console, reach, offer["open_s"], next_event)
        finally:
            _end_offer(reach, is_inviting=wanted.invite)
    console.note("not offered any more")
    return 0


def share_line(address: str, offer: Dict[str, Any], link: str = "") -> str:
    """Return the line of Python that fetches the file from host:port, checks it, joins by a link and runs a node."""
    host, _, port = address.rpartition(":")
    call = (CALL_IPV6 if "[" in host else CALL).format(host=host.strip("[]"), port=port)
    fetch = FETCH.format(address=address, call=call, path=offer["path"], sha256=offer["sha256"])
    return fetch + (JOIN.format(link=link) if link else "") + START.format(address=address)


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


def _wait_for_end(console: Console, reach: Reach, open_s: float, next_event: int) -> None:
    """Wait, and tell who used the link; `next_event` is the first of the invitation, 0 without one."""
    until = time.monotonic() + open_s
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(SHARE_LOOK_S, left))
        # A node that has ended offers nothing, and an invitation lives as long as somebody looks at it.
        if not next_event:
            reach.call("GetDevices", {})
            continue
        answer = reach.call("WatchInvite", {"from_event": next_event})
        next_event = answer["next_event"]
        for event in answer["events"]:
            if event["kind"] == "joined":
                console.note(f"{printable(event['text'])}; for one more, run share --invite again", "accent")


def _end_offer(reach: Reach, *, is_inviting: bool) -> None:
    try:
        reach.call("StopShare", {})
        if is_inviting:
            reach.call("StopInvite", {})
    except DiscomputeError:
        pass  # The node has ended, and with it what it offered.
