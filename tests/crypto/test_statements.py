"""What an admin said is signed in one form, whatever JSON library carried it."""

from __future__ import annotations

import json

import pytest

from discompute_lite.crypto.ecdsa import ecdsa_sign
from discompute_lite.crypto.p256 import private_key
from discompute_lite.crypto.statements import canonical_json, is_signed_statement, sign_statement, statement_digest

CA = private_key(99)
SAID = {"v": 1, "cluster": "c" * 52, "seq": 1, "what": "add", "id": "d" * 52, "name": "Ann’s Mac", "at": 1756800000}


def test_the_canonical_form_is_sorted_ascii_without_spaces():
    said = {"b": [1, {"d": None, "c": "é"}], "a": True}
    assert canonical_json(said) == b'{"a":true,"b":[1,{"c":"\\u00e9","d":null}]}'


def test_a_signature_survives_other_json_libraries():
    signature = sign_statement(CA, SAID)
    reordered = json.loads(json.dumps(dict(reversed(list(SAID.items()))), indent=2))
    assert is_signed_statement(CA.public, reordered, signature)
    assert statement_digest(reordered) == statement_digest(SAID)


@pytest.mark.parametrize("change", [{"seq": 2}, {"id": "e" * 52}, {"extra": 1}, {"name": "Ann's Mac"}, {"v": True}])
def test_a_signature_is_for_these_words_only(change):
    signature = sign_statement(CA, SAID)
    assert not is_signed_statement(CA.public, {**SAID, **change}, signature)
    assert statement_digest({**SAID, **change}) != statement_digest(SAID)


def test_other_keys_and_other_purposes_do_not_count():
    assert not is_signed_statement(private_key(98).public, SAID, sign_statement(CA, SAID))
    assert not is_signed_statement(CA.public, SAID, ecdsa_sign(CA, canonical_json(SAID)))
    assert not is_signed_statement(CA.public, SAID, b"")


def test_what_json_cannot_say_is_not_signed():
    with pytest.raises(ValueError):
        sign_statement(CA, {"at": float("nan")})
