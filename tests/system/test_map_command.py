"""The command `map` as a person types it: in a pipe, on a terminal, with what goes wrong."""

import json
import os
import subprocess
import sys

import pytest

SCORE = """
import math
from neighbour import OFFSET

def score(n):
    if n == 3:
        print("half way")
    if n == 7:
        raise ValueError("no sevens")
    return n, math.sqrt(n) + OFFSET

def length(text):
    return len(text)

def odd(text):
    return {"set": {1}, "bytes": b"x", "number": float("inf") if text == "inf" else 1.5}
"""


@pytest.fixture
def score(field):
    """A module with its neighbour, as `FILE.py:` of a command."""
    field.job("neighbour.py", "OFFSET = 100")
    return field.job("score.py", SCORE) + ":"


def piped(field, function, data, *words, **changes):
    """Run `map` with so much on standard input."""
    command = [sys.executable, "-m", "discompute_lite", "map", function, *words]
    done = subprocess.run(command, input=data, capture_output=True, env=field.for_command(**changes),
                          timeout=field.scale(30.0))
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.mark.smoke
def test_results_come_in_order_as_json_lines(field, score):
    code, out, err = piped(field, f"{score}score", b"1\n4\n\n3\n")
    assert (code, err) == (0, "half way\n")
    assert list(map(json.loads, out.splitlines())) == [[1, 101.0], [4, 102.0], [3, 3 ** 0.5 + 100]]
    assert not (field.folder / "command" / "node.json").exists()


def test_a_file_of_lines_and_results_that_json_does_not_know(field, score):
    lines = "".join(f"line {number}\n" for number in range(3000))
    done = field.type("map", f"{score}length", "--items", field.job("items.txt", lines))
    assert (done.code, done.err) == (0, "")
    assert list(map(int, done.out.splitlines())) == list(map(len, lines.splitlines()))
    done = field.type("map", f"{score}odd", "--text", "--items", field.job("items.txt", "1\ninf\n"))
    plain, tagged = done.out.splitlines()
    assert json.loads(plain) == {
        "set": {"$t": "set", "v": [1]}, "bytes": {"$t": "bytes", "v": "eA=="}, "number": 1.5}
    assert json.loads(tagged)["number"] == {"$t": "float", "v": "inf"}


def test_what_fails_is_told_by_its_item_after_the_results_before_it(field, score, fails):
    code, out, err = piped(field, f"{score}score", b"1\n7\n2\n")
    assert (code, out) == (1, "[1, 101.0]\n")
    assert err == ("discompute: item 2: ValueError: no sevens (score.py, line 9, in score); mend the function and"
                   " run it again; --debug shows its traceback\n")
    code, out, err = piped(field, f"{score}score", b"1\nword\n")
    assert (code, out) == (1, "[1, 101.0]\n") and "line 2 of standard input is no JSON value" in err


@pytest.mark.parametrize("words, code, about", [
    (["{}nosuch"], 2, "score.py has no function nosuch"), (["nosuch.py:f"], 2, "nosuch.py cannot be read"),
    (["score.py"], 2, "write FILE.py:FUNCTION"), (["{}score", "--items", "nosuch"], 2, "nosuch cannot be read"),
    (["{}OFFSET"], 2, "no function OFFSET"), (["{}score", "--state-dir", "/dev/null/x"], 2, "--state-dir"),
])
def test_what_is_wrong_on_the_line_is_one_sentence(field, score, fails, words, code, about):
    items = ["--items", field.job("none.txt", "1\n")] if "--items" not in words else []
    fails(field.type("map", *[word.format(score) for word in words], *items), code, about)


@pytest.mark.parametrize("source, about", [
    ("def f(:", "wrong.py, line 1"), ("raise OSError('no way')", "wrong.py cannot be loaded: OSError: no way"),
    ("import sys\nsys.exit(3)", "SystemExit"), ("def f(x): yield x", "is a generator"),
])
def test_a_module_that_is_no_use_is_refused(field, fails, source, about):
    path = field.job("wrong.py", source)
    fails(field.type("map", f"{path}:f", "--items", field.job("one.txt", "1\n")), 1, about)


def test_a_reader_that_has_enough_ends_it(field, score):
    command = [sys.executable, "-m", "discompute_lite", "map", f"{score}length", "--text"]
    endless = subprocess.Popen(["yes", "word"], stdout=subprocess.PIPE)
    mapped = subprocess.Popen(command, stdin=endless.stdout, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              env=field.for_command())
    endless.stdout.close()
    try:
        assert mapped.stdout.readline() == b"4\n"
        mapped.stdout.close()
        assert mapped.stderr.read() == b"" and mapped.wait(field.scale(15.0)) == 0
        mapped.stderr.close()
        endless.wait(field.scale(15.0))
    finally:
        for process in (endless, mapped):
            process.kill()
            process.wait()


def test_results_of_what_is_typed_come_at_once(field, score):
    command = [sys.executable, "-m", "discompute_lite", "map", f"{score}length"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=field.for_command()) as mapped:
        for word in (b"one", b"three"):
            mapped.stdin.write(word + b"\n")
            mapped.stdin.flush()
            assert mapped.stdout.readline() == b"%d\n" % len(word)
        mapped.stdin.close()
        assert mapped.wait(field.scale(15.0)) == 0


def test_progress_is_drawn_on_a_terminal_only(field, score, posix):
    import pty
    keeper, end = pty.openpty()
    words = ["map", f"{score}length", "--text", "--items", field.job("items.txt", "word\n" * 500)]
    command = [sys.executable, "-m", "discompute_lite", *words]
    environ = field.for_command(TERM="xterm", COLUMNS="60")
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=end, env=environ)
    os.close(end)
    out, _ = process.communicate(timeout=field.scale(30.0))
    shown = os.read(keeper, 65536).decode()
    os.close(keeper)
    assert process.returncode == 0 and out == b"4\n" * 500
    assert " % 0 of 500" in shown and shown.endswith("\r\x1b[K")
    assert piped(field, f"{score}length", b"word\n" * 500)[2] == ""
