"""Offer what a script asks of the node beside which it runs; outcomes go back over the same connection.

Knows:   the names and parameters of these calls.
Refuses: to do the work; roles/script_calls.py does.
Read next: roles/script_calls.py, roles/far_streams.py and roles/far_vectors.py (who call these).

The node tells the script two things, as notifications. `CallsCame` {stream, numbers, lines, attempts, at, devices,
failed, work_s, slots} brings the outcomes of units: a line each (in `text` where they are short), the place in
`devices` [[id, whether its pickles may be read]] of the one that made it, and in `failed` [[number, error, blame,
device id, attempts]] those without. `CallsBegan` {stream, units} says [[number, whether it is on a device]] of what is
not over soon.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional, Tuple

from ..model.told_round import ToldRound
from .bounds import devices_that_fit
from .methods import method
from .offers import DeviceOffer
from .ports import LinkPort


@dataclass(frozen=True)
class ServeScriptAnswer:
    """Say how many slots all devices have that may be given the script's work."""

    slots: int = 0


@dataclass(frozen=True)
class GetOffersAnswer:
    """List the devices, the answering node first, each with what it offers."""

    offers: List[DeviceOffer] = field(default_factory=list)


@method("ServeScript", level="owner")
def serve_script(node: Any, link: LinkPort, elsewhere: bool = False) -> ServeScriptAnswer:
    """Serve the script at the other end; repeated, say how many slots there are now.

    `elsewhere` leaves this machine's own cores out. When the connection ends, so do the script's calls.
    """
    return node.scripts.serve(link, elsewhere)


@method("GetOffers", level="owner")
def get_offers(node: Any, link: LinkPort) -> GetOffersAnswer:
    """List the devices with what each offers for the script's work, or why it takes none."""
    offers = node.scripts.offers(link)
    # As many as one answer carries.
    fitting = devices_that_fit([each.device for each in offers], node.settings_limits)
    return GetOffersAnswer(offers[:len(fitting)])


@dataclass(frozen=True)
class CallsToOpen:
    """Number a stream of calls, give its function's line, and say how the calls are to be run (`StreamOptions`)."""

    stream: int = 0
    line: bytes = b""
    function: str = ""
    priority: int = 5
    requires: Tuple[str, ...] = ()
    max_devices: int = 0
    pure: bool = False
    wall_s: float = 0.0


@method("OpenCalls", level="owner", form=CallsToOpen)
def open_calls(node: Any, link: LinkPort, calls: CallsToOpen) -> None:
    """Begin a stream of calls, numbered by the script, of the function that `line` holds."""
    node.scripts.open(link, calls)


@method("MakeCalls", level="owner")
def make_calls(
    node: Any, link: LinkPort, stream: int = 0, numbers: Optional[List[int]] = None, counts: Optional[List[int]] = None,
    units: bytes = b"", text: str = "",
) -> None:
    """Have units of calls made, a line of `units` or of `text` each, with a number and how many calls it holds."""
    node.scripts.make(link, stream, numbers or [], counts or [], bytes(units) or text.encode("utf-8", "replace"))


@method("CancelCalls", level="owner")
def cancel_calls(
    node: Any, link: LinkPort, stream: int = 0, numbers: Optional[List[int]] = None, waiting: bool = False
) -> None:
    """Do without the units of these numbers, down to their processes; or, `waiting`, all that no device has."""
    node.scripts.cancel(link, stream, numbers or [], waiting)


@method("CloseCalls", level="owner")
def close_calls(node: Any, link: LinkPort, stream: int = 0) -> None:
    """Add nothing more to a stream; what is under way in it goes on."""
    node.scripts.close(link, stream)


@method("KeepBlob", level="owner")
def keep_blob(
    node: Any, link: LinkPort, sha256: str = "", size: int = 0, offset: int = 0, data: bytes = b""
) -> None:
    """Take the next range of a value that the script's calls name, until `ReleaseBlob` or the script's end."""
    node.scripts.keep_blob(link, sha256, size, offset, bytes(data))


@method("SpreadBlob", level="owner")
def spread_blob(node: Any, link: LinkPort, sha256: str = "") -> None:
    """Have every device that may be given work fetch a blob, in the background."""
    node.blobs.broadcast(sha256)


@method("ReleaseBlob", level="owner")
def release_blob(node: Any, link: LinkPort, sha256: str = "") -> None:
    """Need a blob no more: it is deleted here and wherever it went, unless others need it."""
    node.scripts.release_blob(link, sha256)


@method("AskInTraining", level="owner")
def ask_in_training(
    node: Any, link: LinkPort, device_id: str = "", method: str = "", params: Optional[Dict[str, Any]] = None,
    within_s: float = 0.0,
) -> Dict[str, Any]:
    """Ask a device, this one included, what a training's leader asks; the answer is the device's, or its error.

    When the script's connection ends, all devices leave the trainings that they joined so.
    """
    return node.scripts.script_of(link).trainings.ask(device_id, method, params or {}, within_s)


@method("KeepVector", level="owner")
def keep_vector(
    node: Any, link: LinkPort, name: str = "", size: int = 0, offset: int = 0, data: bytes = b""
) -> None:
    """Take the next range of a vector of a training that the script leads; `GetVector` returns what is here."""
    node.scripts.script_of(link).trainings.keep_range(name, size, offset, data)


@method("TellRound", level="owner", form=ToldRound)
def tell_round(node: Any, link: LinkPort, told: ToldRound) -> None:
    """Tell of a round of a training that the script leads: it is an event, and `ListTasks` has the newest."""
    node.scripts.script_of(link).trainings.tell(told)
