"""Offer the commands about the cluster: invite, join, devices, revoke, policy, audit.

Knows:   what each asks and prints, for people and for programs.
Refuses: to decide who may join: a person does, or said before that nobody is to be asked.
Read next: roles/owner_methods.py (what is called), faces/reach.py.
"""

from __future__ import annotations

import base64
import json
import sys
import time
from typing import Any, Callable, Dict, List, Tuple

from ..model.device import short_id
from ..model.errors import DiscomputeError, Forbidden, NotFound, SettingsError, Unavailable
from ..run import load_backup, save_backup
from ..wire.invitation import read_join_words
from .command import JSON_FLAG, Context, argument, command, whole_number
from .console import Console, printable, program_name
from .listing import audit_line
from .reach import Reach, reach_from

#: Seconds of one question to the node about its invitation, and of joining: a person over there has to look up.
WATCH_INVITE_S, JOINING_S = 5.0, 330.0
#: Seconds after an invitation's end for those who were let in to say that they kept what they got.
STORED_S = 10.0
#: The rules that `policy` takes, and how each is read.
_RULES: Dict[str, Callable[[str], Any]] = {
    "accept": str, "types": lambda text: [each for each in text.split(",") if each],
    "hours": lambda text: [each for each in text.split(",") if each], "slots": int, "wall_s": float, "memory_mb": int,
}
#: What `devices DEVICE` may change.
_FIELDS = ("role", "sends", "name")
#: How the states of a device of the cluster are told.
_STATES = {"here": "connected", "paired": "paired, not yet seen"}


@command(
    "invite", argument("--token", action="store_true", help="print a link that needs no person to type anything"),
    argument("--yes", action="store_true", help="let in who knows the code, without asking"),
    argument("--admin", action="store_true", help="make the device an admin, who can do everything"),
    argument("--count", type=whole_number(1, 1000), metavar="N", default=1, help="devices that may join (default 1)"),
    argument("--minutes", type=whole_number(1, 1440), metavar="M", help="how long it is open (default 5)"), JSON_FLAG,
)
def invite_command(context: Context) -> int:
    """Let a device join: show a code of eight digits, or a link, and ask before it is let in."""
    wanted, console = context.arguments, context.console
    with reach_from(context) as reach:
        opened = reach.call("Invite", {
            "with_token": wanted.token, "asks_nobody": wanted.yes, "with_key": wanted.admin, "joins": wanted.count,
            "open_s": 60.0 * (wanted.minutes or 0),
        })
        try:
            _show_invitation(console, opened)
            joined = _attend(console, reach, opened["next_event"], wanted.count)
        finally:
            reach.call("StopInvite", {})
        if reach.local is not None and joined and not console.is_json:
            console.note(f"no node runs here; to work with the others, run: {program_name()} start")
    if not joined:
        raise Unavailable("Nobody joined. Start again for a new code with `invite`.")
    return 0


def _show_invitation(console: Console, opened: Dict[str, Any]) -> None:
    if console.is_json:
        console.json({name: opened[name] for name in ("cluster", "code", "link", "address", "open_s")})
        return
    if opened["is_new_cluster"]:
        console.note(f"this device has made cluster {opened['cluster']} and is its admin")
    # On this screen only: what a camera reads there is what `join` takes.
    console.show_qr(opened["link"] or f"{opened['code'].replace(' ', '')}@{opened['address']}")
    minutes = opened["open_s"] / 60
    if opened["link"]:
        console.print("On the other device:")
        console.print(f"  {program_name()} join {opened['link']}", "strong")
    else:
        console.print(f"Code: {opened['code']}", "strong")
        console.print(f"On the other device: {program_name()} join")
        console.note(f"where that does not find this device: join CODE@{opened['address']}")
    console.note(f"open for {minutes:.0f} {'minute' if minutes == 1 else 'minutes'}; Ctrl-C ends it")


def _attend(console: Console, reach: Reach, next_event: int, wanted: int) -> int:
    """Show what happens and ask the person, until nobody can join any more; return how many joined."""
    let_in = joined = 0
    until = float("inf")
    while time.monotonic() < until and joined < wanted:
        answer = reach.call(
            "WatchInvite", {"from_event": next_event, "wait_s": WATCH_INVITE_S}, WATCH_INVITE_S + 10.0
        )
        next_event = answer["next_event"]
        for event in answer["events"]:
            kind, text = event["kind"], printable(event["text"])
            if kind == "question":
                is_welcome = _ask(console, text)
                _answer(console, reach, event["device_id"], is_welcome)
            elif kind == "said":
                console.note(text, "accent")
            let_in += kind == "let-in"
            joined += kind == "joined"
        if not answer["is_open"] and until == float("inf"):
            until = time.monotonic() + (STORED_S if joined < let_in else 0.0)
    return joined


def _ask(console: Console, text: str) -> bool:
    console.note(f"{text} [y/N]", "strong")
    line = sys.stdin.readline() if sys.stdin is not None else ""
    if not line:
        console.note("nobody can be asked here, so the answer is no; invite --yes asks nobody", "warn")
    return line.strip().lower() in ("y", "yes")


def _answer(console: Console, reach: Reach, device_id: str, is_welcome: bool) -> None:
    try:
        reach.call("AnswerInvite", {"device_id": device_id, "is_welcome": is_welcome})
    except NotFound as error:
        console.note(error.message, "warn")


@command(
    "join", argument("words", metavar="CODE-OR-LINK", nargs="?", help="what `invite` printed; asked for if left out"),
    argument("--restore", metavar="FILE", help="be an admin of the cluster in a backup"), JSON_FLAG,
)
def join_command(context: Context) -> int:
    """Join the cluster of a device that shows a code or a link, or of a backup."""
    console, words = context.console, context.arguments.words
    if context.arguments.restore:
        return _restore(context)
    if not words:
        console.note("Code or link, as the other device shows it:", "strong")
        words = sys.stdin.readline().strip() if sys.stdin is not None else ""
        if not words:
            raise SettingsError("CODE-OR-LINK is missing; write what `invite` printed on the other device")
    read_join_words(words)
    with reach_from(context) as reach:
        # Whoever has a link is let in without a question, and whoever is a member already is refused without one.
        if not words.startswith("discompute:") and not reach.call("ListMembers", {})["cluster"]:
            console.note("if the code is right, the other device may ask now whether to let this one in: say yes there")
        answer = reach.call("Join", {"words": words}, JOINING_S)
        if not answer["success"]:
            place = _choose_host(console, answer["hosts"])
            answer = reach.call("Join", {"words": f"{words}@{place['address']}"}, JOINING_S)
        is_alone = reach.local is not None
    if console.is_json:
        console.json({"cluster": answer["cluster"]})
        return 0
    console.print(f"This device belongs to cluster {answer['cluster']} now.", "good")
    if is_alone:
        console.note(f"no node runs here; to work with the others, run: {program_name()} start")
    return 0


def _restore(context: Context) -> int:
    console, path = context.console, context.arguments.restore
    if context.arguments.words:
        raise SettingsError("a backup needs no CODE-OR-LINK; write join --restore FILE alone")
    backup = load_backup(path)
    with reach_from(context) as reach:
        cluster = reach.call("RestoreCluster", {"backup": backup})["cluster"]
        # Whoever is here learns of it now; the others when they meet this device, or one that has.
        reach.look_around(None)
        me, *members = reach.call("ListMembers", {})["members"]
        is_alone = reach.local is not None
    if console.is_json:
        console.json({"cluster": cluster})
        return 0
    console.print(f"This device is an admin of cluster {cluster} now.", "good")
    if members and not any(other["state"] == "here" for other in members):
        console.note("none of its devices is here yet; those that do not show themselves, by announce private, are met"
                     f" by an address: {program_name()} list --peer HOST:PORT", "warn")
    for other in members:
        if other["role"] == "admin" and other["state"] != "removed":
            console.note(f"{printable(other['name'])} ({short_id(other['id'])}) was an admin; if it is lost for good:"
                         f" {program_name()} revoke {short_id(other['id'])}")
    if is_alone:
        console.note(f"no node runs here; to work with the others, run: {program_name()} start")
    return 0


def _choose_host(console: Console, places: List[Dict[str, Any]]) -> Dict[str, Any]:
    """Ask which of several devices has shown the code."""
    for number, place in enumerate(places, 1):
        console.note(f"  {number}  {printable(place['name'])} ({short_id(place['device_id'])}) at {place['address']}")
    console.note("several devices let others in; which one shows your code? Number:", "strong")
    line = sys.stdin.readline().strip() if sys.stdin is not None else ""
    if not (line.isascii() and line.isdigit() and 1 <= int(line) <= len(places)):
        raise SettingsError("several devices let others in; write which one: join CODE@host:port")
    return places[int(line) - 1]


# ---- devices ------------------------------------------------------------------------------------------


@command(
    "devices", argument("device", metavar="DEVICE", nargs="?", help="an id of the cluster, its beginning, or a name"),
    argument("changes", metavar="FIELD=VALUE", nargs="*",
             help="what to change: role=worker, sends=named (or any, nobody), name=TEXT"),
    argument("--leave", action="store_true", help="let this device be alone again"),
    argument("--backup", metavar="FILE", help="write down what the cluster lives on from, on an admin device"),
    JSON_FLAG,
)
def devices_command(context: Context) -> int:
    """List the cluster's devices with their roles, or change one; back up or leave the cluster."""
    wanted, console = context.arguments, context.console
    with reach_from(context) as reach:
        if wanted.backup:
            _back_up(console, reach, wanted.backup, is_told=not wanted.leave)
            if not wanted.leave:
                return 0
        if wanted.leave:
            reach.call("LeaveCluster", {"is_backed_up": bool(wanted.backup)})
            console.note("this device is alone again; an admin takes it off the list with: revoke DEVICE")
        elif wanted.changes:
            # By its id from now on: the name may be what changes.
            wanted.device = _member(reach, wanted.device)["id"]
            for what, value in _assignments(wanted.changes, _FIELDS):
                reach.call("ChangeMember", {"device_id": wanted.device, "what": what, "value": value})
        listed = reach.call("ListMembers", {})
        own_id = listed["members"][0]["id"] if listed["members"] else ""
        if wanted.device:
            listed["members"] = [_member(reach, wanted.device)]
    if console.is_json:
        console.json(listed)
    elif not listed["cluster"]:
        console.print(f"Alone: in no cluster. Make one with: {program_name()} invite")
    else:
        _show_members(console, listed, own_id)
    return 0


def _back_up(console: Console, reach: Reach, path: str, *, is_told: bool) -> None:
    """Write a backup; say so where that is all that was asked for."""
    answer = reach.call("BackUpCluster", {})
    save_backup(path, bytes_in(answer["backup"]))
    if console.is_json and is_told:
        console.json({"cluster": answer["cluster"], "file": path})
    elif is_told:
        console.print(f"Cluster {answer['cluster']} is backed up in {path}.", "good")
    console.note("who has this file can do everything in the cluster: keep it off this device, where nobody finds it")
    console.note(f"to go on from it on a device that is alone: {program_name()} join --restore FILE")


def _show_members(console: Console, listed: Dict[str, Any], own_id: str) -> None:
    role = "" if listed["is_admin"] else " (changes are made on an admin device)"
    console.print(f"Cluster {listed['cluster']}{role}:", "strong")
    width = max(len(printable(member["name"])) for member in listed["members"])
    for member in listed["members"]:
        name = printable(member["name"]).ljust(width)
        state = "this device" if member["id"] == own_id else _STATES.get(member["state"], member["state"])
        sends = "" if member["sends"] == "any" else f", sends {member['sends']}"
        console.print(f"  {short_id(member['id'])}  {name}  {member['role']}{sends}, {state}")


def _member(reach: Reach, wanted: str) -> Dict[str, Any]:
    """Return the device of the cluster that a person means."""
    members = reach.call("ListMembers", {})["members"]
    exact = [each for each in members if wanted in (each["id"], each["name"])]
    found = exact or [each for each in members if wanted and each["id"].startswith(wanted.lower())]
    found = [each for each in found if each["state"] != "removed"] or found
    if len(found) == 1:
        return dict(found[0])
    if found:
        ids = ", ".join(short_id(each["id"]) for each in found)
        raise NotFound(f"{wanted!r} may mean several devices ({ids}); give one of these ids")
    raise NotFound(f"no device of the cluster is called {wanted!r}; `devices` lists them")


def _assignments(texts: List[str], names: Any) -> List[Tuple[str, str]]:
    pairs = []
    for text in texts:
        name, is_pair, value = text.partition("=")
        if not is_pair or name not in names:
            raise SettingsError(f"{text!r} changes nothing; write {'=…, '.join(names)}=…")
        pairs.append((name, value))
    return pairs


@command("revoke", argument("device", metavar="DEVICE", help="an id of the cluster, its beginning, or a name"),
         JSON_FLAG)
def revoke_command(context: Context) -> int:
    """Remove a device from the cluster, for ever; on an admin device."""
    with reach_from(context) as reach:
        member = _member(reach, context.arguments.device)
        if member["state"] == "removed":
            raise Forbidden(f"{member['name']} was removed already; there is nothing to do")
        reach.call("Revoke", {"device_id": member["id"]})
        # Whoever is here hears it now; the others when they meet one who knows.
        reach.look_around(None)
    if context.console.is_json:
        context.console.json({"removed": member["id"]})
    else:
        context.console.print(f"{printable(member['name'])} ({short_id(member['id'])}) was removed.", "good")
    return 0


# ---- rules --------------------------------------------------------------------------------------------


@command(
    "policy", argument("rules", metavar="RULE=VALUE", nargs="*",
             help="any of accept=named, types=primes,digits, hours=22:00-06:30, slots=2, wall_s=600, memory_mb=1024"),
    argument("--sender", metavar="DEVICE", help="change the rules for one sender instead of those for everybody"),
    argument("--approve", metavar="DEVICE-OR-HASH", help="say yes to a sender, or to code by its hash"), JSON_FLAG,
)
def policy_command(context: Context) -> int:
    """Show or change what other devices of the cluster may run on this one."""
    wanted, console = context.arguments, context.console
    changes: Dict[str, Any] = {}
    for name, text in _assignments(wanted.rules, _RULES):
        try:
            changes[name] = _RULES[name](text)
        except ValueError:
            raise SettingsError(f"{name} cannot be {text!r}; write a number") from None
    with reach_from(context) as reach:
        answer = reach.call("GetPolicy", {})
        policy = answer["policy"]
        if changes and wanted.sender:
            sender = _member(reach, wanted.sender)["id"]
            rule = policy["senders"].get(sender, policy["everybody"])
            policy["senders"][sender] = {**rule, **changes}
        elif changes:
            policy["everybody"].update(changes)
        if wanted.approve and len(wanted.approve) == 64:
            policy["approved_code"].append(wanted.approve)
        elif wanted.approve:
            policy["approved_senders"].append(_member(reach, wanted.approve)["id"])
        if changes or wanted.approve:
            answer = reach.call("SetPolicy", {"policy": policy})
            policy = answer["policy"]
    if answer["message"]:
        console.note(answer["message"], "warn")
    if console.is_json:
        console.json(policy)
        return 0
    for title, rule in [("everybody", policy["everybody"]), *sorted(policy["senders"].items())]:
        facts = ", ".join(f"{name}={_rule_text(value)}" for name, value in rule.items() if value)
        console.print(f"{title if title == 'everybody' else short_id(title)}: {facts}")
    for title, kept in (("approved code", policy["approved_code"]), ("approved senders", policy["approved_senders"])):
        if kept:
            console.print(f"{title}: {', '.join(each[:12] for each in kept)}")
    return 0


def _rule_text(value: Any) -> str:
    return ",".join(value) if isinstance(value, list) else str(value)


@command(
    "audit", argument("--verify", action="store_true", help="check that no line was changed, put in or taken out"),
    JSON_FLAG,
)
def audit_command(context: Context) -> int:
    """Show who was let in, changed or removed here, and whose work ran; or verify that log."""
    console = context.console
    with reach_from(context) as reach:
        answer = reach.call("ReadAudit", {})
    data = bytes_in(answer["lines"])
    if context.arguments.verify:
        if answer["bad_line"]:
            raise DiscomputeError(
                f"line {answer['bad_line']} of the audit log is not as it was written; compare it with a copy"
            )
        if console.is_json:
            console.json({"good": answer["good"], "head": answer["head"]})
        else:
            console.print(f"{answer['good']} lines, all as they were written; the last hash is {answer['head']}")
        return 0
    entries = [_audit_entry(line) for line in data.splitlines()]
    if console.is_json:
        console.json(entries)
        return 0
    for entry in entries:
        console.print(audit_line(entry))
    if not entries:
        console.note("nothing was logged so far: nobody was let in, and nobody else's work ran here")
    return 0


def bytes_in(value: Any) -> bytes:
    """Return bytes that came as an attachment or as base64 text."""
    return bytes(value) if isinstance(value, (bytes, bytearray, memoryview)) else base64.b64decode(value)


def _audit_entry(line: bytes) -> Dict[str, Any]:
    """Return what a line says; one that was made unreadable is shown as it is."""
    try:
        entry = json.loads(line)
        return entry if isinstance(entry, dict) and isinstance(entry.get("at"), int) else {"text": str(entry)}
    except ValueError:
        return {"text": line.decode("utf-8", "replace")}
