"""A person's file that a command runs: what it says of `pure` holds for `map` and `train` as for `submit`."""

from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from discompute_lite.faces import api, train_run
from discompute_lite.faces.command_line import CommandLine
from discompute_lite.faces.console import Console
from discompute_lite.faces.map_command import map_command
from discompute_lite.faces.scripts import script_of
from discompute_lite.faces.train_command import train_command
from discompute_lite.faces.training_wishes import TrainingResult
from discompute_lite.model.device import Device
from discompute_lite.model.errors import TaskRejected
from discompute_lite.model.settings import Settings

SAYS = pytest.mark.parametrize("line, is_pure", [("", True), ("pure = True", True), ("pure = False", False)])


class HeardCluster:
    """A cluster that does nothing and remembers how calls were to be made."""

    def __init__(self, heard):
        self.heard = heard

    def run_map(self, options, function, iterables, wishes):
        self.heard.append(options.pure)
        return map(function, *iterables)

    def places(self):
        return {"mac/0": 1.0}

    def devices(self):
        return [Device(id="mac", name="mac")]


@pytest.fixture
def heard(monkeypatch):
    """What was said of pure."""
    heard = []

    @contextmanager
    def cluster(**named):
        yield HeardCluster(heard)

    def train(cluster, job, *, pure, **wishes):
        heard.append(pure)
        return TrainingResult(state=None, history=[], ended="")

    monkeypatch.setattr(api, "Cluster", cluster)
    monkeypatch.setattr(train_run, "Cluster", cluster)
    monkeypatch.setattr(train_run, "train", train)
    return heard


def context(**arguments):
    return SimpleNamespace(arguments=SimpleNamespace(**arguments), settings=Settings(), console=Console())


@SAYS
def test_map_goes_by_what_the_file_says(tmp_path, heard, line, is_pure):
    file, items = tmp_path / "score.py", tmp_path / "items"
    file.write_text(f"{line}\ndef score(item): return item\n")
    items.write_text("1\n")
    assert map_command(context(function=f"{file}:score", items=str(items), text=False)) == 0
    assert heard == [is_pure]


@SAYS
def test_train_goes_by_what_the_file_says(tmp_path, heard, line, is_pure):
    file = tmp_path / "job.py"
    file.write_text(f"{line}\nclass Job: pass\n")
    arguments = CommandLine(["train"]).parse(["train", str(file)])
    assert train_command(SimpleNamespace(arguments=arguments, settings=Settings(), console=Console())) == 0
    assert heard == [is_pure]


@pytest.mark.parametrize("source, advice", [
    ("import nosuch_one", "No module named 'nosuch_one'; install what it imports, or mend the file, and run it"),
    ("raise OSError('no way')", "OSError: no way; mend the file and run it"),
])
def test_a_file_that_cannot_be_loaded_is_told_what_helps(tmp_path, source, advice):
    file = tmp_path / "wants.py"
    file.write_text(source)
    with pytest.raises(TaskRejected) as refused, script_of(str(file), "give another"):
        raise AssertionError("it was run")
    assert refused.value.message.startswith("wants.py cannot be loaded: ") and advice in refused.value.message


def test_a_file_whose_pure_is_not_clear_is_refused_by_every_command(tmp_path):
    file = tmp_path / "unclear.py"
    file.write_text("import os\npure = 'X' in os.environ\n")
    refused = pytest.raises(TaskRejected, match="unclear.py, line 2: pure says .* mend the file and run it again")
    with refused, script_of(str(file), "give another"):
        raise AssertionError("it was run")
