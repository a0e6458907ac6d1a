"""The state folder: what a restart finds again, what is refused, and what a full disk costs."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable

import pytest

from discompute_lite.crypto.p256 import pem, pkcs8_der, private_key
from discompute_lite.host import files, folder_lock, store
from discompute_lite.host.files import STATE_FILE_BYTES, write_atomically
from discompute_lite.host.store import StateFolder, default_state_folders, open_state
from discompute_lite.model.errors import StateError
from discompute_lite.model.settings import Settings
from discompute_lite.run import find_running_node

posix_only = pytest.mark.skipif(os.name != "posix", reason="modes and owners mean something on POSIX only")
BOOT = "9f2c"


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    """A taken lock is still asked for twice, only not a moment later."""
    monkeypatch.setattr(folder_lock, "_LOCK_PAUSES_S", (0.0, 0.0))
    monkeypatch.setattr(folder_lock, "_ASKED_PAUSES_S", (0.0,) * 3)


def chance(seed: int) -> Callable[[int], bytes]:
    draws = random.Random(seed)
    return lambda count: draws.getrandbits(8 * count).to_bytes(count, "big")


def no_chance(count: int) -> bytes:
    raise AssertionError("a key was about to be made")


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def folder(path: Path) -> Any:
    with open_state(str(path)) as opened:
        opened.lock()
        yield opened


@pytest.fixture
def run_elsewhere(path: Path) -> Any:
    """Run Python code in another process that has opened the folder as `folder`; give back what it prints."""

    def run(code: str) -> str:
        script = f"from discompute_lite.host.store import open_state\nfolder = open_state({str(path)!r})\n{code}"
        done = subprocess.run(
            [sys.executable, "-c", script],
            cwd=Path(store.__file__).parents[2], capture_output=True, text=True, timeout=30,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run


def fail_with(number: int) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise OSError(number, os.strerror(number))

    return fail


# ---- which folder -----------------------------------------------------------------------------------


def test_the_places_to_look_are_in_order():
    folders = default_state_folders({"TMPDIR": os.path.abspath("t")}, os.path.abspath("h"))
    assert folders[0] == os.path.join(os.path.abspath("h"), ".discompute")
    assert len(folders) == 2 and folders[1].startswith(os.path.join(os.path.abspath("t"), "discompute"))


def test_on_ios_documents_come_first():
    folders = default_state_folders({}, os.path.abspath("h"), on_ios=True)
    assert folders[0] == os.path.join(os.path.abspath("h"), "Documents", ".discompute")
    assert folders[1] == os.path.join(os.path.abspath("h"), ".discompute")


@pytest.mark.parametrize("home", ["~", "", "relative"])
def test_an_app_without_a_home_is_not_given_one_in_the_current_folder(home):
    assert all(os.path.isabs(folder) for folder in default_state_folders({"TMPDIR": "here"}, home))


def test_the_first_folder_that_can_be_written_is_taken(tmp_path, path):
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    folder = open_state("", [str(in_the_way / ".discompute"), str(in_the_way), str(path), str(tmp_path / "other")])
    assert folder.path == str(path)
    assert len(folder.notes) == 1 and folder.notes[0].count("cannot be used") == 2
    assert str(in_the_way) in folder.notes[0]
    assert not (tmp_path / "other").exists()


def test_an_explicit_folder_is_made_or_refused_never_replaced_by_another(tmp_path, path):
    assert open_state(str(path / "deep"), [str(tmp_path / "other")]).path == str(path / "deep")
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match="--state-dir"):
        open_state(str(tmp_path / "file"), [str(tmp_path / "other")])
    with pytest.raises(StateError, match="null"):
        open_state("a\x00b")


@posix_only
def test_what_is_made_is_private(folder, path):
    folder.load_or_make_key(chance(1))
    folder.control_token()
    folder.write_node_json(1, 2, BOOT)
    folder.write_json("speed.json", {})
    assert mode_of(path) == 0o700
    assert {mode_of(file) for file in path.iterdir()} == {0o600}


@posix_only
def test_a_folder_that_others_can_change_is_refused_with_the_remedy(path):
    path.mkdir()
    path.chmod(0o770)
    for opening in (lambda: open_state(str(path)), lambda: open_state("", [str(path)])):
        with pytest.raises(StateError, match=f"run: chmod 700 {path}"):
            opening()
    path.chmod(0o755)
    assert open_state(str(path)).path == str(path) and mode_of(path) == 0o755


@posix_only
def test_a_folder_of_another_user_is_refused(path, monkeypatch):
    path.mkdir(mode=0o700)
    monkeypatch.setattr(files, "my_uid", lambda: path.stat().st_uid + 1)
    with pytest.raises(StateError, match="belongs to another user"):
        open_state(str(path))


@posix_only
def test_a_disk_without_permissions_is_passed_over(path, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "mkdir", lambda name, mode=0o777, mkdir=os.mkdir: (mkdir(name), os.chmod(name, 0o777)))
    folder = open_state("", [str(path)])
    assert folder.path == "" and "does not keep permissions" in folder.notes[0]
    assert not path.exists()


def test_it_is_said_which_folder_is_used_instead(tmp_path, path):
    (tmp_path / "file").write_text("")
    folder = open_state("", [str(tmp_path / "file" / "x"), str(path)])
    in_the_way = tmp_path / "file"
    assert folder.notes == [
        f"the state folder {in_the_way / 'x'} cannot be used (a file is in the way); {path} is used instead"
    ]


def test_row_37_a_read_only_folder_is_passed_over_unless_it_was_asked_for(path, monkeypatch):
    path.mkdir(mode=0o700)
    monkeypatch.setattr(os, "open", fail_with(errno.EROFS))
    assert open_state("", [str(path)]).path == ""
    with pytest.raises(StateError, match="may not be read or written"):
        open_state(str(path))


def test_where_nothing_can_be_written_memory_serves(tmp_path):
    (tmp_path / "file").write_text("")
    before = sorted(tmp_path.rglob("*"))
    with open_state("", [str(tmp_path / "file")]) as folder:
        assert folder.path == "" and "lasts until it stops" in folder.notes[-1]
        assert folder.lock() == 1
        assert not folder.has_key()
        key = folder.load_or_make_key(chance(1))
        assert folder.has_key() and folder.load_or_make_key(no_chance) == key
        assert folder.control_token() == folder.control_token()
        folder.write_json("peers.json", [1])
        assert folder.read_json("peers.json", []) == [1]
        folder.write_node_json(1, 2, BOOT)
        assert folder.read_node_json() == {
            "pid": 1, "port": 2, "boot": BOOT, "passing": False, "meets": {}} and folder.running_node() is None
    assert sorted(tmp_path.rglob("*")) == before


# ---- one process a folder ---------------------------------------------------------------------------


def test_the_second_node_gets_a_folder_of_its_own_and_says_so(folder, path):
    assert folder.instance == 1 and not folder.notes
    with open_state(str(path)) as second, open_state(str(path)) as third:
        assert (second.lock(), third.lock()) == (2, 3)
        assert second.path == str(path / "2") and str(path / "2") in second.notes[0]
        keys = [each.load_or_make_key(chance(seed)) for seed, each in enumerate((folder, second, third))]
        assert len(set(keys)) == 3
        assert second.lock() == 2
    with open_state(str(path)) as again:
        assert again.lock() == 2
        assert again.load_or_make_key(no_chance) == keys[1]


def test_closing_frees_the_folder(path):
    first = open_state(str(path))
    assert first.lock() == 1
    first.close()
    first.close()
    with open_state(str(path)) as second:
        assert second.lock() == 1


def test_another_process_finds_the_folder_taken_and_free_again(folder, run_elsewhere):
    assert run_elsewhere("print(folder.lock())") == "2"
    folder.close()
    assert run_elsewhere("print(folder.lock())") == "1"


def test_a_lock_dies_with_its_process(path, run_elsewhere):
    run_elsewhere("import os; folder.lock(); folder.write_node_json(os.getpid(), 8080, 'b'); os._exit(0)")
    assert (path / "node.json").exists()
    with open_state(str(path)) as folder:
        assert folder.lock() == 1
        assert folder.read_node_json() is None, "what a killed node left must not count as ours"


def test_there_is_an_end_to_instances(folder, path, monkeypatch):
    monkeypatch.setattr(store, "STATE_INSTANCES", 2)
    with open_state(str(path)) as second, open_state(str(path)) as third:
        second.lock()
        with pytest.raises(StateError, match="2 nodes run from"):
            third.lock()


@pytest.mark.parametrize("instance", [2, 12, store.STATE_INSTANCES])
def test_a_node_is_found_in_whichever_folder_it_had_to_take(path, instance):
    own = store.instance_folders(str(path))[instance - 1]
    with open_state(str(path)), open_state(own) as taken:
        taken.lock()
        token = taken.control_token()
        taken.write_node_json(os.getpid(), 8085, BOOT)
        assert find_running_node(Settings(state_dir=str(path))) == (8085, token)


def test_what_was_half_written_is_cleared_away(path):
    path.mkdir(mode=0o700)
    (path / "device.key.1a2b.new").write_text("half a key")
    with open_state(str(path)) as folder:
        folder.lock()
        assert sorted(file.name for file in path.iterdir()) == ["lock"]


@pytest.fixture
def no_locks(monkeypatch):
    """A system without file locks: a process number in a file has to do."""
    monkeypatch.setattr(folder_lock, "_try_lock", lambda descriptor, is_shared: None)


def test_row_48_without_locks_a_pid_file_does(no_locks, path):
    with open_state(str(path)) as first, open_state(str(path)) as second:
        assert (first.lock(), second.lock()) == (1, 2)
        token = first.control_token()
        first.write_node_json(os.getpid(), 8080, BOOT)
        assert first.running_node() == (8080, token)
    with open_state(str(path)) as third:
        assert third.lock() == 1


@posix_only
def test_the_pid_file_of_a_dead_process_is_replaced(no_locks, path):
    path.mkdir(mode=0o700)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (path / "lock.pid").write_text(str(ended.pid))
    with open_state(str(path)) as folder:
        assert folder.lock() == 1


def test_a_moment_of_asking_does_not_cost_a_node_its_folder(path, monkeypatch):
    """Who asks whether a node runs holds the lock for a moment; a node that starts just then tries again."""
    results = iter([False, True])
    monkeypatch.setattr(folder_lock, "_try_lock", lambda descriptor, is_shared: next(results))
    with open_state(str(path)) as folder:
        assert folder.lock() == 1


@posix_only
@pytest.mark.parametrize("is_alive, instance", [(False, 1), (True, 2)], ids=["ended", "alive"])
def test_who_asks_for_long_costs_a_node_its_folder_only_where_another_may_have_it(
    path, monkeypatch, is_alive, instance
):
    path.mkdir(mode=0o700)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (path / "lock").write_text(str(os.getpid() if is_alive else ended.pid))
    results = iter([False, False, True] if is_alive else [False] * 4 + [True])
    monkeypatch.setattr(folder_lock, "_try_lock", lambda descriptor, is_shared: next(results))
    with open_state(str(path)) as folder:
        assert folder.lock() == instance


# ---- the key ----------------------------------------------------------------------------------------


def test_a_key_is_made_once(folder, path):
    assert not folder.has_key()
    key = folder.load_or_make_key(chance(1))
    assert folder.has_key()
    before = (path / "device.key").read_bytes()
    assert before.decode() == pem("PRIVATE KEY", pkcs8_der(key))
    folder.close()
    with open_state(str(path)) as again:
        again.lock()
        assert again.load_or_make_key(no_chance) == key
    assert (path / "device.key").read_bytes() == before


def spoil_by_mode(key_file: Path) -> None:
    key_file.chmod(0o640)


def spoil_by_link(key_file: Path) -> None:
    key_file.rename(key_file.with_name("elsewhere"))
    key_file.symlink_to(key_file.with_name("elsewhere"))


def spoil_by_dangling_link(key_file: Path) -> None:
    key_file.unlink()
    key_file.symlink_to(key_file.with_name("nowhere"))


def spoil_by_folder(key_file: Path) -> None:
    key_file.unlink()
    key_file.mkdir()


def spoil_by_pipe(key_file: Path) -> None:
    key_file.unlink()
    os.mkfifo(key_file, 0o600)


def spoil_by_truncating(key_file: Path) -> None:
    key_file.write_bytes(key_file.read_bytes()[:100])


def spoil_by_size(key_file: Path) -> None:
    with open(key_file, "r+b") as file:
        file.truncate(STATE_FILE_BYTES + 1)


@posix_only
@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (spoil_by_mode, "can be read by others; run: chmod 600 {}"),
        (lambda key_file: key_file.chmod(0o604), "can be read by others; run: chmod 600 {}"),
        (spoil_by_link, "is a link"),
        (spoil_by_dangling_link, "is a link"),
        (spoil_by_folder, "is a folder"),
        (spoil_by_pipe, "is not a plain file"),
        (lambda key_file: key_file.write_bytes(b""), "is empty; restore it"),
        (spoil_by_truncating, "is damaged; restore it"),
        (lambda key_file: key_file.write_bytes(b"\xff" * 300), "is damaged; restore it"),
        (spoil_by_size, "is larger than"),
    ],
)
def test_row_16_a_bad_key_is_refused_with_the_remedy_and_left_as_it_is(folder, path, spoil, sentence):
    folder.load_or_make_key(chance(1))
    key_file = path / "device.key"
    spoil(key_file)

    def picture() -> Any:
        facts = os.lstat(key_file)
        content = hashlib.sha256(key_file.read_bytes()).digest() if stat.S_ISREG(facts.st_mode) else b""
        return facts.st_mode, facts.st_ino, facts.st_mtime_ns, content

    before = picture()
    with pytest.raises(StateError) as caught:
        folder.load_or_make_key(no_chance)
    assert sentence.format(key_file) in caught.value.message and str(key_file) in caught.value.message
    assert "\n" not in caught.value.message
    assert picture() == before


@posix_only
def test_row_16_a_key_of_another_user_is_refused(folder, path, monkeypatch):
    folder.load_or_make_key(chance(1))
    monkeypatch.setattr(files, "my_uid", lambda: path.stat().st_uid + 1)
    with pytest.raises(StateError, match="key file belongs to another user"):
        folder.load_or_make_key(no_chance)


@posix_only
@pytest.mark.parametrize("read", [lambda state: state.load_or_make_key(no_chance), StateFolder.control_token])
def test_row_16_a_secret_that_may_not_be_read_is_refused_with_the_remedy(folder, path, monkeypatch, read):
    folder.load_or_make_key(chance(1))
    folder.control_token()
    monkeypatch.setattr(os, "open", fail_with(errno.EACCES))
    with pytest.raises(StateError, match=f"may not be read; run: chmod 600 {path}"):
        read(folder)


def test_a_path_with_spaces_is_quoted_in_the_remedy(tmp_path):
    if os.name != "posix":
        pytest.skip("modes mean something on POSIX only")
    with open_state(str(tmp_path / "my state")) as folder:
        folder.lock()
        folder.load_or_make_key(chance(1))
        (tmp_path / "my state" / "device.key").chmod(0o644)
        with pytest.raises(StateError, match="chmod 600 '.*my state/device.key'$"):
            folder.load_or_make_key(no_chance)


def test_a_key_file_that_is_another_program_s_is_refused(folder, path):
    write_atomically(str(path / "device.key"), pem("EC PRIVATE KEY", pkcs8_der(private_key(5))).encode())
    with pytest.raises(StateError, match="damaged"):
        folder.load_or_make_key(no_chance)


# ---- the token and the running node -----------------------------------------------------------------


def test_the_token_is_one_line_and_stays(folder, path):
    token = folder.control_token()
    assert (path / "control.token").read_text() == token + "\n"
    assert len(token) >= 43 and folder.control_token() == token


@pytest.mark.parametrize("data", [b"", b"short\n", b"x" * 200, b"a" * 43 + b"\n" + b"b" * 43 + b"\n", b"\xe9" * 43])
def test_a_damaged_token_is_refused(folder, path, data):
    write_atomically(str(path / "control.token"), data)
    with pytest.raises(StateError, match=r"control token is damaged.*control\.token"):
        folder.control_token()
    assert (path / "control.token").read_bytes() == data


@posix_only
def test_a_token_that_others_could_read_is_refused(folder, path):
    folder.control_token()
    (path / "control.token").chmod(0o644)
    with pytest.raises(StateError, match="control token can be read by others; run: chmod 600"):
        folder.control_token()


def test_a_running_node_is_found_with_its_token(folder, run_elsewhere):
    token = folder.control_token()
    meets = {"bind": "10.0.0.1", "discovery": ["peers"], "port": 8080}
    folder.write_node_json(os.getpid(), 8081, BOOT, meets=meets)
    assert folder.read_node_json() == {
        "pid": os.getpid(), "port": 8081, "boot": BOOT, "passing": False, "meets": meets}
    assert folder.running_node() == (8081, token) and folder.running_meets() == meets
    assert run_elsewhere("print(*folder.running_node())") == f"8081 {token}"


def test_a_node_that_ends_with_its_script_is_told_from_one_that_stays(folder, path, run_elsewhere):
    assert folder.passing_node() == 0
    folder.write_node_json(os.getpid(), 8081, BOOT, is_passing=True)
    assert folder.passing_node() == os.getpid() == int(run_elsewhere("print(folder.passing_node())"))
    folder.write_node_json(os.getpid(), 8081, BOOT)
    assert folder.passing_node() == 0
    folder.write_node_json(os.getpid() + 1, 8081, BOOT, is_passing=True)
    assert folder.passing_node() == 0, "whoever wrote that does not hold the folder"


def test_a_stopped_node_is_not_found(folder, path):
    folder.control_token()
    folder.write_node_json(os.getpid(), 8081, BOOT)
    folder.close()
    assert not (path / "node.json").exists()
    assert open_state(str(path)).running_node() is None


def test_a_stale_node_json_gives_no_token_away(folder, path):
    """The port of a node that crashed may be anybody's by now."""
    folder.control_token()
    folder.write_node_json(os.getpid(), 8081, BOOT)
    stale = (path / "node.json").read_bytes()
    folder.close()
    (path / "node.json").write_bytes(stale)
    asking = open_state(str(path))
    assert asking.read_node_json() is not None and asking.running_node() is None


def test_a_node_json_by_another_process_than_the_owner_gives_no_token_away(folder):
    folder.control_token()
    folder.write_node_json(os.getpid() + 1, 8081, BOOT)
    assert folder.running_node() is None


@posix_only
def test_the_moment_between_taking_a_dead_node_s_lock_and_clearing_up_gives_no_token_away(folder, path):
    folder.control_token()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    folder.write_node_json(ended.pid, 8081, BOOT)
    (path / "lock").write_text(str(ended.pid).ljust(20))
    assert folder.running_node() is None


def test_a_node_without_a_token_cannot_be_commanded(folder):
    folder.write_node_json(os.getpid(), 8081, BOOT)
    assert folder.running_node() is None


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"pid":1}', '{"pid":true,"port":2,"boot":""}', '{"pid":1,"port":"2","boot":""}',
             '{"pid":1,"port":0,"boot":""}', '{"pid":1,"port":65536,"boot":""}', '{"pid":1,"port":2,"boot":3}']
)
def test_a_damaged_node_json_means_no_node(folder, path, text):
    (path / "node.json").write_text(text)
    assert folder.read_node_json() is None and folder.running_node() is None


def test_asking_for_a_node_leaves_the_folder_to_the_next_one(path):
    asking = open_state(str(path))
    assert asking.running_node() is None
    with open_state(str(path)) as folder:
        assert folder.lock() == 1


# ---- documents --------------------------------------------------------------------------------------


def test_documents_survive(folder, path):
    folder.write_json("speed.json", {"slots": 4, "name": "Åse"})
    assert folder.read_json("speed.json", {}) == {"slots": 4, "name": "Åse"}
    assert folder.read_json("peers.json", ["default"]) == ["default"]
    assert not folder.notes


@pytest.mark.parametrize(
    "data", [b"", b"{", b"\xff", b"[1]", b"7", b'{"a":NaN}', b'{"a":1,"a":2}', b"\x00" * 100, b"[" * 9999]
)
def test_a_damaged_document_is_kept_aside(folder, path, data):
    (path / "speed.json").write_bytes(data)
    assert folder.read_json("speed.json", {"default": 1}) == {"default": 1}
    assert (path / "speed.json.damaged").read_bytes() == data
    assert "speed.json was damaged" in folder.notes[-1]
    folder.write_json("speed.json", {"a": 1})
    assert folder.read_json("speed.json", {}) == {"a": 1}
    assert (path / "speed.json.damaged").read_bytes() == data


def test_a_folder_or_a_giant_in_place_of_a_document_is_kept_aside(folder, path):
    (path / "speed.json").mkdir()
    assert folder.read_json("speed.json", {}) == {}
    assert (path / "speed.json.damaged").is_dir()
    with open(path / "peers.json", "wb") as file:
        file.truncate(STATE_FILE_BYTES + 1)
    assert folder.read_json("peers.json", []) == []
    assert not (path / "peers.json").exists()


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff" * 9])
def test_a_damaged_document_that_is_vital_is_refused_and_stays(folder, path, data):
    (path / "policy.json").write_bytes(data)
    with pytest.raises(StateError, match=f"is damaged; restore it from a copy, or remove it.*: {path}"):
        folder.read_json("policy.json", {}, is_vital=True)
    assert (path / "policy.json").read_bytes() == data and not folder.notes


@pytest.mark.parametrize("name", ["../speed.json", "a/b.json", "speed", "device.key", "SPEED.json", ""])
def test_only_plain_names_are_documents(folder, name):
    with pytest.raises(AssertionError):
        folder.write_json(name, {})


# ---- the disk ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["write", "fsync", "replace", "open"])
@pytest.mark.parametrize(
    ("number", "sentence"),
    [(errno.ENOSPC, "the disk is full; free some space"), (errno.EROFS, "may not be read or written"),
     (errno.EACCES, "may not be read or written"), (errno.EIO, "cannot be used")],
)
def test_row_37_a_write_that_fails_keeps_the_old_file(folder, path, monkeypatch, call, number, sentence):
    folder.write_json("speed.json", {"old": 1})
    before = sorted(path.iterdir())
    with monkeypatch.context() as broken:
        broken.setattr(os, call, fail_with(number))
        with pytest.raises(StateError, match=sentence) as caught:
            folder.write_json("speed.json", {"new": 1})
    assert str(path / "speed.json") in caught.value.message
    assert json.loads((path / "speed.json").read_text()) == {"old": 1}
    assert sorted(path.iterdir()) == before, "nothing half-written stays"


def test_a_disk_that_takes_bytes_one_by_one_gets_them_all(folder, monkeypatch):
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, bytes(data[:1])))
    folder.write_json("speed.json", {"all": "of it"})
    assert folder.read_json("speed.json", {}) == {"all": "of it"}


def test_a_file_is_on_the_disk_before_it_takes_the_name(folder, monkeypatch):
    steps = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *args, name=name, real=real: (steps.append(name), real(*args))[1])
    folder.write_json("speed.json", {})
    assert steps[:2] == ["fsync", "replace"]
    if os.name == "posix":
        assert steps[2:] == ["fsync"], "and the name is on the disk, too"


@posix_only
def test_apple_s_drives_are_told_to_write_through(folder, monkeypatch):
    import fcntl

    asked = []
    monkeypatch.setattr(fcntl, "F_FULLFSYNC", 51, raising=False)
    monkeypatch.setattr(fcntl, "fcntl", lambda descriptor, command: asked.append(command))
    folder.write_json("speed.json", {})
    assert asked == [51]
    # Network disks refuse it: plain fsync must do then.
    monkeypatch.setattr(fcntl, "fcntl", fail_with(errno.ENOTSUP))
    synced = []
    monkeypatch.setattr(os, "fsync", synced.append)
    folder.write_json("speed.json", {})
    assert len(synced) == 2


@posix_only
def test_a_planted_link_is_replaced_never_followed(folder, path, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (path / "speed.json").symlink_to(victim)
    folder.write_json("speed.json", {"a": 1})
    assert victim.read_text() == "precious" and not (path / "speed.json").is_symlink()


def test_an_unlocked_folder_closes_without_touching_the_node_that_runs(folder, path):
    folder.write_node_json(os.getpid(), 8081, BOOT)
    StateFolder(str(path)).close()
    assert (path / "node.json").exists()
