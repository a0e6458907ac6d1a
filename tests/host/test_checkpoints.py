"""A training's folder: the newest state whole, and the figures of the rounds up to it."""

import json
import math
import os

import pytest

from discompute_lite.host.checkpoints import CheckpointFolder
from discompute_lite.model.errors import SettingsError, StateError


def test_what_was_saved_last_is_found(tmp_path):
    folder = CheckpointFolder(str(tmp_path / "run" / "one"), goes_on=False)
    assert folder.load() is None
    folder.save(b"first")
    folder.save(b"second")
    assert CheckpointFolder(folder.path, goes_on=True).load() == b"second"
    assert os.listdir(folder.path) == ["checkpoint.json"]


def test_figures_after_the_checkpoint_are_made_again(tmp_path):
    folder = CheckpointFolder(str(tmp_path), goes_on=False)
    assert folder.begin_metrics(0) == []
    for number in (1, 2, 3):
        folder.add_metrics({"round": number, "loss": 1 / number})
    with open(tmp_path / "metrics.jsonl", "ab") as file:
        file.write(b'{"round": 4, "lo')
    assert [line["round"] for line in folder.begin_metrics(2)] == [1, 2]
    folder.add_metrics({"round": 3})
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["round"] for line in lines] == [1, 2, 3]


def test_figures_of_any_number_of_rounds_are_kept(tmp_path):
    folder = CheckpointFolder(str(tmp_path), goes_on=False)
    line = json.dumps({"round": 1, "note": "x" * 1000}) + "\n"
    (tmp_path / "metrics.jsonl").write_text(line * 6000)
    assert len(folder.begin_metrics(1)) == 6000


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(StateError, match="run"):
        CheckpointFolder(str(tmp_path / "run"), goes_on=False)


def test_a_training_that_is_there_is_not_overwritten(tmp_path):
    CheckpointFolder(str(tmp_path), goes_on=False).save(b"hours of work")
    with pytest.raises(SettingsError, match=r"holds a training already; go on with it by --resume .* another folder$"):
        CheckpointFolder(str(tmp_path), goes_on=False)
    assert CheckpointFolder(str(tmp_path), goes_on=True).load() == b"hours of work"


def test_figures_without_a_number_are_strict_json_and_come_back_as_none(tmp_path):
    folder = CheckpointFolder(str(tmp_path), goes_on=False)
    folder.add_metrics({"round": 1, "evaluated": {"loss": math.nan, "gain": math.inf}, "missing": ["a"]})
    line = (tmp_path / "metrics.jsonl").read_text()
    assert line == '{"round":1,"evaluated":{"loss":null,"gain":null},"missing":["a"]}\n'
    figures, = folder.begin_metrics(1)
    assert all(map(math.isnan, figures["evaluated"].values()))
