"""Remember what is known of the other end of one connection.

Knows:   who it said that it is, what it was granted, how its last heartbeat read, how fast the way there is.
Refuses: to decide anything by it (core/policy.py, roles/node.py), and to outlive the connection.
Read next: roles/node.py, roles/heartbeats.py.
"""

from __future__ import annotations

from typing import Any, Set


class Peer:
    """Remember what is known of the other end of one connection."""

    __slots__ = (
        "node_id", "boot", "is_owner", "can_be_called", "is_greeted", "is_retired", "cleared", "cleared_in",
        "told_version", "memo_method", "memo_params", "memo_arguments", "said", "said_at",
        "round_trip_s", "bytes_s", "is_measured",
    )

    def __init__(self) -> None:
        #: The id it gave in `Hello`, "" for clients; unverified until links are encrypted.
        self.node_id = ""
        self.boot = ""
        #: Whether it showed this node's control token over loopback.
        self.is_owner = False
        #: Whether calls can go back to it; over HTTP they cannot, so whoever calls there is nobody's link.
        self.can_be_called = True
        #: Whether Hello and its answer have passed: only then both sides know what they may ask of each other.
        self.is_greeted = False
        #: Levels of access that were granted; emptied whenever anything that they rest on changes.
        self.cleared: Set[str] = set()
        #: `Belonging.version` at which they were granted.
        self.cleared_in = 0
        #: Whether its end is meant: one side said goodbye.
        self.is_retired = False
        #: The registry's version that it has been told of.
        self.told_version = 0
        #: The last heartbeat: its method, its parameters (the very object: wire/repeats.py gives it again), as read.
        self.memo_method: Any = None
        self.memo_params: Any = None
        self.memo_arguments: Any = None
        #: What its last heartbeat said, and when that was (monotonic).
        self.said: Any = None
        self.said_at = 0.0
        #: Seconds of a call there and back, and bytes a second on the way, 0.0 until measured; and whether that began.
        self.round_trip_s = self.bytes_s = 0.0
        self.is_measured = False
