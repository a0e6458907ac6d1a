"""Show every tag of tagged JSON with one golden example, for tests and for the reader of README.md.

Knows:   tags, examples and their meaning.
Refuses: to read or write them; see tasks/values.py.
Read next: tasks/value_kinds.py (the rows behind most tags).
"""

from __future__ import annotations

from typing import Dict, Tuple

#: Every tag: a golden example (a test reads and writes it) and what it stands for.
VALUE_TAGS: Dict[str, Tuple[str, str]] = {
    "tuple": ('{"$t":"tuple","v":[1,"a"]}', "tuple"),
    "list": ('[{"$t":"list","id":1,"v":[]},{"$t":"ref","v":1}]', "a list that is referred to again"),
    "dict": ('{"$t":"dict","v":[[1,"a"]]}', "dict whose keys are not all text, or with a key `$t`"),
    "ref": ('{"$t":"list","id":1,"v":[{"$t":"ref","v":1}]}', "the value that carries the `id`; here a list in itself"),
    "set": ('{"$t":"set","v":[7]}', "set"),
    "frozenset": ('{"$t":"frozenset","v":[7]}', "frozenset"),
    "ordereddict": ('{"$t":"ordereddict","v":[["b",1],["a",2]]}', "collections.OrderedDict: its pairs in order"),
    "counter": ('{"$t":"counter","v":[["a",2]]}', "collections.Counter: keys with their counts"),
    "defaultdict": ('{"$t":"defaultdict","v":["list",[["a",[1]]]]}',
                    "collections.defaultdict: the name of a type that makes missing items, or null; its pairs"),
    "deque": ('{"$t":"deque","v":[3,[1,2]]}', "collections.deque: the most items it holds, or null; its items"),
    "int": ('{"$t":"int","v":"9223372036854775808"}', "int beyond 64 bits; beyond 2,000 bits hexadecimal, `0x…`"),
    "float": ('{"$t":"float","v":"-inf"}', "`nan`, `inf`, `-inf`"),
    "str": ('{"$t":"str","v":{"$t":"bytes","v":"7aCA"}}', "text with lone surrogates, as UTF-8 bytes of them"),
    "bytes": ('{"$t":"bytes","v":"AP8="}', "bytes, in base64 with padding"),
    "bytearray": ('{"$t":"bytearray","v":"AP8="}', "bytearray"),
    "complex": ('{"$t":"complex","v":[1.0,-2.5]}', "complex: real, imaginary"),
    "range": ('{"$t":"range","v":[0,10,2]}', "range: start, stop, step"),
    "slice": ('{"$t":"slice","v":[null,10,null]}', "slice: start, stop, step"),
    "memoryview": ('{"$t":"memoryview","v":["B",[2],{"$t":"bytes","v":"AP8="}]}',
                   "memoryview: item format, shape, bytes (bytearray where it may be written to)"),
    "array": ('{"$t":"array","v":["h",2,{"$t":"bytes","v":"AQD+/w=="}]}',
              "array.array: type code, bytes an item, items little-endian"),
    "numbers": ('{"$t":"numbers","v":["i",4,{"$t":"bytes","v":"'
                'AAAAAAEAAAACAAAAAwAAAAQAAAAFAAAABgAAAAcAAAAIAAAACQAAAAoAAAALAAAADAAAAA0AAAAOAAAADwAAABAA'
                'AAARAAAAEgAAABMAAAAUAAAAFQAAABYAAAAXAAAAGAAAABkAAAAaAAAAGwAAABwAAAAdAAAAHgAAAB8AAAA='
                '"}]}', "a list of 32 or more numbers, all int or all float, as an array's"),
    "datetime": ('{"$t":"datetime","v":["2024-08-28T18:30:45",0,null]}', "datetime: ISO 8601, fold, time zone or null"),
    "date": ('{"$t":"date","v":"2024-08-28"}', "date: ISO 8601"),
    "time": ('{"$t":"time","v":["18:30:45",0,null]}', "time of day: ISO 8601, fold, time zone or null"),
    "timedelta": ('{"$t":"timedelta","v":[1,30,5]}', "timedelta: days, seconds, microseconds"),
    "timezone": ('{"$t":"timezone","v":[{"$t":"timedelta","v":[0,3600,0]},"CET"]}',
                 "fixed time zone: offset, name if it has one"),
    "decimal": ('{"$t":"decimal","v":"1.50"}', "Decimal"),
    "fraction": ('{"$t":"fraction","v":[1,3]}', "Fraction: numerator, denominator"),
    "uuid": ('{"$t":"uuid","v":"12345678-1234-5678-1234-567812345678"}', "UUID"),
    "path": ('{"$t":"path","v":["PurePosixPath","a/b"]}',
             "path: class, text; `PosixPath` and `WindowsPath` become the reader's own kind"),
    "ndarray": ('{"$t":"ndarray","v":["<f4",[2],{"$t":"bytes","v":"AACAPwAAAEA="}]}',
                "NumPy array: type, shape (null for a scalar), items row by row; lists where NumPy is missing"),
    "torch": ('{"$t":"torch","v":["<f4",[2],{"$t":"bytes","v":"AACAPwAAAEA="},false]}',
              "torch.Tensor: item type as NumPy's or `bfloat16`, shape, items, whether it asks for gradients; a NumPy "
              "array where torch is missing, lists where both are"),
    "mlx": ('{"$t":"mlx","v":["<f4",[2],{"$t":"bytes","v":"AACAPwAAAEA="}]}',
            "mlx.core.array: as torch's, without the last"),
    "tinygrad": ('{"$t":"tinygrad","v":["<f4",[2],{"$t":"bytes","v":"AACAPwAAAEA="}]}',
                 "tinygrad.Tensor: as torch's, without the last"),
    "jax": ('{"$t":"jax","v":["<f4",[2],{"$t":"bytes","v":"AACAPwAAAEA="}]}',
            "jax.Array: as torch's, without the last; a NumPy array too where jax would make 32 bits of 64"),
    "blob": ('{"$t":"blob","v":"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"}',
             "the value whose text has this SHA-256, sent apart (`GetBlob`)"),
    "enum": ('{"$t":"enum","v":["http","HTTPStatus","OK"]}',
             "member of an Enum: module, class, name (the number of combined flags)"),
    "namedtuple": ('{"$t":"namedtuple","v":["urllib.parse","DefragResult",["a","b"]]}',
                   "named tuple: module, class, items"),
    "object": ('{"$t":"object","v":["types","SimpleNamespace",{"x":1}]}',
               "instance of a data class or of a class of one's own: module, class, attributes"),
    "pickle": ('{"$t":"pickle","v":["builtins.object",{"$t":"bytes","v":'
               '"gAWVGgAAAAAAAACMCGJ1aWx0aW5zlIwGb2JqZWN0lJOUKYGULg=="}]}',
               "what is no data, where both ends set `allow-pickle`: name of its class, pickle of protocol 5"),
}


def value_table_markdown() -> str:
    """Return the table of tags for README.md: tag, golden example, what it stands for."""
    rows = ["| tag | example | stands for |", "| --- | --- | --- |"]
    rows += [f"| `{tag}` | `{example}` | {meaning} |" for tag, (example, meaning) in VALUE_TAGS.items()]
    return "\n".join(rows) + "\n"
