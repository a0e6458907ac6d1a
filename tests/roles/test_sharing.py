"""The program is lent as a file while its owner says so, and to nobody before or after."""

from __future__ import annotations

import hashlib
import zlib

import pytest

PROGRAM = b"print('hello')\n"


@pytest.fixture
def lender(world):
    return world.host("a").start()


def share(world, host, **params):
    """Offer the program as the node's owner."""
    return world.owner(host).call("Share", {"program": PROGRAM, **params})


def ask(world, host, path, method="GET", ip="10.0.0.9"):
    """Ask as a stranger; return (status, headers, body)."""
    return world.browser(host, ip).ask(method, path)


def test_nothing_is_there_for_strangers_before_it_is_shared(world, lender):
    for path in ("/discompute.py", "/discompute.z", "/join"):
        assert ask(world, lender, path)[0] == 401
        bearer = {"authorization": f"Bearer {lender.token}"}
        assert world.browser(lender).ask("GET", path, **bearer)[0] == 404


def test_the_answer_says_where_it_is_and_what_it_must_be(world, lender):
    answer = share(world, lender, open_s=30.0)
    assert answer["sha256"] == hashlib.sha256(PROGRAM).hexdigest()
    assert (answer["path"], answer["size"], answer["open_s"]) == ("/discompute.z", len(PROGRAM), 30.0)
    assert answer["addresses"] == [f"{host}:{lender.node.port}" for host in lender.node.world.own_hosts()]


def test_a_stranger_fetches_it_from_a_member_too(world):
    member = world.member("a").start()
    share(world, member)
    status, headers, body = ask(world, member, "/discompute.py")
    assert (status, body) == (200, PROGRAM)
    assert "text/x-python" in str(headers)
    status, headers, body = ask(world, member, "/discompute.z")
    assert (status, zlib.decompress(body)) == (200, PROGRAM)
    assert "application/zlib" in str(headers)
    # And nothing else.
    assert ask(world, member, "/api/devices")[0] == 401


def test_the_page_says_the_steps_and_no_secret(world, lender):
    lender.node.name = "<b>Ann's"
    share(world, lender)
    status, headers, body = ask(world, lender, "/join")
    text = body.decode()
    assert status == 200
    assert "text/html" in str(headers)
    assert "/discompute.py" in text
    assert "&lt;b&gt;Ann&#x27;s" in text
    assert lender.token not in text


def test_it_ends_in_time_and_when_its_owner_says_so(world, lender):
    share(world, lender, open_s=30.0)
    world.advance(29.0)
    assert ask(world, lender, "/discompute.py")[0] == 200
    world.advance(2.0)
    assert ask(world, lender, "/discompute.py")[0] == 401
    share(world, lender, open_s=30.0)
    world.owner(lender).call("StopShare", {})
    assert [ask(world, lender, path)[0] for path in ("/discompute.py", "/discompute.z")] == [401, 401]


def test_sharing_again_makes_it_longer(world, lender):
    share(world, lender, open_s=30.0)
    world.advance(20.0)
    share(world, lender, open_s=30.0)
    world.advance(20.0)
    assert ask(world, lender, "/discompute.py")[0] == 200
    world.advance(11.0)
    assert ask(world, lender, "/discompute.py")[0] == 401


def test_nothing_is_no_offer(world, lender):
    with pytest.raises(Exception, match="nothing to offer"):
        share(world, lender, program=b"")
    assert ask(world, lender, "/discompute.py")[0] == 401


@pytest.mark.parametrize("open_s", [-1.0, 1e9])
def test_the_time_has_bounds(world, lender, open_s):
    with pytest.raises(Exception, match="at most"):
        share(world, lender, open_s=open_s)


def test_strangers_may_not_share(world, lender):
    with pytest.raises(Exception, match="token"):
        world.client(lender, ip="10.0.0.9").call("Share", {"program": PROGRAM})
