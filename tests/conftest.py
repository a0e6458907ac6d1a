"""Keep every test on this machine, away from the user's files, and from hanging.

Knows:   the environment that tests and the nodes they start live in, the loopback rule, time limits.
Refuses: anything about one room; such fixtures stand beside that room's tests.
Read next: pyproject.toml (markers), tools/check.py (who runs which tests), tests/house (the rules).
"""

from __future__ import annotations

import faulthandler
import functools
import gc
import importlib.util
import ipaddress
import logging
import os
import shutil
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any, Callable, Iterator, List, Sequence, Tuple

import pytest
from hypothesis import HealthCheck, settings

from discompute_lite.crypto import ecdsa, p256
from discompute_lite.crypto.certificates import ca_certificate, device_certificate
from discompute_lite.crypto.p256 import PrivateKey, device_id, pem, pkcs8_der, private_key
from discompute_lite.net.tls import TlsIdentity

ROOT = Path(__file__).resolve().parent.parent
#: Seconds before a hanging test ends the run with every thread's traceback, and so much more where waiting is the job.
TEST_LIMIT_S = 120.0
SYSTEM_TEST_LIMIT_S = 300.0
#: How much longer a test may take where `tools/check.py --long` asks for ten times the frames and more kills.
LONG_TIMES = 15.0


# ---- pytest and hypothesis ------------------------------------------------------------------------


def pytest_configure(config: pytest.Config) -> None:
    """Choose how many examples a property gets: the same ones every time, unless `tools/check.py --long` asks."""
    is_long = bool(os.environ.get("DISCOMPUTE_TEST_LONG"))
    settings.register_profile(
        "discompute",
        max_examples=int(os.environ.get("DISCOMPUTE_TEST_EXAMPLES", "2000" if is_long else "50")),
        derandomize=not is_long,
        database=None,
        deadline=None,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )
    settings.load_profile("discompute")
    # Thousands of tests and a million nodes of syntax trees, looked through again and again, cost a tenth of the time.
    gc.set_threshold(20_000, 20, 50)
    if not shutil.which("clang"):
        # tinygrad has no device then; a few of its tensors it can compute in Python.
        os.environ.setdefault("DEV", "PYTHON")
    # jax takes three quarters of a graphics card for itself, and tests run in several processes at once.
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    # A shell starts what runs in the background with a deaf ear, nohup too, and whatever tests start would inherit it.
    for name, hearing in (("SIGINT", signal.default_int_handler), ("SIGHUP", signal.SIG_DFL)):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, hearing)
    HANG_WATCH.file = os.fdopen(os.dup(sys.__stderr__.fileno()), "w")


def pytest_unconfigure() -> None:
    """Close what `pytest_configure` opened."""
    HANG_WATCH.end()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: List[pytest.Item]) -> None:
    """Mark what lies in tests/system, so that a place is enough and nobody forgets the marker."""
    for item in items:
        if (ROOT / "tests" / "system") in item.path.parents:
            item.add_marker(pytest.mark.system)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_logstart(nodeid: str, location: Any) -> None:
    """Begin the time of a test; see `HangWatch`."""
    HANG_WATCH.begin(is_system=nodeid.startswith("tests/system/"))


class HangWatch:
    """End the run when one test hangs: better a traceback than a night.

    To set the timer takes as long as a short test, so that it is set for several of them.
    """

    #: Seconds for which tests share one timer.
    SHARED_S = 5.0

    def __init__(self) -> None:
        #: A copy of the real standard error, for the traceback: output is captured during tests.
        self.file: Any = None
        self._is_system = False
        self._fresh_until = 0.0

    def begin(self, *, is_system: bool) -> None:
        """A test begins; it gets its limit in full, and so much more as tests share a timer."""
        now = time.monotonic()
        if now < self._fresh_until and is_system == self._is_system:
            return
        self._is_system, self._fresh_until = is_system, now + self.SHARED_S
        limit_s = SYSTEM_TEST_LIMIT_S if is_system else TEST_LIMIT_S
        limit_s *= LONG_TIMES if os.environ.get("DISCOMPUTE_TEST_LONG") else 1.0
        faulthandler.dump_traceback_later(limit_s * _scale() + self.SHARED_S, exit=True, file=self.file)

    def end(self) -> None:
        """No test runs any more."""
        faulthandler.cancel_dump_traceback_later()
        self.file.close()


HANG_WATCH = HangWatch()


def _scale() -> float:
    return float(os.environ.get("DISCOMPUTE_TEST_SCALE", "1"))


@pytest.fixture(scope="session")
def scale() -> Callable[[float], float]:
    """Turn the seconds that a quick machine needs at most into the deadline to use here."""
    return lambda seconds: seconds * _scale()


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def load_tool() -> Callable[[str], Any]:
    """Return what loads a file of tools/, by its name without ending, as a module."""

    def load(name: str) -> Any:
        spec = importlib.util.spec_from_file_location(f"tool_{name}", ROOT / "tools" / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        # Dataclasses look their module up by name.
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(scope="session")
def single_file(load_tool: Callable[[str], Any], root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the program as one file, made now."""
    return _made_of_sources(
        tmp_path_factory, "whole", lambda name: load_tool("bundle").bundled(root, name).encode("utf-8"))


@pytest.fixture(scope="session")
def small_file(load_tool: Callable[[str], Any], root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the program as phones fetch it, made now: once, since it takes seconds, for all rooms of a run."""
    tool = load_tool("bundle")
    sources = str(root / "discompute_lite")
    return _made_of_sources(tmp_path_factory, "lean", lambda _: tool.small_file(tool.package_sources(sources)))


def _made_of_sources(factory: pytest.TempPathFactory, folder: str, make: Callable[[str], bytes]) -> Path:
    """Return the file that `make` makes of the sources: the one that another run of this check has made, if any."""
    shared = os.environ.get("DISCOMPUTE_TEST_MADE")
    path = (Path(shared, folder) if shared else factory.mktemp(folder)) / "discompute.py"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        part = path.with_name(f"part-{os.getpid()}")
        part.write_bytes(make(path.name))
        part.replace(path)
    return path


# ---- the environment ------------------------------------------------------------------------------


@pytest.fixture(scope="session", autouse=True)
def _own_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Give tests and their children an empty home, loopback only, and this checkout from any folder."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("DISCOMPUTE_", "XDG_")) and not name.startswith("DISCOMPUTE_TEST_"):
                patch.delenv(name)
        patch.setenv("HOME", str(home))
        patch.setenv("USERPROFILE", str(home))
        patch.setenv("DISCOMPUTE_STATE_DIR", str(home / ".discompute"))
        patch.setenv("DISCOMPUTE_BIND", "127.0.0.1")
        # A neighbourhood of our own: what else runs on this machine, be it another run of the tests, is not met.
        patch.setenv("DISCOMPUTE_PORT", "0")
        patch.setenv("DISCOMPUTE_DISCOVERY_PORT", str(20_000 + os.getpid() % 10_000))
        patch.setenv("PYTHONPATH", str(ROOT))
        if os.environ.get("PYTHONDONTWRITEBYTECODE"):
            # Hundreds of nodes would each compile the program anew, which takes longer than all else they do here.
            patch.delenv("PYTHONDONTWRITEBYTECODE")
            patch.setenv("PYTHONPYCACHEPREFIX", str(tmp_path_factory.mktemp("bytecode")))
        yield


# ---- the loopback rule ----------------------------------------------------------------------------


class LoopbackOnly:
    """Refuse to send anything to another machine, and remember who tried: a shell may swallow the error."""

    def __init__(self) -> None:
        self.is_lifted = False
        self.attempts: List[str] = []

    def check(self, address: Any) -> None:
        """Raise AssertionError unless `address` (of `connect` or `sendto`) is on this machine."""
        if not self.is_lifted and isinstance(address, tuple) and not _is_loopback(str(address[0])):
            self.attempts.append(f"{address[0]}:{address[1]}")
            raise AssertionError(f"a test sends to {address[0]}:{address[1]}; tests stay on 127.0.0.0/8 and ::1")

    def check_name(self, host: Any) -> None:
        """Refuse to ask the network for a name; `.invalid` names fail as they would, without being asked for."""
        name = host.decode() if isinstance(host, bytes) else host
        if self.is_lifted or not name or _is_numeric(name) or name in ("localhost", socket.gethostname()):
            return
        if name.endswith(".invalid"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        self.attempts.append(name)
        raise AssertionError(f"a test looks up {name!r}; use a numeric address, or a name that ends in .invalid")


def _is_numeric(host: str) -> bool:
    try:
        ipaddress.ip_address(host.split("%")[0])
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    if not _is_numeric(host):
        return host == "localhost"
    address = ipaddress.ip_address(host.split("%")[0])
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


@pytest.fixture(scope="session", autouse=True)
def _loopback_rule() -> Iterator[LoopbackOnly]:
    """Hold the loopback rule over every socket of the test process; nodes are held to it by DISCOMPUTE_BIND."""
    rule = LoopbackOnly()

    def guarded(original: Callable[..., Any], position: int) -> Callable[..., Any]:
        def call(self: socket.socket, *arguments: Any) -> Any:
            # `sendto` has its address last, `sendmsg` fourth and only sometimes.
            if len(arguments) > position:
                rule.check(arguments[position])
            return original(self, *arguments)

        return call

    def getaddrinfo(host: Any, *arguments: Any, **named: Any) -> Any:
        rule.check_name(host)
        return ask(host, *arguments, **named)

    ask = socket.getaddrinfo
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", getaddrinfo)
        for name, position in (("connect", 0), ("connect_ex", 0), ("sendto", -1), ("sendmsg", 3)):
            if hasattr(socket.socket, name):
                patch.setattr(socket.socket, name, guarded(getattr(socket.socket, name), position))
        yield rule


@pytest.fixture(autouse=True)
def _loopback_only(request: pytest.FixtureRequest, _loopback_rule: LoopbackOnly) -> Iterator[None]:
    """Lift the rule for tests in network namespaces of their own; fail the test in which it was broken."""
    _loopback_rule.is_lifted = request.node.get_closest_marker("namespaces") is not None
    _loopback_rule.attempts.clear()
    yield
    assert _loopback_rule.attempts == [], "this test spoke to another machine"


@pytest.fixture(autouse=True)
def _log_as_it_was() -> Iterator[None]:
    """Give the program's log back as it was: a command takes it for itself, and later tests would not see a line."""
    log = logging.getLogger("discompute")
    handlers, level, propagate = log.handlers[:], log.level, log.propagate
    yield
    if (log.handlers, log.level, log.propagate) != (handlers, level, propagate):
        log.handlers[:], log.propagate = handlers, propagate
        log.setLevel(level)


@pytest.fixture(scope="session", autouse=True)
def _points_once() -> Iterator[None]:
    """Compute each point of the curve once a run: hundreds of worlds have the same keys, certificates and statements.

    A point is a function of its numbers alone; that it is the right one, tests/crypto sees before it is kept.
    """
    kept = functools.lru_cache(maxsize=20_000)(p256.point_combine)
    with pytest.MonkeyPatch.context() as patch:
        for module in (p256, ecdsa):
            patch.setattr(module, "point_combine", kept)
        yield


class MadeCluster:
    """A cluster's CA, and its devices with the files that `ssl` reads; a number makes the same device every time."""

    def __init__(self, folder: Path, number: int) -> None:
        self.folder = folder
        self.ca = private_key(1000 + number)
        self.ca_pem = pem("CERTIFICATE", ca_certificate(self.ca, serial=b"serial number 0"))

    def device(self, number: int) -> Tuple[str, TlsIdentity]:
        """Return a device's id and how it proves it."""
        key = private_key(2000 + number)
        return device_id(key), self.identity(f"{number}", self.certificate(key), pem("PRIVATE KEY", pkcs8_der(key)))

    def certificate(self, key: PrivateKey) -> str:
        """Return what the cluster signs for a key, as PEM."""
        return pem("CERTIFICATE", device_certificate(self.ca, key.public, serial=b"serial number 1"))

    def identity(self, name: str, certificate: str, key: str) -> TlsIdentity:
        """Return an identity of PEM text."""
        paths = [self.folder / f"{name}-{self.ca.public[0] % 10 ** 8}.{part}" for part in ("pem", "key")]
        for path, text in zip(paths, (certificate, key)):
            path.write_text(text)
        return TlsIdentity(str(paths[0]), str(paths[1]), self.ca_pem)


@pytest.fixture(scope="session")
def is_interrupted() -> Callable[..., bool]:
    """Return is_interrupted(modules, before, action, *arguments): do something with Ctrl-C before one step of the
    interpreter in these modules, by its number; False where it does not come so far."""

    def run(modules: Sequence[Any], before: int, action: Callable[..., Any], *arguments: Any) -> bool:
        files, steps, former = [module.__file__ for module in modules], [], sys.gettrace()

        def trace(frame: Any, event: str, argument: Any) -> Any:
            if frame.f_code.co_filename not in files:
                return None
            frame.f_trace_opcodes = True
            if event == "opcode":
                steps.append(frame)
                if len(steps) == before:
                    raise KeyboardInterrupt
            return trace

        sys.settrace(trace)
        try:
            action(*arguments)
        except KeyboardInterrupt:
            return True
        finally:
            sys.settrace(former)
        return False

    return run


@pytest.fixture
def make_cluster(tmp_path: Path) -> Callable[[int], MadeCluster]:
    """Return a maker of clusters."""
    return lambda number: MadeCluster(tmp_path, number)
