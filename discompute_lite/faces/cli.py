"""Read the command line, run the command, and turn every error into one sentence and an exit code.

Knows:   what ends a command: its own end, an error, Ctrl-C, SIGTERM, a reader that left.
Refuses: to know what a command does.
Read next: faces/command_line.py, faces/command.py (the table), faces/node_commands.py, faces/task_commands.py.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from typing import Any, Callable, Dict, Optional, Sequence

from ..model.errors import DiscomputeError, SettingsError
from ..model.settings import SETTINGS, unknown_environment, with_peers
from ..run import end_in_time, read_settings
from .command import LISTED, Context, load_command
from .command_line import CommandLine
from .console import Console

INTERRUPTED = 130
#: What ends a command as an exception, so that it cleans up, where it would end the process at once: a closed terminal,
#: and Ctrl-C itself, as it is left while the program is loaded. `start` says goodbye first.
END_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run one command; return the exit code. May be called again and again in one interpreter."""
    run = _CommandRun(list(sys.argv[1:] if argv is None else argv))
    code = _run_to_end(run)
    if argv is None:
        # The command is all of this process, which ends now.
        end_in_time(code, run.console.error)
    return code


def _run_to_end(run: _CommandRun) -> int:
    restore = _interrupt_on_signals()
    try:
        return run.run()
    except DiscomputeError as error:
        run.explain(error)
        return error.exit_status
    except KeyboardInterrupt:
        run.console.error("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has enough (`| head`).
        return 0
    except ImportError as error:
        # The small file for phones leaves modules out, and says so.
        if not (error.name or "").startswith("discompute_lite."):
            raise
        run.console.error(error.msg)
        return SettingsError.exit_status
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        run.console.error(f"{error.strerror or error}{where}; mend that and try again")
        return 1
    finally:
        restore()


class _CommandRun:
    """Hold what is known so far of one command line while it runs."""

    def __init__(self, words: Sequence[str]) -> None:
        self._words = words
        self._is_debug = False
        self.console = Console()

    def run(self) -> int:
        """Parse and run; raise what goes wrong."""
        arguments = self._arguments()
        if arguments is None:
            return 0
        self.console = Console(
            is_json=getattr(arguments, "json", False), is_quiet=getattr(arguments, "quiet", False)
        )
        flags = {setting.name: getattr(arguments, f"set_{setting.name}", None) for setting in SETTINGS}
        peers = [*getattr(arguments, "peers_first", ()), *getattr(arguments, "peers_more", ())]
        settings = with_peers(read_settings(flags, os.environ, getattr(arguments, "config", "")), peers)
        self._is_debug = settings.debug
        _log_to(self.console, settings.debug, getattr(arguments, "verbose", 0))
        for name in unknown_environment(os.environ):
            self.console.note(f"the environment variable {name} means nothing to this version", "warn")
        return load_command(arguments.command).run(Context(settings, arguments, self.console))

    def _arguments(self) -> Optional[argparse.Namespace]:
        """Read the words by the commands that they name alone; by all where these tell more."""
        named = [name for name in LISTED if name in self._words]
        if named and not {"-h", "--help"} & {*self._words}:
            try:
                return CommandLine(named).parse(self._words)
            except SettingsError:
                pass  # Said below, with what other commands are called and take.
        return CommandLine(LISTED).parse(self._words)

    def explain(self, error: DiscomputeError) -> None:
        """Write the error's sentence; with --debug also what a job's own code says, and our own stack trace."""
        first, _, rest = error.message.partition("\n")
        if self._is_debug:
            logging.getLogger("discompute").exception("the command failed")
        elif rest:
            first += "; --debug shows its traceback"
        self.console.error(first)


def _interrupt_on_signals() -> Callable[[], None]:
    """Let what would end the process at once end a command as Ctrl-C does; return what takes that back."""
    before: Dict[int, Any] = {}
    for name in END_SIGNALS:
        number = getattr(signal, name, None)
        try:
            if number is not None and signal.getsignal(number) == signal.SIG_DFL:
                before[number] = signal.signal(number, signal.default_int_handler)
        except (ValueError, OSError, RuntimeError):
            pass  # Not the main thread: an app's console.

    def restore() -> None:
        for number, previous in before.items():
            signal.signal(number, previous)

    return restore


def _log_to(console: Console, is_debug: bool, verbose: int) -> None:
    logger = logging.getLogger("discompute")
    for old in list(logger.handlers):
        logger.removeHandler(old)
    level = logging.DEBUG if is_debug else {0: logging.WARNING, 1: logging.INFO}.get(verbose, logging.DEBUG)
    logger.setLevel(level)
    logger.propagate = False
    lines = logging.StreamHandler(_LogStream(console))
    lines.setFormatter((logging.Formatter if is_debug else _BriefFormatter)(
        "%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"
    ))
    logger.addHandler(lines)


class _BriefFormatter(logging.Formatter):
    """Name an exception without its stack trace."""

    def formatException(self, ei: Any) -> str:
        """Return its type and text."""
        return f"  {ei[0].__name__}: {ei[1]}; --debug shows where"


class _LogStream:
    """Give the logger a stream that knows progress bars and consoles with only `write`."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def write(self, text: str) -> None:
        for line in text.splitlines():
            self._console.note(line, "quiet")

    def flush(self) -> None:
        """Every line is written at once."""
