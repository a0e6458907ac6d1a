"""Rank the addresses of one device by how well they answered.

Knows:   round trips, failures and the pause after each, what was heard first-hand and what is hearsay.
Refuses: to dial (core/dialling.py says when) and to draw lots: `roll`, from 0 to 1, comes in.
Read next: core/known.py.
"""

from __future__ import annotations

from math import isfinite
from typing import Any, Dict, List, Optional, Tuple

from .retry import redial_s


class KnownAddress:
    """Remember how one host:port answered."""

    def __init__(self, address: str, order: int) -> None:
        self.address = address
        #: Smoothed seconds of a call; None until measured.
        self.round_trip_s: Optional[float] = None
        #: Dials that failed in a row; 0 after every success.
        self.failures = 0
        #: When the last failure was, and until when it is left alone; meaningless while `failures` is 0.
        self.failed_at = 0.0
        self.retry_at = 0.0
        #: Grows whenever it is heard of first-hand: among the unmeasured the freshest comes first.
        self.order = order

    def rank(self) -> Tuple[int, float, int]:
        """Return the sort key: measured ones by speed, then the unmeasured, then what fails."""
        if self.failures:
            return 2, float(self.failures), -self.order
        if self.round_trip_s is not None:
            return 0, self.round_trip_s, -self.order
        return 1, 0.0, -self.order


class AddressBook:
    """Keep the best `most` addresses of one device."""

    def __init__(self, most: int) -> None:
        self._most = most
        #: address -> how it answered; at most `most`.
        self._known: Dict[str, KnownAddress] = {}
        self._order = 0
        #: How often in a row the device wanted no link with us, by whatever address, and until when it is left alone.
        self._refusals = 0
        self._rests_until = 0.0

    def ranked(self) -> List[KnownAddress]:
        """Return all, the most promising first."""
        return sorted(self._known.values(), key=KnownAddress.rank)

    def has(self, address: Any) -> bool:
        """Return whether this address is known."""
        return isinstance(address, str) and address in self._known

    def is_latest(self, address: str) -> bool:
        """Return whether of all that was heard first-hand the last was from here."""
        known = self._known.get(address)
        return known is not None and known.order == self._order

    def heard(self, address: str) -> bool:
        """Note that the device itself was heard from here; return whether that is new.

        The least promising makes room, unless all others were measured and answer.
        """
        self._order += 1
        if address in self._known:
            self._known[address].order = self._order
            return False
        if not is_address(address):
            return False
        if len(self._known) >= self._most:
            worst = self.ranked()[-1]
            if worst.rank()[0] == 0:
                return False
            del self._known[worst.address]
        self._known[address] = KnownAddress(address, self._order)
        return True

    def told(self, address: str) -> bool:
        """Note hearsay: it takes free room and never anybody's place; return whether that is new."""
        if address in self._known or len(self._known) >= self._most or not may_be_told(address):
            return False
        # Order 0 puts it behind everything that was heard first-hand.
        self._known[address] = KnownAddress(address, 0)
        return True

    def measured(self, address: str, seconds: float) -> bool:
        """Smooth a round trip into what is known, as TCP does; the address answers, so it is healthy."""
        if not (isfinite(seconds) and seconds >= 0.0):
            return False
        new = self.heard(address)
        entry = self._known.get(address)
        if entry is not None:
            before = entry.round_trip_s
            entry.round_trip_s = seconds if before is None else before + (seconds - before) / 8
            entry.failures = 0
        return new

    def answered(self, address: str) -> bool:
        """Note a link opened by way of this address.

        A device that was never measured there may have moved: what was measured elsewhere is of before, and would put
        an address that it has no more in front of this one for as long as nobody dials it.
        """
        new = self.heard(address)
        entry = self._known.get(address)
        if entry is not None:
            entry.failures = 0
            if entry.round_trip_s is None:
                for other in self._known.values():
                    other.round_trip_s = None
        return new

    def failed(self, address: str, now: float, roll: float) -> None:
        """Note a dial that failed: it is left alone for 2 s, then 4 … 60 s, and stays in the book."""
        entry = self._known.get(address)
        if entry is not None:
            entry.failures += 1
            entry.failed_at = now
            entry.retry_at = now + redial_s(entry.failures, roll)

    def refused(self, now: float, roll: float) -> None:
        """Note that the device answers, and wants no link with us: it is left alone for as long as a dead address.

        Its answer makes no address worse, and each link that it ends is one that opened before: only the pause is kept.
        """
        self._refusals += 1
        self._rests_until = now + redial_s(self._refusals, roll)

    def welcome(self) -> None:
        """Forget that it wanted no link: it describes itself to us, may be another process, or is of use."""
        self._refusals, self._rests_until = 0, 0.0

    def rests(self, now: float) -> bool:
        """Return whether the device is left alone because it wanted no link."""
        return now < self._rests_until

    def forgive(self, address: str = "") -> None:
        """Make one address, or all, worth trying at once: there is news that its device is back."""
        if not address:
            self.welcome()
        for entry in self._known.values():
            if address in ("", entry.address):
                entry.failures = 0

    def due(self, now: float) -> List[str]:
        """Return those that may be dialled now, the most promising first."""
        if self.rests(now):
            return []
        return [entry.address for entry in self.ranked() if not entry.failures or entry.retry_at <= now]

    def next_try(self) -> Optional[float]:
        """Return when one may be dialled (0.0 for at once), or None when the book is empty."""
        soonest = min((entry.retry_at if entry.failures else 0.0 for entry in self._known.values()), default=None)
        return None if soonest is None else max(soonest, self._rests_until)

    def all_failed_since(self, when: float) -> bool:
        """Return whether there are addresses and each has failed at `when` or later."""
        return bool(self._known) and all(
            entry.failures and entry.failed_at >= when for entry in self._known.values()
        )

    def __len__(self) -> int:
        return len(self._known)

    def check(self) -> None:
        """Assert the invariants written beside the fields."""
        assert len(self._known) <= self._most
        assert all(entry.failures >= 0 and key == entry.address for key, entry in self._known.items())


def is_address(text: Any) -> bool:
    """Return whether `text` looks like host:port and is of a sane length; only a dial tells more."""
    if not isinstance(text, str) or not 3 <= len(text) <= 262:
        return False
    host, _, port = text.rpartition(":")
    return bool(host) and port.isascii() and port.isdigit() and 0 < int(port) < 65536


def may_be_told(address: Any) -> bool:
    """Return whether `address` looks like host:port and means the same on every device.

    One that names an interface, such as [fe80::1%eth0]:8080, is good for its own device alone.
    """
    return is_address(address) and "%" not in address
