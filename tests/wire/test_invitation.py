"""Codes and links are read as people pass them on; tries and joins are counted, one joiner at a time."""

from __future__ import annotations

import doctest
import importlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discompute_lite.model.errors import SettingsError, Unauthenticated, Unavailable
from discompute_lite.model.limits import Limits
from discompute_lite.wire.invitation import (
    PAIRING_REST_S, Invitation, JoinWords, draw_code, draw_token, join_link, read_join_words, spaced_code,
)

LIMITS = Limits()
TOKEN = "mfrggzdfmztwq2lknnwg23tpob"


def test_the_example_in_the_docstring_holds():
    results = doctest.testmod(importlib.import_module("discompute_lite.wire.invitation"))
    assert results.attempted and not results.failed


# ---- words ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("typed", "words"), [
    ("48219903", JoinWords("48219903")),
    (" 4821 9903\n", JoinWords("48219903")),
    ("4821-9903", JoinWords("48219903")),
    ("4821 9903@192.168.1.20:49200", JoinWords("48219903", ("192.168.1.20:49200",))),
    ("00000000@[fe80::1%en0]:1,host.local:65535", JoinWords("00000000", ("[fe80::1%en0]:1", "host.local:65535"))),
    (f"discompute://join/1/{TOKEN}@10.0.0.1:8081", JoinWords(TOKEN, ("10.0.0.1:8081",))),
    (f"{TOKEN}@10.0.0.1:8081", JoinWords(TOKEN, ("10.0.0.1:8081",))),
    (TOKEN, JoinWords(TOKEN)),
])
def test_what_people_type_and_paste_is_understood(typed, words):
    assert read_join_words(typed) == words


@pytest.mark.parametrize("typed", [
    "", "4821", "482199034", "4821990x", TOKEN.upper(), TOKEN[:-1], TOKEN + "a", TOKEN[:-1] + "1",
    "discompute://join/1/48219903@10.0.0.1:80", f"discompute://join/1/{TOKEN}",
    f"discompute://join/2/{TOKEN}@10.0.0.1:80",
    f"http://join/1/{TOKEN}@10.0.0.1:80", "٤٨٢١٩٩٠٣", "48219903@", "48219903@host", "48219903@:80", "48219903@host:0",
    "48219903@host:65536", "48219903@a:1,", "48219903@a:1,b", "48219903@a:1@b:2", "48219903@a b:1",
    "48219903@fe80::1:80",
])
def test_anything_else_is_refused_with_what_to_write(typed):
    with pytest.raises(SettingsError, match=r"Copy what|CODE@host:port"):
        read_join_words(typed)


@given(st.text(max_size=60))
def test_any_text_is_words_or_a_settings_error(text):
    try:
        words = read_join_words(text)
    except SettingsError:
        return
    assert len(words.code) in (8, 26)


def test_codes_and_tokens_are_drawn_from_all_there_are():
    rng = random.Random(8)
    codes, tokens = {draw_code(rng.randbytes) for _ in range(200)}, {draw_token(rng.randbytes) for _ in range(200)}
    assert len(codes) == len(tokens) == 200
    assert draw_code(lambda count: bytes(count)) == "00000000"
    assert {first for first, *_ in codes} == set("0123456789")
    assert set("".join(tokens)) == set("abcdefghijklmnopqrstuvwxyz234567")
    for code in [*codes, *tokens]:
        assert read_join_words(spaced_code(code)).code == code
    link = join_link(TOKEN, ["10.0.0.1:8081", "[::1]:8081"])
    assert read_join_words(link) == JoinWords(TOKEN, ("10.0.0.1:8081", "[::1]:8081"))


# ---- counting ---------------------------------------------------------------------------------------


@pytest.fixture
def invitation():
    return Invitation("48219903", LIMITS, expires_at=300.0)


def tried(invitation, now, *, is_right=False):
    run = object()
    assert invitation.begin(run, now) is None
    if is_right:
        invitation.prove(run)
        invitation.use(run)
    invitation.end(run, now, was_wrong=not is_right)


def test_three_wrong_codes_end_an_invitation(invitation):
    for now, sentence in (
        (1.0, "That code did not match. 2 tries left."), (3.0, "That code did not match. 1 try left."),
        (5.0, "Pairing stopped after 3 wrong codes. Start again for a new code with `invite`."),
    ):
        assert not invitation.is_over(now)
        tried(invitation, now)
        assert invitation.wrong_code_sentence() == sentence
    error = invitation.begin(object(), 10.0)
    assert isinstance(error, Unauthenticated) and "after 3 wrong codes" in error.message
    assert invitation.is_over(10.0)


def test_the_right_code_gives_its_try_back(invitation):
    tried(invitation, 1.0)
    tried(invitation, 3.0, is_right=True)
    assert invitation.tries_left == 2
    assert "has been used" in invitation.why_over(4.0).message


def test_several_may_join_by_one_token_and_no_more():
    invitation = Invitation(TOKEN, LIMITS, expires_at=300.0, joins=2)
    for now in (1.0, 1.0):
        tried(invitation, now, is_right=True)
    assert "has been used" in invitation.begin(object(), 2.0).message


def test_one_at_a_time_and_a_moment_of_rest_after_a_wrong_code(invitation):
    first = object()
    assert invitation.begin(first, 1.0) is None
    assert isinstance(invitation.begin(object(), 1.0), Unavailable)
    assert invitation.tries_left == 2, "who waits uses no try"
    invitation.end(object(), 1.0, was_wrong=True)
    assert isinstance(invitation.begin(object(), 1.0), Unavailable), "only the run that has the place ends it"
    invitation.end(first, 1.0, was_wrong=True)
    assert invitation.begin(object(), 1.0).data == {"retry_after": PAIRING_REST_S}
    assert invitation.begin(object(), 1.0 + PAIRING_REST_S) is None


def test_an_invitation_ends_by_the_clock(invitation):
    assert not invitation.is_over(299.9)
    assert "expired" in invitation.begin(object(), 300.0).message


def test_the_last_try_is_not_over_while_it_runs(invitation):
    tried(invitation, 1.0)
    tried(invitation, 3.0)
    run = object()
    assert invitation.begin(run, 5.0) is None and not invitation.is_over(5.0)
    invitation.prove(run)
    invitation.use(run)
    invitation.end(run, 6.0, was_wrong=False)
    assert invitation.is_over(6.0)
