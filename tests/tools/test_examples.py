"""The job files in tools/examples do what they say, with what is installed here."""

import runpy
import shutil
from pathlib import Path

import pytest

from discompute_lite.ml.shares import Share
from discompute_lite.ml.strategies import FedAvg
from discompute_lite.ml.workbench import Seat, carry_out

EXAMPLES = Path(__file__).resolve().parents[2] / "tools" / "examples"


@pytest.mark.parametrize("file, library, wanted, rounds", [
    ("train_numpy.py", "numpy", 0.9, 5), ("train_torch.py", "torch", 0.8, 5), ("train_mlx.py", "mlx.core", 0.9, 5),
    ("train_tinygrad.py", "tinygrad", 0.7, 2),
])
def test_a_training_learns_on_two_devices(file, library, wanted, rounds):
    pytest.importorskip(library)
    if library == "tinygrad" and not shutil.which("clang"):
        pytest.skip("tinygrad computes by clang, which is not installed")
    job = runpy.run_path(str(EXAMPLES / file))["Job"]()
    state = job.init(1)
    seats = [Seat(job, 2, 7, {}) for _ in range(2)]
    for number in range(rounds):
        shares = [Share(**carry_out(seat, state, number, [shard], 25, False)) for shard, seat in enumerate(seats)]
        state, _ = FedAvg().combine(state, {}, shares, None)
    assert job.evaluate(state)["accuracy"] > wanted


@pytest.mark.slow
def test_many_images_are_classified_by_parts():
    job = runpy.run_path(str(EXAMPLES / "classify_digits.py"))
    parts = job["split"](images=300, batch=100)
    assert parts == [(0, 100), (100, 200), (200, 300)]
    result = job["merge"](job["work"](part) for part in parts)
    assert sum(result["counts"].values()) == 300 and result["accuracy"] > 0.8


def test_a_search_puts_the_best_trial_first():
    job = runpy.run_path(str(EXAMPLES / "search_digits.py"))
    trials = job["split"](steps=15, rates=[0.0001, 0.03], widths=[0])
    found = job["merge"]([job["work"](trial) for trial in trials])
    assert [trial["rate"] for trial in found] == [0.03, 0.0001]
    assert found[0]["accuracy"] > found[1]["accuracy"]
