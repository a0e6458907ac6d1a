"""Training over a cluster that is played: orders become calls, rounds are saved, and the end is told."""

import json
import math
from array import array
from concurrent.futures import Future
from functools import partial

import pytest

from discompute_lite.faces.futures import CallOverLimit, PoisonedSubtask
from discompute_lite.faces.training import train
from discompute_lite.faces.training_wishes import is_better, strategy_of
from discompute_lite.ml.digit_job import DigitJob
from discompute_lite.ml.optimizers import SGD
from discompute_lite.ml.strategies import DiLoCo, FedAvg
from discompute_lite.model.device import Device
from discompute_lite.model.errors import SettingsError, TaskCancelled, TaskFailed, Unreachable
from discompute_lite.tasks.values import dump_value, load_value


class NoVectors:
    """Have no device take part in averages: all that they make comes to this machine."""

    own_id, is_gone = "own", False

    def ask(self, device_id, method, params, on_reply, timeout_s=None):
        self.deliver(partial(on_reply, None, Unreachable("there is no link to that device")))


class PlayedCluster:
    """Make each call at once, with values as they come over a wire; devices may be given ends."""

    def __init__(self, *devices):
        self.there = list(devices) or ["mac"]
        #: What people call them, where that is not their id.
        self.names = {}
        self.requires = ""
        self.calls = 0
        #: Raised instead of the call with this number.
        self.fails = {}
        self.after_call = lambda: None
        self.told = []

    def tell_round(self, told):
        self.told.append(told)

    def places(self):
        return {f"{device}/0": 1.0 for device in self.there}

    def devices(self):
        return [Device(id=device, name=self.names.get(device, device)) for device in self.there]

    def vectors(self):
        return NoVectors()

    def put(self, value):
        return value

    broadcast = put

    def options(self, requires="", pure=False):
        assert pure
        self.requires = requires
        return self

    def submit(self, fn, seat, state, *rest):
        future = Future()
        future.device = self.requires or self.there[0]
        self.calls += 1
        if self.calls in self.fails:
            future.set_exception(self.fails[self.calls])
        elif future.device in self.there:
            future.set_result(load_value(dump_value(fn(seat, load_value(dump_value(state)), *rest))))
        self.after_call()
        return future


class Slope:
    """Find the lowest point of (x - 3)^2, by gradients with a little noise."""

    optimizer = SGD(0.1)

    def init(self, seed):
        return {"x": [float(seed)], "steps": 0}

    def load(self, shard, shards):
        return 0.001 * shard

    def step(self, state, data, rng, config):
        slope = 2 * (state["x"][0] - 3) + 0.01 * (rng.random() - 0.5) + data
        return {"x": [slope], "steps": 0}, 4, {"loss": (state["x"][0] - 3) ** 2}

    def evaluate(self, state):
        return {"loss": (state["x"][0] - 3) ** 2, "accuracy": math.exp(-abs(state["x"][0] - 3))}


#: More numbers than travel in a call.
BALLAST = array("d", [0.0] * 4100)


class Wide(Slope):
    def init(self, seed):
        return {"x": [float(seed)], "steps": 0, "ballast": BALLAST}

    def step(self, state, data, rng, config):
        tree, samples, metrics = super().step(state, data, rng, config)
        return {**tree, "ballast": BALLAST}, samples, metrics


@pytest.mark.parametrize("strategy", ["sync", "fedavg", "diloco", "async"])
@pytest.mark.parametrize("job", [Slope(), pytest.param(Wide(), marks=pytest.mark.slow)], ids=["small", "wide"])
def test_every_strategy_finds_the_lowest_point(strategy, job):
    result = train(PlayedCluster("mac", "pad"), job, rounds=12, strategy=strategy, shards=4)
    assert result.metrics["loss"] < 1.0
    assert result.ended == "all rounds made"
    assert len(result.history) == 12
    assert result.history[-1]["samples"] > 0


@pytest.mark.parametrize("strategy", ["sync", FedAvg(3), DiLoCo(3)])
def test_a_reproducible_state_is_the_same_on_any_devices_and_after_any_end(strategy, tmp_path):
    alone = train(PlayedCluster("mac"), Slope(), rounds=6, strategy=strategy, reproducible=True, seed=5)
    several = train(PlayedCluster(*"abcde"), Slope(), rounds=6, strategy=strategy, reproducible=True, seed=5)
    folder = str(tmp_path)
    train(PlayedCluster("a"), Slope(), rounds=2, strategy=strategy, reproducible=True, seed=5, checkpoint=folder)
    resumed = train(PlayedCluster(*"xyz"), Slope(), rounds=6, strategy=strategy, reproducible=True, checkpoint=folder,
                    resume=True)
    assert dump_value(alone.state) == dump_value(several.state) == dump_value(resumed.state)
    assert [figures["round"] for figures in resumed.history] == [1, 2, 3, 4, 5, 6]
    assert alone.state["x"] != train(PlayedCluster("mac"), Slope(), rounds=6, strategy=strategy, reproducible=True,
                                     seed=6).state["x"]


@pytest.mark.slow
def test_in_pure_python_ten_rounds_read_more_than_95_digits_of_a_hundred():
    result = train(PlayedCluster(), DigitJob(with_numpy=False), rounds=10, strategy="fedavg")
    assert result.metrics["accuracy"] > 0.95


def test_rounds_are_saved_with_their_figures(tmp_path):
    train(PlayedCluster(), Slope(), rounds=3, checkpoint=str(tmp_path / "run"))
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["round"] for line in lines] == [1, 2, 3]
    assert set(lines[0]) == {"round", "seconds", "compute_s", "starting_s", "samples", "metrics", "shares", "missing",
                             "evaluated", "average_s", "moved_bytes"}
    saved = load_value((tmp_path / "run" / "checkpoint.json").read_bytes())
    assert (saved["round"], saved["strategy"]) == (3, "Synchronous()")
    assert "Synchronous(), 3 rounds" in (tmp_path / "run" / "curves.svg").read_text()


@pytest.mark.parametrize("wishes, name", [({}, "Slope"), ({"name": "slope.py"}, "slope.py")])
def test_each_round_is_told_to_the_node_and_the_end_whatever_it_is(wishes, name):
    cluster = PlayedCluster("mac", "pad")
    train(cluster, Slope(), rounds=2, **wishes)
    *told, over = cluster.told
    assert [(each.name, each.round, each.rounds) for each in told] == [(name, 1, 2), (name, 2, 2)]
    assert not any(each.is_over for each in told)
    assert over.is_over and {each.training for each in cluster.told} == {over.training}
    cluster.after_call = lambda: cluster.there.clear() or (_ for _ in ()).throw(KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        train(cluster, Slope(), rounds=2)
    assert cluster.told[-1].is_over and cluster.told[-1].training != over.training


def test_resuming_where_nothing_was_saved_begins(tmp_path):
    assert len(train(PlayedCluster(), Slope(), rounds=2, checkpoint=str(tmp_path), resume=True).history) == 2


def test_a_training_that_was_saved_is_not_begun_anew_in_its_folder(tmp_path):
    train(PlayedCluster(), Slope(), rounds=2, checkpoint=str(tmp_path))
    cluster, saved = PlayedCluster(), (tmp_path / "checkpoint.json").read_bytes()
    with pytest.raises(SettingsError, match="--resume"):
        train(cluster, Slope(), rounds=2, checkpoint=str(tmp_path))
    assert (cluster.calls, (tmp_path / "checkpoint.json").read_bytes()) == (0, saved)


class Diverging(Slope):
    """Find no number any more from the fourth step of each device on; "best" is infinite from the beginning."""

    optimizer = None

    def init(self, seed):
        return {"x": [1.0, 2.0], "best": math.inf}

    def step(self, state, data, rng, config):
        return {"x": [state["x"][0] + 1, math.nan if config["round"] > 2 else 2.0], "best": math.inf}, 4, {}


@pytest.mark.parametrize("strategy", ["sync", FedAvg(2), "async"])
def test_a_state_that_has_become_no_number_ends_the_training_and_the_last_good_one_stays(strategy, tmp_path):
    with pytest.raises(TaskFailed) as caught:
        train(PlayedCluster(), Diverging(), rounds=9, strategy=strategy, checkpoint=str(tmp_path))
    assert caught.value.message == (
        "in round 4 state['x'] has become infinite or no number, which no further round mends; "
        f"{tmp_path} keeps the state of round 3; train again with a smaller rate, or without data that are no numbers")
    saved = load_value((tmp_path / "checkpoint.json").read_bytes())
    assert saved["round"] == 3
    assert all(map(math.isfinite, saved["state"]["x"]))
    assert "3 rounds" in (tmp_path / "curves.svg").read_text()


def test_a_training_without_numbers_from_its_first_round_on_names_no_checkpoint(tmp_path):
    job = Diverging()
    job.step = lambda state, data, rng, config: ({"x": [math.inf, 2.0], "best": 1.0}, 4, {})
    with pytest.raises(TaskFailed, match="^in round 1 .* no further round mends; train again with a smaller rate"):
        train(PlayedCluster(), job, rounds=9, checkpoint=str(tmp_path))
    assert not (tmp_path / "checkpoint.json").exists()


class Lost(Slope):
    """Learn what nobody can judge."""

    def evaluate(self, state):
        return {"loss": math.nan, "gain": math.inf}


def test_a_training_without_numbers_is_resumed_and_ended_by_its_patience(tmp_path):
    train(PlayedCluster(), Lost(), rounds=2, checkpoint=str(tmp_path))
    again = train(PlayedCluster(), Lost(), rounds=9, checkpoint=str(tmp_path), resume=True, patience=3)
    assert again.ended == "loss has not been better than nan for 3 rounds"


@pytest.mark.parametrize("ended, said", [
    (PoisonedSubtask("it failed 3 times, all on k3fq9zt2: each time the process ended by itself with exit status 3"),
     "the job's step in round 2 failed 3 times, all on Ann's pad: each time the process ended"),
    (CallOverLimit("it used 3 GiB"), "the job's step in round 2 on Ann's pad used 3 GiB"),
])
def test_a_step_that_takes_down_its_process_is_told_with_its_round_and_the_devices_name(ended, said):
    cluster = PlayedCluster("k3fq9zt2" + "a" * 44)
    cluster.names[cluster.there[0]] = "Ann's pad"
    cluster.fails[2] = ended
    with pytest.raises(type(ended)) as caught:
        train(cluster, Slope(), rounds=3, strategy="fedavg")
    assert caught.value.message.startswith(said)


def test_a_finished_training_is_resumed_without_a_step(tmp_path):
    first = train(PlayedCluster(), Slope(), rounds=2, checkpoint=str(tmp_path))
    cluster = PlayedCluster()
    again = train(cluster, Slope(), rounds=2, checkpoint=str(tmp_path), resume=True)
    assert cluster.calls == 0
    assert (again.state, again.metrics) == (first.state, first.metrics)


def test_a_checkpoint_of_another_strategy_is_refused(tmp_path):
    train(PlayedCluster(), Slope(), rounds=1, checkpoint=str(tmp_path))
    with pytest.raises(SettingsError, match=r"made with Synchronous\(\), not FedAvg"):
        train(PlayedCluster(), Slope(), rounds=2, strategy="fedavg", checkpoint=str(tmp_path), resume=True)


def test_a_checkpoint_of_another_job_is_refused(tmp_path):
    train(PlayedCluster(), Slope(), rounds=1, checkpoint=str(tmp_path))
    with pytest.raises(SettingsError, match="holds the state of another job, or of this one with other arguments"):
        train(PlayedCluster(), Wide(), rounds=2, checkpoint=str(tmp_path), resume=True)


@pytest.mark.parametrize("data", [b"{}", b"[1]", b"{not json"])
def test_a_damaged_checkpoint_is_refused(tmp_path, data):
    (tmp_path / "checkpoint.json").write_bytes(data)
    with pytest.raises(SettingsError, match="no checkpoint"):
        train(PlayedCluster(), Slope(), rounds=2, checkpoint=str(tmp_path), resume=True)


def test_it_ends_when_the_target_is_reached():
    result = train(PlayedCluster(), Slope(), rounds=99, target={"loss": 0.5})
    assert result.ended.startswith("loss 0.")
    assert 1 < len(result.history) < 99
    assert train(PlayedCluster(), Slope(), rounds=99, target={"accuracy": 0.8}).metrics["accuracy"] >= 0.8


def test_a_target_that_nobody_measures_is_refused():
    with pytest.raises(SettingsError, match="gives no 'acuracy'; it gives loss, accuracy"):
        train(PlayedCluster(), Slope(), rounds=9, target={"acuracy": 0.5})


def test_it_ends_when_nothing_gets_better():
    job = Slope()
    job.optimizer = SGD(0.0)
    result = train(PlayedCluster(), job, rounds=99, patience=3)
    assert len(result.history) == 4
    assert "for 3 rounds" in result.ended


def test_each_round_is_told():
    told = []
    train(PlayedCluster("mac"), Slope(), rounds=2, on_round=told.append)
    assert [figures["round"] for figures in told] == [1, 2]
    assert told[0]["shares"] == {"mac/0": 64}


def test_a_device_that_goes_is_done_without(monkeypatch):
    monkeypatch.setattr("discompute_lite.faces.training.LOOK_FOR_MEMBERS_S", 0.0)
    cluster = PlayedCluster("mac", "pad")

    def leave():
        if cluster.calls == 6:
            cluster.there.remove("pad")

    cluster.after_call = leave
    result = train(cluster, Slope(), rounds=12, strategy="fedavg")
    assert len(result.history) == 12
    assert set(result.history[-1]["shares"]) == {"mac/0"}


def test_a_call_that_was_cancelled_elsewhere_is_made_again():
    cluster = PlayedCluster()
    cluster.fails = {2: TaskCancelled("gone")}
    assert len(train(cluster, Slope(), rounds=3).history) == 3


def test_what_a_step_raises_ends_the_training():
    cluster = PlayedCluster()
    cluster.fails = {2: ZeroDivisionError("in a step")}
    with pytest.raises(ZeroDivisionError):
        train(cluster, Slope(), rounds=3)


def test_a_device_that_lacks_a_library_is_left_out_and_that_is_said_once(caplog):
    cluster = PlayedCluster("mac", "pad")
    cluster.fails = {2: ModuleNotFoundError("No module named 'torch'")}
    result = train(cluster, Slope(), rounds=4, strategy="fedavg")
    assert len(result.history) == 4
    assert all(set(figures["shares"]) == {"mac/0"} for figures in result.history)
    assert [record.getMessage() for record in caplog.records] == [
        "device pad is left out: No module named 'torch'; install it there for the next training"]


def test_a_device_that_cannot_read_the_job_is_left_out_too(caplog):
    cluster = PlayedCluster("mac", "pad")
    cluster.fails = {2: PoisonedSubtask("it failed 3 times, all on pad: each time carry_out_here needs torch 2.8, "
                                        "which this device cannot import (No module named 'torch'); install it here")}
    result = train(cluster, Slope(), rounds=4, strategy="fedavg")
    assert all(set(figures["shares"]) == {"mac/0"} for figures in result.history)
    assert [record.getMessage() for record in caplog.records] == [
        "device pad is left out: the job needs torch 2.8, which this device cannot import; install it there for the "
        "next training"]


@pytest.mark.parametrize("devices, fails", [(["mac"], [2]), (["mac", "pad"], [1, 2]), (["mac", "pad"], [1, 2, 3])])
def test_a_library_that_nobody_has_ends_the_training(devices, fails):
    cluster = PlayedCluster(*devices)
    cluster.fails = dict.fromkeys(fails, ModuleNotFoundError("No module named 'torch'"))
    with pytest.raises(ModuleNotFoundError):
        train(cluster, Slope(), rounds=3, strategy="fedavg")


@pytest.mark.parametrize("evaluated", [None, 3.0, {"loss": "low"}, ["loss"]])
def test_an_evaluation_that_is_no_dict_of_numbers_is_told_what_is_wanted(evaluated):
    job = Slope()
    job.evaluate = lambda state: evaluated
    with pytest.raises(TaskFailed, match="what evaluate returns must be a dict of metrics, such as {'loss': 0.5}, not"):
        train(PlayedCluster(), job, rounds=2)


def test_a_loss_that_is_no_number_is_told_once_and_is_no_gain(caplog):
    job = Slope()
    losses = iter([math.nan, 3.0, math.nan, math.nan, 4.0])
    job.evaluate = lambda state: {"loss": next(losses)}
    result = train(PlayedCluster(), job, rounds=9, patience=3)
    assert result.ended == "loss has not been better than 3 for 3 rounds"
    assert [record.getMessage() for record in caplog.records] == [
        "after round 1 loss is nan, though the state holds numbers; try a smaller rate, or look for data that are no "
        "numbers"]


def test_a_loss_of_the_steps_that_is_no_number_is_told_though_the_evaluation_has_one(caplog):
    job = Slope()
    job.step = lambda state, data, rng, config: ({"x": [0.0], "steps": 0}, 1, {"loss": math.inf})
    train(PlayedCluster(), job, rounds=2)
    assert [record.getMessage().partition(",")[0] for record in caplog.records] == ["after round 1 loss is inf"]


@pytest.mark.parametrize("name", ["init", "load", "step", "evaluate"])
def test_a_job_without_a_method_is_refused(name):
    job = type("Job", (), {each: (lambda self, *args: None) for each in ("init", "load", "step", "evaluate")
                           if each != name})()
    with pytest.raises(TaskFailed, match=f"no method {name}"):
        train(PlayedCluster(), job)


def test_a_state_that_changes_its_shape_is_named():
    job = Slope()
    job.step = lambda state, data, rng, config: ({"x": [0.0, 0.0], "steps": 0}, 1, {})
    with pytest.raises(TaskFailed, match=r"state\['x'\]"):
        train(PlayedCluster(), job, rounds=2)


def test_a_device_that_computes_with_lesser_arrays_is_told_of_once(caplog):
    numpy = pytest.importorskip("numpy")
    job, cluster = Slope(), PlayedCluster("mac")
    job.init = lambda seed: {"x": numpy.array([float(seed)]), "steps": 0}
    submit = cluster.submit
    cluster.submit = lambda fn, seat, state, *rest: submit(fn, seat, {**state, "x": state["x"].tolist()}, *rest)
    result = train(cluster, job, rounds=3)
    assert type(result.state["x"]) is numpy.ndarray
    assert [record.getMessage() for record in caplog.records] == [
        "device mac has not the library of the state's arrays (NumPy): it computes with list, number"]


@pytest.mark.parametrize("strategy, optimizer", [("fedavg", None), ("fedavg", SGD(0.1)), ("sync", SGD(0.1))])
def test_parameters_of_a_network_travel_as_plain_tensors(strategy, optimizer):
    torch = pytest.importorskip("torch")
    job, seen = Slope(), []
    job.optimizer = optimizer
    job.init = lambda seed: dict(torch.nn.Linear(2, 1).named_parameters())
    job.evaluate = lambda state: {}

    def step(state, data, rng, config):
        seen.extend(map(type, state.values()))
        return {name: torch.nn.Parameter(each / 2) for name, each in state.items()}, 1, {}

    job.step = step
    result = train(PlayedCluster("mac", "pad"), job, rounds=2, strategy=strategy)
    assert {*seen, *map(type, result.state.values())} == {torch.Tensor}
    assert not any(each.requires_grad for each in result.state.values())


def reordered(tree):
    """Return a tree with its parts in another order, as a step may make it."""
    return {name: tree[name] for name in reversed(list(tree))}


@pytest.mark.parametrize("made", [reordered, lambda tree: {**tree, "x": array("d", tree["x"])}])
def test_what_a_step_makes_of_its_arrays_is_no_want_of_a_library(caplog, made):
    job = Slope()
    step = job.step

    def step_otherwise(state, data, rng, config):
        tree, samples, metrics = step(state, data, rng, config)
        return made(tree), samples, metrics

    job.step = step_otherwise
    result = train(PlayedCluster("mac"), job, rounds=3)
    assert type(result.state["x"]) is list
    assert not caplog.records


@pytest.mark.parametrize("wishes, about", [
    ({"compression": "zip"}, "write one of none, float16, top-k"),
    ({"compression": "top-k", "top_k": 0.0}, "write a part above 0"),
    ({"top_k": 0.1}, "top_k belongs to the compression top-k, and this one is none; choose top-k, or leave out top_k"),
    ({"compression": "float16", "top_k": 0.1}, "this one is float16"),
    ({"compression": "float16", "average": "submitter"}, "leave out one of"),
    ({"compression": "top-k", "reproducible": True}, "sums exactly, on one machine; leave out the compression"),
    ({"compression": "float16", "strategy": "async"}, "merges each share alone; leave out the compression"),
    ({"average": "ring", "reproducible": True}, "sums exactly, on one machine; leave out the ring"),
])
def test_a_compression_that_cannot_be_is_refused(wishes, about):
    with pytest.raises(SettingsError, match=about):
        train(PlayedCluster(), Slope(), rounds=1, **wishes)


def test_strategies_by_name():
    assert strategy_of("fedavg", local_steps=7) == FedAvg(local_steps=7)
    assert strategy_of(DiLoCo()) == DiLoCo()
    with pytest.raises(SettingsError, match="write one of sync, fedavg, diloco, async"):
        strategy_of("magic")
    with pytest.raises(SettingsError, match="one step a round"):
        strategy_of("sync", local_steps=3)


@pytest.mark.parametrize("name, better, worse", [("loss", 1, 2), ("val_error", 1, 2), ("accuracy", 2, 1)])
def test_what_is_better(name, better, worse):
    assert is_better(name, better, worse)
    assert not is_better(name, worse, better)
    assert not is_better(name, worse, worse)


