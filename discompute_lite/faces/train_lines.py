"""Say in lines what a training comes to: each round, its end, and how to go on from there.

Knows:   how a round's figures become a line, and the command line that goes on from a checkpoint.
Refuses: to know of the job and the cluster; phones, which begin no training, do without this.
Read next: faces/train_run.py, ml/curves.py.
"""

from __future__ import annotations

import math
import os
import shlex
from subprocess import list2cmdline
from typing import Any, Callable, Dict, Iterable, List, Set

from ..ml.curves import curve_text
from ..model.codec import strict_numbers
from ..model.errors import SettingsError
from ..model.settings import PEER_FLAG, SETTINGS
from ..model.told_round import ToldRound
from ..run import TrainingFolder
from .command import Context
from .console import Console, program_name
from .train_flags import TRAIN_FLAGS

#: Flags that the line that goes on has in any case, with words of its own.
_NEW_ON_RESUME = ("--resume", "--checkpoint", "--rounds")


class RoundLines:
    """Print the rounds of one training, each when it is over."""

    def __init__(self, console: Console, rounds: int) -> None:
        self._console, self._rounds = console, rounds
        #: How people call a device.
        self._name_of: Callable[[str], str] = str
        #: Devices that have taken part.
        self._seen: Set[str] = set()

    @property
    def has_shown(self) -> bool:
        """Whether a round is over."""
        return bool(self._seen)

    def begin(self, name: str, strategy: Any, places: Iterable[str], name_of: Callable[[str], str]) -> None:
        """Say what is trained, how, and on how much; `name_of` tells how people call a device."""
        slots, self._name_of = list(places), name_of
        self._console.note(f"{name}: {strategy!r}, "
                           f"{_in_number(len(set(map(_device, slots))), 'device')}, {_in_number(len(slots), 'slot')}")

    def show(self, figures: Dict[str, Any]) -> None:
        """Print a round's line."""
        self._seen.update(map(_device, figures["shares"]))
        if not self._console.is_json:
            self._console.print(round_line(figures, self._rounds, self._name_of, is_shared=len(self._seen) > 1))


def _in_number(count: int, what: str) -> str:
    return f"{count} {what}" + ("" if count == 1 else "s")


def _in_bytes(count: int) -> str:
    for size, word in ((1e6, "MB"), (1e3, "kB")):
        if count >= size:
            return f"{count / size:,.0f} {word}" if count >= 100 * size else f"{count / size:.3g} {word}"
    return f"{count} bytes"


def _device(member: str) -> str:
    return member.partition("/")[0]


def round_line(figures: Dict[str, Any], rounds: int, name_of: Any, *, is_shared: bool = True) -> str:
    """Return one round's figures on a line: what was evaluated, the speed, the time, and each device's share.

    Where only one device has taken part so far (not `is_shared`), its share is not worth a word.
    """
    parts = [f"round {figures['round']}/{rounds}"]
    parts += [f"{name} {value:.4g}" for name, value in figures["evaluated"].items()]
    seconds, samples = figures["seconds"], figures["samples"]
    parts.append(f"{samples / max(seconds, 1e-6):,.0f} samples/s")
    compute_s, starting_s = figures["compute_s"], figures["starting_s"]
    starting = f", {starting_s:.2f} starting" if starting_s >= 0.005 else ""
    parts.append(f"{seconds:.2f} s, {compute_s:.2f} computing{starting}, "
                 f"{max(0.0, seconds - compute_s - starting_s):.2f} communicating")
    if figures["moved_bytes"]:
        parts.append(f"{_in_bytes(figures['moved_bytes'])} moved")
    shares: Dict[str, int] = {}
    for member, count in figures["shares"].items():
        shares[_device(member)] = shares.get(_device(member), 0) + count
    if is_shared:
        # By name, so that a device's share stands at one place in all lines, whoever was first.
        parts.append(", ".join(f"{name_of(device)} {shares[device] / max(samples, 1):.0%}"
                               for device in sorted(shares, key=name_of)))
    # Of a device that has several places something may have come, and something not.
    without = [device for device in dict.fromkeys(map(_device, figures["missing"])) if device not in shares]
    if without:
        parts.append("without " + ", ".join(map(name_of, without)))
    return "  ".join(parts)


def told_round(training: str, name: str, figures: Dict[str, Any], rounds: int, name_of: Any) -> ToldRound:
    """Return what a node tells of a round, in words and figures."""
    shares: Dict[str, int] = {}
    for member, count in figures["shares"].items():
        shares[_device(member)] = shares.get(_device(member), 0) + count
    return ToldRound(
        training, name, f"{name}: {round_line(figures, rounds, name_of, is_shared=len(shares) > 1)}", figures["round"],
        rounds, figures["seconds"], figures["compute_s"], figures["starting_s"], figures["samples"],
        {name: value for name, value in figures["evaluated"].items() if math.isfinite(value)}, shares,
        [device for device in dict.fromkeys(map(_device, figures["missing"])) if device not in shares])


def show_end(console: Console, result: Any) -> None:
    """Print curves, where a person looks at a terminal, and what the training came to."""
    curves = [(name, [figures["evaluated"].get(name) for figures in result.history]) for name in result.metrics]
    if console.is_json:
        console.json(strict_numbers({"rounds": result.history, "ended": result.ended, "metrics": result.metrics}))
        return
    if console.is_live and len(result.history) > 2:
        for curve in curves:
            for line in curve_text(curve, min(console.width, 72)):
                console.print(line)
    words = "  ".join(f"{name} {value:.4g}" for name, value in result.metrics.items())
    console.print(f"{result.ended}: {words}" if words else result.ended)


def train_by_words(context: Context, train: Callable[[RoundLines], Any]) -> int:
    """Have `train` train, say what it came to and how to go on, also after Ctrl-C; return the exit code."""
    arguments, console = context.arguments, context.console
    if arguments.resume and not arguments.checkpoint:
        raise SettingsError("--resume needs the folder to go on from; write --checkpoint FOLDER")
    shown = RoundLines(console, arguments.rounds)
    try:
        result = train(shown)
    except KeyboardInterrupt:
        # Of a training that was there already nothing is said, unless this one was to go on with it.
        if (arguments.resume or shown.has_shown) and TrainingFolder.is_saved_in(arguments.checkpoint):
            show_how_to_go_on(console, arguments, str(arguments.rounds))
        raise
    show_end(console, result)
    if arguments.checkpoint:
        show_how_to_go_on(console, arguments, "N")
    return 0


def show_how_to_go_on(console: Console, arguments: Any, rounds: str) -> None:
    """Say where a training is saved, and what goes on with it up to so many rounds."""
    console.note(f"saved in {arguments.checkpoint}; go on with:")
    # A line to be pasted: broken to the terminal's width it would be two commands.
    console.note(f"  {resuming_line(arguments, rounds)}", is_whole=True)


def resuming_line(arguments: Any, rounds: str) -> str:
    """Return the command line that goes on from a training's checkpoint: all that was given is said again."""
    said: List[str] = []
    for (flag, *_), keywords in TRAIN_FLAGS:
        value, usual = getattr(arguments, flag.strip("-").replace("-", "_")), keywords.get("default", False)
        if flag not in _NEW_ON_RESUME and value != usual:
            said += [flag] if value is True else [flag, f"{value:.15g}" if isinstance(value, float) else str(value)]
    # With another state folder it would be another device, and without an address devices might not be found.
    given = [("--config", getattr(arguments, "config", None)),
             *((setting.flag, getattr(arguments, f"set_{setting.name}", None)) for setting in SETTINGS),
             *((PEER_FLAG, peer) for name in ("peers_first", "peers_more") for peer in getattr(arguments, name, ()))]
    said += [each for flag, value in given if value is not None for each in (flag, value)]
    said += ["-v"] * getattr(arguments, "verbose", 0)
    words = ["train", "--resume", "--checkpoint", arguments.checkpoint, "--rounds", rounds, *said, arguments.file,
             *arguments.args]
    line = list2cmdline(words) if os.name == "nt" else " ".join(map(shlex.quote, words))
    return f"{program_name()} {line}"
