"""An order's steps on the device that got it."""

import os
import sys
from array import array

import pytest

from discompute_lite.ml.optimizers import SGD
from discompute_lite.ml.workbench import Seat, carry_out, carry_out_here
from discompute_lite.model.errors import TaskFailed
from discompute_lite.tasks.vector_folder import vectors_lying_in


class Counting:
    """A job whose gradient is the shard's number, and which remembers what it was asked."""

    def __init__(self, optimizer=None):
        if optimizer is not None:
            self.optimizer = optimizer
        self.loads, self.draws, self.configs = [], [], []

    def load(self, shard, shards):
        self.loads.append((shard, shards))
        return float(shard)

    def step(self, state, data, rng, config):
        self.draws.append(rng.random())
        self.configs.append(config)
        return [data] if hasattr(self, "optimizer") else [state[0] + data], 2, {"loss": data}


def carried(job, round_index=0, shards=(1, 2), steps=4, sends_gradients=False, seat=None):
    return carry_out(seat or Seat(job, 5, 7, {"rate": 3}), [10.0], round_index, list(shards), steps, sends_gradients)


@pytest.mark.parametrize("step_s, within_s, made", [
    (0.25, 1.0, 4), (0.26, 1.0, 3), (9.0, 1.0, 1), (0.01, 1.0, 6), (9.0, 0.0, 6)])
def test_steps_are_made_as_long_as_another_fits_into_the_time(monkeypatch, step_s, within_s, made):
    clock = [100.0]
    monkeypatch.setattr("discompute_lite.ml.workbench.time.perf_counter", lambda: clock[0])

    class Paced(Counting):
        def step(self, *asked):
            clock[0] += step_s
            return super().step(*asked)

    fields = carry_out(Seat(Paced(), 5, 7, {}), [10.0], 0, [1, 2], 6, False, within_s)
    assert (fields["steps"], fields["samples"]) == (made, 2 * made)
    assert fields["compute_s"] == pytest.approx(made * step_s)


def test_data_are_loaded_once_for_many_orders():
    job = Counting()
    seat = Seat(job, 5, 7, {})
    carried(job, seat=seat)
    carried(job, seat=seat, shards=(2, 3))
    assert job.loads == [(1, 5), (2, 5), (3, 5)]


def test_the_first_step_of_a_process_is_told_once(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr("discompute_lite.ml.workbench.time.perf_counter", lambda: clock[0])

    class Importing(Counting):
        def step(self, *asked):
            clock[0] += 0.25 if self.draws else 3.0
            return super().step(*asked)

    seat = Seat(Importing(), 5, 7, {})
    told = [carry_out(seat, [10.0], 0, [1], 3, False) for _ in range(2)]
    assert [(each["first_step_s"], each["compute_s"]) for each in told] == [(3.0, 3.5), (0.0, 0.75)]


def test_it_is_told_how_long_data_were_loaded_and_whether_the_process_is_new(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr("discompute_lite.ml.workbench.time.perf_counter", lambda: clock[0])

    class Distant(Counting):
        def load(self, shard, shards):
            clock[0] += 0.5
            return super().load(shard, shards)

    seat = Seat(Distant(), 5, 7, {})
    told = [carry_out(seat, [10.0], 0, shards, 4, False) for shards in ([1, 2], [1, 2], [2, 3])]
    assert [(each["loading_s"], each["is_first"], each["compute_s"]) for each in told] == [
        (1.0, True, 0.0), (0.0, False, 0.0), (0.5, False, 0.0)]


def test_steps_go_round_the_shards():
    assert carried(Counting(), steps=3)["tree"] == [10.0 + 1 + 2 + 1]
    # The next round begins where this one ended.
    assert carried(Counting(), round_index=1, steps=3)["tree"] == [10.0 + 2 + 1 + 2]


def test_gradients_are_stepped_down_here_or_sent():
    stepped = carried(Counting(SGD(0.5)), steps=2)
    assert (stepped["tree"], stepped["samples"], stepped["steps"]) == ([10.0 - 0.5 - 1.0], 4, 2)
    sent = carried(Counting(SGD(0.5)), sends_gradients=True)
    assert (sent["tree"], sent["samples"], sent["metrics"]) == ([1.5], 4, {"loss": 1.5})
    assert sent["compute_s"] >= 0


def test_without_an_optimizer_there_are_no_gradients_to_send():
    assert carried(Counting(), sends_gradients=True, steps=2)["tree"] == [13.0]


def test_chance_depends_on_the_place_in_the_training_alone():
    first, again, other = Counting(), Counting(), Counting()
    carried(first)
    carried(again)
    carried(other, round_index=1)
    assert first.draws == again.draws
    assert not set(first.draws) & set(other.draws)
    assert len(set(first.draws)) == 4


def test_a_step_is_told_where_it_is():
    job = Counting()
    carried(job, round_index=6, steps=2)
    assert job.configs == [{"rate": 3, "round": 6, "step": 0}, {"rate": 3, "round": 6, "step": 1}]


def test_a_step_that_returns_something_else_is_told_what_is_wanted():
    job = Counting()
    job.step = lambda *args: [1.0]
    with pytest.raises(TaskFailed, match="three things"):
        carried(job)


@pytest.mark.parametrize("samples, metrics, about", [
    (-3, {}, "the number of samples, 0 or more, not -3"), (None, {}, "the number of samples, 0 or more, not None"),
    (1, None, "must be a dict of metrics, such as {'loss': 0.5}, not None"),
])
def test_what_a_step_returns_is_read_before_it_is_counted(samples, metrics, about):
    job = Counting()
    job.step = lambda state, *rest: (state, samples, metrics)
    with pytest.raises(TaskFailed, match=about):
        carried(job)


# ---- where states and shares stay on their device ------------------------------------------------------


def carried_here(folder, source="", rest=(("w", None), ("seen", 3)), share="a-o1", seat=None, is_way=False):
    class Adding(Counting):
        def step(self, state, data, rng, config):
            return {"w": [state["w"][0] + data, state["w"][1]], "seen": state["seen"] + 1}, 2, {}

    seat = seat or Seat(Adding(), 5, 7, {}, template={"w": [1.0, 2.0], "seen": 0})
    with vectors_lying_in(str(folder)):
        return carry_out_here(seat, [source, share, "d", 2, dict(rest), is_way], 0, [4], 1, False)


def test_a_share_stays_as_a_vector_and_what_has_no_mean_goes_back(tmp_path):
    fields = carried_here(tmp_path)
    assert (fields["tree"], fields["rest"], fields["samples"]) == (None, {"w": None, "seen": 4}, 2)
    assert fields["kinds"] == ["list", "number"]
    assert array("d", (tmp_path / "a-o1").read_bytes()).tolist() == [5.0, 2.0]
    assert os.listdir(tmp_path) == ["a-o1"]


def test_a_state_is_read_from_its_vector(tmp_path):
    (tmp_path / "a-s1").write_bytes(array("d", [10.0, 20.0]).tobytes())
    carried_here(tmp_path, "a-s1")
    assert array("d", (tmp_path / "a-o1").read_bytes()).tolist() == [14.0, 20.0]


@pytest.mark.parametrize("has_numpy", [True, False])
def test_a_way_is_how_far_the_state_went_though_a_step_changes_its_arrays(tmp_path, monkeypatch, has_numpy):
    if not has_numpy:
        monkeypatch.setitem(sys.modules, "numpy", None)

    class InPlace(Counting):
        def step(self, state, data, rng, config):
            state["w"][0] += data
            return state, 2, {}

    (tmp_path / "a-s1").write_bytes(array("d", [10.0, 20.0]).tobytes())
    carried_here(tmp_path, "a-s1", seat=Seat(InPlace(), 5, 7, {}, template={"w": array("d", [0.0, 0.0])}), is_way=True)
    assert array("d", (tmp_path / "a-o1").read_bytes()).tolist() == [4.0, 0.0]
    assert array("d", (tmp_path / "a-s1").read_bytes()).tolist() == [10.0, 20.0]


def test_where_nothing_can_be_kept_the_tree_goes_back(tmp_path):
    fields = carried_here(tmp_path / "nowhere")
    assert fields["tree"] == {"w": [5.0, 2.0], "seen": 4}


def test_where_the_state_is_not_here_nothing_is_done(tmp_path):
    fields = carried_here(tmp_path, "a-s1")
    assert (fields["lacks_state"], fields["samples"], fields["steps"]) == (True, 0, 0)
    assert os.listdir(tmp_path) == []


def test_a_step_that_changes_its_states_shape_is_told_where(tmp_path):
    class Growing(Counting):
        def step(self, state, data, rng, config):
            return {"w": [1.0, 2.0, 3.0], "seen": 0}, 2, {}

    with pytest.raises(TaskFailed, match=r"state\['w'\] has shape"):
        carried_here(tmp_path, seat=Seat(Growing(), 5, 7, {}, template={"w": [1.0, 2.0], "seen": 0}))


class Few(Counting):
    """A job with data for its first parts only, as a small set on a large cluster has."""

    def load(self, shard, shards):
        return [float(shard)] if shard < 2 else []

    def step(self, state, data, rng, config):
        return super().step(state, data[0], rng, config)


@pytest.mark.parametrize("optimizer, sends_gradients", [(None, False), (SGD(0.5), True), (SGD(0.5), False)])
def test_parts_without_data_make_no_step(optimizer, sends_gradients):
    asked = {"steps": 2, "sends_gradients": sends_gradients}
    only = carried(Few(optimizer), shards=(1,), **asked)
    assert carried(Few(optimizer), shards=(2, 1, 3), **asked)["tree"] == only["tree"]
    empty = carried(Few(optimizer), shards=(2, 3), **asked)
    assert (empty["tree"], empty["samples"], empty["steps"], empty["metrics"]) == ([10.0], 0, 0, {})
