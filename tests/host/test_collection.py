"""The search for garbage is put off for a while, or spared what stays, and goes on as it was."""

from __future__ import annotations

import gc

import pytest

from discompute_lite.host.collection import collection_of_new, collection_put_off


@pytest.fixture(autouse=True)
def collector():
    yield
    gc.enable()


@pytest.mark.parametrize("is_on", [True, False])
def test_it_is_off_inside_and_afterwards_what_it_was(is_on):
    (gc.enable if is_on else gc.disable)()
    with pytest.raises(KeyError), collection_put_off():
        assert not gc.isenabled()
        raise KeyError
    assert gc.isenabled() is is_on


def test_what_is_there_is_left_out_inside_only():
    kept = []
    kept.append(kept)
    with collection_of_new():
        assert gc.get_freeze_count() > 0 and not any(each is kept for each in gc.get_objects())
    assert gc.get_freeze_count() == 0 and any(each is kept for each in gc.get_objects())
