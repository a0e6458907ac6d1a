"""What was freed goes back to the system, where the C library can be asked for that."""

from __future__ import annotations

import subprocess
import sys

import pytest

from discompute_lite.host.free_memory import return_free_memory

#: Frees every second of many pieces that C's own allocator has given, and says how much that gives back.
PROGRAM = """
from discompute_lite.host.free_memory import return_free_memory

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

pieces = [bytes(20_000) for _ in range(2_000)]
pieces[::2] = [b""] * 1_000
before = resident()
return_free_memory()
print(before - resident())
"""


class Library:
    """Be a C library that has one of the functions, and remember what it was asked."""

    def __init__(self, name):
        self.asked = []
        setattr(self, name, lambda *words: self.asked.append([getattr(word, "value", word) for word in words]))


@pytest.mark.parametrize("name, words", [
    ("malloc_trim", [0]), ("malloc_zone_pressure_relief", [None, 0]), ("malloc", None),
])
def test_each_library_is_asked_in_its_own_words(monkeypatch, name, words):
    ctypes = pytest.importorskip("ctypes")
    library = Library(name)
    monkeypatch.setattr(ctypes, "CDLL", lambda path: library)
    return_free_memory()
    assert library.asked == ([] if words is None else [words])


@pytest.mark.parametrize("error", [OSError, TypeError])
def test_where_there_is_no_such_library_nothing_happens(monkeypatch, error):
    def fail(path):
        raise error

    monkeypatch.setattr(pytest.importorskip("ctypes"), "CDLL", fail)
    return_free_memory()


def test_where_python_has_no_ctypes_nothing_happens(monkeypatch):
    monkeypatch.setitem(sys.modules, "ctypes", None)
    return_free_memory()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_what_lies_free_between_what_is_used_goes_back(root):
    ctypes = pytest.importorskip("ctypes")
    if not hasattr(ctypes.CDLL(None), "malloc_trim"):
        pytest.skip("this C library has no malloc_trim")
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=root, capture_output=True, text=True, check=True)
    assert int(done.stdout) > 10_000_000
