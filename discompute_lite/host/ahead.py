"""Let a slot's next request lie in its child's pipe while the child is busy, so that it goes on without a pause.

Knows:   what may lie there, who is asked whether it does, and how it is taken back.
Refuses: to decide which request comes next (host/executors.py does), and what it is to be when its turn comes.
Read next: host/request_pipe.py (why what is taken back was never begun), host/process_executor.py (who decides).

From an answer to the next request the node takes as long as it takes to be woken, to read and to write, and to let go
of the processor that the child needs: most of a millisecond. A request that lies ahead is in one of three states:

    lying       the child has not answered the one before: it can be taken back, and then nothing of it has happened
    begun       the child has answered the one before and has taken it; the node has not read that answer yet
    its turn    the answer before it has been read: it is the slot's current one, and its clock runs

Nobody can tell the first from the second but by taking it back. Where the child is gone before its turn it is begun
anew elsewhere, blamed for nothing: so only what may be repeated lies ahead. Whatever is not plain waits as ever: what
is large, what runs in the slot's thread, what would be a child's first request or its last one.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Optional

from .child_process import ChildProcess
from .exchange import Exchange

#: The longest request that is written ahead: half of what a pipe holds, so that it is written at once or not at all.
AHEAD_BYTES = 32 * 1024


class Ahead(NamedTuple):
    """Hold a request that lies ahead, and where."""

    future: Any
    exchange: Exchange
    child: ChildProcess


def write_ahead(child: ChildProcess, running: Exchange, future: Any, wall_s: float) -> Optional[Ahead]:
    """Write a request behind the one that runs; return None where that cannot be done in a moment, and it waits on."""
    who, request = object(), future.request
    if len(request.data) > AHEAD_BYTES or not running.claim(who):
        return None
    # While it is ours, nobody reads the answer in the belief that nothing follows it.
    try:
        if running.has_left or not running.is_sent:
            return None
        exchange = Exchange(request, wall_s)
        exchange.future = future
        try:
            exchange.write(child.request_fd)
        except BlockingIOError:
            if not exchange.sent_bytes or child.take_back(exchange.sent_bytes):
                return None  # Else the child has begun to read it: when its turn comes it gets the rest.
        running.is_followed = True
        return Ahead(future, exchange, child)
    finally:
        if not running.has_left:
            running.release()
