"""Hold what an invitation is: a code or token, tries, a time; and the words in which it is passed on.

Knows:   codes of eight digits, tokens of 130 bits, links, who may try next and how often.
Refuses: to make chance (`random_bytes` comes in), to say whether a code was right (wire/pairing.py finds out).
Read next: wire/pairing.py.

    4821 9903                                                          read aloud or typed, three tries
    4821 9903@192.168.1.20:49200                                       the same, and where
    discompute://join/1/mfrggzdfmztwq2lknnwg23tpob@192.168.1.20:49200  for scripts and QR codes; nobody types it

    >>> read_join_words("4821 9903@192.168.1.20:49200")
    JoinWords(code='48219903', addresses=('192.168.1.20:49200',))
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import Callable, Optional, Sequence, Tuple

from ..model.errors import CallError, SettingsError, Unauthenticated, Unavailable
from ..model.limits import Limits

CODE_DIGITS = 8
#: 26 characters of base32 are 130 bits: no number of tries guesses one.
TOKEN_CHARS = 26
JOIN_LINK_START = "discompute://join/1/"
#: Seconds of rest after a wrong code, so that three tries are three moments and not one.
PAIRING_REST_S = 1.0

_JOIN_CODE = re.compile(r"[0-9]{8}|[a-z2-7]{26}")
_JOIN_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.]+(?:%[^\s:@/,\[\]]+)?\]|[^\s:@/,\[\]]+):([0-9]{1,5})")


@dataclass(frozen=True)
class JoinWords:
    """Hold what a joiner was told: a code or token without spaces, and where the host may be found."""

    code: str
    #: host:port of pairing ports, best first; none where the joiner has to look for one.
    addresses: Tuple[str, ...] = ()


def draw_code(random_bytes: Callable[[int], bytes]) -> str:
    """Return eight digits; 16 bytes of chance, so that no digit is likelier than another by more than 2**-100."""
    return f"{int.from_bytes(random_bytes(16), 'big') % 10 ** CODE_DIGITS:0{CODE_DIGITS}d}"


def draw_token(random_bytes: Callable[[int], bytes]) -> str:
    """Return 26 characters of base32, 130 bits."""
    return base64.b32encode(random_bytes(17)).decode("ascii").lower()[:TOKEN_CHARS]


def spaced_code(code: str) -> str:
    """Return a code as people read it: "4821 9903"; tokens stay whole."""
    return f"{code[:4]} {code[4:]}" if len(code) == CODE_DIGITS else code


def join_link(token: str, addresses: Sequence[str]) -> str:
    """Return the link that lets its holder join."""
    return f"{JOIN_LINK_START}{token}@{','.join(addresses)}"


def read_join_words(text: str) -> JoinWords:
    """Read a code or a link, as typed or pasted; raise `SettingsError` that says what they look like."""
    text = text.strip()
    is_link = text.startswith(JOIN_LINK_START)
    words, at, where = (text[len(JOIN_LINK_START):] if is_link else text).partition("@")
    code = re.sub(r"[\s-]", "", words)
    addresses = tuple(where.split(",")) if at else ()
    if not _JOIN_CODE.fullmatch(code) or (is_link and (len(code) != TOKEN_CHARS or not addresses)):
        raise SettingsError(
            "This is neither a code of eight digits, such as 4821 9903, nor a join link. Copy what `invite` printed."
        )
    for address in addresses:
        found = _JOIN_ADDRESS.fullmatch(address)
        if not found or not 0 < int(found.group(2)) < 65536:
            raise SettingsError(f"{address!r} is no address of a pairing port. Write CODE@host:port.")
    return JoinWords(code, addresses)


class Invitation:
    """Count tries and joins, and let one joiner at a time try; all runs of one pairing port share it."""

    def __init__(self, code: str, limits: Limits, *, expires_at: float, joins: int = 1) -> None:
        self.code = code
        self.expires_at = expires_at
        #: How many devices may still join.
        self.joins_left = joins
        #: 0 <= tries_left <= limits.pairing_tries; one is taken by each share, and given back for the right code.
        self.tries_left = limits.pairing_tries
        self._tries = limits.pairing_tries
        #: The run that has the place, if one does.
        self._run: Optional[object] = None
        self._rests_until = float("-inf")

    def is_over(self, now: float) -> bool:
        """Whether nobody can join any more: close the port, unless a run that has the place goes on."""
        return self.why_over(now) is not None

    def why_over(self, now: float) -> Optional[CallError]:
        """Return what a joiner is told when it comes too late."""
        if self.joins_left < 1:
            return Unauthenticated("This invitation has been used. Ask for a new one with `invite`.")
        if self.tries_left < 1 and self._run is None:
            return Unauthenticated(
                f"Pairing stopped after {self._tries} wrong codes. Start again for a new code with `invite`."
            )
        if now >= self.expires_at:
            return Unauthenticated("The code has expired. Ask for a new one with `invite`.")
        return None

    def begin(self, run: object, now: float) -> Optional[CallError]:
        """Give `run` the place, which costs a try; return why not where it cannot have it."""
        over = self.why_over(now)
        if over is not None:
            return over
        if self._run is not None or now < self._rests_until:
            return Unavailable(
                "Another device is being paired at this moment. Try again in a few seconds.",
                {"retry_after": PAIRING_REST_S},
            )
        self._run = run
        self.tries_left -= 1
        return None

    def prove(self, run: object) -> None:
        """Give the try back: this run knew the code."""
        assert self._run is run, "only the run that has the place can prove anything"
        self.tries_left += 1

    def use(self, run: object) -> None:
        """Count a device that was let in."""
        assert self._run is run and self.joins_left > 0, "only the run that has the place can let a device in"
        self.joins_left -= 1

    def end(self, run: object, now: float, *, was_wrong: bool) -> None:
        """Give up the place; runs that do not have it change nothing."""
        if self._run is run:
            self._run = None
            self._rests_until = now + PAIRING_REST_S if was_wrong else self._rests_until

    def wrong_code_sentence(self) -> str:
        """Return what a joiner with a wrong code is told."""
        if self.tries_left < 1:
            return f"Pairing stopped after {self._tries} wrong codes. Start again for a new code with `invite`."
        return f"That code did not match. {self.tries_left} {'try' if self.tries_left == 1 else 'tries'} left."
