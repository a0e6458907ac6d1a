"""List the flags of `train`.

Knows:   each flag's text, default and help.
Refuses: to do anything; phones, which begin no training, do without this.
Read next: faces/train_command.py (the command), faces/train_lines.py (which repeats them).
"""

from __future__ import annotations

from .command import JSON_FLAG, argument, number_between, wait_seconds, whole_number

#: In the order of the help; the line that goes on with a training repeats those that were given.
TRAIN_FLAGS = (
    argument("--rounds", type=whole_number(1, 10**6), default=10, metavar="N", help="rounds (default 10)"),
    argument("--strategy", default="fedavg", metavar="NAME", help="sync, fedavg (default), diloco or async"),
    argument("--local-steps", type=whole_number(1, 10**6), default=0, metavar="N",
             help="steps that each device makes in a round"),
    argument("--checkpoint", default="", metavar="FOLDER", help="save each round there, with figures and curves"),
    argument("--resume", action="store_true", help="go on from the checkpoint"),
    argument("--min-devices", type=whole_number(1, 4096), default=1, metavar="N", help="wait until N are there"),
    argument("--wait", type=wait_seconds(), default=10.0, metavar="S", help="wait so long for them (default 10)"),
    argument("--seed", type=whole_number(0, 2**63 - 1), default=0, metavar="N", help="where all chance comes from"),
    argument("--shards", type=whole_number(1, 65536), default=0, metavar="N", help="divide the data into N parts"),
    argument("--reproducible", action="store_true", help="the same state bit for bit on any number of devices"),
    argument("--target", default="", metavar="NAME=X", help="end when an evaluation reaches it: accuracy=0.95"),
    argument("--patience", type=whole_number(0, 10**6), default=0, metavar="N", help="end after N rounds without gain"),
    argument("--average", default="auto", metavar="WHERE", help="ring, submitter or auto (default): where it is done"),
    argument("--compression", default="none", metavar="KIND",
             help="of what devices send to be averaged: float16, or top-k (the largest numbers alone)"),
    argument("--top-k", type=number_between(1e-6, 1.0), default=None, metavar="X",
             help="the part of the numbers that --compression top-k sends (default 0.01)"),
    JSON_FLAG,
)
