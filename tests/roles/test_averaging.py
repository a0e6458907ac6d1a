"""Whole nodes average vectors over their links, whoever is early, silent, gone, or no member at all."""

import gc
import sys
import weakref
from array import array

import pytest

from discompute_lite.ml.sums import NUMPY_NUMBERS
from discompute_lite.model.errors import Forbidden, InvalidParams, StateError, Unauthenticated
from discompute_lite.roles.averaging import EARLY_S, PIECE_S, RESEND_FOR_S, RESEND_MOST_S, STALL_S

TRAINING = "0123456789abcdef" * 2
RESULT = f"{TRAINING}-s1"
NUMBERS = 5000


class Crew:
    """Several nodes with a share each, led by the first."""

    def __init__(self, world, letters="abcd", numbers=NUMBERS, code="f"):
        self.world, self.numbers, self.code = world, numbers, code
        self.hosts = world.nodes(letters)
        world.advance(8.0)
        self.leader = self.hosts[0]
        self.answers = {}
        for index, host in enumerate(self.hosts):
            assert self.ask(host, "JoinTraining", training_id=TRAINING)["success"]
            self.put(host, "o1", [float(index + 1)] * numbers)

    def put(self, host, word, numbers):
        values = array(self.code, numbers)
        host.vectors.make(f"{TRAINING}-{word}", len(values) * values.itemsize)[:] = memoryview(values).cast("B")

    def ask(self, host, method, **params):
        got = []
        self.leader.node.averaging.vectors.ask(host.id, method, params, lambda *reply: got.append(reply))
        self.world.settle()
        (result, error), = got
        if error is not None:
            raise error
        return result

    def average(self, *hosts, shape="ring", weights=None, name=RESULT, **others):
        """Ask all of them to take part, those with a share to bring it in; answers come into `answers`."""
        hosts = hosts or self.hosts
        for index, host in enumerate(hosts):
            weight = (weights or [1 / len(hosts)] * len(hosts))[index]
            params = {"name": name, "members": [each.id for each in hosts], "shape": shape, "code": self.code,
                      "numbers": self.numbers, "shares": [f"{TRAINING}-o1"] if weight else [],
                      "weights": [weight] if weight else [], **others}
            self.leader.node.averaging.vectors.ask(host.id, "AverageVectors", params, lambda result, error, host=host: (
                self.answers.__setitem__(host.name[-1], error or result)))
        self.world.settle()

    def result(self, host, name=RESULT):
        memory = host.vectors.vectors.get(name)
        return None if memory is None else array(self.code, bytes(memory)).tolist()

    def lost(self):
        return {letter for answer in self.answers.values() if isinstance(answer, dict)
                for device in answer["lost"] for letter in device[0]}


def test_four_nodes_average_over_their_links(world):
    crew = Crew(world)
    crew.average()
    world.advance(1.0)
    assert [answer["success"] for answer in crew.answers.values()] == [True] * 4
    assert [crew.result(host) for host in crew.hosts] == [[2.5] * NUMBERS] * 4
    size = NUMBERS * 4
    for answer in crew.answers.values():
        assert answer["sent_bytes"] == pytest.approx(2 * 3 / 4 * size, rel=0.02)
    # What went into it stays until it is known that nobody vanished.
    crew.ask(crew.hosts[1], "FetchVector", name=RESULT, size=size, drops=[f"{TRAINING}-o1"])
    assert [sorted(host.vectors.vectors) for host in crew.hosts[:2]] == [[f"{TRAINING}-o1", RESULT], [RESULT]]


@pytest.mark.parametrize("shape, piece, calls", [
    ("star", NUMBERS, 6), ("ring", NUMBERS, 6), ("ring", NUMBERS // 2, 12)])
def test_pieces_are_as_large_as_the_leader_says(world, shape, piece, calls):
    crew = Crew(world)
    sent = []
    for host in crew.hosts:
        def came(link, name, piece, hop, data, take=host.node.averaging.piece_came):
            sent.append(len(data))
            return take(link, name, piece, hop, data)

        host.node.averaging.piece_came = came
    crew.average(shape=shape, piece=piece)
    world.advance(1.0)
    assert [crew.result(host) for host in crew.hosts] == [[2.5] * NUMBERS] * 4
    assert sent == [4 * piece] * calls


def test_what_a_node_sends_of_its_own_is_computed_in_memory_that_it_has(world):
    pytest.importorskip("numpy")
    crew = Crew(world)
    kept, sizes = [bytearray(b"\xff" * 4 * NUMBERS) for _ in range(40)], []

    def allocate(size):
        sizes.append(size)
        return memoryview(kept.pop())[:size]

    crew.hosts[1].node.world.allocate = allocate
    crew.average()
    world.advance(1.0)
    assert [crew.result(host) for host in crew.hosts] == [[2.5] * NUMBERS] * 4
    # Each of its own pieces, a quarter of the vector; others' are added up where they came to.
    assert sum(sizes) == pytest.approx(NUMBERS * 4 / 4, rel=0.02)


@pytest.mark.parametrize("is_stopped", [False, True])
def test_when_it_is_over_nothing_holds_the_memory_of_the_shares(world, is_stopped):
    crew, held = Crew(world), []
    first, second = crew.hosts[:2]
    make_sums = first.node.averaging._sums

    def seen_sums(*arguments):
        sums = make_sums(*arguments)
        held.append(weakref.ref(sums))
        return sums

    first.node.averaging._sums = seen_sums
    gc.disable()
    try:
        if is_stopped:
            crew.average(first, members=[first.id, second.id])
            assert held[0]() is not None and crew.ask(first, "StopAverage", name=RESULT)["success"]
        else:
            crew.average()
        world.advance(2 * RESEND_MOST_S)
        assert crew.answers["a"]["success"] is not is_stopped and held[0]() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("shape, everywhere", [("chain", False), ("star", True)])
def test_other_shapes_give_the_same(world, shape, everywhere):
    crew = Crew(world)
    crew.average(shape=shape, weights=[0.25, 0.25, 0.5, 0.0])
    world.advance(1.0)
    assert crew.result(crew.hosts[0]) == [2.25] * NUMBERS
    assert [crew.result(host) for host in crew.hosts[1:]] == [[2.25] * NUMBERS if everywhere else None] * 3


def test_one_device_alone_adds_up_its_own(world):
    crew = Crew(world, "ab")
    answer = crew.ask(crew.leader, "AverageVectors", name=RESULT, members=[crew.leader.id], shape="ring", code="f",
                      numbers=NUMBERS, shares=[f"{TRAINING}-o1"] * 2, weights=[1.0, 2.0])
    assert answer["success"] and answer["sent_bytes"] == 0
    assert crew.result(crew.leader) == [3.0] * NUMBERS


def test_who_hears_of_it_late_gets_its_pieces_again(world):
    crew = Crew(world, "abc")
    first, second, third = crew.hosts
    second.freeze()
    crew.average()
    world.advance(0.5)
    assert crew.answers == {}
    second.thaw()
    world.advance(2.0)
    assert [crew.result(host) for host in crew.hosts] == [[2.0] * NUMBERS] * 3


def test_a_link_that_is_cut_and_comes_back_costs_nothing(world):
    crew = Crew(world, "abc", numbers=300_000)
    first, second, third = crew.hosts
    cut = []
    piece_came = third.node.averaging.piece_came

    def cutting(*arguments):
        if not cut:
            cut.append(True)
            world.clock.post(lambda: third.drop_link(second))
        return piece_came(*arguments)

    third.node.averaging.piece_came = cutting
    crew.average()
    world.advance(3.0)
    assert cut
    assert [crew.result(host) for host in crew.hosts] == [[2.0] * 300_000] * 3


def test_a_device_that_dies_is_named_at_once_and_the_others_do_it_without(world):
    crew = Crew(world, numbers=400_000)
    victim = crew.hosts[2]
    piece_came = victim.node.averaging.piece_came
    seen = []

    def dying(*arguments):
        seen.append(arguments)
        if len(seen) == 2:
            world.clock.post(victim.kill)
        return piece_came(*arguments)

    victim.node.averaging.piece_came = dying
    crew.average()
    world.advance(2.0)
    assert crew.lost() == {"c"}
    rest = [host for host in crew.hosts if host is not victim]
    for host in rest:
        # Some may be done; what they have is not wanted.
        crew.ask(host, "StopAverage", name=RESULT)
    crew.answers.clear()
    crew.average(*rest, name=f"{TRAINING}-s2", weights=[0.25, 0.25, 0.5])
    world.advance(2.0)
    assert [crew.result(host, f"{TRAINING}-s2") for host in rest] == [[0.25 + 0.5 + 2.0] * 400_000] * 3


def test_a_device_that_only_falls_silent_is_named_by_its_heartbeats(world):
    crew = Crew(world)
    crew.hosts[1].freeze()
    crew.average()
    world.advance(min(PIECE_S, 12.0))
    assert crew.lost() == {"b"}


def test_devices_without_a_link_between_them_say_so(world):
    crew = Crew(world, "abc")
    first, second, third = crew.hosts
    world.part(second, third)
    second.drop_link(third)
    crew.average()
    world.advance(RESEND_FOR_S)
    assert crew.answers["b"]["unreached"] == [third.id]
    for host in crew.hosts:
        crew.ask(host, "StopAverage", name=RESULT)
    crew.average(shape="star", name=f"{TRAINING}-s2")
    world.advance(1.0)
    assert [crew.result(host, f"{TRAINING}-s2") for host in crew.hosts] == [[2.0] * NUMBERS] * 3


def test_it_ends_even_if_nobody_can_be_blamed(world):
    crew = Crew(world, "abc")
    # The third was never asked, and answers that it is too early for as long as it takes.
    first, second, third = crew.hosts
    members = [host.id for host in crew.hosts]
    answers = []
    crew.leader.node.averaging.vectors.ask(first.id, "AverageVectors", {
        "name": RESULT, "members": members, "shape": "chain", "code": "f", "numbers": NUMBERS}, lambda *reply: (
            answers.append(reply)))
    world.advance(STALL_S + 6.0)
    assert [result["message"] for result, _ in answers] == ["nothing moves any more"]


@pytest.mark.parametrize("shape", ["ring", "star"])
def test_halves_move_half_the_bytes_and_are_added_to_what_all_have(world, shape):
    crew = Crew(world)
    for host in crew.hosts:
        crew.put(host, "s0", [1000.0] * NUMBERS)
    crew.average(shape=shape, compression="float16", start=f"{TRAINING}-s0")
    world.advance(1.0)
    assert [crew.result(host) for host in crew.hosts] == [[1002.5] * NUMBERS] * 4
    sent = sum(answer["sent_bytes"] for answer in crew.answers.values())
    assert sent == pytest.approx(2 * 3 * NUMBERS * 2, rel=0.02)


def test_the_largest_numbers_move_and_the_others_are_kept_for_the_next_average(world):
    crew = Crew(world, "ab", numbers=4800)  # Eight pieces, of 600 numbers.
    numbers = [float(place % 10 + 1) for place in range(crew.numbers)]
    for host in crew.hosts:
        crew.put(host, "o1", numbers)
    crew.average(compression="top-k", top_k=0.1, remainder=f"{TRAINING}-r1")
    world.advance(1.0)
    first = [10.0 if number == 10.0 else 0.0 for number in numbers]
    assert [crew.result(host) for host in crew.hosts] == [first] * 2
    assert sum(answer["sent_bytes"] for answer in crew.answers.values()) < 0.25 * 2 * 4 * crew.numbers
    assert crew.result(crew.leader, f"{TRAINING}-r1") == [number / 2 if number < 10.0 else 0.0 for number in numbers]
    # All nines have been waiting, and are twice as large now.
    again = f"{TRAINING}-s2"
    crew.average(name=again, compression="top-k", top_k=0.1, residual=f"{TRAINING}-r1", remainder=f"{TRAINING}-r2")
    world.advance(1.0)
    assert crew.result(crew.leader, again) == [18.0 if number == 9.0 else 0.0 for number in numbers]


def test_what_a_device_does_not_have_any_more_is_not_waited_for(world):
    crew = Crew(world, "ab")
    crew.average(compression="top-k", top_k=1.0, residual=f"{TRAINING}-r7", remainder=f"{TRAINING}-r8")
    world.advance(1.0)
    assert crew.result(crew.leader) == [1.5] * NUMBERS


def test_without_the_state_that_the_mean_is_added_to_a_device_takes_no_part(world):
    crew = Crew(world, "ab")
    crew.average(compression="float16", start=f"{TRAINING}-s0")
    assert crew.answers["b"]["lost"] == [crew.hosts[1].id] and crew.answers["b"]["message"] == "a share is not here"


@pytest.mark.parametrize("params, refused", [
    ({"compression": "zip"}, "compression is one of"), ({"top_k": 0.0}, "top_k above 0"), ({"top_k": 2.0}, "1 at most"),
    ({"start": f"{'f' * 32}-s1"}, "belong to one training"), ({"remainder": "../x"}, "is named by"),
    ({"members": ["x"]}, "this one among them"), ({"shape": "heap"}, "shape is ring"), ({"root": 7}, "root is the"),
    ({"numbers": 0}, "code is f or d"), ({"shares": ["x"]}, "each share has a weight"),
    ({"name": "../x"}, "is named by"), ({"piece": -1}, "a piece has"), ({"piece": 507905}, "507904 numbers at most"),
    ({"drops": [f"{'f' * 32}-s1"]}, "belong to one training"),
])
def test_a_wish_that_makes_no_sense_is_refused(world, params, refused):
    crew = Crew(world, "ab")
    wish = {"name": RESULT, "members": [host.id for host in crew.hosts], "shape": "ring", "code": "f", "numbers": 9}
    with pytest.raises(InvalidParams, match=refused):
        crew.ask(crew.hosts[1], "AverageVectors", **{**wish, **params})


def test_only_who_leads_a_training_asks_for_something(world):
    crew = Crew(world, "abc")
    first, second, third = crew.hosts
    asks = [("JoinTraining", {"training_id": TRAINING}), ("StopAverage", {"name": RESULT}),
            ("FetchVector", {"name": RESULT, "size": 8}),
            ("AverageVectors", {"name": RESULT, "members": [second.id], "shape": "ring", "code": "f", "numbers": 9})]
    for method, params in asks:
        got = []
        third.node.averaging.vectors.ask(second.id, method, params, lambda *reply, got=got: got.append(reply))
        world.settle()
        assert isinstance(got[0][1], Forbidden)
    assert crew.ask(second, "LeaveTraining", training_id=TRAINING)["success"]


def test_a_piece_is_taken_from_the_member_before_this_one_alone(world):
    crew = Crew(world, "abcd")
    first, second, third, outsider = crew.hosts
    second.freeze()
    crew.average(first, second, third)
    piece = {"name": RESULT, "piece": 0, "hop": 0, "data": bytes(4)}
    for host, refused in ((outsider, Forbidden), (first, InvalidParams)):
        got = []
        host.node.averaging.vectors.ask(third.id, "AveragePiece", piece, lambda *reply, got=got: got.append(reply))
        world.settle()
        assert isinstance(got[0][1], refused)
    with pytest.raises(Unauthenticated):
        world.client(third).call("AveragePiece", piece)
    second.thaw()
    world.advance(2.0)
    assert crew.result(third) == [2.0] * NUMBERS


def test_what_a_leader_left_is_deleted(world):
    crew = Crew(world, "abc")
    crew.average()
    world.advance(1.0)
    assert crew.hosts[1].vectors.vectors
    crew.ask(crew.hosts[1], "LeaveTraining", training_id=TRAINING)
    assert not crew.hosts[1].vectors.vectors
    crew.leader.kill()
    world.advance(20.0)
    assert not crew.hosts[2].vectors.vectors and not crew.hosts[2].node.averaging.vectors.trainings


def test_a_joiner_is_brought_the_newest_by_whoever_has_it(world):
    crew = Crew(world, "abcd", numbers=900_000)
    joiner = crew.hosts[3]
    crew.average(*crew.hosts[:3])
    world.advance(1.0)
    got = []
    crew.leader.node.averaging.vectors.ask(joiner.id, "FetchVector", {
        "name": RESULT, "size": 3_600_000, "sources": [crew.hosts[1].id, crew.hosts[2].id]},
        lambda *reply: got.append(reply))
    world.clock.post(crew.hosts[1].kill)
    world.advance(5.0)
    assert got == [({"success": True, "message": "it is here"}, None)]
    assert crew.result(joiner) == [2.0] * 900_000


def test_a_vector_that_nobody_has_is_said_to_be_missing(world):
    crew = Crew(world, "abc")
    got = []
    crew.leader.node.averaging.vectors.ask(crew.hosts[1].id, "FetchVector", {
        "name": f"{TRAINING}-s9", "size": 80, "sources": [crew.hosts[2].id]}, lambda *reply: got.append(reply))
    world.advance(1.0)
    assert got[0][0]["success"] is False and "can be reached" in got[0][0]["message"]
    assert f"{TRAINING}-s9" not in crew.hosts[1].vectors.vectors


def test_there_is_a_bound_to_what_is_kept(world):
    crew = Crew(world, "ab")
    host = crew.hosts[1]
    got = []
    crew.leader.node.averaging.vectors.ask(host.id, "FetchVector", {
        "name": f"{TRAINING}-s9", "size": host.limits.vector_bytes + 1, "sources": [crew.leader.id]},
        lambda *reply: got.append(reply))
    world.settle()
    assert "no room for a vector" in got[0][1].message


def test_what_comes_early_is_kept_until_the_average_begins(world):
    crew = Crew(world)
    first, *others = crew.hosts
    wish = {"name": RESULT, "members": [host.id for host in crew.hosts], "shape": "ring", "code": "f",
            "numbers": NUMBERS, "shares": [f"{TRAINING}-o1"], "weights": [0.25]}

    def begin(host):
        crew.leader.node.averaging.vectors.ask(
            host.id, "AverageVectors", wish, lambda result, error: crew.answers.__setitem__(host, result))

    begin(first)
    # Whoever sent again what came too early would wait half a second by now.
    world.advance(0.9 * EARLY_S)
    assert crew.answers == {}
    for host in others:
        begin(host)
    world.advance(0.05)
    assert [crew.result(host) for host in crew.hosts] == [[2.5] * NUMBERS] * 4


def test_who_cannot_write_the_sum_says_so_and_is_left_out(world, monkeypatch):
    crew = Crew(world)

    def refuse(name, offset, data):
        raise StateError("the folder for scratch cannot be used (no space left); make room on the disk")

    monkeypatch.setattr(crew.hosts[2].vectors, "write", refuse)
    crew.average()
    world.advance(0.1)
    assert not crew.answers["c"]["success"] and "make room" in crew.answers["c"]["message"]
    assert crew.lost() == {"c"}
    others = [crew.hosts[index] for index in (0, 1, 3)]
    crew.ask(crew.hosts[0], "StopAverage", name=RESULT)
    crew.average(*others, name=f"{TRAINING}-s2")
    world.advance(1.0)
    assert [crew.result(host, f"{TRAINING}-s2")[0] for host in others] == pytest.approx([7 / 3] * 3)


@pytest.mark.parametrize(("numbers", "is_loaded"), [(0, False), (NUMPY_NUMBERS - 1, False), (NUMPY_NUMBERS, True)])
def test_who_takes_part_in_averages_of_large_states_loads_what_adds_them_up_at_once(
        world, monkeypatch, numbers, is_loaded):
    monkeypatch.delitem(sys.modules, "numpy", raising=False)
    crew, prepared = Crew(world), []
    monkeypatch.setattr(crew.hosts[1].vectors, "folder", "/scratch")
    monkeypatch.setattr(crew.hosts[1].vectors, "prepare", lambda: prepared.append(numbers))
    assert crew.ask(crew.hosts[1], "JoinTraining", training_id=TRAINING, numbers=numbers)["success"]
    assert bool(prepared) == is_loaded
