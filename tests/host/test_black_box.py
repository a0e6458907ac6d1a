"""What a child has printed survives it: the end of it, whatever its length and pieces."""

from __future__ import annotations

import os

from hypothesis import given
from hypothesis import strategies as st

from discompute_lite.host.black_box import BLACK_BOX_BYTES, BLACK_BOX_FILE, BlackBox, open_black_box, read_black_box


@given(pieces=st.lists(st.integers(0, 3).map(lambda n: n * BLACK_BOX_BYTES // 2) | st.integers(0, 50), max_size=6))
def test_the_end_of_what_was_printed_is_kept(tmp_path_factory, pieces):
    folder = str(tmp_path_factory.mktemp("box"))
    box, whole = BlackBox(folder), ""
    for number, length in enumerate(pieces):
        piece = chr(65 + number) * (length - 1) + "!" if length else ""
        whole += piece
        box.add(piece.encode("ascii"))
    missing = max(0, len(whole) - BLACK_BOX_BYTES)
    note = f"[{missing} bytes were printed before what follows]\n" if missing else ""
    assert read_black_box(folder) == note + whole[missing:]
    box.clear()
    assert read_black_box(folder) == ""


def test_processes_that_were_forked_off_add_to_the_same_text(tmp_path):
    one, other = BlackBox(str(tmp_path)), None
    one.add(b"one ")
    if hasattr(os, "fork"):
        other = os.fork()
        if not other:
            one.add(b"two ")
            os._exit(0)
        os.waitpid(other, 0)
        one.add(b"three")
        assert read_black_box(str(tmp_path)) == "one two three"


def test_where_there_is_none_nothing_is_kept(tmp_path):
    assert open_black_box(str(tmp_path / "missing")) is None
    assert read_black_box(str(tmp_path)) == ""
    (tmp_path / BLACK_BOX_FILE).write_bytes(b"cut")
    assert read_black_box(str(tmp_path)) == ""
