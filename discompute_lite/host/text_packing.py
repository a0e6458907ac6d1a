"""Pack many texts of one language into few bytes which the module zlib of every Python unpacks.

Knows:   which text to put beside which, what of each to keep apart, and which words to spell once.
Refuses: to unpack: what does, stands in the small file (host/small_file.py), which has to do without this module.
Read next: host/lean_text.py (what the texts are).

zlib looks back 32 kB and no further, which is little against a megabyte, and has one code for all that is near. So
texts that have much in common stand next to each other; their imports, their statements and their strings each stand
together, since these resemble one another more than each other; and words that occur more than once anywhere stand in a
table, in their places two bytes or one. All this takes a fifth less than zlib alone:

    count NUL names NUL imports NUL statements NUL strings NUL words        each `count` times but words, NUL between

In the first four a byte from 0x80 to 0xE7 is one of the first 104 words, a byte from 0xE8 on with the byte after it,
which is not 0 or 1, one of 6,096 others, and every other byte is itself. In statements a byte 1 stands for the next of
the strings, which have it between them.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter, deque
from typing import Deque, Dict, List, Mapping, NamedTuple, Set

#: Words of one byte, and of two.
SHORT_WORDS, LONG_WORDS = 104, 24 * 254
#: A word: what stands at the beginning of most lines, a part of a name, or what is not ASCII and so has to be one.
_WORD = re.compile(r"(self\._?|\n +|[A-Za-z]+_?|[^\x00-\x7f]+)")
_IMPORTS = re.compile(r"(?:(?:from|import) ?[^\n]*\n)*")
_STRING = re.compile(r'"""[\s\S]*?"""|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'')
#: Bytes that a word takes each time, on an average, when all is packed.
_WORD_BYTES = 1.7
#: A text is put behind the one that has most words in common with the last sixteen, for its size.
_LOOK_BACK, _SIZE_EXPONENT = 16, 0.75
#: zlib's memory level: it gives small blocks, each with a code of its own.
_MEMORY_LEVEL = 8


class TextParts(NamedTuple):
    """Hold what a text consists of."""

    name: str
    imports: str
    statements: str
    strings: str


def packed_texts(texts: Mapping[str, str]) -> bytes:
    """Return texts by name as one piece of zlib's."""
    parts = [_parts_of_text(name, texts[name]) for name in _next_to_alike(texts)]
    rows = list(zip(*parts))
    words = _table(_WORD.findall("\0".join(piece for row in rows for piece in row)))
    codes = {word: _code(number) for number, word in enumerate(words)}
    sections = [b"%d" % len(parts)]
    sections += [b"\0".join(b"".join(codes.get(each) or each.encode("ascii") for each in _WORD.split(piece))
                            for piece in row) for row in rows]
    sections.append(b"\0".join(word.encode("utf-8") for word in words))
    packing = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS, _MEMORY_LEVEL)
    # Each section has a code of its own: what has come is a block, whether it fills one or not.
    return b"".join(packing.compress(b"\0" * (number > 0) + section) + packing.flush(zlib.Z_BLOCK)
                    for number, section in enumerate(sections)) + packing.flush()


def _parts_of_text(name: str, text: str) -> TextParts:
    imports = _IMPORTS.match(text)
    statements = text[imports.end() if imports else 0:]
    return TextParts(name, imports.group() if imports else "", _STRING.sub("\1", statements),
                     "\1".join(_STRING.findall(statements)))


def _next_to_alike(texts: Mapping[str, str]) -> List[str]:
    """Return the names of texts in an order in which each has much in common with those before it."""
    words = {name: set(re.findall(r"\w+", text)) for name, text in sorted(texts.items())}
    order: List[str] = []
    last: Deque[Set[str]] = deque(maxlen=_LOOK_BACK)
    while words:
        near: Set[str] = set().union(*last)
        name = max(words, key=lambda each: len(words[each] & near) / (len(words[each]) ** _SIZE_EXPONENT + 1.0))
        last.append(words.pop(name))
        order.append(name)
    return order


def _table(found: List[str]) -> List[str]:
    """Return the words that get a code: the most frequent, which take one byte, then others as they first occur."""
    counts: Dict[str, int] = Counter(found)
    gains = {word: count * (len(word) - _WORD_BYTES) - len(word) - 1 for word, count in counts.items()}
    # What is not ASCII cannot stand for itself.
    chosen = sorted((word for word, gain in gains.items() if not word.isascii() or gain > 0.0 and counts[word] > 1),
                    key=lambda word: (word.isascii(), -gains[word]))[:SHORT_WORDS + LONG_WORDS]
    short = sorted(chosen, key=lambda word: -counts[word])[:SHORT_WORDS]
    others = set(chosen).difference(short)
    return short + [word for word in counts if word in others]


def _code(number: int) -> bytes:
    if number < SHORT_WORDS:
        return bytes([0x80 + number])
    high, low = divmod(number - SHORT_WORDS, 254)
    return bytes([0x80 + SHORT_WORDS + high, 2 + low])
