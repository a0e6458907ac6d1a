"""Offer what devices of one cluster tell each other about it.

Knows:   the methods, their parameters and who may call them.
Refuses: to do the work: roles/belonging.py does.
Read next: roles/methods.py (how a method is made).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .methods import method
from .ports import LinkPort


@dataclass(frozen=True)
class SyncClusterAnswer:
    """Say what is known of the cluster: a digest of all statements, and these, a line each, where they differ."""

    success: bool = False
    message: str = ""
    digest: str = ""
    statements: bytes = b""
    #: From an admin: what beacons are sealed with.
    beacon_key: bytes = b""


@method("SyncCluster", level="certified")
def sync_cluster(
    node: Any, link: LinkPort, digest: str = "", statements: bytes = b"", beacon_key: bytes = b""
) -> SyncClusterAnswer:
    """Compare what is known of the cluster, and learn what is missing: statements, each signed by its key.

    `digest` is that of all statements of the caller, `statements` are lines of them, `beacon_key` comes from admins.
    A device of which nobody has told this node yet may bring the statement about itself, and gets this node's own.
    """
    return node.belonging.compared(link, digest, statements, beacon_key)
