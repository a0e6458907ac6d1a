"""The YAML that we read: what it means, what is refused and in which words, and that PyYAML agrees."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from discompute_lite.model.errors import SettingsError
from discompute_lite.model.limits import CONFIG_BYTES
from discompute_lite.model.yaml_subset import YAML_DEPTH, read_yaml
from discompute_lite.model.yaml_writer import dump_scalar, dump_yaml

try:
    import yaml
except ImportError:  # one Python has it, the others run everything else
    yaml = None


def parse_yaml(text, where="the configuration"):
    return read_yaml(text, where).value


def needs_pyyaml(test):
    return pytest.mark.against(pytest.mark.skipif(yaml is None, reason="PyYAML is not installed")(test))


def same(left, right):
    """Equal in value and in type, all the way down; not-a-number equals itself."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    return left == right or left != left and right != right


def assert_refused(text, *words):
    with pytest.raises(SettingsError) as refusal:
        parse_yaml(text, "conf.yaml")
    for word in ("conf.yaml", *words):
        assert word in refusal.value.message
    assert "\n" not in refusal.value.message
    assert refusal.value.exit_status == 2


# ---- what is read --------------------------------------------------------------------------------

EXAMPLES = {
    "": None,
    "# only a comment\n\n": None,
    "---\n": None,
    "--- # settings\na: 1": {"a": 1},
    "\ufeffa: 1": {"a": 1},
    "a: 1\r\nb: 2\rc: 3\n": {"a": 1, "b": 2, "c": 3},
    "text": "text",
    "a:\nb: ~\nc: null": {"a": None, "b": None, "c": None},
    "a: # why\n  b: 1": {"a": {"b": 1}},
    "  a: 1\n  b: 2": {"a": 1, "b": 2},
    "key : value  # comment": {"key": "value"},
    "a: x#y": {"a": "x#y"},
    "a: it's, [really] {fine} & *good*": {"a": "it's, [really] {fine} & *good*"},
    "a: http://h:80/x?y=1": {"a": "http://h:80/x?y=1"},
    "a: 'it''s' # c": {"a": "it's"},
    r'a: "\t\"\\\/\x41\u00e9\U0001F600\e\0\N\_\L\P\a\b\v\f\r\n\ "': {
        "a": '\t"\\/A\xe9\U0001f600\x1b\0\x85\xa0\u2028\u2029\a\b\v\f\r\n '},
    "'a b': 1\n\"c\": 2": {"a b": 1, "c": 2},
    "a: 'tab\there'": {"a": "tab\there"},
    "peers: [a:1, b, 'c, d', \"e\",]": {"peers": ["a:1", "b", "c, d", "e"]},
    "a: []\nb: {}": {"a": [], "b": {}},
    "a: [1, # one\n\n  # none\n2\n]\nb: 3": {"a": [1, 2], "b": 3},
    'a: {"x":1, y: [z, {w: }], v:[1]}': {"a": {"x": 1, "y": ["z", {"w": None}], "v": [1]}},
    "a:\n- 1\n- 2\nb: 3": {"a": [1, 2], "b": 3},
    "a:\n  - 1\n  -\n  - - 2\n    - 3\n": {"a": [1, None, [2, 3]]},
    "- a: 1\n  b:\n  - 2\n-\n  c: 3": [{"a": 1, "b": [2]}, {"c": 3}],
    "a:\n  below": {"a": "below"},
    "a: -x": {"a": "-x"},
    "a: ---x\n": {"a": "---x"},
}


@pytest.mark.parametrize("text", EXAMPLES)
def test_a_document_means(text):
    assert same(parse_yaml(text), EXAMPLES[text])


SCALARS = {
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
    "null": None, "Null": None, "NULL": None, "~": None,
    "0": 0, "-0": 0, "+12": 12, "-19": -19, "0x3A": 58, "0xff": 255, "3.0": 3.0, "-2.5": -2.5, ".5": 0.5, "1.": 1.0,
    "1.5e+3": 1500.0, ".inf": math.inf, "-.Inf": -math.inf, "+.INF": math.inf, ".nan": math.nan, ".NaN": math.nan,
    "truE": "truE", "nULL": "nULL", "inf": "inf", "nan": "nan", ".": ".", "+": "+", "-x": "-x", "1.2.3": "1.2.3",
    "0o": "0o", "0xg": "0xg", "e3": "e3",
}

#: text -> (ours, PyYAML's, why): PyYAML reads YAML 1.1, we read 1.2's core schema.
DIFFERENT = {
    "yes": ("yes", True, "1.2 knows true and false only"), "no": ("no", False, "as yes"),
    "On": ("On", True, "as yes"), "off": ("off", False, "as yes"),
    "010": (10, 8, "1.2 writes octal numbers as 0o10"), "0o10": (8, "0o10", "1.1 writes octal numbers as 010"),
    "08": (8, "08", "a leading zero is octal in 1.1, where 8 is no digit"),
    "0b11": ("0b11", 3, "no binary numbers in 1.2"), "1_000": ("1_000", 1000, "no underscores in 1.2"),
    "-0x1F": ("-0x1F", -31, "no signs on 1.2's hexadecimal numbers"),
    "12:30:45": ("12:30:45", 45045, "no base 60 in 1.2"), "1:30.5": ("1:30.5", 90.5, "no base 60 in 1.2"),
    "1e3": (1000.0, "1e3", "1.1 wants a point in a float"), "1.5e3": (1500.0, "1.5e3", "1.1 wants a sign in 1.5e+3"),
    "-.5": (-0.5, "-.5", "1.1 wants a digit between a sign and the point"),
    "-.nan": ("-.nan", "-.nan", "the same: not a number has no sign"),
}


@pytest.mark.parametrize("text", SCALARS)
def test_a_plain_scalar_is_typed_by_the_core_schema(text):
    assert same(parse_yaml("a: " + text), {"a": SCALARS[text]})
    assert same(parse_yaml(f"- {text}\n- [{text}]"), [SCALARS[text], [SCALARS[text]]])
    assert parse_yaml(f"a: '{text}'") == {"a": text}


@pytest.mark.parametrize("text", DIFFERENT)
def test_yaml_1_1_and_1_2_differ_on(text):
    ours, theirs, why = DIFFERENT[text]
    assert same(parse_yaml(text), ours), why
    if yaml:
        assert same(yaml.safe_load(text), theirs), why


@needs_pyyaml
def test_a_date_is_text_though_pyyaml_makes_it_a_date():
    assert parse_yaml("2001-12-14") == "2001-12-14"
    assert yaml.safe_load("2001-12-14").year == 2001


@needs_pyyaml
@pytest.mark.parametrize("text", [*EXAMPLES, *SCALARS])
def test_pyyaml_agrees_on_every_example(text):
    assert same(yaml.safe_load(text), parse_yaml(text))


def test_lines_of_keys_and_items_are_known():
    lines = read_yaml("# c\na: 1\n\nb:\n  c: [x,\n    y]\n  d:\n  - {e: 1}").lines
    assert lines[("a",)] == 2 and lines[("b", "c")] == 5 and lines[("b", "c", 1)] == 6
    assert lines[("b", "d", 0, "e")] == 8


# ---- what is refused -----------------------------------------------------------------------------

REFUSED = [
    ("a: &x 1", "line 1", "anchor", "repeat"), ("a: *x", "line 1", "alias", "repeat"),
    ("\na: !!int 3", "line 2", "tag", "leave it out"), ("!x", "tag"),
    ("a: |\n  x", "line 1", "block scalar", "quotes"), ("a: >-\n  x", "line 1", "block scalar"),
    ("a: 1\n---\nb: 2", "line 2", "one document"), ("a: 1\n...", "line 2", "one document"),
    ("--- a", "line 1", "one document"), ("---\n---", "line 2"), ("a: [1,\n---\n2]", "line 2"),
    ("%YAML 1.2\na: 1", "line 1", "%"), ("--- >\n x", "line 1"), ("...", "line 1"),
    ("a:\n\tb: 1", "line 2", "tab", "spaces"), ("a:\tb", "tab"), ("a: b\t# c", "tab"), ("a: 'b'\t", "tab"),
    ("a: [\t1]", "tab"), ("\t# c", "tab"), ("a: [x\t]", "tab"), (" \t", "tab"),
    ("a: 1\nb: 2\na: 3", "line 3", "'a'", "second time", "line 1"), ("{a: 1, a: 2}", "second time"),
    ("a: 1\n'a': 2", "second time"), ("a: {b: 1,\n  \"b\": 2}", "line 2", "second time"),
    ("a: b\n  c", "line 2", "indented"), ("a\nb", "line 2", "one line"), ("a: [b\n c]", "line 2", "comma"),
    ("a: 'b\n c'", "line 1", "not closed", "''"), ('a: "b\n c"', "line 1", "not closed", "\\n"),
    ("? a\n: b", "line 1", "?"), ("[a]: b", "line 1"), ("{[a]: b}", "key"), ("{a: 1}: 2", "line 1"),
    ("1: a", "key 1", "quotes"), ("true: a", "key true"), ("~: a", "key ~"), ("<<: {a: 1}", "key <<"),
    ("{.5: a}", "key"),
    (": a", "colon"), ("a: :8080", "colon", "quotes"), ("a: b: c", "second colon"), ("'a':b", "colon"),
    ("a: - b", "list item", "line of its own"), ("a: 1\n- b", "line 2"), ("- a\nb: 1", "line 2"), ("a: [- b]", "list"),
    ("a: [-]", "list"), ("a: @x", "@", "quotes"), ("a: `x`", "quotes"), ("a: ]", "quotes"), ("a: }", "quotes"),
    ("a: [1, 2", "line 1", "]"), ("a: {b: 1", "line 1", "}"), ("a: [\n1,\n", "opened on line 1"),
    ("a: [b: c]", "{key: value}"), ("a: [,]", "comma"), ("a: [b,, c]", "comma"), ("a: ['b' 'c']", "comma"),
    ("a: [[b][c]]", "comma"), ("a: [b}", "comma"), ("a: [1] x", "'x'"), ("a: 'b'c", "'c'"), ("a: 'b'#c", "#"),
    ("a: [b,#c\n]", "space before #"), ("a: [b?c]", "question mark", "quotes"), ("a: [::1]", "colon"),
    ("{a}", "'a'", "no value"), ("{a:1}", "'a:1'", "space after the colon"), ("{a\n: 1}", "no value"),
    (" a: 1\nb: 2", "line 2"), ("a:\n  b: 1\n c: 2", "line 3"), ("a:\n  - b\n  c: 1", "line 3"), ("a: 1\nb", "line 2"),
    (r'a: "\q"', r"\q"), (r'a: "\x1"', r"\x"), (r'a: "\ud83d\ude00"', "\\U"), (r'a: "\U00110000"', "escape"),
    ("a: \0", "U+0000"), ("a: \x07", "U+0007"), ("a: '\x85'", "U+0085"), ("# \u2028", "U+2028"), ("a: \x7f", "U+007F"),
    ("a: \ufeff", "U+FEFF"), ("a: '\ud800'", "U+D800"), ("a: 1e999", "too large"), ("a: -1.0e+999", "too large"),
    ("a: 1" + 400 * "0", "400 digits"), ("a: 0x1" + 400 * "0", "400 digits"), (1001 * "k" + ": 1", "1000 characters"),
    ("{" + 1001 * "k" + ": 1}", "1000 characters"), ("a: " + CONFIG_BYTES * "x", "bytes"),
    ("# " + (CONFIG_BYTES // 2) * "\xe9", "bytes"),
]


@pytest.mark.parametrize("text, words", [(row[0], row[1:]) for row in REFUSED], ids=[row[0][:24] for row in REFUSED])
def test_refused_with_line_and_advice(text, words):
    assert_refused(text, *words)


@pytest.mark.parametrize("opening, closing", [("[", "]"), ("{a: ", "}"), ("- ", "")])
def test_nesting_is_read_to_its_limit_and_refused_beyond(opening, closing):
    assert parse_yaml(opening * YAML_DEPTH + "x" + closing * YAML_DEPTH if closing != "}" else
                      opening * YAML_DEPTH + "1" + closing * YAML_DEPTH) is not None
    assert_refused(opening * (YAML_DEPTH + 1) + "x" + closing * (YAML_DEPTH + 1), "64 levels")
    assert_refused(opening * 100_000, "64 levels")


def test_nested_blocks_are_refused_beyond_the_limit():
    levels = [" " * depth + "a:" for depth in range(YAML_DEPTH + 1)]
    assert parse_yaml("\n".join(levels[:-1]))
    assert_refused("\n".join(levels), "line 65", "64 levels")


# ---- any text: read as PyYAML does, or refused ---------------------------------------------------

PIECES = st.sampled_from([
    "a", "b: ", "c:", "key: ", "- ", "-", "[", "]", "{", "}", ", ", ",", ":", ": ", "#", " # c", "'", '"', "''", "\\n",
    "\n", "\n", "\n  ", "\n- ", "\n  - ", " ", "  ", "\t", "1", "0.5", "true", "~", "&x", "*x", "!t", "|", ">", "?",
    "? ", "---", "\n---\n", "...", "%", "@", "`", "\x85", "\u2028", "\r", "\r\n", "\ufeff", "\0", "é", "<<", "=", "\\",
    "0x1F",
])


def core_loader():
    """PyYAML's parser with the implicit types of YAML 1.2's core schema."""
    class CoreLoader(yaml.SafeLoader):
        yaml_implicit_resolvers = {}

    def rule(kind, pattern):
        CoreLoader.add_implicit_resolver(f"tag:yaml.org,2002:{kind}", re.compile(f"(?:{pattern})$"), None)

    rule("null", "|~|null|Null|NULL")
    rule("bool", "true|True|TRUE|false|False|FALSE")
    rule("int", "[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
    rule("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
    CoreLoader.add_constructor("tag:yaml.org,2002:int", lambda loader, node: int(
        node.value, 0 if node.value[:2] in ("0o", "0x") else 10))
    CoreLoader.add_constructor("tag:yaml.org,2002:float", lambda loader, node: float(
        node.value.lower().replace(".inf", "inf").replace(".nan", "nan")))
    return CoreLoader


@needs_pyyaml
@settings(max_examples=4 * settings.default.max_examples)
@given(st.lists(PIECES, max_size=14).map("".join))
@example("{a: 1,\n#c\n}")
@example("a: 'b' #c")
@example("- - a\n - b")
def test_whatever_is_accepted_reads_as_pyyaml_reads_it(text):
    try:
        ours = parse_yaml(text)
    except SettingsError as refusal:
        assert ";" in refusal.message
        return
    assert same(yaml.load(text, core_loader()), ours)


@settings(max_examples=3 * settings.default.max_examples // 2)
@given(st.text(max_size=60))
def test_any_text_is_read_or_refused_in_one_sentence(text):
    try:
        parse_yaml(text)
    except SettingsError as refusal:
        assert "\n" not in refusal.message


WORDS = st.one_of(
    st.text(alphabet="abz019.:_-+~#'\"[]{},& \\\t\né\xa0\u2028\x7f\U0001f600", max_size=12),
    st.sampled_from([*SCALARS, *DIFFERENT, "2001-12-14", "<<", "=", "y", "N", "~/x", "host:8080", "a: b", " a", "a "]),
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-10 ** 30, 10 ** 30), st.floats(), WORDS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(WORDS, inner, max_size=4)), max_leaves=12)


def write_blocks(value, draw, indent=0):
    """Write `value` as a person might: blocks or flow, quotes of either kind, comments; returns lines."""
    margin = " " * indent
    if not value or not isinstance(value, (list, dict)) or draw(st.integers(0, 4)) == 0:
        return None
    lines = []
    for key, item in value.items() if isinstance(value, dict) else ((None, item) for item in value):
        head = "-" if key is None else write_word(key, draw) + ":"
        below = write_blocks(item, draw, indent + draw(st.integers(1, 3)))
        gap = " " * draw(st.integers(1, 2))
        comment = draw(st.sampled_from(["", "", " # so"]))
        rest = "" if below else gap + (write_word(item, draw) if isinstance(item, str) else dump_yaml(item))
        lines += [margin + head + rest + comment, *(below or [])]
        lines += draw(st.sampled_from([[], [], [""], ["# aside"], ["     # deep aside"]]))
    return lines


def write_word(word, draw):
    if draw(st.booleans()) or not word.isprintable() or "\u2028" in word:
        return dump_scalar(word)
    return "'" + word.replace("'", "''") + "'"


@settings(max_examples=3 * settings.default.max_examples // 2)
@given(VALUES, st.data())
def test_documents_of_people_are_read_and_pyyaml_agrees(value, data):
    lines = write_blocks(value, data.draw)
    text = dump_yaml(value) if lines is None else data.draw(st.sampled_from(["\n", "\r\n"])).join(lines)
    assert same(parse_yaml(text), value)
    if yaml:
        assert same(yaml.safe_load(text), value)


# ---- the way back --------------------------------------------------------------------------------


@settings(max_examples=3 * settings.default.max_examples // 2)
@given(VALUES)
@example("\ufeff\x85\x00\ue000")
@example({"": [1e22, 1e-7, 5e-324]})
def test_what_is_written_reads_back_in_both_versions(value):
    text = dump_yaml(value)
    assert "\n" not in text
    assert same(parse_yaml(text), value)
    if yaml:
        assert same(yaml.safe_load(text), value)


@pytest.mark.parametrize("value, text", [
    (None, "null"), (True, "true"), (8080, "8080"), (0.2, "0.2"), (1e-07, "1.0e-07"), ("name", "name"), ("", '""'),
    ("~/.discompute", "~/.discompute"), ("off", '"off"'), ("8080", '"8080"'), ("192.168.1.2", '"192.168.1.2"'),
    ("Ada's phone", '"Ada\'s phone"'), ("pool:make", "pool:make"),
])
def test_a_scalar_is_written_plainly_where_that_is_safe(value, text):
    assert dump_scalar(value) == text


def test_tuples_are_written_as_lists():
    assert dump_yaml({"peers": ("host:1", "b")}) == "{peers: [host:1, b]}"


def test_what_is_not_yaml_is_not_written():
    with pytest.raises(SettingsError, match="surrogate"):
        dump_scalar("\ud800")
    with pytest.raises(TypeError, match="bytes"):
        dump_scalar(b"x")
