"""Whoever leads a training brings states to devices and has them average, whatever becomes of one of them."""

from array import array

import pytest

from discompute_lite.faces.averaging import AVERAGE_TRIES, FAILED_AVERAGES, AveragingLeader, KeptShare
from discompute_lite.ml.compression import FLOAT16, TOP_K, Compression
from discompute_lite.ml.vectors import VectorForm
from discompute_lite.model.errors import Forbidden, MethodNotFound, StateError, TaskFailed


class Devices:
    """Stand for the devices: keep what they are asked, and answer when a test says so."""

    own_id = "own"

    def __init__(self):
        self.asked, self.memory = [], {}
        self.is_gone, self.has_room = False, True

    def ask(self, device_id, method, params, on_reply, timeout_s=None):
        self.asked.append((device_id, method, params, on_reply))

    def keep(self, name, size, fill):
        if self.is_gone or not self.has_room:
            raise StateError("there is no room")
        self.memory[name] = bytearray(size)
        fill(self.memory[name])

    def read(self, name, size):
        return None if self.is_gone else self.memory.get(name)

    def answer(self, device_id, method, error=None, **result):
        """Answer the oldest call of this method that a device has."""
        index = next(index for index, call in enumerate(self.asked) if call[:2] == (device_id, method))
        _, _, params, on_reply = self.asked.pop(index)
        if method == "AverageVectors" and device_id == self.own_id and result.get("success"):
            self.memory[params["name"]] = bytearray(array("d", [7.0, 8.0]).tobytes())
        on_reply(None if error else result, error)
        return params

    def waiting(self, method):
        return sorted(call[0] for call in self.asked if call[1] == method)

    def params(self, device_id, method):
        return next(call[2] for call in self.asked if call[:2] == (device_id, method))


@pytest.fixture
def devices():
    return Devices()


def leader_of(devices, *device_ids, is_mean=True, compression=Compression(), small_bytes=8):
    leader = AveragingLeader(devices, [0.0, 0.0], VectorForm("d", 2), is_mean, False, compression, small_bytes)
    devices.answer("own", "JoinTraining", success=True)
    for device_id in device_ids:
        leader.meet(device_id, lambda: None)
        devices.answer(device_id, "JoinTraining", success=True)
    return leader


def averaged(leader, devices, *device_ids):
    """Begin an average of a share of each; return where its outcome will be."""
    came = []
    shares = [KeptShare(device_id, leader.share_name(index), index + 1) for index, device_id in enumerate(device_ids)]
    leader.average(shares, came.append)
    return came


def all_answer(devices):
    for device_id in devices.waiting("AverageVectors"):
        devices.answer(device_id, "AverageVectors", success=True, seconds=0.5)


def test_all_with_a_share_and_this_machine_take_part(devices):
    leader = leader_of(devices, "a", "b")
    came = averaged(leader, devices, "b", "a")
    assert devices.waiting("AverageVectors") == ["a", "b", "own"]
    wish = devices.params("a", "AverageVectors")
    assert (wish["shape"], wish["members"], wish["weights"]) == ("ring", ["a", "b", "own"], [2 / 3])
    assert devices.params("own", "AverageVectors")["shares"] == []
    all_answer(devices)
    assert came[0].mean == [7.0, 8.0] and came[0].lost == [] and came[0].seconds == 0.5


@pytest.mark.parametrize("small_bytes, is_mean, shape, piece", [
    (15, True, "ring", 0), (16, True, "star", 2), (15, False, "chain", 0), (16, False, "chain", 2)])
def test_a_small_vector_comes_to_this_machine_and_goes_back_in_one_piece(devices, small_bytes, is_mean, shape, piece):
    leader = leader_of(devices, "a", "b", is_mean=is_mean, small_bytes=small_bytes)
    averaged(leader, devices, "a", "b")
    wish = devices.params("a", "AverageVectors")
    assert (wish["shape"], wish["piece"], wish["members"][wish["root"]]) == (shape, piece, "own")


def test_who_has_the_mean_has_the_state(devices):
    leader = leader_of(devices, "a", "b")
    averaged(leader, devices, "a", "b")
    name = devices.params("a", "AverageVectors")["name"]
    all_answer(devices)
    names = []
    for device_id in ("a", "b", "own"):
        leader.bring_state(device_id, names.append)
    assert names == [name] * 3 and not devices.asked


def test_a_joiner_fetches_the_state_from_those_that_have_it(devices):
    leader = leader_of(devices, "a", "b")
    averaged(leader, devices, "a", "b")
    all_answer(devices)
    got = []
    for joiner in ("c", "d"):
        leader.meet(joiner, lambda: None)
        devices.answer(joiner, "JoinTraining", success=True)
        leader.bring_state(joiner, got.append)
    sources = [devices.params(joiner, "FetchVector")["sources"][0] for joiner in ("c", "d")]
    assert sources == ["a", "b"]
    devices.answer("c", "FetchVector", success=True)
    devices.answer("d", "FetchVector", success=False)
    assert got[0].startswith(leader.training_id) and got[1] is None
    assert leader.joined == {"own": True, "a": True, "b": True, "c": True, "d": False}


def test_a_state_that_was_made_here_leaves_here_twice_and_then_from_device_to_device(devices):
    leader = leader_of(devices, *"abcde", is_mean=False)
    leader.new_state([1.0, 2.0])
    for device_id in "abcde":
        leader.bring_state(device_id, lambda name: None)
    assert [devices.params(each, "FetchVector")["sources"][0] for each in "abcde"] == ["own", "own", "a", "a", "b"]


def test_without_a_vanished_device_it_is_tried_again(devices):
    leader = leader_of(devices, "a", "b", "c")
    came = averaged(leader, devices, "a", "b", "c")
    first = devices.params("a", "AverageVectors")["name"]
    devices.answer("a", "AverageVectors", success=False, lost=["b"], unreached=[])
    assert devices.waiting("StopAverage") == ["b", "c", "own"]
    again = [call for call in devices.asked if call[1] == "AverageVectors" and call[2]["name"] != first]
    assert [call[0] for call in again] == ["a", "c", "own"]
    # What the first try made is not needed, its shares are.
    assert again[0][2]["drops"] == [first] and again[0][2]["shares"] == [leader.share_name(0)]
    devices.asked = [call for call in devices.asked if call in again]
    all_answer(devices)
    assert came[0].mean == [7.0, 8.0] and came[0].lost == ["b"]


def test_a_link_that_does_not_exist_makes_it_a_star(devices):
    leader = leader_of(devices, "a", "b")
    averaged(leader, devices, "a", "b")
    devices.answer("a", "AverageVectors", success=False, lost=[], unreached=["b"])
    assert [call[2]["shape"] for call in devices.asked if call[1] == "AverageVectors"][-1] == "star"


def test_it_ends_when_nothing_helps(devices):
    leader = leader_of(devices, "a")
    came = averaged(leader, devices, "a")
    for _ in range(AVERAGE_TRIES):
        assert came == []
        newest = [call for call in devices.asked if call[1] == "AverageVectors"][-2:]
        devices.asked = newest
        devices.answer("a", "AverageVectors", success=False, message="nothing moves any more")
    assert came[0].mean is None


def test_after_several_that_failed_the_shares_come_to_this_machine(devices):
    leader = leader_of(devices, "a", "b")
    shapes = []
    for _ in range(FAILED_AVERAGES):
        assert leader.joined == {"own": True, "a": True, "b": True}
        came = averaged(leader, devices, "a", "b")
        for _ in range(AVERAGE_TRIES):
            devices.asked = [call for call in devices.asked if call[1] == "AverageVectors"][-3:]
            shapes.append(devices.asked[0][2]["shape"])
            devices.answer("a", "AverageVectors", success=False, message="nothing moves any more")
        assert came[0].mean is None
    assert shapes == ["ring"] * AVERAGE_TRIES + ["star"] * AVERAGE_TRIES * (FAILED_AVERAGES - 1)
    assert leader.joined == {"own": False, "a": False, "b": False}
    leader.meet("c", lambda: None)
    devices.answer("c", "JoinTraining", success=True)
    assert not leader.joined["c"]


def test_one_that_succeeds_forgives_those_that_failed(devices):
    leader = leader_of(devices, "a")
    for _ in range(2 * FAILED_AVERAGES):
        averaged(leader, devices, "a")
        devices.answer("a", "AverageVectors", error=ConnectionError())
        devices.asked = []
        averaged(leader, devices, "a")
        all_answer(devices)
    assert leader.joined == {"own": True, "a": True}


def test_when_all_with_shares_are_gone_there_is_no_mean(devices):
    leader = leader_of(devices, "a")
    came = averaged(leader, devices, "a")
    devices.answer("a", "AverageVectors", error=ConnectionError())
    assert (came[0].mean, came[0].lost) == (None, ["a"])


def test_this_machine_without_room_ends_averaging_there(devices):
    leader = leader_of(devices, "a")
    came = averaged(leader, devices, "a")
    devices.answer("own", "AverageVectors", success=False, lost=["own"])
    assert came[0].mean is None and leader.joined == {"own": False, "a": False}


# ---- compression ---------------------------------------------------------------------------------------


def test_who_was_restarted_is_asked_anew_and_fetches_the_state(devices):
    leader = leader_of(devices, "a", "b")
    averaged(leader, devices, "a", "b")
    all_answer(devices)
    came = averaged(leader, devices, "a", "b")
    devices.answer("b", "AverageVectors", error=Forbidden("you lead no such training"))
    assert not leader.joined["b"]
    all_answer(devices)
    assert came[0].lost == ["b"]
    devices.answer("b", "JoinTraining", success=True)
    assert leader.joined["b"]
    leader.bring_state("b", came.append)
    devices.answer("b", "FetchVector", error=Forbidden("you lead no such training"))
    assert came[1] is None and not leader.joined["b"]
    devices.answer("b", "JoinTraining", success=True)
    leader.bring_state("b", came.append)
    devices.answer("b", "FetchVector", success=True)
    assert came[2] == leader._state_name and leader.joined["b"]


def test_who_is_asked_anew_has_nothing_of_the_training(devices):
    leader = leader_of(devices, "a", compression=Compression(TOP_K, 0.5, False))
    averaged(leader, devices, "a")
    all_answer(devices)
    leader.meet("a", lambda: None)
    assert not leader.joined["a"]
    devices.answer("a", "JoinTraining", success=True)
    averaged(leader, devices, "a")
    assert devices.params("a", "AverageVectors")["residual"] == ""
    assert devices.params("own", "AverageVectors")["residual"] != ""


def test_shares_that_saw_no_sample_have_no_mean(devices):
    leader = leader_of(devices, "a", "b")
    with pytest.raises(TaskFailed, match="no step of this round saw a sample"):
        leader.average([KeptShare("a", "x", 0), KeptShare("b", "y", 0)], [].append)
    came = []
    leader.average([KeptShare("a", "x", 0), KeptShare("b", "y", 4)], came.append)
    devices.answer("b", "AverageVectors", error=OSError("gone"))
    assert came[0].mean is None and came[0].lost == ["b"]


def test_a_way_is_added_to_the_state_that_all_have(devices):
    leader = leader_of(devices, "a", compression=Compression(FLOAT16, of_ways=True))
    leader.new_state([1.0, 2.0])
    names = []
    leader.bring_state("a", names.append)
    devices.answer("a", "FetchVector", success=True)
    averaged(leader, devices, "a")
    wish = devices.params("a", "AverageVectors")
    assert (wish["compression"], wish["start"], wish["remainder"]) == ("float16", names[0], "")
    # What a device sent back that cannot keep it there becomes a way here.
    kept = leader.keep_tree([5.0, 5.0], 3, 9)
    assert array("d", bytes(devices.memory[kept.name])).tolist() == [4.0, 3.0]


def test_what_is_left_out_stays_under_a_name_that_the_next_average_tells(devices):
    leader = leader_of(devices, "a", "b", compression=Compression(TOP_K, 0.1))
    averaged(leader, devices, "a", "b")
    first = devices.params("a", "AverageVectors")
    assert (first["residual"], first["top_k"], first["start"]) == ("", 0.1, "")
    all_answer(devices)
    averaged(leader, devices, "a", "b")
    second = devices.params("a", "AverageVectors")
    assert second["residual"] == first["remainder"] != second["remainder"]
    all_answer(devices)
    averaged(leader, devices, "a", "b")
    third = devices.params("a", "AverageVectors")
    assert third["residual"] == second["remainder"] and first["remainder"] in third["drops"]


def test_of_an_average_that_failed_nothing_is_left_out(devices):
    leader = leader_of(devices, "a", "b", "c", compression=Compression(TOP_K, 0.1))
    averaged(leader, devices, "a", "b", "c")
    all_answer(devices)
    averaged(leader, devices, "a", "b", "c")
    failed = devices.params("a", "AverageVectors")
    devices.answer("a", "AverageVectors", success=False, lost=["b"], unreached=[])
    again = [call for call in devices.asked if call[0] == "a" and call[1] == "AverageVectors"][-1][2]
    assert again["residual"] == failed["residual"]
    assert again["remainder"] != failed["remainder"] and failed["remainder"] in again["drops"]


def test_bytes_that_moved_are_counted(devices):
    leader = leader_of(devices, "a", "b")
    averaged(leader, devices, "a", "b")
    for device_id in devices.waiting("AverageVectors"):
        devices.answer(device_id, "AverageVectors", success=True, sent_bytes=100)
    assert leader.moved_bytes == 300
    leader.bring_state("c", lambda name: None)
    devices.answer("c", "FetchVector", success=True)
    assert leader.moved_bytes == 316


def test_at_the_end_all_forget_it(devices):
    leader = leader_of(devices, "a", "b")
    leader.end()
    assert devices.waiting("LeaveTraining") == ["a", "b", "own"]


# ---- this machine's node ---------------------------------------------------------------------------------


def test_a_state_for_which_there_is_no_room_ends_averaging_there(devices):
    leader = leader_of(devices, "a")
    devices.has_room = False
    leader.new_state([1.0, 2.0])
    assert leader.joined == {"own": False, "a": False}


def test_a_share_for_which_there_is_no_room_is_missed_by_the_average(devices):
    leader = leader_of(devices, "a")
    devices.has_room = False
    kept, came = leader.keep_tree([5.0, 5.0], 3, 9), []
    leader.average([kept, KeptShare("a", leader.share_name(1), 1)], came.append)
    devices.answer("own", "AverageVectors", success=False, message="a share is not here", lost=["own"])
    assert came[0].mean is None and leader.joined == {"own": False, "a": False}


def test_when_the_node_beside_goes_away_nobody_averages_there_any_more(devices, caplog):
    leader = leader_of(devices, "a", "b")
    came = averaged(leader, devices, "a", "b")
    devices.is_gone = True
    devices.answer("a", "AverageVectors", error=ConnectionError("the connection broke"))
    assert came[0].mean is None and not any(leader.joined.values())
    assert "the node on this machine went away" in caplog.text
    # What comes after it is no other outcome.
    devices.answer("b", "AverageVectors", error=ConnectionError("the connection broke"))
    assert len(came) == 1


@pytest.mark.parametrize("method", ["JoinTraining", "FetchVector"])
def test_whoever_is_asked_when_the_node_beside_is_gone_is_the_last(devices, method, caplog):
    leader = leader_of(devices, "a", "b")
    leader.new_state([1.0, 2.0])
    names = []
    if method == "JoinTraining":
        leader.meet("c", lambda: names.append(None))
    else:
        leader.bring_state("c", names.append)
    devices.is_gone = True
    devices.answer("c", method, error=ConnectionError("the connection broke"))
    assert names == [None] and not any(leader.joined.values())
    assert caplog.text.count("the node on this machine went away") == 1


@pytest.mark.parametrize("kind, is_narrow", [("", False), (FLOAT16, True)])
def test_a_node_beside_that_is_too_old_for_it_is_said_once(devices, caplog, kind, is_narrow):
    leader = AveragingLeader(devices, [0.0, 0.0], VectorForm("d", 2), True, False, Compression(kind))
    for device_id in ("own", "a"):
        leader.meet(device_id, lambda: None)
    for device_id in ("own", "own", "a"):
        devices.answer(device_id, "JoinTraining", error=MethodNotFound("there is no method AskInTraining"))
    assert not any(leader.joined.values())
    assert caplog.text.count("the node on this machine is of an earlier version; start it anew") == 1
    assert ("not compressed" in caplog.text) is is_narrow


def test_another_device_that_is_too_old_for_it_is_done_without(devices, caplog):
    leader = leader_of(devices, "a")
    leader.meet("b", lambda: None)
    devices.answer("b", "JoinTraining", error=MethodNotFound("there is no method JoinTraining"))
    assert leader.joined == {"own": True, "a": True, "b": False}
    assert not caplog.records


def test_a_mean_that_went_with_the_node_beside_is_none(devices):
    leader = leader_of(devices, "a")
    came = averaged(leader, devices, "a")
    devices.answer("a", "AverageVectors", success=True)
    devices.is_gone = True
    devices.answer("own", "AverageVectors", success=True)
    assert came[0].mean is None and leader.joined == {"own": False, "a": False}
