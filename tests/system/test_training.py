"""The command `train` as a person types it: on one device and on several, with what goes wrong on the way."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from random import Random
from statistics import median

import pytest

from discompute_lite.ml.digit_job import DigitJob
from discompute_lite.ml.trees import mean_tree
from discompute_lite.tasks.values import load_value

JOB = '''
"""Fit a line through points, with a class of its own as data."""
import dataclasses

from discompute_lite.ml import SGD

@dataclasses.dataclass
class Points:
    rows: list

    def __len__(self):
        return len(self.rows)

class Job:
    optimizer = SGD(0.1)

    def __init__(self, slope: float = 2.0):
        self.slope = slope

    def init(self, seed):
        return {"a": 0.0, "b": [0.0]}

    def load(self, shard, shards):
        print("loading", shard)
        return Points([(x / 10, self.slope * x / 10 + 1) for x in range(-10 + shard, 10, shards)])

    def step(self, state, data, rng, config):
        a = b = loss = 0.0
        for x, y in data.rows:
            miss = state["a"] * x + state["b"][0] - y
            a, b, loss = a + 2 * miss * x, b + 2 * miss, loss + miss * miss
        count = len(data.rows)
        return {"a": a / count, "b": [b / count]}, count, {"loss": loss / count}

    def evaluate(self, state):
        return {"error": abs(state["a"] - self.slope) + abs(state["b"][0] - 1)}
'''
#: Four small shards of the digits, so that a round is some tens of milliseconds.
DIGITS = ("--reproducible", "--shards", "4", "--local-steps", "3", "--seed", "5", "digits", "--hidden", "8")


def saved_in(folder):
    """Return what stands in a checkpoint."""
    return json.loads((Path(folder) / "checkpoint.json").read_bytes())


def rounds_in(folder):
    """Return the rounds whose figures are written."""
    try:
        lines = (Path(folder) / "metrics.jsonl").read_text().splitlines()
    except FileNotFoundError:
        return []
    return [json.loads(line)["round"] for line in lines if line.endswith("}")]


def devices_of(figures):
    """Return the devices whose shares a round has; one that stood still for a moment is not waited for."""
    return {member.partition("/")[0] for member in figures["shares"]}


def test_a_job_of_ones_own(field):
    job = field.job("line.py", JOB)
    done = field.run("train", "--strategy", "sync", "--rounds", "60", job, "--slope", "-3")
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert lines[0].startswith("round 1/60  error ")
    assert len(lines) == 61
    assert lines[-1].startswith("all rounds made: error ")
    assert float(lines[-1].split()[-1]) < 0.1


def test_the_same_bits_on_one_device_and_on_two_after_a_kill(field):
    alone, again = str(field.folder / "alone"), str(field.folder / "again")
    field.let_belong("command", "node-2")
    done = field.run("train", "--rounds", "5", "--checkpoint", alone, *DIGITS)
    assert done.code == 0, done.err
    assert rounds_in(alone) == [1, 2, 3, 4, 5]
    field.start("node-2")
    words = ["train", "--checkpoint", again, "--min-devices", "2"]
    command = [sys.executable, "-m", "discompute_lite", *words, "--rounds", "1000", *DIGITS]
    killed = subprocess.Popen(command, env=field.for_command(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        field.wait_for(lambda: rounds_in(again) or killed.poll() is not None, "the first round", 30.0)
        assert killed.poll() is None, killed.stderr.read()
    finally:
        killed.kill()
        killed.wait()
        killed.stderr.close()
    made = saved_in(again)["round"] if os.path.exists(os.path.join(again, "checkpoint.json")) else 0
    assert made < 1000
    total = str(max(5, made + 1))
    done = field.run(*words, "--resume", "--rounds", total, *DIGITS)
    assert done.code == 0, done.err
    assert done.out.splitlines()[0].startswith(f"round {made + 1}/{total}  ")
    assert rounds_in(again) == list(range(1, int(total) + 1))
    if int(total) > 5:
        done = field.run("train", "--resume", "--rounds", total, "--checkpoint", alone, *DIGITS)
        assert done.code == 0, done.err
    assert saved_in(again) == saved_in(alone)
    assert (Path(again) / "curves.svg").read_text().startswith("<svg")


def trained_by_one_loop(rounds, shards, seed, hidden):
    """Train on the digits as a script would on one machine, without a cluster and orders; return the state."""
    job = DigitJob(hidden=hidden, with_numpy=False)
    state = job.init(seed)
    memory, data = job.optimizer.begin(state), [job.load(shard, shards) for shard in range(shards)]
    for index in range(rounds):
        made = [job.step(state, data[shard], Random(f"{seed}/{index}/{shard}/0"), {}) for shard in range(shards)]
        mean = mean_tree([gradient for gradient, _, _ in made], [samples for _, samples, _ in made])
        state, memory = job.optimizer.apply(state, mean, memory)
    return state


def test_on_one_two_and_three_devices_the_bits_are_those_of_a_plain_loop(field):
    field.let_belong("command", "node-2", "node-3")
    job = ["--reproducible", "--strategy", "sync", "--rounds", "4", "--shards", "6", "--seed", "3",
           "digits", "--hidden", "8"]
    wanted = trained_by_one_loop(4, 6, 3, 8)
    for devices in (1, 2, 3):
        if devices > 1:
            field.start(f"node-{devices}")
        folder = str(field.folder / f"run-{devices}")
        done = field.run("train", "--min-devices", str(devices), "--checkpoint", folder, *job)
        assert done.code == 0, done.err
        assert f"{devices} device" in done.err
        assert load_value((Path(folder) / "checkpoint.json").read_bytes())["state"] == wanted


@pytest.mark.parametrize("strategy, more, said", [
    ("fedavg", [], ""),
    ("diloco", ["--compression", "float16"], "the new state is made on this machine, and travels whole"),
])
def test_three_devices_average_among_themselves(field, strategy, more, said):
    field.let_belong("command", "node-2", "node-3")
    field.start("node-2")
    field.start("node-3")
    done = field.run("train", "--strategy", strategy, "--min-devices", "3", "--rounds", "6", "--local-steps", "8",
                     "--average", "ring", "--json", *more, "digits", "--hidden", "16")
    assert done.code == 0, done.err
    assert said in done.err
    rounds = json.loads(done.out)["rounds"]
    assert [figures["round"] for figures in rounds] == list(range(1, 7))
    assert all(figures["average_s"] > 0 for figures in rounds if len(devices_of(figures)) > 1)
    assert max(len(devices_of(figures)) for figures in rounds) == 3
    assert rounds[-1]["evaluated"]["loss"] < rounds[0]["evaluated"]["loss"]


#: A job whose steps compute with whatever arrays the device has.
HALVING = '''
class Job:
    def init(self, seed):
        import numpy
        return {"mask": numpy.array([True, False]), "w": numpy.arange(6, dtype="f4").reshape(2, 3),
                "table": numpy.arange(4).reshape(2, 2), "steps": 0}

    def load(self, shard, shards):
        return [shard]

    def step(self, state, data, rng, config):
        w = state["w"]
        new = {"w": [[x / 2 for x in row] for row in w] if isinstance(w, list) else w / 2}
        return {**state, **new, "steps": state["steps"] + 1}, 1, {}

    def evaluate(self, state):
        return {"dtype_is_f4": float(state["w"].dtype == "f4"), "last": float(state["w"][1][2]),
                "steps": state["steps"], "table": float(state["table"][1][1]), "mask": float(state["mask"].sum())}
'''


@pytest.mark.parametrize("average", ["ring", "submitter"])
def test_a_device_without_the_library_takes_part_with_lists_and_that_is_said(field, average):
    pytest.importorskip("numpy")
    without = field.folder / "without"
    without.mkdir()
    (without / "numpy.py").write_text("raise ImportError('not installed here')")
    field.let_belong("command", "node-2", "node-3")
    path = os.environ.get("PYTHONPATH", "")
    poor = field.start("node-2", PYTHONPATH=os.pathsep.join(filter(None, [str(without), path])))
    field.start("node-3")
    done = field.run("train", "--min-devices", "3", "--rounds", "5", "--local-steps", "1", "--average", average,
                     "--json", field.job("halving.py", HALVING))
    assert done.code == 0, done.err
    rounds = json.loads(done.out)["rounds"]
    assert all(figures["evaluated"]["dtype_is_f4"] for figures in rounds)
    assert {(figures["evaluated"]["table"], figures["evaluated"]["mask"]) for figures in rounds} == {(3.0, 1.0)}
    assert rounds[-1]["evaluated"]["steps"] >= 5
    # The faster make more steps of a round.
    lasts = [5.0, *[figures["evaluated"]["last"] for figures in rounds]]
    assert all(later <= 0.51 * earlier for earlier, later in zip(lasts, lasts[1:]))
    assert any(member.startswith(poor.id) for figures in rounds for member in figures["shares"])
    told = [line for line in done.err.splitlines() if "has not the library" in line]
    assert len(told) == 1 and f"device {poor.name} " in told[0] and "(NumPy): it computes with list" in told[0]


def test_a_device_without_what_the_job_imports_at_its_top_is_left_out_and_that_is_said(field):
    pytest.importorskip("numpy")
    without = field.folder / "without"
    without.mkdir()
    (without / "numpy.py").write_text("raise ImportError('not installed here')")
    field.let_belong("command", "node-2")
    path = os.environ.get("PYTHONPATH", "")
    poor = field.start("node-2", PYTHONPATH=os.pathsep.join(filter(None, [str(without), path])))
    job = "import numpy\n" + HALVING.replace("        import numpy\n", "").replace("w / 2}", "numpy.divide(w, 2)}")
    done = field.run("train", "--min-devices", "2", "--rounds", "5", "--local-steps", "1", "--json",
                     field.job("dividing.py", job))
    assert done.code == 0, done.err
    assert not any(member.startswith(poor.id) for figures in json.loads(done.out)["rounds"]
                   for member in figures["shares"])
    told = [line for line in done.err.splitlines() if "is left out" in line]
    assert len(told) == 1 and f"device {poor.name} is left out: the job needs numpy" in told[0], done.err


@pytest.mark.parametrize("kind, more, part", [("float16", [], 0.3), ("top-k", ["--top-k", "0.05"], 0.5)])
def test_what_devices_send_each_other_is_compressed_on_demand(field, kind, more, part):
    field.let_belong("command", "node-2", "node-3")
    field.start("node-2")
    field.start("node-3")
    words = ["--min-devices", "3", "--rounds", "6", "--local-steps", "8", "--average", "ring", "--json"]
    moved = {}
    for each, flags in (("none", []), (kind, more)):
        done = field.run("train", *words, "--compression", each, *flags, "digits", "--hidden", "32")
        assert done.code == 0, done.err
        rounds = json.loads(done.out)["rounds"]
        assert rounds[-1]["evaluated"]["loss"] < rounds[0]["evaluated"]["loss"]
        # In most rounds, for which all three are in time.
        moved[each] = median(figures["moved_bytes"] for figures in rounds)
    # Numbers are float64 here, so halves are a quarter.
    assert 0 < moved[kind] < part * moved["none"]


def test_a_machine_that_takes_no_work_itself_takes_part_in_the_average(field):
    field.let_belong("command", "node-2", "node-3")
    field.start("node-2")
    field.start("node-3")
    done = field.run("train", "--min-devices", "2", "--rounds", "3", "--local-steps", "8", "--average", "ring",
                     "--json", "digits", "--hidden", "16", DISCOMPUTE_ACCEPT="nobody")
    assert done.code == 0, done.err
    rounds = json.loads(done.out)["rounds"]
    assert all(figures["average_s"] > 0 for figures in rounds if len(devices_of(figures)) > 1)
    assert max(len(devices_of(figures)) for figures in rounds) == 2


#: A job whose state is halved in each round of one step, however its data are divided. With `go`, no more than five
#: rounds are made before there is a file of this name.
HALVES = '''
import os, time

from discompute_lite.ml import SGD

class Job:
    optimizer = SGD(0.5)

    def __init__(self, go: str = ""):
        self.go = go

    def init(self, seed):
        return [float(number) for number in range(5000)]

    def load(self, shard, shards):
        return [shard]

    def step(self, state, data, rng, config):
        return state, 1, {}

    def evaluate(self, state):
        while self.go and state[-1] < 4999 / 2**4 and not os.path.exists(self.go):
            time.sleep(0.01)
        return {"last": state[-1]}
'''


def vectors_of(node):
    """Return the names of the vectors that a node keeps."""
    return os.listdir(node.state / "scratch" / "vectors")


def test_beside_a_node_devices_average_among_themselves_and_nothing_stays(field):
    nodes = field.start_members(2, "--slots", "1")
    field.wait_until_met(nodes)
    halves, beside = ["--strategy", "sync", field.job("halves.py", HALVES)], str(nodes[0].state)
    words = ["train", "--min-devices", "2", "--rounds", "5", "--json"]
    made = {}
    for name, more in (
        ("halves", halves), ("here", ["--average", "submitter", *halves]),
        ("digits", ["--local-steps", "8", "--compression", "float16", "digits", "--hidden", "16"]),
    ):
        done = field.run(*words, *more, DISCOMPUTE_STATE_DIR=beside)
        assert done.code == 0, done.err
        rounds = made[name] = json.loads(done.out)["rounds"]
        assert [figures["moved_bytes"] > 0 for figures in rounds] == [
            name != "here" and len(devices_of(figures)) > 1 for figures in rounds]
        assert {node.id for node in nodes} in map(devices_of, rounds)
        field.wait_for(lambda: not any(map(vectors_of, nodes)), "the end of all vectors")
    assert [made[name][-1]["evaluated"]["last"] for name in ("halves", "here")] == [pytest.approx(4999 / 2**5)] * 2
    assert made["digits"][-1]["evaluated"]["loss"] < made["digits"][0]["evaluated"]["loss"]
    words = ["train", "--min-devices", "2", "--rounds", "100000", *halves]
    killed = subprocess.Popen([sys.executable, "-m", "discompute_lite", *words], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, env=field.for_command(DISCOMPUTE_STATE_DIR=beside))
    try:
        field.wait_for(lambda: all(map(vectors_of, nodes)) or killed.poll() is not None, "vectors", 30.0)
        assert killed.poll() is None
    finally:
        killed.kill()
        killed.wait()
    field.wait_for(lambda: not any(map(vectors_of, nodes)), "the end of all vectors")


#: The job of the digits, which makes no more than five rounds before there is a file of the name `go`.
WAITING_DIGITS = '''
import os, time

from discompute_lite.ml.digit_job import DigitJob

class Job(DigitJob):
    def __init__(self, go: str = "", hidden: int = 8):
        super().__init__(hidden=hidden)
        object.__setattr__(self, "seen", [])
        object.__setattr__(self, "go", go)

    def evaluate(self, state):
        self.seen.append(state)
        while len(self.seen) > 4 and not os.path.exists(self.go):
            time.sleep(0.01)
        return super().evaluate(state)
'''


def forty_rounds_without(field, node, folder, words, **environ):
    """Kill a node after the first rounds of a training, whose job waits for that; return what was told of all forty,
    and its standard error."""
    words = [*words, "--go", folder + ".go"]
    training = subprocess.Popen([sys.executable, "-m", "discompute_lite", *words], stdout=subprocess.PIPE, text=True,
                                stderr=subprocess.PIPE, env=field.for_command(**environ))
    field.wait_for(lambda: len(rounds_in(folder)) > 2 or training.poll() is not None, "the first rounds", 30.0)
    node.kill(signal.SIGKILL)
    node.wait_end()
    Path(folder + ".go").touch()
    out, err = training.communicate(timeout=field.scale(60.0))
    assert training.returncode == 0, err
    rounds = json.loads(out)["rounds"]
    assert [figures["round"] for figures in rounds] == list(range(1, 41))
    return rounds, err


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows ends processes in its own way")
def test_a_training_beside_a_node_goes_on_when_that_is_killed(field):
    first, second = field.start_members(2, "--slots", "1")
    field.wait_until_met([first, second])
    folder, job = str(field.folder / "run"), field.job("halves.py", HALVES)
    words = ["train", "--peer", f"127.0.0.1:{second.port}", "--min-devices", "2", "--rounds", "40", "--json",
             "--checkpoint", folder, "--strategy", "sync", job]
    rounds, err = forty_rounds_without(field, first, folder, words, DISCOMPUTE_STATE_DIR=str(first.state))
    assert any(figures["moved_bytes"] for figures in rounds[:5])
    assert rounds[-1]["evaluated"]["last"] == pytest.approx(4999 / 2**40, rel=1e-9, abs=0.0)
    assert "devices average among themselves no more (the node on this machine went away)" in err
    field.wait_for(lambda: not vectors_of(second), "the end of all vectors")


def test_devices_that_average_go_on_from_a_checkpoint_after_a_kill(field):
    field.let_belong("command", "node-2")
    field.start("node-2", "--slots", "12")  # Orders from o1 to o12 at once: the name of one begins as another's.
    folder = str(field.folder / "run")
    words = ["train", "--min-devices", "2", "--local-steps", "8", "--average", "ring", "--checkpoint", folder]
    job = ["digits", "--hidden", "16"]
    killed = subprocess.Popen([sys.executable, "-m", "discompute_lite", *words, "--rounds", "1000", *job],
                              env=field.for_command(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        field.wait_for(lambda: len(rounds_in(folder)) > 2 or killed.poll() is not None, "the first rounds", 30.0)
        assert killed.poll() is None
    finally:
        killed.kill()
        killed.wait()
    made = saved_in(folder)["round"]
    done = field.run(*words, "--resume", "--rounds", str(made + 12), "--json", *job)
    assert done.code == 0, done.err
    rounds = json.loads(done.out)["rounds"]
    assert [figures["round"] for figures in rounds] == list(range(1, made + 13))
    went_on = rounds[made:]
    assert all(figures["average_s"] > 0 for figures in went_on if len(devices_of(figures)) > 1)
    assert max(len(devices_of(figures)) for figures in went_on) == 2
    # It goes on from where it was: nothing that had been learnt is lost.
    assert went_on[0]["evaluated"]["loss"] < 1.5 * rounds[made - 1]["evaluated"]["loss"]
    assert went_on[-1]["evaluated"]["loss"] < rounds[made - 1]["evaluated"]["loss"]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows ends processes in its own way")
@pytest.mark.parametrize("average", ["ring", "submitter"])
def test_a_device_that_dies_is_done_without(field, average):
    field.let_belong("command", "node-2")
    node = field.start("node-2")
    folder = str(field.folder / "run")
    words = ["train", "--min-devices", "2", "--rounds", "40", "--local-steps", "4", "--checkpoint", folder, "--json",
             "--average", average, field.job("waiting.py", WAITING_DIGITS)]
    rounds, _ = forty_rounds_without(field, node, folder, words)
    assert any(member.startswith(node.id) for figures in rounds for member in figures["shares"])
    assert not any(member.startswith(node.id) for member in rounds[-1]["shares"])


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows ends processes in its own way")
@pytest.mark.parametrize("compression", ["none", "top-k"])
def test_a_device_that_was_restarted_averages_with_the_others_again(field, compression):
    field.let_belong("command", "node-2")
    node = field.start("node-2")
    folder = str(field.folder / "run")
    words = ["train", "--min-devices", "2", "--rounds", "100000", "--local-steps", "2", "--checkpoint", folder,
             "--average", "ring", "--compression", compression, "digits", "--hidden", "8"]
    training = subprocess.Popen([sys.executable, "-m", "discompute_lite", *words], env=field.for_command(),
                                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    def averages_since(made):
        lines = (Path(folder) / "metrics.jsonl").read_text().splitlines()[made:-1] if rounds_in(folder) else []
        return [figures for figures in map(json.loads, lines) if figures["moved_bytes"]
                and any(member.startswith(node.id) for member in figures["shares"])]

    try:
        field.wait_for(lambda: len(averages_since(0)) > 2 or training.poll() is not None, "the first averages", 30.0)
        node.kill(signal.SIGKILL)
        node = field.start("node-2")
        made = len(rounds_in(folder))
        field.wait_for(lambda: len(averages_since(made)) > 2 or training.poll() is not None, "more averages", 30.0)
        assert training.poll() is None, training.communicate()[1]
    finally:
        training.kill()
        training.communicate()


@pytest.mark.parametrize("words, code, about", [
    (["nosuch.py"], 2, "nosuch.py cannot be read"), (["{}", "--slopes", "1"], 2, "there is no argument --slopes"),
    (["--strategy", "magic", "digits"], 2, "write one of sync, fedavg"),
    (["--strategy", "sync", "--local-steps", "3", "digits"], 2, "one step a round"),
    (["--compression", "zip", "digits"], 2, "write one of none, float16, top-k"),
    (["--top-k", "0.1", "digits"], 2, "top_k belongs to the compression top-k"),
    (["--reproducible", "--compression", "top-k", "digits"], 2, "leave out the compression"),
    (["--resume", "digits"], 2, "write --checkpoint FOLDER"), (["--target", "accuracy", "digits"], 2, "accuracy=0.95"),
    (["digits", "--rounds", "2"], 2, "train's own flags stand before the file: train --rounds 2 digits"),
    (["--rounds", "0", "digits"], 2, "--rounds cannot be '0'"), (["{}empty"], 2, "has no class Job"),
    (["{}broken"], 1, "ZeroDivisionError"),
    (["{}unread"], 1, "AssertionError: empty (unread.py, line 24, in load); mend the job and train again"),
    (["{}unjudged"], 1, "KeyError: 'c' (unjudged.py, line 36, in evaluate); mend the job and train again"),
    (["{}wanting"], 1, "named 'nosuch' (wanting.py, line 28, in step); install what it imports, or mend the job,"),
    (["{}wild"], 1, "in round 1 state['a'] has become infinite or no number, which no further round mends"),
    (["{}ending"], 1, "the job's step in round 1 failed 3 times, all on "),
    (["--checkpoint", "{}", "{}"], 2, "; choose another folder with --checkpoint"),
])
def test_what_is_wrong_is_one_sentence(field, fails, words, code, about):
    files = {"{}": field.job("line.py", JOB), "{}empty": field.job("empty.py", "x = 1\n"),
             "{}broken": field.job("broken.py", JOB.replace("count = len(data.rows)", "count = 1 // 0")),
             "{}unread": field.job("unread.py", JOB.replace('print("loading", shard)', 'assert not shards, "empty"')),
             "{}wanting": field.job("wanting.py", JOB.replace("a = b = loss = 0.0", "import nosuch")),
             "{}wild": field.job("wild.py", JOB.replace("SGD(0.1)", "SGD(1e200)")),
             "{}ending": field.job("ending.py", JOB.replace("a = b = loss = 0.0", "import os; os._exit(3)")),
             "{}unjudged": field.job("unjudged.py", JOB.replace('abs(state["a"]', 'abs(state["c"]'))}
    fails(field.type("train", "-q", *[files.get(word, word) for word in words]), code, about)
