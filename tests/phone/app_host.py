"""Be an app of a phone that has Python inside: run scripts in threads, and be as strict about it as the real ones.

Knows:   what Pythonista, a-Shell and Pyto allow, lack and do to a script, as far as that is known; and their worst
         together, the profile `strict`.
Refuses: to know the program that runs in it: it gets a text or a folder, as a person would paste or copy it.
Read next: conftest.py (who starts it and talks to it), test_life.py.

It is started as a process of its own and reads one JSON command a line: see `Host`.
"""

from __future__ import annotations

import _thread
import builtins
import ctypes
import io
import json
import os
import platform
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
import traceback
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Set, Tuple

from app_sensors import Sensors, named_module

#: What no app lets a script do, whatever the module is called.
FORBIDDEN = (
    "multiprocessing", "_multiprocessing", "readline", "curses", "_curses", "psutil", "concurrent.interpreters",
)


class Profile(NamedTuple):
    """Say what is special about an app."""

    platform: str
    machine: str
    executable: str
    environ: Dict[str, str]
    #: Modules that cannot be imported, beside those that no app has.
    lacks: Tuple[str, ...] = ()
    #: Modules that only this app has, made of nothing but their names.
    offers: Tuple[str, ...] = ()
    #: Whether the console knows `isatty`, `fileno` and `encoding`.
    has_terminal: bool = False


PROFILES = {
    "pythonista": Profile(
        "darwin", "iPhone14,7", "/private/var/containers/Bundle/Application/0/Pythonista3.app/Pythonista3", {},
        lacks=("termios", "fcntl"), offers=("console", "objc_util", "ui"),
    ),
    "a-shell": Profile(
        "ios", "iPad13,4", "python3", {"TERM_PROGRAM": "a-Shell", "APPNAME": "a-Shell", "TERM": "xterm-256color"},
        has_terminal=True,
    ),
    "a-shell-mini": Profile(
        "ios", "iPad13,4", "python3", {"TERM_PROGRAM": "a-Shell", "APPNAME": "a-Shell-mini", "TERM": "xterm-256color"},
        lacks=("numpy",), has_terminal=True,
    ),
    "pyto": Profile("ios", "iPhone12,8", "", {}, offers=("pyto", "background", "console")),
    "strict": Profile(
        "ios", "iPhone99,9", "", {},
        lacks=("ssl", "_ssl", "ctypes", "_ctypes", "sqlite3", "_sqlite3", "subprocess", "_posixsubprocess", "termios",
               "fcntl", "resource", "numpy", "mmap", "lzma", "_lzma", "bz2", "_bz2"),
    ),
}


class Screen:
    """Be Pythonista's modules ui, console and objc_util, as far as scripts of ours use them; remember what they saw."""

    def __init__(self) -> None:
        self.views: List[Any] = []
        self.alerts: List[str] = []
        #: Whether the display is kept awake, and on whose word each time.
        self.awake: List[bool] = []
        self.closed = threading.Event()
        self._delays: List[threading.Timer] = []
        self.sensors = Sensors()
        self._main = threading.RLock()
        #: What the person types next into a question for a line, and says to an alert.
        self.typed = ""

    def modules(self) -> Dict[str, Any]:
        """Return the modules by name."""
        ui, console, bridge = (type(sys)(name) for name in ("ui", "console", "objc_util"))
        for name in ("View", "Switch", "Label", "TextView", "Button"):
            setattr(ui, name, lambda kind=name, **options: self._widget(kind, options))
        ui.delay, ui.cancel_delays = self._delay, self._cancel_delays
        console.alert = console.hud_alert = lambda *texts, **options: self.alerts.append(" ".join(map(str, texts)))
        console.input_alert = lambda title, message="": self.typed
        console.set_idle_timer_disabled = self._set_idle_timer
        bridge.on_main_thread, bridge.ObjCClass = self._on_main_thread, self.sensors.object_class(calls=True)
        return {"ui": ui, "console": console, "objc_util": bridge}

    def _widget(self, kind: str, options: Dict[str, Any]) -> Any:
        widget = type(kind, (), {})()
        widget.kind, widget.width, widget.height, widget.text, widget.value = kind, 390, 800, "", False
        vars(widget).update(options)
        widget.add_subview = self.views.append
        widget.present = lambda style: None
        widget.wait_modal = self.closed.wait
        return widget

    def _delay(self, function: Any, seconds: float) -> None:
        timer = threading.Timer(seconds, self._on_main_thread(function))
        timer.daemon, timer.name = True, "app-ui"
        self._delays.append(timer)
        timer.start()

    def _cancel_delays(self) -> None:
        for timer in self._delays:
            timer.cancel()

    def _on_main_thread(self, function: Any) -> Any:
        def run(*arguments: Any) -> Any:
            with self._main:
                self._is_main = True
                try:
                    return self.sensors.on_main_thread(function)(*arguments)
                finally:
                    self._is_main = False

        return run

    def _set_idle_timer(self, is_disabled: bool) -> None:
        if not getattr(self, "_is_main", False):
            os.abort()  # The app crashes.
        self.awake.append(is_disabled)


class Console:
    """Take what a script prints, and offer nothing but `write`, as Pythonista's does."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> None:
        """Take a text."""
        if not isinstance(text, str):
            raise TypeError("write() takes a str")
        self.text += text


class ConsoleOfScript(Console):
    """Show what threads of one script print, and nothing of others, as Pyto's does."""

    def write(self, text: str) -> None:
        """Take a text from a thread that says whose it is."""
        if hasattr(threading.current_thread(), "script_path"):
            super().write(text)


def threads_of_scripts() -> None:
    """Let threads say whose they are, as Pyto does: whoever starts one passes it on, if it has it."""
    start = threading.Thread.start

    def start_of_script(thread: threading.Thread) -> None:
        # Whoever starts it is not asked where that is known: to ask makes an entry for a thread that has none.
        if not hasattr(thread, "script_path") and hasattr(threading.current_thread(), "script_path"):
            vars(thread)["script_path"] = vars(threading.current_thread())["script_path"]
        start(thread)

    threading.Thread.start = start_of_script  # type: ignore[method-assign]


class Terminal(Console):
    """Be a console that knows how terminals behave, as a-Shell's does."""

    encoding = "utf-8"

    def flush(self) -> None:
        """Have nothing to do."""

    def isatty(self) -> bool:
        """Say that somebody looks."""
        return True


class NoKeyboard:
    """Be an input that can only be waited for, as Pythonista's."""

    def readline(self) -> str:
        """Wait for a line that nobody types."""
        threading.Event().wait()
        return ""


class Lock:
    """Be one of those locks that a script makes itself; a thread that was ended does not come back from it."""

    def __init__(self, lock: Any, come_back: Callable[[], None]) -> None:
        self._lock, self._come_back = lock, come_back
        self.release, self.locked = lock.release, lock.locked

    def acquire(self, *how: Any) -> bool:
        """Take it."""
        is_taken = self._lock.acquire(*how)
        self._come_back()
        return is_taken

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class Host:
    """Own the app: its consoles, its scripts and what it does to them.

    Commands: `run` a text with `argv` under a `name`; `stop` it by an exception, as the app's button does, or `cancel`
    it; `wait` for its end; `suspend` and `kill_sockets`, as iOS does; `feel` otherwise, as a phone; `look` at what it
    holds.
    """

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._scripts: Dict[str, threading.Thread] = {}
        self._consoles: Dict[str, Console] = {}
        self._ends: Dict[str, str] = {}
        self.screen = Screen()
        self._keyboard = -1
        self._console_kind = Terminal if profile.has_terminal else Console
        if "pyto" in profile.offers:
            self._console_kind = ConsoleOfScript
            threads_of_scripts()
        if profile.has_terminal:
            typed, self._keyboard = os.pipe()
            sys.stdin = os.fdopen(typed, encoding="utf-8")
        else:
            sys.stdin = NoKeyboard()  # type: ignore[assignment]
        #: "start" and "stop" of Pyto's background tasks, in order.
        self._background: List[str] = []
        self._raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc
        #: The threads that are ended.
        self._cancelled: Set[int] = set()
        self._sleep_really, time.sleep = time.sleep, self._sleep
        make_lock = _thread.allocate_lock
        _thread.allocate_lock = lambda: Lock(make_lock(), self._come_back)  # type: ignore[assignment]

    def background_task(self) -> Any:
        """Be Pyto's `background.BackgroundTask`, and remember what a script does with it.

        To stop it raises an exception in the thread that has started it, unless that is the one that stops it.
        """
        task = type("BackgroundTask", (), {})()

        def start() -> None:
            task.thread = threading.get_ident()
            self._background.append("start")

        def stop() -> None:
            self._background.append("stop")
            if task.thread != threading.get_ident():
                self._raise_in(ctypes.c_ulong(task.thread), ctypes.py_object(RuntimeError))

        task.start, task.stop = start, stop
        return task

    def kept_awake(self) -> List[Any]:
        """Return what scripts did to keep the app running, in order."""
        return [*self.screen.awake, *self._background]

    def run(
        self, name: str, text: str, argv: List[str], file: str = "", environ: Optional[Dict[str, str]] = None
    ) -> None:
        """Run a script's text in a thread of its own; without `file` it is one that was pasted."""
        console = self._console_kind()
        self._consoles[name] = console
        sys.stdout = sys.stderr = console  # type: ignore[assignment]
        sys.argv = argv
        os.environ.update(environ or {})
        names: Dict[str, Any] = {"__name__": "__main__", "__builtins__": builtins}
        if file:
            names["__file__"] = file

        def script() -> None:
            end = "ended"
            try:
                exec(compile(text, file or "<pasted>", "exec"), names)
            except BaseException as error:
                end = f"{type(error).__name__}: {error}"
                if not isinstance(error, (SystemExit, KeyboardInterrupt)):
                    console.write(traceback.format_exc())
            finally:
                if self._profile.executable:
                    names.clear()  # Pythonista wipes a script's globals, also under its threads.
                self._ends[name] = end

        self._scripts[name] = threading.Thread(target=script, name=f"app-{name}", daemon=True)
        if "pyto" in self._profile.offers:
            vars(self._scripts[name])["script_path"] = file or name
        self._scripts[name].start()

    def stop(self, name: str, by: str = "KeyboardInterrupt") -> None:
        """Raise an exception in the script's own thread, and touch no other."""
        thread = self._scripts[name]
        self._raise_in(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(getattr(builtins, by)))

    def stop_after(self, name: str, by: str, milliseconds: float) -> None:
        """Do the same a moment from now."""
        self._sleep_really(milliseconds / 1000)
        self.stop(name, by)

    def cancel(self, name: str) -> None:
        """End the script's own thread without a word where it waits next, as a-Shell's Ctrl-C may."""
        self._cancelled.add(self._scripts[name].ident or 0)

    def _sleep(self, seconds: float) -> None:
        self._sleep_really(seconds)
        self._come_back()

    def _come_back(self) -> None:
        # A real pthread_cancel would stop the whole app where it finds a thread that waits for the interpreter.
        if threading.get_ident() in self._cancelled:
            threading.Event().wait()

    def type_line(self, text: str) -> None:
        """Type a line and press return, as whoever looks at the app."""
        os.write(self._keyboard, f"{text}\n".encode())

    def wait(self, name: str, limit_s: float) -> str:
        """Return how a script ended, "" where it has not."""
        self._scripts[name].join(limit_s)
        return self._ends.get(name, "")

    def printed(self, name: str) -> str:
        """Return what a script has printed so far."""
        return self._consoles[name].text

    def shown(self) -> Dict[str, Any]:
        """Return what the person sees of a script's screen, and whether the display is kept awake."""
        views = {view.kind: view for view in self.screen.views}
        return {"text": views["TextView"].text if "TextView" in views else "", "alerts": self.screen.alerts,
                "switch": views["Switch"].value if "Switch" in views else None, "awake": self.screen.awake}

    def ask_for_network(self, refusals: int) -> None:
        """Refuse so many connections as iOS does while it asks the person whether the app may find local devices."""
        Consent.refusals = refusals

    def touch(self, title: str = "", switch: Optional[bool] = None, typed: str = "") -> None:
        """Press the button of this title, or put the switch on or off."""
        self.screen.typed = typed
        for view in self.screen.views:
            if switch is not None and view.kind == "Switch":
                view.value = switch
                view.action(view)
            elif title and getattr(view, "title", "") == title:
                view.action(view)

    def feel(self, **values: Any) -> None:
        """Let the phone feel otherwise, by UIKit's names."""
        self.screen.sensors.values.update(values)

    def close_screen(self) -> None:
        """Close the script's screen."""
        self.screen.closed.set()

    def all_printed(self) -> str:
        """Return what all scripts have printed so far."""
        return "".join(console.text for console in self._consoles.values())

    def kill_sockets(self, how: str) -> int:
        """Do to every socket what iOS does to a suspended app's; return how many there were."""
        dead = socket_numbers()
        for number in dead:
            if how == "closed":
                os.close(number)
            elif how == "silent" and is_listening(number):
                # It looks healthy and idle for ever, while whoever calls its port is refused.
                with socket.socket() as other:
                    other.bind(("127.0.0.1", 0))
                    other.listen()
                    os.dup2(other.fileno(), number)
            else:
                with socket.socket() as other:
                    os.dup2(other.fileno(), number)
        return len(dead)

    def look(self) -> Dict[str, Any]:
        """Return what the process holds: threads that are not the host's, descriptors, children, memory, time."""
        threads = [thread.name for thread in threading.enumerate()
                   if thread is not threading.main_thread() and not thread.name.startswith("app-")]
        with open("/proc/self/status") as file:
            facts = dict(line.split(":", 1) for line in file)
        return {
            "threads": sorted(threads), "descriptors": len(os.listdir("/proc/self/fd")),
            "resident_kb": int(facts["VmRSS"].split()[0]), "processor_s": time.process_time(),
        }


def socket_numbers() -> List[int]:
    """Return the descriptor of every socket of this process."""
    numbers = []
    for name in os.listdir("/proc/self/fd"):
        try:
            if stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                numbers.append(int(name))
        except OSError:
            continue  # The list's own.
    return numbers


def is_listening(number: int) -> bool:
    """Whether a descriptor is a listening socket."""
    with socket.socket(fileno=os.dup(number)) as sock:
        try:
            return bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
        except OSError:
            return False


def be_strict(profile: Profile, home: str) -> None:
    """Take from this process what the app does not give."""
    os.chmod(home, 0o500)
    # Where it meets others stays, so that the devices of another run of the tests are none of its own.
    meeting = {name: value for name, value in os.environ.items() if name.startswith("DISCOMPUTE_")}
    os.environ.clear()
    os.environ.update({"HOME": home, "PATH": "/nowhere", "LANG": "C", **meeting, **profile.environ})
    sys.executable = profile.executable
    os.uname = lambda: os.uname_result(("Darwin", "localhost", "23.0.0", "Darwin Kernel", profile.machine))
    socket.gethostname = lambda: "localhost"
    platform.platform = platform.processor = platform.architecture = forbidden("subprocesses not supported on ios")
    for module, names in ((subprocess, ("Popen", "run", "call", "check_output")),
                          (os, ("system", "popen", "fork", "posix_spawn", "posix_spawnp", "forkpty", "_exit"))):
        for name in names:
            if hasattr(module, name):
                setattr(module, name, forbidden(f"{name} is not allowed inside an app"))
    signal.signal = not_in_main_thread  # type: ignore[assignment]
    lacks = (*FORBIDDEN, *profile.lacks)
    for name in [name for name in sys.modules if name.split(".")[0] in lacks] + list(lacks):
        sys.modules[name] = None  # type: ignore[assignment]  # Which says that it is not there.
    for name in profile.offers:
        sys.modules[name] = named_module(name)
    forbid_broadcast()
    sys.platform = profile.platform


def forbidden(text: str) -> Any:
    """Return a function that raises what is no OSError, as Pythonista's do."""

    def raise_it(*_: Any, **__: Any) -> Any:
        raise RuntimeError(text)

    return raise_it


def not_in_main_thread(*_: Any) -> Any:
    """Refuse as `signal.signal` does outside of the main thread."""
    raise ValueError("signal only works in main thread of the main interpreter")


class Consent:
    """Hold how many connections are refused until the person has allowed them; Darwin's number for *no route*."""

    refusals, no_route = 0, 65


def forbid_broadcast() -> None:
    """Let no datagram out to a broadcast or multicast address, and none of theirs in: that needs an entitlement."""
    import errno

    send = socket.socket.sendto

    class DeafSocket(socket.socket):
        def sendto(self, data: Any, *rest: Any) -> int:
            host = str(rest[-1][0])
            if host.endswith(".255") or 224 <= int(host.split(".")[0] if host[0].isdigit() else 0) < 240:
                raise OSError(errno.EHOSTUNREACH, "No route to host")
            return send(self, data, *rest)

        def bind(self, address: Any) -> None:
            # Whoever listens at a broadcast address is told of no error, and hears nothing.
            super().bind(("127.0.0.1", 0) if address[0].endswith(".255") else address)

        def connect_ex(self, address: Any) -> int:
            if Consent.refusals:
                Consent.refusals -= 1
                return Consent.no_route
            return super().connect_ex(address)

    socket.socket = DeafSocket  # type: ignore[misc]


def main() -> None:
    """Serve commands until the input ends."""
    profile, home = PROFILES[sys.argv[1]], sys.argv[2]
    answers = io.TextIOWrapper(os.fdopen(os.dup(1), "wb"), encoding="utf-8")
    commands = sys.stdin
    host = Host(profile)
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
    except ImportError:
        pass
    be_strict(profile, home)
    if "ui" in profile.offers:
        sys.modules.update(host.screen.modules())
    if "background" in profile.offers:
        sys.modules["background"].BackgroundTask = host.background_task  # type: ignore[attr-defined]
    if "pyto" in profile.offers:
        sys.modules.update(host.screen.sensors.pyto_modules())
    for line in commands:
        command = json.loads(line)
        method = command.pop("do")
        try:
            answer = {"answer": getattr(host, method)(**command)}
        except BaseException:
            answer = {"error": traceback.format_exc()}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


main()
