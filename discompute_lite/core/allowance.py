"""Say how much work this device takes just now, and why it takes less than usual, in words for its owner.

Knows:   what battery, heat, lid, background, memory and the owner's own work allow, and that nobody likes a device that
         dithers. One table for phones, laptops and all others: what a device cannot tell strains nobody.
Refuses: to look at anything (host/metrics.py measures), and to end what runs: it says when that is to be handed back.
Read next: roles/feelings.py (who asks), roles/own_device.py (who tells others).

Each strain begins at one mark and ends at another: a battery that is charged for a minute, or a processor that cools by
a degree, does not change the verdict and change it back.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Callable, Dict, NamedTuple, Tuple

#: The battery must be so much above the owner's mark before work is taken again.
BATTERY_MORE = 0.05
#: Degrees Celsius of the processor: from the first on it gets half the work, until it has cooled to the second; from
#: the third on none, until the fourth. Makers let them run to 100 to 110 and slow them down from 95 on.
WARM_AT, COOL_AT, HOT_AT, LESS_HOT_AT = 88.0, 80.0, 97.0, 90.0
#: Steps of heat as Apple's systems tell them: 0 nominal, 1 fair, 2 serious, 3 critical; -1 is not known.
SERIOUS_HEAT, CRITICAL_HEAT = 2, 3
#: Below such a charge a device that is not plugged in gives half its slots, unless a person chose their number; and all
#: of them again from the second on. What is left is its owner's, who may be far from a socket.
LESS_CHARGED_AT, CHARGED_AT = 0.50, 0.55
#: Shares of memory in use, in the same way. What a system swaps out costs everybody, its owner first.
FULL_AT, LESS_FULL_AT, FULLEST_AT, LESS_FULLEST_AT = 0.93, 0.88, 0.98, 0.95
#: Shares of the processor that others than us use: from the first on they get it, until it is the second.
OWNER_AT, OWNER_GONE_AT = 0.60, 0.35


class Feeling(NamedTuple):
    """Hold what was measured of this device; negative, or 0 degrees, is *not known*, and strains nobody."""

    battery_level: float = -1.0
    is_charging: bool = False
    is_low_power: bool = False
    temperature: float = 0.0
    memory_usage: float = -1.0
    cpu_usage: float = -1.0
    #: The share of the processor that our own running work may be using.
    own_share: float = 0.0
    heat: int = -1
    #: The app that this runs in is not the one on the screen: its system stops it within seconds.
    is_background: bool = False
    is_lid_closed: bool = False


@dataclass(frozen=True)
class Allowance:
    """Say how many attempts may run at once, and why fewer than usual ("" where all may)."""

    slots: int
    reason: str = ""
    #: What runs is to be handed back at once: soon nothing will run here, or nothing should.
    hands_back: bool = False
    #: The part of the time in which the slots work, 0 to 1: a device of one slot rests in between instead of giving up
    #: half of it.
    share: float = 1.0
    #: The strain that it is due to, "" for none: what people are told when it is another.
    cause: str = ""


class Strain(NamedTuple):
    """Say when something is a strain and what it leaves of the slots."""

    name: str
    #: Of the slots, rounded up; 0 for no new work.
    leaves: float
    #: (feeling, the owner's battery mark, whether it strains already) -> whether it does.
    holds: Callable[[Feeling, float, bool], bool]
    reason: Callable[[Feeling, float], str]
    hands_back: bool = False
    #: Whether slots whose number a person chose are left alone.
    yields: bool = False
    #: Whether the part of a slot that is to be left is left by resting.
    rests: bool = False


def _is_low(feeling: Feeling, battery_min: float, was: bool) -> bool:
    mark = min(1.0, battery_min + BATTERY_MORE * was)
    return 0.0 <= feeling.battery_level < mark and not feeling.is_charging


def _is_over(value: float, begins: float, ends: float, was: bool) -> bool:
    return value >= begins or (was and value > ends)


def _is_half_empty(feeling: Feeling, _: float, was: bool) -> bool:
    mark = CHARGED_AT if was else LESS_CHARGED_AT
    return 0.0 <= feeling.battery_level < mark and not feeling.is_charging


def _others_use(feeling: Feeling) -> float:
    return feeling.cpu_usage - feeling.own_share


#: What strains a device, the worst first: of those that hold, the one that leaves least is told.
STRAINS: Tuple[Strain, ...] = (
    Strain("background", 0.0, lambda feeling, _, was: feeling.is_background,
           lambda feeling, _: "its app is in the background, where the system stops it: open the app again",
           hands_back=True),
    # Serious after critical is no time to begin again.
    Strain("critical heat", 0.0, lambda feeling, _, was: _is_over(feeling.heat, CRITICAL_HEAT, SERIOUS_HEAT - 1, was),
           lambda feeling, _: "much too hot: no work until it has cooled down; take it out of the sun or its case",
           hands_back=True),
    Strain("lid", 0.0, lambda feeling, _, was: (
        feeling.is_lid_closed and feeling.battery_level >= 0.0 and not feeling.is_charging),
           lambda feeling, _: "its lid is closed and it runs on battery: open it or plug it in", hands_back=True),
    Strain("battery", 0.0, _is_low, lambda feeling, battery_min: (
        f"on battery at {int(feeling.battery_level * 100)} %, below {round(battery_min * 100)} %:"
        " plug it in or lower battery-min")),
    Strain("low power", 0.0, lambda feeling, _, was: feeling.is_low_power and not feeling.is_charging,
           lambda feeling, _: "in low-power mode on battery: plug it in or end that mode"),
    Strain("heat", 0.0, lambda feeling, _, was: _is_over(feeling.temperature, HOT_AT, LESS_HOT_AT, was),
           lambda feeling, _: f"too hot at {feeling.temperature:.0f} °C: no work until it is below {LESS_HOT_AT:.0f}"),
    Strain("memory", 0.0, lambda feeling, _, was: _is_over(feeling.memory_usage, FULLEST_AT, LESS_FULLEST_AT, was),
           lambda feeling, _: f"its memory is {feeling.memory_usage:.0%} full: close something there"),
    Strain("serious heat", 0.5, lambda feeling, _, was: feeling.heat >= SERIOUS_HEAT,
           lambda feeling, _: "hot: half the work until it has cooled down", rests=True),
    Strain("warmth", 0.5, lambda feeling, _, was: _is_over(feeling.temperature, WARM_AT, COOL_AT, was),
           lambda feeling, _: f"warm at {feeling.temperature:.0f} °C: half the work until it is below {COOL_AT:.0f}",
           rests=True),
    Strain("little memory", 0.5, lambda feeling, _, was: _is_over(feeling.memory_usage, FULL_AT, LESS_FULL_AT, was),
           lambda feeling, _: f"its memory is {feeling.memory_usage:.0%} full: half its slots"),
    Strain("owner", 0.5, lambda feeling, _, was: _is_over(_others_use(feeling), OWNER_AT, OWNER_GONE_AT, was),
           lambda feeling, _: "somebody works on it: half its slots", yields=True),
    Strain("unplugged", 0.5, _is_half_empty,
           lambda feeling, _: f"on battery at {int(feeling.battery_level * 100)} %: half its slots; slots sets more",
           yields=True),
)


class AllowancePolicy:
    """Judge one device again and again; asked twice about the same feeling, it answers the same."""

    def __init__(self) -> None:
        #: name of a strain -> whether it held when last asked.
        self._held: Dict[str, bool] = {}

    def allow(
        self, slots: int, feeling: Feeling, *, battery_min: float = 0.20, yields_to_owner: bool = True
    ) -> Allowance:
        """Return how much new work this device takes, of `slots` at most.

        `yields_to_owner`: the number of slots is our own choice, not a person's, and shrinks when others need the
        processor or the battery is half empty.
        """
        if slots <= 0:
            return Allowance(0, "takes no work: its settings give it no slots")
        allowed = Allowance(slots)
        for strain in STRAINS:
            holds = self._held[strain.name] = strain.holds(feeling, battery_min, self._held.get(strain.name, False))
            if not holds or (strain.yields and not yields_to_owner):
                continue
            wanted = slots * strain.leaves
            left = ceil(wanted)
            share = wanted / left if strain.rests and left else 1.0
            if left * share < allowed.slots * allowed.share:
                reason = strain.reason(feeling, battery_min)
                allowed = Allowance(left, reason, strain.hands_back, share, strain.name)
        return allowed
