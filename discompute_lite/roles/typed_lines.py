"""Take a line that the owner of a node types where it runs: an address is called, and the answer told.

Knows:   that `call attic`, `192.168.1.20` and `[fe80::1%en0]:8080` mean an address.
Refuses: the keyboard (host/keyboard.py), and to guess what else somebody may have wanted.
Read next: roles/greeter.py (who calls), roles/meeting_methods.py (the same for other programs).
"""

from __future__ import annotations

from typing import Any, List

from ..model.device import short_id
from ..model.setting_kinds import peers_kind
from .meeting_methods import MetAddress

#: Before an address; a name of one word needs it, since whoever types "help" calls nobody.
CALL_WORD = "call"


def take_typed_line(node: Any, line: str) -> None:
    """Call the address that a line names, and tell who answered; tell what may be typed for any other line."""
    words = line.split()
    is_named = len(words) == 2 and words[0].lower() == CALL_WORD
    if not is_named and not (len(words) == 1 and ("." in line or ":" in line)):
        node.tell("note", "type an address such as 192.168.1.20, or call NAME; q ends the node")
        return
    try:
        addresses: List[str] = list(peers_kind().take([words[-1]]))
    except ValueError:
        node.tell("note", f"{words[-1]} is no address; type one such as 192.168.1.20 or 192.168.1.20:8080")
        return
    node.discovery.meet(addresses, lambda met: _tell_met(node, met[0]))


def _tell_met(node: Any, met: MetAddress) -> None:
    if met.device_id:
        device = node.discovery.registry.get(met.device_id)
        name = device.device.name if device is not None else short_id(met.device_id)
        node.tell("note", f"{name} answers at {met.address}")
    elif met.is_own:
        node.tell("note", met.own_sentence())
    else:
        node.tell("note", f"nobody answers there yet, it is called again and again: {met.message}")
