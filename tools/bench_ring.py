"""Be the yardsticks of averaging, each four processes that average in turns with ours: for `tools/bench.py ml`.

    gloo      PyTorch's all-reduce, which encrypts nothing
    bare      our own ring over bare sockets, by hand: no nodes, no calls, no encryption
    plain     the same without NumPy
    copy      each sends what a ring makes it send, and takes as much: no sums
    sealed    the same through TLS, as `ssl` does it
"""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Callable, List, Sequence

NUMBERS = 10_000_000
NODES = 4
#: What each of them sends at least, in bytes.
RING_BYTES = 4 * NUMBERS * 2 * (NODES - 1) // NODES
COPY_BYTES = 512 * 1024
#: Memory for pieces that the ring over bare sockets keeps, as a node does.
KEPT_BYTES = 32 * 1024 * 1024


class Ranks:
    """Run four processes of this file that average in turns with ours; a context manager."""

    def __init__(self, what: str, folder: str, *, is_warm: bool = False) -> None:
        """Unless it is `is_warm`, it averages once on entering, unmeasured."""
        self._is_warm = is_warm
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self._processes = [subprocess.Popen(
            [sys.executable, __file__, what, str(rank), str(port), folder], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True, env={**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"},
        ) for rank in range(NODES)]

    def average(self) -> float:
        """Average once; return the seconds of the slowest."""
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        return max(float(process.stdout.readline()) for process in self._processes if process.stdout is not None)

    def __enter__(self) -> Ranks:
        if not self._is_warm:
            self.average()
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
            assert process.stdin is not None and process.stdout is not None
            process.stdin.close()
            process.stdout.close()


def serve_rank(average: Callable[[], None]) -> None:
    """Average whenever the parent says so, and tell the seconds."""
    for _ in sys.stdin:
        began = time.perf_counter()
        average()
        print(time.perf_counter() - began, flush=True)


def serve_gloo(rank: int, port: int, folder: str) -> None:
    """Be one of gloo's four."""
    import torch
    import torch.distributed

    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=NODES)
    vector = torch.ones(NUMBERS)

    def average() -> None:
        torch.distributed.all_reduce(vector)
        vector.div_(NODES)

    serve_rank(average)


def serve_bare(rank: int, port: int, folder: str, *, with_numpy: bool = True) -> None:
    """Be one of four whose pieces travel over bare sockets: our ring without nodes, calls and encryption."""
    from discompute_lite.ml.ring import AveragePlan, average_of
    from discompute_lite.ml.sums import SumMemory, VectorShare, vector_sums
    from discompute_lite.ml.vectors import VectorForm
    from discompute_lite.net.memory import AttachmentMemory
    from discompute_lite.roles.averaging import piece_numbers

    # What nodes receive into and send from: fresh memory costs as much as the socket.
    memory = AttachmentMemory(time.monotonic, lambda *_: None)
    before, after = _ring_sockets(rank, port)
    form = VectorForm("f", NUMBERS)
    share, result = struct.pack("f", 1.0) * NUMBERS, bytearray(form.size)
    names, piece_size = tuple(map(str, range(NODES))), piece_numbers(form, NODES) * form.item_bytes

    def allocate(size: int) -> Any:
        return memory.allocate(size, KEPT_BYTES)

    def place(piece: int, hop: int, size: int) -> Any:
        # What is whole comes to where it stays.
        is_whole, start = hop > NODES - 2, piece * piece_size
        return memoryview(result)[start:start + size] if is_whole else allocate(size)

    def average() -> None:
        sums = vector_sums(form, [VectorShare(1 / NODES, share)], result, piece_size // form.item_bytes,
                           with_numpy=with_numpy, beside=SumMemory(allocate=allocate))
        part = average_of(AveragePlan(names), names[rank], sums)
        _BareRing(part, names[(rank - 1) % NODES], before, after, place).run()
        assert result[:4] == result[-4:] == share[:4]

    serve_rank(average)


def serve_plain(rank: int, port: int, folder: str) -> None:
    """Be one of four without NumPy."""
    serve_bare(rank, port, folder, with_numpy=False)


def serve_copy(rank: int, port: int, folder: str) -> None:
    """Be one of four that send bytes around and do nothing else."""
    before, after = _ring_sockets(rank, port)
    _serve_bytes(before, after)


def serve_sealed(rank: int, port: int, folder: str) -> None:
    """Be one of four that send bytes around through TLS and do nothing else."""
    from bench_security import identity_in
    from discompute_lite.net.tls import make_tls_context

    before, after = _ring_sockets(rank, port)
    sealed: List[Any] = []
    # Each is the server of the one before it and the client of the one behind it, at the same time.
    server = threading.Thread(target=lambda: sealed.append(make_tls_context(
        identity_in(folder, "server"), is_server=True).wrap_socket(before, server_side=True)))
    server.start()
    client = make_tls_context(identity_in(folder, "client"), is_server=False).wrap_socket(after)
    server.join()
    _serve_bytes(sealed[0], client)


def _serve_bytes(before: Any, after: Any) -> None:
    sent, view = bytes(COPY_BYTES), memoryview(bytearray(COPY_BYTES))

    def send() -> None:
        left = RING_BYTES
        while left:
            after.sendall(sent[:left] if left < COPY_BYTES else sent)
            left -= min(left, COPY_BYTES)

    def exchange() -> None:
        sender = threading.Thread(target=send)
        sender.start()
        left = RING_BYTES
        while left:
            left -= before.recv_into(view[:min(left, COPY_BYTES)])
        sender.join()

    serve_rank(exchange)


class _BareRing:
    """Move pieces over two sockets: frames of piece, hop and size, then the bytes.

    Nothing is acknowledged beside what TCP does: a piece has arrived when its socket has taken it.
    """

    HEAD = struct.Struct("<iiI")

    def __init__(
        self, part: Any, before_name: str, before: socket.socket, after: socket.socket,
        place: Callable[[int, int, int], Any],
    ) -> None:
        """`place(piece, hop, size)` gives the memory that a piece is received into."""
        self._part, self._before_name = part, before_name
        self._before, self._after = before, after
        self._out: SimpleQueue[Any] = SimpleQueue()
        self._place = place
        #: Held by whichever of the two threads moves the average on.
        self._lock = threading.Lock()

    def run(self) -> None:
        """Go on until the average is over."""
        # On a thread of its own: whoever waits for a socket to take something reads nothing meanwhile.
        sender = threading.Thread(target=self._send_all)
        self._take(self._part.begin())
        sender.start()
        while self._before_name in self._part.waits_for():
            piece, hop, size = self.HEAD.unpack(_filled(self._before, bytearray(self.HEAD.size)))
            with self._lock:
                memory = self._place(piece, hop, size)
            data = _filled(self._before, memory)
            with self._lock:
                self._take(self._part.piece_came(self._before_name, piece, hop, data))
        sender.join()

    def _take(self, actions: Sequence[Any]) -> None:
        for action in actions:
            self._out.put(action)

    def _send_all(self) -> None:
        while action := self._out.get():  # That it is over is the one action with nothing in it.
            head = self.HEAD.pack(action.piece, action.hop, len(action.data))
            # Together: by a head alone the one behind would be woken for nothing.
            sent = self._after.sendmsg((head, action.data))
            self._after.sendall(action.data[sent - len(head):])
            with self._lock:
                self._take(self._part.acknowledged(action.to))


def _filled(sock: socket.socket, memory: Any) -> Any:
    view = memoryview(memory)
    while view:
        # All of it in one call where it comes soon: whoever returns in between waits for the other thread each time.
        view = view[sock.recv_into(view, 0, socket.MSG_WAITALL):]
    return memory


def _ring_sockets(rank: int, port: int) -> Any:
    """Return the sockets to the one before and to the one behind, at ports counted from one that was free."""
    with socket.create_server(("127.0.0.1", port + rank)) as server:
        after = None
        while after is None:
            try:
                after = socket.create_connection(("127.0.0.1", port + (rank + 1) % NODES))
            except ConnectionRefusedError:
                time.sleep(0.02)
        before, _ = server.accept()
    for sock in (before, after):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return before, after


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    {"gloo": serve_gloo, "bare": serve_bare, "plain": serve_plain, "copy": serve_copy, "sealed": serve_sealed}[
        sys.argv[1]](int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
