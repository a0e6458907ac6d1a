"""Offer the commands about devices: start, info, list, send, config, version.

Knows:   what each prints, for people and for programs.
Refuses: to know how a node works (run.py), or how devices are laid out (faces/listing.py).
Read next: faces/reach.py, faces/listing.py.
"""

from __future__ import annotations

import sys
import time
from typing import Any, Dict, List, Optional, Tuple

from ..beside import wait_for_place
from ..model.codec import to_json
from ..model.device import Device, DeviceStatus, short_id
from ..model.errors import NotFound, SettingsError, Unavailable
from ..model.settings import settings_rows
from ..model.version import VERSION
from ..net.client import address_in, call_once
from ..run import LocalNode, NodeScript, describe_this_device, is_this_machine_only, settings_of_this_device
from .awake import staying_awake
from .command import JSON_FLAG, Context, argument, command, number_between, wait_seconds
from .console import Console, printable, program_name
from .listing import clock_time, hardware_lines, listing
from .quick import version_text
from .reach import Reach, choose_device, reach_from

#: Columns below which settings are not laid out as a table.
NARROWEST_TABLE = 60
#: Seconds between two pictures of `list --watch`.
WATCH_S = 2.0
#: Seconds that `send` looks for a device that is not known yet: with a node that has just started, so that each
#: other one's regular beacon comes once (2.5 s, and a fifth more); with one that runs.
SEND_LOOK_S, SEND_LOOK_AGAIN_S = 3.2, 1.0
#: Minutes that a node may be told to work, at most: a year.
LONGEST_RUN_MIN = 366 * 1440.0
EVENT_STYLES = {"joined": "good", "back": "good", "lost": "bad", "suspect": "warn", "warning": "warn",
                "message": "accent"}


@command(
    "start", argument("--json", action="store_true", help="print events as JSON lines, the first one when ready"),
    argument("--minutes", type=number_between(0.01, LONGEST_RUN_MIN), metavar="M",
             help="work for so long, end what runs, and leave; for Shortcuts and lent devices"),
)
def start_command(context: Context) -> int:
    """Run a node until Ctrl-C."""
    script = NodeScript()

    def work() -> None:
        # The loop's thread tells of events: a reader that does not read must not hold it up.
        end_console = context.console.stop_waiting()
        try:
            with staying_awake():
                _run_node(context, script)
            if not context.console.is_json:
                context.console.note("stopped")
        finally:
            end_console()

    script.run(work)
    return 0


def _run_node(context: Context, script: NodeScript) -> None:
    console = context.console

    def tell(kind: str, text: str, **facts: Any) -> None:
        if console.is_json:
            console.json({**facts, "event": kind, "text": text, "time": round(time.time(), 3)})
        elif not console.is_quiet or kind in ("warning", "message"):
            console.print(f"{clock_time()}  {printable(text)}", EVENT_STYLES.get(kind, ""))

    wait_for_place(context.settings, lambda pid: console.note(
        f"a script or command, process {pid}, is this device as long as it runs, and lends its node to all commands;"
        " this one takes its place when it ends (for a device of its own: --state-dir FOLDER)"))
    # What happens before the node is ready is told after its own lines.
    early: List[Any] = []
    ready = False
    local = LocalNode(
        context.settings,
        tell=lambda kind, text, **facts: tell(kind, text, **facts) if ready else early.append((kind, text, facts)),
    )
    # Before the start, so that there is no moment in which Ctrl-C would leave something behind.
    signals = local.stop_on_signals()
    script.watch(local.stop, local.loop)
    try:
        local.start(takes_over=True)
        minutes = context.arguments.minutes
        if minutes is not None:
            local.leave_after(60.0 * minutes)
        _say_ready(console, local, minutes, local.listen_to_keyboard(sys.stdin))
        ready = True
        for kind, text, facts in early:
            tell(kind, text, **facts)
        local.run()
    finally:
        # Where something was raised before `run`, it still has all that it took.
        local.close()
        signals.restore()


def _say_ready(console: Console, local: LocalNode, minutes: Optional[float], has_keyboard: bool) -> None:
    device = local.node.own_device()
    if console.is_json:
        facts = {"port": local.node.port, "addresses": local.addresses}
        console.json({"event": "ready", "device": to_json(device), **facts})
        return
    console.print(f"discompute-lite {VERSION}", "strong")
    for name, text in _ready_facts(local, device):
        console.print(f"  {name:9} {text}", indent=12)
    how = "Stop it by the app's stop button." if console.is_in_app else "Press Ctrl-C to stop."
    how = "Type q and return to stop." if has_keyboard and local.probe.inside_ios() else how
    leaves = f" It leaves after {minutes:g} {'minute' if minutes == 1 else 'minutes'}." if minutes is not None else ""
    console.print(f"Ready. {how}{leaves}", "good")
    if has_keyboard:
        console.print("Type an address to call a device there.")


def _ready_facts(local: LocalNode, device: Device) -> List[Tuple[str, str]]:
    capabilities, bind, announce = device.capabilities, local.settings.bind, local.settings.announce
    slots = f"{local.node.slots} {'slot' if local.node.slots == 1 else 'slots'}"
    what = [item for item in (local.hardware.model or device.type, capabilities.chip) if item]
    facts = [
        ("Name:", printable(device.name)), ("Device:", short_id(device.id)), ("Address:", ", ".join(local.addresses)),
        ("Hardware:", ", ".join(dict.fromkeys(what))),
        ("", f"{capabilities.cpu_cores} cores, {capabilities.memory_mb} MB, {slots}"),
        ("State:", _state_text(local.node.belonging.cluster_name(), announce)),
    ]
    # Brackets mean something else to a shell.
    shown_address = f"'{device.address}'" if "[" in device.address else device.address
    if announce != "open":
        return [*facts, ("Join it:", f"invite here, then join CODE@host:port there; it is not seen ({announce})")]
    if is_this_machine_only(bind):
        return [*facts, ("Join it:", f"only from this machine (--bind {bind}): start --peer {shown_address}")]
    return [
        *facts, ("Join it:", f"{program_name()} invite here, and {program_name()} join on the other device"),
        ("", f"not seen there? {program_name()} start --peer {shown_address}"),
    ]


def _state_text(cluster: str, announce: str) -> str:
    if cluster:
        return f"member of cluster {cluster}: works with its devices, answers nobody else"
    if announce != "open":
        return "alone: answers nobody, runs nobody's code but yours"
    return "alone: lists devices, takes messages, runs nobody's code but yours"


@command(
    "info", JSON_FLAG, argument("--bench", action="store_true", help="measure this device's speed too (about 1 s)")
)
def info_command(context: Context) -> int:
    """Show this device's capabilities."""
    facts = describe_this_device(context.settings, with_bench=context.arguments.bench)
    if context.console.is_json:
        context.console.json({
            "id": facts.id, "name": facts.name, "hardware": to_json(facts.hardware), "measured": facts.measured,
            "limits_for_tasks": facts.limits, "version": VERSION,
        })
        return 0
    for line in hardware_lines(facts.hardware, facts.name, facts.id, facts.measured):
        context.console.print(line)
    if not facts.measured:
        context.console.note("not measured yet: info --bench measures it, and a node does so when it is idle")
    context.console.print("  Limits for tasks:")
    for name, value in facts.limits.items():
        context.console.print(f"    {name[0].upper()}{name[1:]}: {value}")
    return 0


@command(
    "list", JSON_FLAG,
    argument("--watch", action="store_true", help="keep showing, until Ctrl-C; in place on a terminal"),
    argument(
        "--wait", type=wait_seconds(), metavar="S",
        help="seconds to look around first (default: at most 1.5 where no node runs here, else 0)",
    ),
)
def list_command(context: Context) -> int:
    """List the devices on the network, this one first."""
    with reach_from(context) as reach:
        devices = reach.look_around(context.arguments.wait)
        while True:
            _show_devices(context.console, devices, watched=context.arguments.watch)
            if not context.arguments.watch:
                break
            time.sleep(WATCH_S)
            devices = reach.devices()
        if reach.local is not None and len(devices) == 1 and not context.console.is_json:
            context.console.note(f"no other device answered; start one with: {program_name()} start")
    return 0


def _show_devices(console: Console, devices: List[Device], *, watched: bool) -> None:
    if console.is_json:
        console.json({"devices": to_json(devices)})
        return
    if watched and console.is_live:
        console.redraw(listing(devices)[:-1])
        return
    for line in listing(devices):
        console.print(line)


@command("send", argument("device", metavar="DEVICE", help="an id, its beginning, a name, or HOST[:PORT]"),
         argument("text", metavar="TEXT", nargs="+", help="what to say"), JSON_FLAG)
def send_command(context: Context) -> int:
    """Send a message to a device; print its acknowledgement."""
    wanted, text = context.arguments.device, " ".join(context.arguments.text)
    if not wanted.strip():
        raise SettingsError("DEVICE is empty; give an id, its beginning, a name, or HOST[:PORT]")
    params: Dict[str, Any] = {"message_type": "text", "payload": text.encode("utf-8", "replace")}
    with reach_from(context) as reach:
        params["from_device_id"] = reach.devices()[0].id
        try:
            device = _find_device(reach, wanted)
            if reach.local is not None and device.id == params["from_device_id"]:
                # The node that was started for this command shows nothing to anybody.
                raise Unavailable(f"{wanted} is this device, and no node runs here; run: {program_name()} start")
            answer = reach.call("SendMessage", {**params, "to_device_id": device.id})
            name = device.name
        except NotFound:
            address = address_in(wanted)
            if not address:
                raise
            answer = call_once(address, "SendMessage", params)
            name = wanted
    if not answer.get("success"):
        raise Unavailable(f"{name} did not take the message: {answer.get('message', '')}")
    if context.console.is_json:
        context.console.json({"device": name, **answer})
    else:
        context.console.print(f"{printable(name)}: {printable(answer.get('message', ''))}")
    return 0


def _find_device(reach: Reach, wanted: str) -> Device:
    """Return the device meant by `wanted`, looking around for a while where it is not known yet."""

    def is_known(devices: List[Device]) -> bool:
        try:
            return choose_device(devices, wanted).status is not DeviceStatus.OFFLINE
        except NotFound as error:
            return "several" in error.message

    if address_in(wanted):
        return choose_device(reach.devices(), wanted)  # Called directly where it is not known.
    at_most_s = SEND_LOOK_S if reach.local is not None else SEND_LOOK_AGAIN_S
    return choose_device(reach.look_around(None, is_known, at_most_s=at_most_s), wanted)


@command("config", argument("--show", action="store_true", help="show every setting (the default)"), JSON_FLAG)
def config_command(context: Context) -> int:
    """Show every setting with its value and where it came from."""
    rows = settings_rows(context.settings, settings_of_this_device(context.settings))
    console = context.console
    if console.is_json:
        console.json([
            {"setting": setting.key, "value": setting.plain(value), "source": source} for setting, value, source in rows
        ])
        return 0
    texts = [(setting.key, printable(setting.show(value)), printable(source)) for setting, value, source in rows]
    key_width, value_width, source_width = (max(len(row[column]) for row in texts) for column in range(3))
    value_width = min(value_width, max(0, console.width - key_width - source_width - 4))
    for key, value, source in texts:
        row = f"{key.ljust(key_width)}  {value.ljust(value_width)}  {source}"
        console.print(row if console.width >= NARROWEST_TABLE else f"{key}: {value} ({source})")
    return 0


@command("version", JSON_FLAG)
def version_command(context: Context) -> int:
    """Show version, Python and platform."""
    context.console.print(version_text(is_json=context.console.is_json))
    return 0
