"""Write `GET /metrics`: this node's figures in Prometheus's text format, version 0.0.4.

Knows:   the format, and where each figure is kept.
Refuses: to measure anything for it, and to give a figure that nobody knows.
Read next: roles/web.py (the route), roles/training_metrics.py.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Dict, Iterable, List, Mapping, Tuple

from ..wire.http import HttpRequest
from .training_metrics import about_trainings

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
#: One line: labels and value.
Sample = Tuple[Mapping[str, str], float]


def answer_with_metrics(node: Any, connection: Any, request: HttpRequest) -> None:
    """Answer with all figures of this node."""
    connection.http.answer(request, 200, metrics_page(node).encode("utf-8"), METRICS_TYPE)


def metrics_page(node: Any) -> str:
    """Return the whole page."""
    lines: List[str] = []
    about = (
        *_about_node(node), *_about_work(node), *_about_events(node),
        *about_trainings(node.told_rounds.newest()),
    )
    for name, kind, text, samples in about:
        rows = [f"discompute_{name}{_labels(labels)} {value:.12g}" for labels, value in samples]
        if rows:
            lines += [f"# HELP discompute_{name} {text}", f"# TYPE discompute_{name} {kind}", *rows]
    return "\n".join(lines) + "\n"


def _about_node(node: Any) -> Iterable[Tuple[str, str, str, List[Sample]]]:
    device = node.own_device()
    metrics, capabilities = device.compute_metrics, device.capabilities
    yield "info", "gauge", "Who this node is.", [
        ({"id": node.id, "name": node.name, "version": node.version, "status": device.status.value}, 1)]
    yield "devices", "gauge", "Devices known here, this one included, by status.", _counted(
        "status", (each.status.value for each in node.discovery.list_devices()))
    # Below 0: not known on this device.
    yield "cpu_usage_ratio", "gauge", "Load of the processor, 0 to 1.", _known(metrics.cpu_usage)
    yield "memory_usage_ratio", "gauge", "Memory in use, 0 to 1.", _known(metrics.memory_usage)
    yield "battery_ratio", "gauge", "Charge of the battery, 0 to 1.", _known(capabilities.battery_level)
    yield "speed_score", "gauge", "Measured speed, 1 for the reference machine.", [
        ({}, node.measured["score"])] if "score" in node.measured else []


def _about_work(node: Any) -> Iterable[Tuple[str, str, str, List[Sample]]]:
    yield "slots", "gauge", "Subtasks that this device takes at once just now.", [({}, node.worker.allowance().slots)]
    yield "slots_everywhere", "gauge", "Slots of all devices that take work from here.", [({}, node.total_slots())]
    yield "running_subtasks", "gauge", "Subtasks that run on this device.", [({}, node.worker.running)]
    yield "throughput", "gauge", "Subtasks that end on this device a second.", [({}, node.worker.throughput())]
    tasks = node.coordinator.list_tasks().tasks
    yield "tasks", "gauge", "Tasks that this node answers for or keeps a copy of, by state.", _counted(
        "state", (str(task.lite.get("state", "")) for task in tasks))


def _about_events(node: Any) -> Iterable[Tuple[str, str, str, List[Sample]]]:
    yield "events_total", "counter", "What happened since the start of the node, by kind.", [
        ({"event": kind}, count) for kind, count in sorted(node.events.counts.items())]
    yield "event_readers", "gauge", "Readers of /events.", [({}, len(node.event_readers))]
    yield "events_skipped_total", "counter", "Events that slow readers did not get.", [({}, node.event_readers.skipped)]
    yield "oddities_total", "counter", "Odd things that were seen and passed by, by name.", [
        ({"what": what}, count) for what, count in sorted(_oddities(node).items())]


def _oddities(node: Any) -> Dict[str, int]:
    """Return what the node and its machines passed by, each named where it is counted."""
    registry, cluster = node.discovery.registry, node.belonging.cluster
    found = {
        **node.counters, "stray_device_events": registry.strays, "devices_without_room": registry.refused,
        "copies_of_this_identity": registry.duplicates, "late_attempts": node.attempts.scheduler.late,
    }
    if cluster is not None:
        found.update(bad_statements=cluster.refused, ignored_statements=cluster.membership.ignored)
    return {what: count for what, count in found.items() if count}


def _counted(label: str, values: Iterable[str]) -> List[Sample]:
    counts: Dict[str, int] = Counter(values)
    return [({label: value}, count) for value, count in sorted(counts.items())]


def _known(value: float) -> List[Sample]:
    return [({}, value)] if value >= 0 else []


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
