r"""Cut a stream of bytes into messages: one line of JSON, then its raw attachments.

Knows:   the framing of the protocol and its limits.
Refuses: what the JSON means (wire/rpc.py does); to allocate what was only announced beyond a limit.
Read next: wire/rpc.py.

    {"jsonrpc":"2.0","id":7,"method":"Echo","params":{"data":{"$attachment":0}},"attachments":[3]}\n
    abc

A line ends with ``\n``; ``\r\n`` is read too, and blank lines between messages are skipped, because
people type. `attachments` lists the byte lengths of what follows the line, in order.
"""

from __future__ import annotations

import binascii
import re
from typing import Any, Callable, List, Optional, Protocol, Sequence, Tuple, Union

from ..model.errors import InvalidRequest, LocalProtocolError, TooLarge
from ..model.limits import KIB, Limits
from .strict_json import MessageParser, encode_line, is_crowded, make_encoder

#: What carries bytes without saying who owns them.
Buffer = Union[bytes, bytearray, memoryview]
#: A message as it is on the wire: the JSON value and its attachments.
Message = Tuple[Any, List[Buffer]]
#: Attachments of at least this size are received straight into their own memory, without a copy.
DIRECT_BYTES = 64 * KIB
#: `bytes` values up to this size travel as base64 text within the line; above, as attachments.
INLINE_BYTES = 1 * KIB
#: What a blank line may hold, and what ends the search for one.
_BLANKS = b" \t\r"
_BRACE = ord("{")
_NOT_BLANK = re.compile(rb"[^ \t\r\n]")


class RoomPort(Protocol):
    """Say when the attachments of one stream may be received: all streams of a node have one bound."""

    #: Whether nothing may be received until there is room.
    is_waiting: bool

    def take(self, size: int) -> None:
        """Take room for the attachments of one message, or wait for it."""

    def give_back(self) -> None:
        """Give back what was taken or is waited for, if anything."""


class MessageDecoder:
    """Turn received bytes into messages, incrementally and within limits.

    Feed with `receive_data`, then call `next_message` until it returns None. When `direct_buffer`
    returns memory, the next bytes of the stream may be received straight into it, followed by
    `direct_filled`. After a `ProtocolError` the stream cannot be resynchronised: close it.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        admit: Optional[Callable[[Any], bool]] = None,
        allocate: Callable[[int], Any] = bytearray,
        parse: Optional[Callable[[bytes], Any]] = None,
        room: Optional[RoomPort] = None,
    ) -> None:
        """`parse(line)` returns a line's JSON value. `admit(value)` is asked about a line that announces attachments,
        before any memory is taken for them: it refuses by raising, and by returning False has the whole message read
        and thrown away. `allocate(size)` returns writable memory, once there is `room` for the whole message."""
        self._limits = limits
        self._admit = admit
        self._allocate = allocate
        self._room = room
        self._parse = parse or MessageParser(limits.json_depth, limits.json_values).parse
        self._data = bytearray()
        #: The one whole line that came, with its newline, while `_data` is empty: most messages come so.
        self._line = b""
        #: No newline lies before this position of `_data`.
        self._searched = 0
        self._value: Any = None
        #: Attachments of the message being read; the last one has `_missing` bytes to go.
        self._attachments: List[Buffer] = []
        self._sizes: List[int] = []
        self._missing = 0
        #: Bytes still to come of a message that nobody wants.
        self._unwanted = 0

    @property
    def is_between_messages(self) -> bool:
        """Whether an end of the stream here cuts nothing."""
        return not (self._data or self._line or self._unwanted) and self._value is None

    def receive_data(self, data: Buffer) -> None:
        """Take the next bytes of the stream."""
        if self._line:
            self._data += self._line
            self._line = b""
        elif (
            type(data) is bytes and data.find(b"\n") == len(data) - 1
            and not (self._data or self._unwanted) and self._value is None
        ):
            self._line = data
            return
        self._data += data

    def next_message(self) -> Optional[Message]:
        """Return the next whole message, or None until more bytes come; raise `ProtocolError`."""
        line = self._line
        if line and line[0] == _BRACE and len(line) <= self._limits.line_bytes:
            # The hot path: one read brought one message, and it has no attachments.
            self._line = b""
            value = self._parse(line)
            if "attachments" not in value:
                return value, []
            self._begin(value)
        while self._value is None:
            if not self._data and not self._line:
                return None
            found = self._next_line()
            if found is None:
                return None
            if found:
                self._begin(self._parse(found))
            else:
                self._skip_blank_lines()
        if self.is_waiting:
            return None
        self._fill()
        if self._missing:
            return None
        self.give_room_back()
        message = (self._value, self._attachments)
        self._value, self._attachments, self._sizes = None, [], []
        return message

    @property
    def is_waiting(self) -> bool:
        """Whether nothing can be received until there is room for the attachments that a line announced."""
        return self._room is not None and self._room.is_waiting

    @property
    def missing_bytes(self) -> int:
        """Return how much of the message that is being received is still to come, its line aside."""
        return self._missing + sum(self._sizes)

    def give_room_back(self) -> None:
        """Leave the room for attachments to others; also where the stream ends in the middle of them."""
        if self._room is not None:
            self._room.give_back()

    def direct_buffer(self) -> Optional[memoryview]:
        """Return where the next bytes belong, when a large attachment is being received."""
        if self._missing >= DIRECT_BYTES and not self._data:
            return memoryview(self._attachments[-1])[-self._missing:]
        return None

    def direct_filled(self, count: int) -> bool:
        """Say that `count` bytes have been received into `direct_buffer()`; return whether that fills it."""
        self._missing -= count
        return not self._missing

    def _skip_blank_lines(self) -> None:
        """Drop whole blank lines in one go: one at a time, 8 MiB of them would hold the loop for seconds."""
        found = _NOT_BLANK.search(self._data, 0, self._limits.line_bytes)
        start = found.start() if found else min(len(self._data), self._limits.line_bytes)
        del self._data[: self._data.rfind(b"\n", 0, start) + 1]

    def _next_line(self) -> Optional[bytes]:
        if self._line:
            self._data, self._line = bytearray(self._line), b""
        if self._unwanted:
            count = min(self._unwanted, len(self._data))
            del self._data[:count]
            self._unwanted -= count
            if self._unwanted:
                return None
        end = self._data.find(b"\n", self._searched)
        if (len(self._data) if end < 0 else end) > self._limits.line_bytes:
            raise TooLarge(
                f"the line is longer than {self._limits.line_bytes} bytes; send large values as attachments"
            )
        if end < 0:
            self._searched = len(self._data)
            return None
        line = bytes(self._data[:end])
        del self._data[: end + 1]
        self._searched = 0
        return line.rstrip(b"\r") if line.strip(_BLANKS) else b""

    def _begin(self, value: Any) -> None:
        if isinstance(value, dict) and "attachments" in value:
            sizes = self._checked_sizes(value["attachments"])
            if sizes and self._admit is not None and not self._admit(value):
                self._unwanted = sum(sizes)
                return
            self._sizes = sizes[::-1]
            if sizes and self._room is not None:
                self._room.take(sum(sizes))
        # A JSON null is a message too (an invalid one), and must not read as "no message yet".
        self._value = value if value is not None else _NULL

    def _checked_sizes(self, sizes: Any) -> List[int]:
        if not isinstance(sizes, list) or not all(type(size) is int and size >= 0 for size in sizes):
            raise TooLarge("attachments must be a list of byte lengths")
        if len(sizes) > self._limits.attachments:
            raise TooLarge(f"a message has at most {self._limits.attachments} attachments")
        if sum(sizes) > self._limits.message_bytes:
            raise TooLarge(f"a message has at most {self._limits.message_bytes} bytes; send it in parts")
        return sizes

    def _next_attachment(self) -> None:
        while self._sizes and not self._missing:
            size = self._sizes.pop()
            try:
                self._attachments.append(self._allocate(size) if size else b"")
            except MemoryError:
                raise TooLarge(f"this device has no {size} bytes of memory left; send it in parts") from None
            self._missing = size

    def _fill(self) -> None:
        self._next_attachment()
        while self._missing and self._data:
            count = min(self._missing, len(self._data))
            target = memoryview(self._attachments[-1])
            start = len(target) - self._missing
            with memoryview(self._data) as source:
                target[start:start + count] = source[:count]
            del self._data[:count]
            self._missing -= count
            self._next_attachment()


#: Stands for a top-level JSON null while None means "nothing yet".
_NULL = ("null",)


def encode_message(value: Any, inline_bytes: int = INLINE_BYTES) -> List[Buffer]:
    """Return the pieces of one message, to be sent in order: the line, then the attachments.

    `bytes` anywhere in `value` up to `inline_bytes` become base64 text, larger ones attachments; no
    attachment is copied. `value` gets its `attachments` member here and must not have one. A batch has
    no attachments: all its bytes are text.
    """
    try:
        # Most messages hold no bytes, and an encoder built once is a third faster.
        return [encode_line(value)]
    except TypeError:
        return _encode_with_bytes(value, inline_bytes)
    except (ValueError, RecursionError) as error:
        raise _unsendable(error) from None


def encode_sendable(value: Any, limits: Limits, inline_bytes: int = INLINE_BYTES) -> List[Buffer]:
    """Return what `encode_message` does, if the other side will take it; else raise `LocalProtocolError`.

    Whoever wants large bytes as text (HTTP) gets lines of any length.
    """
    try:
        # Written here, most messages are spared a call on their way.
        pieces: List[Buffer] = [encode_line(value)]
    except TypeError:
        pieces = _encode_with_bytes(value, inline_bytes)
    except (ValueError, RecursionError) as error:
        raise _unsendable(error) from None
    # The line ends with a newline that does not count, and stands before the attachments.
    size = len(pieces[0]) - 1
    if size > limits.line_bytes and size > inline_bytes:
        raise LocalProtocolError(f"a line of ours would pass {limits.line_bytes} bytes; send large values as bytes")
    if is_crowded(bytes(pieces[0]), limits.json_values) and size > inline_bytes:
        raise LocalProtocolError(f"a line of ours would pass {limits.json_values} values; send many values as bytes")
    if len(pieces) > 1 and (
        len(pieces) - 1 > limits.attachments or sum(map(len, pieces[1:])) > limits.message_bytes
    ):
        raise LocalProtocolError(
            f"a message of ours would pass {limits.attachments} attachments or {limits.message_bytes} bytes;"
            " send it in parts"
        )
    return pieces


def _encode_with_bytes(value: Any, inline_bytes: int) -> List[Buffer]:
    attachments: List[Buffer] = []
    all_inline = isinstance(value, list)

    def place(item: Any) -> Any:
        if isinstance(item, (bytes, bytearray, memoryview)):
            view = memoryview(item).cast("B") if len(item) else memoryview(b"")
            if all_inline or len(view) <= inline_bytes:
                return b2a_text(view)
            attachments.append(view)
            return {"$attachment": len(attachments) - 1}
        raise TypeError(f"{type(item).__name__} is not JSON")

    try:
        line = "".join(make_encoder(place)(value, 0))
        if attachments:
            line = line[:-1] + ',"attachments":[' + ",".join(str(len(item)) for item in attachments) + "]}"
        return [(line + "\n").encode("utf-8"), *attachments]
    except (TypeError, ValueError, RecursionError) as error:
        raise _unsendable(error) from None


def _unsendable(error: Exception) -> LocalProtocolError:
    return LocalProtocolError(f"this message cannot be sent: {error}")


def b2a_text(data: Buffer) -> str:
    """Return bytes as base64 text, the form that proto3's JSON mapping gives them."""
    return binascii.b2a_base64(data, newline=False).decode("ascii")


def join_attachments(value: Any, attachments: Sequence[Buffer]) -> Any:
    """Return `value` with each ``{"$attachment": i}`` replaced by the bytes that it stands for."""
    if isinstance(value, dict):
        if len(value) == 1 and "$attachment" in value:
            index = value["$attachment"]
            if type(index) is int and 0 <= index < len(attachments):
                return attachments[index]
            raise InvalidRequest("$attachment must be the number of one of the message's attachments")
        return {key: join_attachments(item, attachments) for key, item in value.items()}
    if isinstance(value, list):
        return [join_attachments(item, attachments) for item in value]
    return value
