"""Read and write small files so that a cut leaves the old or the new one whole, and secrets stay secret.

Knows:   what POSIX, Apple and Windows each need for a file to be on the disk, and who may have touched it.
Refuses: links, devices, folders in place of files, secrets that others could read, folders that others could change.
Read next: host/store.py (what is kept).
"""

from __future__ import annotations

import errno
import os
import secrets
import shlex
import stat
import time
from contextlib import contextmanager
from typing import Iterator, List, Optional

from ..model.errors import StateError
from ..model.limits import MIB

#: A file of a state folder, read whole; the largest is 4,096 statements of 1 KiB each. Beyond: it counts as damaged.
STATE_FILE_BYTES = 5 * MIB
#: For every file: no links, no CR LF on Windows, no waiting for whoever writes into a pipe.
SAFE_OPEN_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)


def write_atomically(path: str, data: bytes, flag: str = "--state-dir") -> None:
    """Replace `path` by a file with `data` that only its owner can read; it is on the disk on return.

    `flag` chooses another folder for it.

    Raises StateError, and leaves the old file as it was, when the disk is full or read-only.
    """
    fresh = f"{path}.{secrets.token_hex(4)}.new"
    with state_errors(path, flag):
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | SAFE_OPEN_FLAGS, 0o600)
        try:
            try:
                write_whole(descriptor, data)
                sync_file(descriptor)
            finally:
                os.close(descriptor)
            _replace_file(fresh, path)
        except BaseException:
            remove_file(fresh)
            raise
        sync_folder(os.path.dirname(path))


def sync_file(descriptor: int) -> None:
    """Return when the file's bytes are on the disk: on Apple's systems fsync alone leaves them in the drive."""
    try:
        import fcntl
        # Looked up by name: only Apple's systems have it.
        fcntl.fcntl(descriptor, vars(fcntl)["F_FULLFSYNC"])
    except (ImportError, KeyError, OSError):
        os.fsync(descriptor)  # Everywhere else, and on network disks that refuse the other.


def write_whole(descriptor: int, data: bytes) -> None:
    """Write all of `data`; a nearly full disk takes a part, says so only by the count, and raises at the next try."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest):]


def _replace_file(source: str, target: str) -> None:
    for _ in range(20 if os.name == "nt" else 0):
        try:
            os.replace(source, target)
            return
        except PermissionError:
            time.sleep(0.02)  # Windows: a virus scanner or a reader has the target open for a moment.
    os.replace(source, target)


def sync_folder(path: str) -> None:
    """Return when the names in a folder are on the disk."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return  # Windows cannot open folders, and renames there are durable without.
    try:
        os.fsync(descriptor)
    except OSError:
        pass  # Some network and phone file systems cannot sync folders; the file itself is safe.
    finally:
        os.close(descriptor)


def remove_file(path: str) -> None:
    """Remove a file; one that is not there is fine."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def read_small_file(path: str, secret: str = "") -> Optional[bytes]:
    """Return a file's bytes, None where there is none; `secret` names one that only its owner may read."""
    what = f"the {secret}" if secret else "the file"
    with state_errors(path):
        try:
            named = os.lstat(path)
        except FileNotFoundError:
            return None
        if stat.S_ISLNK(named.st_mode):
            raise StateError(f"{what} is a link, which others may have made", f"put the file itself there: {path}")
        if not stat.S_ISREG(named.st_mode):
            kind = "a folder" if stat.S_ISDIR(named.st_mode) else "not a plain file"
            raise StateError(f"{what} is {kind}", f"move away what is there: {path}")
        try:
            descriptor = os.open(path, os.O_RDONLY | SAFE_OPEN_FLAGS)
        except PermissionError:
            if named.st_uid != my_uid():
                raise
            raise StateError(f"{what} may not be read", f"run: chmod 600 {shlex.quote(path)}") from None
        try:
            facts = os.fstat(descriptor)  # Of what was opened, whatever the name means by now.
            if secret:
                _check_secret(what, path, facts)
            if not stat.S_ISREG(facts.st_mode) or facts.st_size > STATE_FILE_BYTES:
                raise StateError(f"{what} is larger than {STATE_FILE_BYTES} bytes", f"move it away: {path}")
            parts: List[bytes] = []
            while True:
                part = os.read(descriptor, 65536)
                if not part:
                    return b"".join(parts)
                parts.append(part)
        finally:
            os.close(descriptor)


def _check_secret(what: str, path: str, facts: os.stat_result) -> None:
    me = my_uid()
    if me is None:
        return  # Windows: the user's profile is the user's by its access list, and modes say nothing.
    if facts.st_uid != me:
        raise StateError(f"{what} belongs to another user", f"run as that user, or set --state-dir: {path}")
    if facts.st_mode & 0o077:
        raise StateError(f"{what} can be read by others", f"run: chmod 600 {shlex.quote(path)}")


def make_private_folder(path: str, probe: str) -> None:
    """Make a folder that only we can change, or check that it is one; raise OSError or StateError.

    `probe` names a file that is made in it where it is missing: whether a folder can be written is known
    only by writing. An existing folder keeps its mode; it may be somebody's home.
    """
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
    except FileExistsError:
        raise NotADirectoryError(errno.ENOTDIR, "a file is in the way", path) from None
    try:
        os.mkdir(path, 0o700)
        is_new = True
    except FileExistsError:
        is_new = False
    facts, link, me = os.stat(path), os.lstat(path), my_uid()
    if not stat.S_ISDIR(facts.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, "it is not a folder", path)
    if me is not None and is_new and (facts.st_uid != me or facts.st_mode & 0o077):
        os.rmdir(path)
        raise PermissionError(errno.EPERM, "this disk does not keep permissions", path)
    # A link is fine when we made it; in a shared folder for temporary files others could have.
    if me is not None and (facts.st_uid != me or link.st_uid != me):
        raise StateError(f"the state folder {path} belongs to another user", "choose another with --state-dir")
    if me is not None and facts.st_mode & 0o022:
        raise StateError("the state folder can be changed by others", f"run: chmod 700 {shlex.quote(path)}")
    where = os.path.join(path, probe)
    descriptor = os.open(where, os.O_RDWR | os.O_CREAT | SAFE_OPEN_FLAGS, 0o600)
    is_plain = stat.S_ISREG(os.fstat(descriptor).st_mode)
    os.close(descriptor)
    if not is_plain:
        raise OSError(errno.EINVAL, "it is not a plain file", where)


def my_uid() -> Optional[int]:
    """Return the number of the user that we are to the system, None where users have none (Windows)."""
    return os.geteuid() if hasattr(os, "geteuid") else None


@contextmanager
def state_errors(path: str, flag: str = "--state-dir") -> Iterator[None]:
    """Translate what the system says into sentences for people; one about a file in the folder `path` names that.

    `flag` is what chooses another folder.
    """
    try:
        yield
    except (OSError, ValueError) as error:
        number, about = getattr(error, "errno", None), getattr(error, "filename", None)
        path = about if isinstance(about, str) and os.path.dirname(about) == path else path
        if number in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
            raise StateError("the disk is full", f"free some space, then try again: {path}") from None
        is_forbidden = number in (errno.EROFS, errno.EACCES, errno.EPERM)
        what = "may not be read or written" if is_forbidden else f"cannot be used ({reason_of(error)})"
        raise StateError(f"{path} {what}", f"choose another folder with {flag}") from None


@contextmanager
def scratch_errors() -> Iterator[None]:
    """Translate what the system says of the folder for tasks' files, which is needed again as soon as it has room."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise StateError(f"the folder for scratch cannot be used ({reason})", "make room on the disk") from None


def reason_of(error: Exception) -> str:
    """Return the system's words for an error, without numbers and paths."""
    return (getattr(error, "strerror", None) or str(error)).lower()
