"""Keep what a node must still know after a restart: its key, its token, what it measured, whom it met.

Knows:   one folder per node, who may read it, how to write so that a cut leaves the old or the new file whole.
Refuses: to overwrite a key, to use a secret that others could have read or planted, to hand out the control
         token while no node runs. What the documents mean is their owners' business.
Read next: crypto/p256.py (the key), faces/cli.py (reaches a running node by `running_node`).

    <folder>, 0700        ~/.discompute; on iOS ~/Documents/.discompute
      device.key          0600, PKCS #8 in PEM: who this device is
      control.token       0600, one line: lets a process of the same user command the node
      node.json           {"pid", "port", "boot", "meets"} of the node that runs now; gone when none does
      lock                held by the node that runs now; holds its pid
      ca.pem, device.pem, ca.key, beacon.key, statements   what makes it a member (host/trust.py)
      journals            a file for each accepted task (host/journals.py)
      runs                a file for each script whose calls are kept (host/runs.py); the first folder's only
      policy.json         what others may run here; without it more would be allowed, so a damaged one is refused
      audit               what was done (host/audit_file.py)
      speed.json, peers.json     documents; a damaged one is kept as <name>.damaged
      scratch             what tasks write, while a node runs
      2, 3 … 99           the same again for further nodes, each with an identity of its own
"""

from __future__ import annotations

import os
import re
import secrets
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from ..crypto.p256 import PrivateKey, generate_key, load_pkcs8_pem, pem, pkcs8_der
from ..model.errors import ParseError, StateError
from ..wire.strict_json import encode_json, parse_strict
from .files import make_private_folder, my_uid, read_small_file, reason_of, remove_file, state_errors, write_atomically
from .journals import JournalFolder
from .runs import RunJournal, forget_old_runs
from .folder_lock import FolderLock, is_folder_locked, is_process_alive, pid_in, take_folder_lock

#: Nodes of one user on one machine that find a folder; a test bench needs a dozen. Beyond: StateError.
STATE_INSTANCES = 99
_TOKEN_TEXT = re.compile(rb"[A-Za-z0-9_-]{32,128}\n?")
_DOCUMENT_NAME = re.compile(r"[a-z0-9-]+\.json")
_KEY_FILE, _TOKEN_FILE, _NODE_FILE, _LOCK_FILE = "device.key", "control.token", "node.json", "lock"


def default_state_folders(environ: Mapping[str, str], home: str, *, on_ios: bool = False) -> List[str]:
    """Return where a node without a wish keeps its state, best first.

    `home` is what `os.path.expanduser("~")` gives; apps without a home leave it as it was.
    """
    folders = []
    if os.path.isabs(home):
        # iOS shows and backs up ~/Documents only; an app's home itself is read-only.
        folders += [os.path.join(home, "Documents", ".discompute")] if on_ios else []
        folders += [os.path.join(home, ".discompute")]
    for name in ("TMPDIR", "TEMP", "TMP"):
        if os.path.isabs(environ.get(name, "")):
            return folders + [os.path.join(environ[name], _shared_name())]
    return folders + ([os.path.join("/tmp", _shared_name())] if os.name == "posix" else [])


def open_state(explicit: str = "", fallbacks: Sequence[str] = ()) -> StateFolder:
    """Return the explicit folder, or else the first of `fallbacks` that can be written, or else memory only.

    Missing folders are made. A folder that was asked for and cannot be used is a StateError, and so is
    one that others could change: another folder would silently be another identity.
    """
    if explicit:
        path = os.path.expanduser(explicit)
        with state_errors(path):
            path = os.path.abspath(path)
            make_private_folder(path, _LOCK_FILE)
        return StateFolder(path)
    notes = []
    for path in fallbacks:
        try:
            make_private_folder(path, _LOCK_FILE)
        except (OSError, ValueError) as error:
            notes.append(f"the state folder {path} cannot be used ({reason_of(error)})")
            continue
        return StateFolder(path, [f"{'; '.join(notes)}; {path} is used instead"] if notes else [])
    notes.append("no folder can be written: this device's identity lasts until it stops; set one with --state-dir")
    return StateFolder("", notes)


def instance_folders(root: str) -> List[str]:
    """Return where the nodes of one folder keep their state: the first in it, further ones in numbered subfolders."""
    return [root, *(os.path.join(root, str(instance)) for instance in range(2, STATE_INSTANCES + 1))]


def running_folder(root: StateFolder) -> Optional[StateFolder]:
    """Return the first folder, of this one and those of further nodes in it, from which a node runs; None for none."""
    for path in instance_folders(root.path) if root.path else []:
        # A token that others could have read raises: the person has to know, whatever command was typed.
        folder = StateFolder(path)
        if os.path.isdir(path) and folder.running_node() is not None:
            return folder
    return None


class StateFolder:
    """Own one state folder, or stand in for one where nothing can be written (`path` is "").

    Reading is for everybody who runs as the same user; who writes calls `lock` first, and `close` at the
    end. All methods raise StateError with a sentence for people.
    """

    def __init__(self, path: str, notes: Sequence[str] = ()) -> None:
        self.path = path
        #: 0 until locked; then 1 for the folder itself, 2 for its subfolder "2", and so on.
        self.instance = 0
        #: Sentences that the user should see, such as "speed.json was damaged …".
        self.notes: List[str] = list(notes)
        self._lock: Optional[FolderLock] = None
        self._journals: Optional[JournalFolder] = None
        self._run: Optional[RunJournal] = None
        #: The folder itself, whichever instance was taken: runs are the user's, not a node's.
        self._root = path
        #: The files of a folder that is memory only.
        self._memory: Dict[str, bytes] = {}

    def __enter__(self) -> StateFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def lock(self) -> int:
        """Take the folder, or its first free subfolder, for this node; return which (1 is the folder itself).

        The lock ends with `close` or with the process. From then on `path` is the folder that was taken.
        """
        if self.instance:
            return self.instance
        if not self.path:
            self.instance = 1  # Memory is nobody else's.
            return 1
        root = self.path
        for instance, path in enumerate(instance_folders(root), 1):
            if self._try_to_lock(path):
                self.path, self.instance = path, instance
                if instance > 1:
                    self.notes.append(f"another node uses {root}; this one is a device of its own and uses {path}")
                return instance
        raise StateError(f"{STATE_INSTANCES} nodes run from {root} already", "stop one, or set --state-dir")

    def _try_to_lock(self, path: str) -> bool:
        with state_errors(path):
            if path != self.path:
                make_private_folder(path, _LOCK_FILE)
            lock = take_folder_lock(os.path.join(path, _LOCK_FILE))
            if lock is None:
                return False
            self._lock = lock
            # What a killed node left goes first: with our pid beside it, it would count as ours.
            _remove_leftovers(path)
            lock.write_pid()
        return True

    def open_journals(self, post: Callable[..., None]) -> JournalFolder:
        """Return the journals of the folder that is locked; they are closed with it."""
        self._journals = JournalFolder(os.path.join(self.path, "journals") if self.path else "", post)
        return self._journals

    def open_run(self, run: str, post: Callable[..., None], kept_s: float) -> RunJournal:
        """Return the journal of a run, which is closed with the folder; old ones are deleted after `kept_s`."""
        if not self._root:
            raise StateError("calls cannot be kept: no folder can be written", "name one with the setting state-dir")
        folder = os.path.join(self._root, "runs")
        self._run = RunJournal(folder, run, post)
        forget_old_runs(folder, kept_s)
        return self._run

    def make_scratch_folder(self) -> str:
        """Return the folder for what tasks write, made where it is missing; raise StateError."""
        path = self._where("scratch")
        with state_errors(path):
            if os.path.islink(path):
                raise StateError("the folder for tasks' files is a link", f"move away what is there: {path}")
            os.makedirs(path, mode=0o700, exist_ok=True)
        return path

    @property
    def first_folder(self) -> str:
        """The folder of the node that this user's commands reach, whichever instance was taken."""
        return self._root

    def close(self) -> None:
        """Say that no node runs here and give up the lock; a second call does nothing."""
        if self._run is not None:
            run, self._run = self._run, None
            run.close()
        if self._journals is not None:
            self._journals.close()
        if self._lock is not None:
            try:
                self.remove_node_json()
            finally:
                self._lock.release()
                self._lock, self.instance = None, 0

    # ---- secrets ----------------------------------------------------------------------------------

    @property
    def key_file(self) -> str:
        """Where the device's key is, for `ssl`, which reads nothing but files."""
        return self._where(_KEY_FILE)

    def load_or_make_key(self, random_bytes: Callable[[int], bytes]) -> PrivateKey:
        """Return the device's key, made at the first start; never overwrites one, whatever is wrong with it."""
        data = self._read(_KEY_FILE, secret="key file")
        if data is None:
            key = generate_key(random_bytes)
            self._write(_KEY_FILE, pem("PRIVATE KEY", pkcs8_der(key)).encode("ascii"))
            return key
        try:
            return load_pkcs8_pem(data.decode("ascii"))
        except (UnicodeDecodeError, StateError):
            raise StateError(
                f"the key file is {'damaged' if data else 'empty'}",
                "restore it from a copy, or move it away to be a new device, which has to be paired again:"
                f" {self._where(_KEY_FILE)}"
            ) from None

    def has_key(self) -> bool:
        """Whether this device has an identity already; says nothing about whether the key can be used."""
        return os.path.lexists(self._where(_KEY_FILE)) if self.path else _KEY_FILE in self._memory

    def control_token(self) -> str:
        """Return the token that commands the node of this folder, made at the first start."""
        token = self._read_token()
        if token is None:
            token = secrets.token_urlsafe(32)
            self._write(_TOKEN_FILE, token.encode("ascii") + b"\n")
        return token

    # ---- the node that runs -----------------------------------------------------------------------

    def write_node_json(
        self, pid: int, port: int, boot: str, *, is_passing: bool = False, meets: Optional[Dict[str, Any]] = None
    ) -> None:
        """Say where the node that holds the lock can be reached, and whether it ends with its script or command.

        `meets` is how it meets others, for `doctor`: it may have been told at its start what no later command is told.
        """
        passing = {"passing": True} if is_passing else {}
        self._write(_NODE_FILE, encode_json(
            {"pid": pid, "port": port, "boot": boot, **passing, **({"meets": meets} if meets else {})}))

    def read_node_json(self) -> Optional[Dict[str, Any]]:
        """Return {"pid", "port", "boot", "passing", "meets"} as last written, None where there is none of them."""
        try:
            facts = parse_strict(self._read(_NODE_FILE) or b"")
        except (StateError, ParseError):
            return None
        wanted = (("pid", int), ("port", int), ("boot", str))
        if not isinstance(facts, dict) or any(type(facts.get(name)) is not kind for name, kind in wanted):
            return None
        known = {name: facts[name] for name, _ in wanted}
        if not 0 < facts["port"] < 65536:
            return None
        meets = facts.get("meets")
        return {**known, "passing": facts.get("passing") is True, "meets": meets if isinstance(meets, dict) else {}}

    def remove_node_json(self) -> None:
        """Say that no node can be reached."""
        self._memory.pop(_NODE_FILE, None)
        if self.path:
            with state_errors(self._where(_NODE_FILE)):
                remove_file(self._where(_NODE_FILE))

    def passing_node(self) -> int:
        """Return the process of a script or command whose own node has this folder as long as that runs; else 0."""
        facts = self._running_facts()
        return int(facts["pid"]) if facts is not None and facts["passing"] else 0

    def _running_facts(self) -> Optional[Dict[str, Any]]:
        """Return what a living process that holds the lock wrote into node.json itself."""
        facts = self.read_node_json()
        lock_path = self._where(_LOCK_FILE)
        if facts is None or not self.path or not is_folder_locked(lock_path):
            return None
        # A node that has just taken the lock of a killed one has not yet cleared away what that one wrote.
        return facts if pid_in(lock_path) == facts["pid"] and is_process_alive(facts["pid"]) else None

    def running_node(self) -> Optional[Tuple[int, str]]:
        """Return (port, token) of the node that runs from this folder, or None.

        The token is given only when a living process holds the lock and wrote node.json itself: whoever
        listens on the port of a node that crashed must not be sent it.
        """
        facts = self._running_facts()
        if facts is None:
            return None
        token = self._read_token()
        return None if token is None else (facts["port"], token)

    def running_meets(self) -> Dict[str, Any]:
        """Return how the node that runs from this folder meets others, by the names of settings; {} where none runs."""
        facts = self._running_facts()
        return facts["meets"] if facts is not None else {}

    # ---- documents --------------------------------------------------------------------------------

    def read_json(self, name: str, default: Any, *, is_vital: bool = False) -> Any:
        """Return a document, or `default` where there is none, it is damaged, or of another JSON type.

        What is damaged is kept aside as <name>.damaged, and `notes` says so; a vital document stays where it is,
        and StateError says what to do.
        """
        assert _DOCUMENT_NAME.fullmatch(name), name
        try:
            data = self._read(name)
            if data is None:
                return default
            value = parse_strict(data)
            if isinstance(value, type(default)):
                return value
        except StateError:
            if is_vital:
                raise
        except ParseError:
            pass
        if is_vital:
            raise StateError(
                "the file is damaged",
                f"restore it from a copy, or remove it and set again what it held: {self._where(name)}")
        self.notes.append(f"{self._where(name)} was damaged; it is kept as {name}.damaged and started afresh.")
        self._memory.pop(name, None)
        try:
            os.replace(self._where(name), self._where(name) + ".damaged")
        except OSError:
            pass  # Kept aside or not, the next write replaces it.
        return default

    def write_json(self, name: str, value: Any) -> None:
        """Replace a document as a whole: after a cut, the old or the new one is there."""
        assert _DOCUMENT_NAME.fullmatch(name), name
        self._write(name, encode_json(value))

    # ---- files ------------------------------------------------------------------------------------

    def _where(self, name: str) -> str:
        return os.path.join(self.path, name)

    def _read(self, name: str, secret: str = "") -> Optional[bytes]:
        return read_small_file(self._where(name), secret) if self.path else self._memory.get(name)

    def _write(self, name: str, data: bytes) -> None:
        if self.path:
            write_atomically(self._where(name), data)
        else:
            self._memory[name] = data

    def _read_token(self) -> Optional[str]:
        data = self._read(_TOKEN_FILE, secret="control token")
        if data is None:
            return None
        if not _TOKEN_TEXT.fullmatch(data):
            raise StateError(
                "the control token is damaged", f"stop the node, remove the file and start: {self._where(_TOKEN_FILE)}")
        return data.strip().decode("ascii")


def _remove_leftovers(path: str) -> None:
    """Remove what a node that was killed left behind, so that nobody takes it for alive."""
    for name in os.listdir(path):
        if name == _NODE_FILE or name.endswith(".new"):
            remove_file(os.path.join(path, name))


def _shared_name() -> str:
    me = my_uid()
    return "discompute" if me is None else f"discompute-{me}"
