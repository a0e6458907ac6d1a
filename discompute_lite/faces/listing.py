"""Lay devices and tasks out as text: the original's block format, and tables that fit the terminal.

Knows:   how a device, a task and a moment are written.
Refuses: to print (faces/console.py does) and to ask anybody for anything.
Read next: faces/node_commands.py, faces/task_commands.py.
"""

from __future__ import annotations

import re
import time
from typing import Any, Dict, List, Tuple

from ..model.codec import from_json
from ..model.device import Device, DeviceCapabilities, Hardware, short_id
from ..model.task import FINAL_STATES, ComputeTask
from .console import printable

#: The last second that `time.gmtime` knows on every system.
YEAR_9999 = 253_402_300_799
#: What every line of the audit log has.
AUDIT_FRAME = ("n", "at", "what", "hash")
#: An id and a SHA-256 as they stand in the log, and how much of a hash people are shown; `--json` has all of it.
LOGGED_ID, LOGGED_HASH, HASH_SHOWN = re.compile("[a-z2-7]{52}"), re.compile("[0-9a-f]{64}"), 12


def device_lines(device: Device) -> List[str]:
    """Return one device in the original's block format; a line whose value is not known is left out."""
    lite = device.lite
    lines = [f"Device ID: {printable(short_id(device.id))}", f"  Name: {printable(device.name)}"]
    if lite.get("label"):
        lines.append(f"  Alias: {printable(str(lite['label']))}")
    if lite.get("model") and lite["model"] != device.name:
        lines.append(f"  Model: {printable(str(lite['model']))}")
    known = (("Type", device.type), ("Address", device.address), ("Status", device.status.value))
    lines += [f"  {name}: {printable(value)}" for name, value in known if value]
    if lite.get("foreign"):
        lines.append(f"  Foreign: {printable(str(lite['foreign']))}, is never given work")
    if lite.get("reason"):
        lines.append(f"  Reason: {printable(str(lite['reason']))}")
    lines += capability_lines(device.capabilities, lite.get("measured"), lite.get("work_memory_mb"))
    lines.append(f"  Last Seen: {moment(device.last_seen)}")
    return lines


def capability_lines(capabilities: DeviceCapabilities, measured: Any, work_memory_mb: Any = 0) -> List[str]:
    """Return what a device can do; TFLOPS are its GPU's nominal ones."""
    lines = ["  Capabilities:"]
    if capabilities.cpu_cores:
        lines.append(f"    CPU Cores: {capabilities.cpu_cores}")
    if capabilities.chip:
        lines.append(f"    Chip: {printable(capabilities.chip)}")
    if capabilities.memory_mb:
        for_work = f" ({work_memory_mb} MB for work)" if type(work_memory_mb) is int and work_memory_mb else ""
        lines.append(f"    Memory: {capabilities.memory_mb} MB{for_work}")
    if capabilities.has_gpu:
        lines.append(f"    GPU: true ({printable(capabilities.gpu_type or 'unknown')})")
    rates = (("FP32", capabilities.fp32_tflops), ("FP16", capabilities.fp16_tflops), ("INT8", capabilities.int8_tflops))
    if any(rate > 0 for _, rate in rates):
        lines.append("    Compute Performance (nominal, GPU):")
        lines += [f"      {name}: {rate:.2f} TFLOPS" for name, rate in rates if rate > 0]
    if isinstance(measured, dict) and isinstance(measured.get("score"), (int, float)):
        lines += measured_lines(measured)
    if capabilities.battery_level >= 0:
        charging = " (charging)" if capabilities.is_charging else ""
        lines.append(f"    Battery: {capabilities.battery_level * 100:.1f}%{charging}")
    return lines if len(lines) > 1 else []


def measured_lines(measured: Any) -> List[str]:
    """Return what a device measured of itself."""
    python = printable(str(measured.get("python", "")))
    lines = ["    Measured:"]
    lines.append(f"      Python: {measured['score']:.2f} x reference" + (f" (Python {python})" if python else ""))
    parallel, processes = measured.get("parallel"), measured.get("processes")
    if isinstance(parallel, (int, float)) and isinstance(processes, int) and processes > 1 and parallel > 0:
        lines.append(f"      {processes} processes at once: {parallel:.2f} times one")
    gflops = measured.get("matmul_gflops")
    if isinstance(gflops, (int, float)) and gflops > 0:
        lines.append(f"      Matrix product (NumPy): {gflops:.1f} GFLOPS")
    return lines


def listing(devices: List[Device]) -> List[str]:
    """Return all devices as `list` prints them."""
    lines = [f"Found {len(devices)} device(s):", ""]
    for device in devices:
        lines += [*device_lines(device), ""]
    return lines


def hardware_lines(hardware: Hardware, name: str, device_id: str, measured: Any) -> List[str]:
    """Return this device as `info` prints it."""
    lines = ["Device Information:", "", f"Device ID: {short_id(device_id) or 'made at the first start'}"]
    lines += [f"  Name: {printable(name)}", f"  Type: {hardware.type}"]
    if hardware.model:
        lines.append(f"  Model: {hardware.model}" + (f" ({hardware.identifier})" if hardware.identifier else ""))
    if hardware.app:
        lines.append(f"  App: {hardware.app}")
    if hardware.capabilities.os_version:
        lines.append(f"  System: {hardware.capabilities.os_version}")
    lines += capability_lines(hardware.capabilities, measured, hardware.work_memory_mb)
    return lines + [f"  Note: {note}" for note in hardware.notes]


def halted_note(task: ComputeTask, *, is_unattended: bool) -> Tuple[str, str]:
    """Return a word and a sentence for a task that nobody works on, whatever its state; "" twice for others.

    `is_unattended` where no node runs but the command's own, which ends with it.
    """
    lite, task_id = task.lite, printable(task.task_id)
    if lite.get("state") in [state.value for state in FINAL_STATES]:
        return "", ""
    if lite.get("owner_lost_at"):
        owner = short_id(str(lite.get("owner_id", "")))
        ends = f"go on with: submit --resume {task_id}" if is_unattended else str(
            lite.get("rests") or "this node goes on with it in a moment")
        return "LOST", f"its node {owner} is gone since {local_time(lite['owner_lost_at'])}; {ends}"
    if is_unattended:
        last = f"last heard of {local_time(lite.get('last_sign_at', 0))}"
        ends = f"go on with: submit --resume {task_id}, or: start"
        return "HALTED", f"its node ended, and none runs here ({last}); {ends}"
    return "", ""


def task_lines(task: ComputeTask, *, is_unattended: bool = False) -> List[str]:
    """Return one task as `tasks` prints it."""
    lite = task.lite
    word, note = halted_note(task, is_unattended=is_unattended)
    name = task.metadata.get("name") or task.task_type
    share = f"{lite.get('percentage', 0):5.1f} %"
    line = f"{printable(task.task_id):12} {word or lite.get('state', ''):9} {share}  {printable(name)}"
    message = [note] if note else str(lite.get("message", "")).splitlines()
    return [line] + ([f"{'':12} {printable(message[0])}"] if message else [])


def status_lines(answer: Any, now: float, *, is_unattended: bool = False) -> List[str]:
    """Return what GetTaskStatus says of a task as `status` prints it; `now` is in Unix seconds."""
    task, lite = from_json(ComputeTask, answer["task"]), answer["lite"]
    state = str(task.lite.get("state", ""))
    word, note = halted_note(task, is_unattended=is_unattended)
    lines = [f"Task {printable(task.task_id)}: {word or state}, {answer['completion_percentage']:.1f} %"]
    lines += [f"  {note}"] if note else []
    lines += [f"  {printable(line)}" for line in str(lite.get("message", "")).splitlines()]
    # Counted by the node: the list of subtasks is cut for large tasks.
    shares = ", ".join(f"{count} {name.lower()}" for name, count in lite.get("counts", {}).items())
    lines.append(f"  Subtasks: {shares or 'none yet'}")
    running: Dict[str, int] = {}
    for subtask in answer["subtasks"]:
        if subtask["status"] == "RUNNING":
            running[subtask["assigned_device_id"]] = running.get(subtask["assigned_device_id"], 0) + 1
    done = lite.get("devices", {})
    for device_id in dict.fromkeys([*done, *running]):
        busy = f", {running[device_id]} running" if device_id in running else ""
        lines.append(f"    {short_id(device_id)}: {done.get(device_id, 0)} done{busy}")
    left_s = answer["estimated_completion_time"] - now
    if state == "RUNNING" and left_s > 0 and not word:
        lines.append(f"  Expected end: in {left_s:.0f} s")
    return lines


def first_figures(line: str, columns: int) -> str:
    """Return a training's round as far as its figures, of which the first tell most, fit one line of a terminal."""
    while len(line) >= columns and "  " in line:
        line = line.rpartition("  ")[0]
    return line


def local_time(unix_s: float) -> str:
    """Return a moment as people here read it."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(unix_s))


def audit_line(entry: Dict[str, Any]) -> str:
    """Return a line of the audit log as people read it: in local time, ids and hashes by their beginnings."""
    facts = ", ".join(f"{name} {_brief(value)}" for name, value in entry.items() if name not in AUDIT_FRAME)
    when = local_time(entry.get("at", 0))
    return f"{when}  {printable(str(entry.get('what', '?'))):8} {facts}"


def _brief(value: Any) -> str:
    text = printable(str(value))
    if LOGGED_ID.fullmatch(text):
        return short_id(text)
    return text[:HASH_SHOWN] if LOGGED_HASH.fullmatch(text) else text


def moment(unix_s: int) -> str:
    """Return a time as the original prints it: RFC 3339, in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(min(unix_s, YEAR_9999))) if unix_s > 0 else "never"


def clock_time() -> str:
    """Return the time of day, for event lines."""
    return time.strftime("%H:%M:%S")
