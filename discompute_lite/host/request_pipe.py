"""Be the pipe by which a child is given its requests; the last one may be taken back until the child begins it.

Knows:   both ends, of which the child has the reading one too.
Refuses: to know what a request says.
Read next: host/ahead.py (who takes back, and why), host/child.py (the other reader).

Of two who read from a pipe one gets what is in it, and the system sees to that. The child looks into it when it has
answered the request before, reads the next one's length first, and from then on that request is begun. So what is read
here whole, by the node, was not begun and never will be.
"""

from __future__ import annotations

import os
import threading

#: More than any pipe holds that nobody has widened.
PIPE_MOST = 1 << 17


class RequestPipe:
    """Hold both ends; neither blocks, also for the child, which polls."""

    def __init__(self) -> None:
        self.child_end, self.fd = os.pipe()
        for end in (self.child_end, self.fd):
            os.set_blocking(end, False)
        #: So that nobody reads what bears its number by then.
        self._lock = threading.Lock()
        self._is_closed = False

    def take_back(self, size: int) -> bool:
        """Take back the request that was written last, by its length; return False where the child has begun it."""
        with self._lock:
            try:
                found = b"" if self._is_closed else os.read(self.child_end, PIPE_MOST)
            except BlockingIOError:
                return False
            is_whole = len(found) >= size
            # What the child has still to read: the request before this one, or the rest of this one.
            kept = found[:len(found) - size] if is_whole else found
            if kept:
                os.write(self.fd, kept)
            return is_whole

    def close(self) -> None:
        """Close both ends; for the child that is the end."""
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                os.close(self.fd)
                os.close(self.child_end)
