"""SPAKE2 is RFC 9382's; a wrong code, another name or a forged share give two sides nothing in common."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from discompute_lite.crypto.p256 import (
    P256_N, P256_P, P256_X, P256_Y, encode_point, is_on_curve, point_multiply, private_key,
)
from discompute_lite.crypto.spake2 import SPAKE2_M, SPAKE2_N, Spake2, password_scalar

#: RFC 9382, appendix B: A, B, w, x, y, pA, pB, Ke, cA, cB.
VECTORS = [
    (b"server", b"client", "2ee57912099d31560b3a44b1184b9b4866e904c49d12ac5042c97dca461b1a5f",
     "43dd0fd7215bdcb482879fca3220c6a968e66d70b1356cac18bb26c84a78d729",
     "dcb60106f276b02606d8ef0a328c02e4b629f84f89786af5befb0bc75b6e66be",
     "04a56fa807caaa53a4d28dbb9853b9815c61a411118a6fe516a8798434751470f9"
     "010153ac33d0d5f2047ffdb1a3e42c9b4e6be662766e1eeb4116988ede5f912c",
     "0406557e482bd03097ad0cbaa5df82115460d951e3451962f1eaf4367a420676d0"
     "9857ccbc522686c83d1852abfa8ed6e4a1155cf8f1543ceca528afb591a1e0b7",
     "0e0672dc86f8e45565d338b0540abe69",
     "58ad4aa88e0b60d5061eb6b5dd93e80d9c4f00d127c65b3b35b1b5281fee38f0",
     "d3e2e547f1ae04f2dbdbf0fc4b79f8ecff2dff314b5d32fe9fcef2fb26dc459b"),
    (b"", b"client", "0548d8729f730589e579b0475a582c1608138ddf7054b73b5381c7e883e2efae",
     "403abbe3b1b4b9ba17e3032849759d723939a27a27b9d921c500edde18ed654b",
     "903023b6598908936ea7c929bd761af6039577a9c3f9581064187c3049d87065",
     "04a897b769e681c62ac1c2357319a3d363f610839c4477720d24cbe32f5fd85f44"
     "fb92ba966578c1b712be6962498834078262caa5b441ecfa9d4a9485720e918a",
     "04e0f816fd1c35e22065d5556215c097e799390d16661c386e0ecc84593974a61b"
     "881a8c82327687d0501862970c64565560cb5671f696048050ca66ca5f8cc7fc",
     "642f05c473c2cd79909f9a841e2f30a7",
     "47d29e6666af1b7dd450d571233085d7a9866e4d49d2645e2df975489521232b",
     "3313c5cefc361d27fb16847a91c2a73b766ffa90a4839122a9b70a2f6bd1d6df"),
    (b"server", b"", "626e0cdc7b14c9db3e52a0b1b3a768c98e37852d5db30febe0497b14eae8c254",
     "07adb3db6bc623d3399726bfdbfd3d15a58ea776ab8a308b00392621291f9633",
     "b6a4fc8dbb629d4ba51d6f91ed1532cf87adec98f25dd153a75accafafedec16",
     "04f88fb71c99bfffaea370966b7eb99cd4be0ff1a7d335caac4211c4afd855e2e1"
     "5a873b298503ad8ba1d9cbb9a392d2ba309b48bfd7879aefd0f2cea6009763b0",
     "040c269d6be017dccb15182ac6bfcd9e2a14de019dd587eaf4bdfd353f031101e7"
     "cca177f8eb362a6e83e7d5e729c0732e1b528879c086f39ba0f31a9661bd34db",
     "005184ff460da2ce59062c87733c299c",
     "bc9f9bbe99f26d0b2260e6456e05a86196a3307ec6663a18bf6ac825736533b2",
     "c2370e1bf813b086dff0d834e74425a06e6390f48f5411900276dcccc5a297ec"),
    (b"", b"", "7bf46c454b4c1b25799527d896508afd5fc62ef4ec59db1efb49113063d70cca",
     "8cef65df64bb2d0f83540c53632de911b5b24b3eab6cc74a97609fd659e95473",
     "d7a66f64074a84652d8d623a92e20c9675c61cb5b4f6a0063e4648a2fdc02d53",
     "04a65b367a3f613cf9f0654b1b28a1e3a8a40387956c8ba6063e8658563890f46c"
     "a1ef6a676598889fc28de2950ab8120b79a5ef1ea4c9f44bc98f585634b46d66",
     "04589f13218822710d98d8b2123a079041052d9941b9cf88c6617ddb2fcc049466"
     "2eea8ba6b64692dc318250030c6af045cb738bc81ba35b043c3dcb46adf6f58d",
     "fc6374762ba5cf11f4b2caa08b2cd1b9",
     "dfb4db8d48ae5a675963ea5e6c19d98d4ea028d8e898dad96ea19a80ade95dca",
     "d0f0609d1613138d354f7e95f19fb556bf52d751947241e8c7118df5ef0ae175"),
]


def sides(w=(5, 5), names=((b"a", b"b"), (b"a", b"b")), secrets=(11, 12)):
    """Return joiner and host, which know the codes and names given."""
    return tuple(
        Spake2(is_a=is_a, password=w[at], identity_a=names[at][0], identity_b=names[at][1],
               secret=private_key(secrets[at]))
        for at, is_a in enumerate((True, False))
    )


@pytest.mark.parametrize("vector", VECTORS)
def test_shares_keys_and_confirmations_are_those_of_rfc_9382(vector):
    name_a, name_b, w, x, y, share_a, share_b, shared_key, confirmation_a, confirmation_b = vector
    joiner, host = sides((int(w, 16),) * 2, ((name_a, name_b),) * 2, (int(x, 16), int(y, 16)))
    assert (joiner.share.hex(), host.share.hex()) == (share_a, share_b)
    for keys in (joiner.finish(host.share), host.finish(joiner.share)):
        assert keys.shared_key.hex() == shared_key
        assert (keys.confirmation_a.hex(), keys.confirmation_b.hex()) == (confirmation_a, confirmation_b)


@pytest.mark.parametrize(("point", "compressed"), [
    (SPAKE2_M, "02886e2f97ace46e55ba9dd7242579f2993b64e16ef3dcab95afd497333d8fa12f"),
    (SPAKE2_N, "03d8bbd6c639c62937b04d997f38c3770719c629d7014d49a24b4f98baa1292b49"),
])
def test_m_and_n_are_the_published_points(point, compressed):
    assert is_on_curve(point)
    assert f"{2 + point[1] % 2:02x}{point[0]:064x}" == compressed


def assert_nothing_in_common(joiner, host, share_a=None, share_b=None):
    theirs, ours = joiner.finish(share_b or host.share), host.finish(share_a or joiner.share)
    assert theirs.shared_key != ours.shared_key
    assert theirs.confirmation_a != ours.confirmation_a and theirs.confirmation_b != ours.confirmation_b


@settings(max_examples=max(1, settings.default.max_examples // 10))
@given(st.integers(0, P256_N - 1), st.integers(0, P256_N - 1))
def test_one_code_is_one_key_and_two_codes_are_two(one, other):
    joiner, host = sides((one, one))
    assert joiner.finish(host.share) == host.finish(joiner.share)
    if one != other:
        assert_nothing_in_common(*sides((one, other)))


def test_another_identity_is_another_key():
    assert_nothing_in_common(*sides(names=((b"a", b"b"), (b"a", b"c"))))
    assert_nothing_in_common(*sides(names=((b"a", b"b"), (b"x", b"b"))))
    # Lengths are hashed too: the same bytes, cut elsewhere, are other names.
    assert_nothing_in_common(*sides(names=((b"ab", b"c"), (b"a", b"bc"))))


def test_a_share_that_somebody_changed_is_another_key():
    joiner, host = sides()
    assert_nothing_in_common(joiner, host, share_b=encode_point((P256_X, P256_Y)))


def test_reflecting_a_share_gives_nothing():
    joiner, host = sides()
    assert joiner.finish(joiner.share).confirmation_b != host.finish(joiner.share).confirmation_b


@pytest.mark.parametrize("share", [
    b"", b"\x00", b"\x00" * 65, b"\x04" + b"\x00" * 64, b"\x04" + b"\xff" * 64,
    encode_point((P256_X, P256_Y))[:-1], encode_point((P256_X, P256_P - P256_Y - 1)),
    bytes.fromhex("03d8bbd6c639c62937b04d997f38c3770719c629d7014d49a24b4f98baa1292b49"),
])
def test_what_is_no_point_is_refused(share):
    for side in sides():
        with pytest.raises(ValueError, match="not a point"):
            side.finish(share)


def test_a_share_that_leads_to_infinity_is_refused():
    joiner, host = sides((5, 5))
    with pytest.raises(ValueError, match="infinity"):
        joiner.finish(encode_point(point_multiply(5, SPAKE2_N)))
    with pytest.raises(ValueError, match="infinity"):
        host.finish(encode_point(point_multiply(5, SPAKE2_M)))


def test_keys_are_not_shown():
    joiner, host = sides()
    assert joiner.finish(host.share).shared_key.hex() not in repr(joiner.finish(host.share))


def test_codes_fill_the_group_and_depend_on_their_salt():
    drawn = {password_scalar(b"48219903", salt=random.Random(n).randbytes(16), info=b"test") for n in range(50)}
    assert len(drawn) == 50 and all(0 <= w < P256_N for w in drawn)
    assert password_scalar(b"48219903", salt=b"s", info=b"t") != password_scalar(b"48219904", salt=b"s", info=b"t")
