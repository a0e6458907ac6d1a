"""Ctrl-C while the program is still being loaded ends it in silence; whoever only imports it keeps their own Ctrl-C."""

import os
import signal
import subprocess
import sys
import textwrap

import pytest

#: Stands in the way of the library's module of this name, which the program imports and Python itself does not need.
STAND_IN = "argparse.py"
INTERRUPTS = "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nprint('it went on')\n"
SAYS_WHO_HEARS = """
    import signal
    heard = signal.getsignal(signal.SIGINT)
    print({signal.default_int_handler: "an exception", signal.SIG_IGN: "ignored", signal.SIG_DFL: "the end"}[heard])
    raise SystemExit
"""
RUN = "import runpy; runpy.run_module('discompute_lite', run_name='__main__')"
IN_THREAD = f"import threading; thread = threading.Thread(target=lambda: exec({RUN!r})); thread.start(); thread.join()"
ON_PHONE = f"import os; os.uname = lambda: type('Uname', (), dict(machine='iPhone14,2')); {RUN}"
IGNORED = f"import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); {RUN}"
AND_THEN = f"""
import signal, sys
sys.argv[1:] = ["config", "--json"]
try:
    {RUN}
except SystemExit as end:
    assert not end.code and signal.getsignal(signal.SIGINT) == signal.default_int_handler
    print("well")
"""


@pytest.fixture
def python(tmp_path, root, field):
    """Run Python on words, with a stand-in for a module where a text is given."""

    def run(*words, stand_in=""):
        if stand_in:
            (tmp_path / STAND_IN).write_text(textwrap.dedent(stand_in))
        environ = {**field.for_command(), "PYTHONPATH": f"{tmp_path}{os.pathsep}{root}"}
        return subprocess.run([sys.executable, *map(str, words)], cwd=tmp_path, env=environ, capture_output=True,
                              text=True, timeout=field.scale(30.0))

    return run


@pytest.mark.parametrize("way", ["package", "single file"])
def test_ctrl_c_while_it_is_loaded_ends_it_without_a_word(python, single_file, posix, way):
    words = ["-m", "discompute_lite"] if way == "package" else [single_file]
    done = python(*words, "start", stand_in=INTERRUPTS)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


@pytest.mark.parametrize("program, heard", [
    (RUN, "the end"), (IGNORED, "ignored"), (IN_THREAD, "an exception"), (ON_PHONE, "an exception"),
    ("import discompute_lite.__main__", "an exception"), ("import discompute_lite.faces.cli", "an exception"),
])
def test_only_a_process_of_its_own_is_changed_and_only_where_ctrl_c_was_pythons(python, program, heard):
    done = python("-c", program, stand_in=SAYS_WHO_HEARS)
    assert (done.stdout, done.stderr) == (f"{heard}\n", "")


def test_what_heard_ctrl_c_before_hears_it_after_the_command(python):
    done = python("-c", AND_THEN)
    assert done.stdout.endswith("}]\nwell\n"), done.stderr
