"""Carry short texts between people at devices.

Knows:   whom a message is for, who may send how many, and how to forward one once.
Refuses: to keep them; a text is shown when it comes.
Read next: roles/methods.py (`SendMessage`).
"""

from __future__ import annotations

import binascii
from typing import Any, Dict

from ..core.policy import TokenBucket
from ..model.codec import from_json
from ..model.device import short_id
from ..model.errors import DiscomputeError, InvalidParams, Unavailable
from .methods import SendMessageAnswer
from .ports import Later, LinkPort

#: Marks a message that has been forwarded: it is not forwarded again.
FORWARDED = "forwarded-by"
#: Seconds allowed for the forwarded call.
FORWARD_S = 8.0
#: Senders whose rate is remembered; beyond it the oldest is forgotten.
SENDERS = 256


class PostOffice:
    """Deliver messages for one node."""

    def __init__(self, node: Any) -> None:
        self._node = node
        #: remote host -> its allowance; at most `SENDERS`.
        self._buckets: Dict[str, TokenBucket] = {}

    def deliver(
        self, link: LinkPort, sender: str, addressee: str, kind: str, payload: Any, metadata: Dict[str, str]
    ) -> Any:
        """Show a message here, or forward it once; the answer says what became of it."""
        node = self._node
        if len(payload) > node.settings_limits.message_text_bytes:
            most = node.settings_limits.message_text_bytes
            raise InvalidParams(f"a message has at most {most} bytes; send a job instead")
        try:
            text = bytes(payload).decode("utf-8")
        except UnicodeDecodeError:
            raise InvalidParams("payload must be UTF-8 text") from None
        is_trusted = node.belonging.is_trusted(link)
        self._check_rate(link, is_trusted)
        known = node.discovery.registry.find(addressee) if addressee else []
        if addressee in ("", node.id, node.name, node.settings.device_id) or (
            not known and len(addressee) >= 4 and node.id.startswith(addressee.lower())
        ):
            is_its_own = link.peer.is_owner or sender == link.verified_id
            return self._show(link, sender, kind, text, is_trusted and is_its_own and not metadata.get(FORWARDED))
        if len(known) == 1 and known[0].foreign:
            problem = f"{known[0].device.name} runs {known[0].foreign}, which takes no messages from here"
            return SendMessageAnswer(False, problem, int(node.wall()))
        if len(known) != 1:
            problem = f"several devices are called {addressee!r}; give an id" if len(known) > 1 else (
                f"no device is called {addressee!r} here; see the list of devices")
            return SendMessageAnswer(False, problem, int(node.wall()))
        if metadata.get(FORWARDED):
            return SendMessageAnswer(False, "the message was forwarded once already; send it to the device itself",
                                     int(node.wall()))
        # As base64 text: over 1 KiB it would travel as an attachment, which no stranger may send.
        params = {
            "from_device_id": sender or node.id, "to_device_id": known[0].device_id, "message_type": kind or "text",
            "payload": binascii.b2a_base64(payload, newline=False).decode("ascii"),
            "metadata": {**metadata, FORWARDED: node.id},
        }
        return self._forward(known[0].device_id, params)

    def _forward(self, device_id: str, params: Dict[str, Any]) -> Later:
        later = Later()

        def answered(result: Any, error: Any) -> None:
            try:
                if error is not None:
                    raise error
                later.resolve(from_json(SendMessageAnswer, result, "the answer to SendMessage"))
            except DiscomputeError as problem:
                text = f"{short_id(device_id)}: {problem.message}"
                later.resolve(SendMessageAnswer(False, text, int(self._node.wall())))

        self._node.discovery.call(device_id, "SendMessage", params, answered, timeout_s=FORWARD_S)
        return later

    def _show(self, link: LinkPort, sender: str, kind: str, text: str, is_verified: bool) -> SendMessageAnswer:
        known = self._node.discovery.registry.get(sender)
        name = short_id(sender) or link.remote_address
        if known is not None:
            name = f"{known.device.name} ({name})"
        mark = "" if is_verified else " (unverified)"
        self._node.tell("message", f"message from {name}{mark}: {text}", device_id=sender)
        return SendMessageAnswer(True, f"shown on {self._node.name}", int(self._node.wall()))

    def _check_rate(self, link: LinkPort, is_trusted: bool) -> None:
        if is_trusted:
            return
        host = link.remote_address.rpartition(":")[0]
        bucket = self._buckets.get(host)
        if bucket is None:
            most = self._node.settings_limits.messages_per_minute
            if len(self._buckets) >= SENDERS:
                del self._buckets[next(iter(self._buckets))]
            bucket = self._buckets[host] = TokenBucket(most / 60.0, most)
        now = self._node.clock.now()
        if not bucket.take(now):
            wait_s = round(bucket.wait(now), 1)
            raise Unavailable("too many messages from this device; wait a little", {"retry_after": wait_s})
