"""Let one process at a time own a folder, and tell who does.

Knows:   flock, the byte locks of Windows, and a file with a process number where neither exists.
Refuses: to wait: a folder that is taken is taken. Every lock ends with its process, however that ends.
Read next: host/store.py (which folder a second node gets).
"""

from __future__ import annotations

import errno
import os
import time
from typing import Optional

from .files import SAFE_OPEN_FLAGS, remove_file

#: Pauses before the lock is tried again: a command that only asks who holds it does so for a moment.
_LOCK_PAUSES_S = (0.0, 0.02, 0.05)
#: Further ones where the process that had it last is gone: whoever has it only asks, and was held up on a busy machine.
_ASKED_PAUSES_S = (0.1,) * 10
#: The byte that is locked on Windows, where nobody else can read a locked one: far behind the pid.
_LOCKED_BYTE = 1 << 30
#: A process number takes so much room in a lock file, so that a shorter one needs no cutting.
_PID_WIDTH = 20


class FolderLock:
    """Hold a lock until `release` or the end of the process."""

    def __init__(self, path: str, descriptor: int, pid_path: str = "") -> None:
        self._path = path
        self._descriptor = descriptor
        #: The pid file that stands for the lock where the system has none.
        self._pid_path = pid_path

    def write_pid(self) -> None:
        """Write into the lock file who we are, for `pid_in`."""
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        os.write(self._descriptor, _pid_text())

    def release(self) -> None:
        """Let others have the folder."""
        os.close(self._descriptor)
        if self._pid_path:
            remove_file(self._pid_path)

    def remove(self) -> None:
        """Let others have what was locked, and leave no file."""
        if os.name == "posix":
            # Before it is let go: whoever opened it meanwhile sees that it is none any more.
            remove_file(self._path)
            self.release()
        else:
            self.release()
            try:
                remove_file(self._path)
            except OSError:
                pass  # Somebody else has it by now: Windows removes no file that is open.


def take_folder_lock(path: str) -> Optional[FolderLock]:
    """Return the lock, or None when somebody else has it."""
    for number, pause in enumerate((*_LOCK_PAUSES_S, *_ASKED_PAUSES_S)):
        if number >= len(_LOCK_PAUSES_S) and not _has_ended(pid_in(path)):
            break
        time.sleep(pause)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | SAFE_OPEN_FLAGS, 0o600)
        is_ours: Optional[bool] = False
        try:
            is_ours = _try_lock(descriptor, is_shared=False)
            if is_ours and not _is_file_at(path, descriptor):
                is_ours = False  # Whoever had it last has removed it: others lock the next file of this name.
            if is_ours:
                return FolderLock(path, descriptor)
            if is_ours is None and _make_pid_file(path + ".pid"):
                is_ours = True
                return FolderLock(path, descriptor, path + ".pid")
        finally:
            if not is_ours:
                os.close(descriptor)
    return None


def is_folder_locked(path: str) -> bool:
    """Whether a living process holds the lock; asks by trying, for a moment."""
    try:
        descriptor = os.open(path, os.O_RDWR | SAFE_OPEN_FLAGS)
    except OSError:
        return False
    try:
        is_free = _try_lock(descriptor, is_shared=True)
        return is_process_alive(pid_in(path + ".pid")) if is_free is None else not is_free
    finally:
        os.close(descriptor)


def _is_file_at(path: str, descriptor: int) -> bool:
    """Whether an open file is the one of this name."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _try_lock(descriptor: int, *, is_shared: bool) -> Optional[bool]:
    """Lock an open file until it is closed; None where this system or disk has no locks."""
    try:
        import fcntl
    except ImportError:
        return _try_lock_windows(descriptor)
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        return False if error.errno in (errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES) else None
    return True


def _try_lock_windows(descriptor: int) -> Optional[bool]:
    try:
        import msvcrt
    except ImportError:
        return None
    os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
    try:
        # Looked up by name: type checkers on other systems do not know them.
        vars(msvcrt)["locking"](descriptor, vars(msvcrt)["LK_NBLCK"], 1)
    except OSError:
        return False
    return True


def _make_pid_file(path: str) -> bool:
    """Whether the pid file is ours now; one that a dead process left is replaced."""
    for _ in range(2):
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | SAFE_OPEN_FLAGS, 0o600)
        except FileExistsError:
            if is_process_alive(pid_in(path)):
                return False
            remove_file(path)
            continue
        os.write(descriptor, _pid_text())
        os.close(descriptor)
        return True
    return False


def _pid_text() -> bytes:
    return str(os.getpid()).ljust(_PID_WIDTH).encode("ascii")


def pid_in(path: str) -> int:
    """Return the process number in a lock file, 0 where there is none."""
    try:
        with open(path, "rb") as file:
            text = file.read(_PID_WIDTH).strip()
    except OSError:
        return 0
    return int(text) if text.isdigit() else 0


def _has_ended(pid: int) -> bool:
    return pid > 0 and not is_process_alive(pid)


def is_process_alive(pid: int) -> bool:
    """Whether a process of this number runs; Windows cannot be asked so, and there every process counts as alive."""
    if pid <= 0:
        return False
    if os.name != "posix":
        return True  # os.kill with 0, the question on POSIX, is Ctrl-C there.
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
