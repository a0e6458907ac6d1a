"""The line of a round, as `train` prints it."""

import shlex

import pytest

from discompute_lite.faces.command import Context
from discompute_lite.faces.command_line import CommandLine
from discompute_lite.faces.console import Console, program_name
from discompute_lite.faces.train_command import train_command
from discompute_lite.faces.train_lines import resuming_line, round_line, show_how_to_go_on, told_round
from discompute_lite.faces.training_news import DeviceNames
from discompute_lite.model.device import Device
from discompute_lite.model.told_round import ToldRound

MAC, PAD, VM, OTHER_VM = (name * 8 + "a" * 44 for name in "mpvw")


class Known:
    """A cluster of which only the devices are asked."""

    def __init__(self, **names):
        self.names = {MAC: "Mac", PAD: "Pad"}

    def devices(self):
        return [Device(id=device_id, name=name) for device_id, name in self.names.items()]


FIGURES = {
    "round": 3, "seconds": 2.0, "compute_s": 1.5, "starting_s": 0.0, "samples": 1000, "metrics": {},
    "evaluated": {"loss": 0.25, "accuracy": 0.9375}, "shares": {f"{MAC}/0": 1000}, "missing": [],
    "average_s": 0.0, "moved_bytes": 0,
}


def line(names=None, is_shared=True, **figures):
    return round_line({**FIGURES, **figures}, 20, (names or DeviceNames(Known())).of, is_shared=is_shared)


def test_a_round_on_one_device():
    said = "round 3/20  loss 0.25  accuracy 0.9375  500 samples/s  2.00 s, 1.50 computing, 0.50 communicating"
    assert line(is_shared=False) == said
    assert line() == f"{said}  Mac 100%"


def test_what_starting_takes_is_told_apart_from_communication():
    assert line(starting_s=0.375, is_shared=False).endswith("2.00 s, 1.50 computing, 0.38 starting, 0.12 communicating")


def test_bytes_shares_and_who_is_missing_are_told_once_for_each_device():
    said = line(moved_bytes=2_500_000, shares={f"{MAC}/0": 500, f"{MAC}/1": 250, f"{PAD}/0": 250},
                missing=[f"{VM}/0", f"{VM}/1", f"{VM}/0"])
    assert said.endswith(f"  2.5 MB moved  Mac 75%, Pad 25%  without {VM[:8]}")


def test_a_device_of_which_something_came_is_not_missing():
    assert "without" not in line(shares={f"{MAC}/0": 500, f"{PAD}/0": 500}, missing=[f"{MAC}/1"])


def test_a_round_is_told_in_words_and_in_figures_without_those_that_are_none():
    figures = {**FIGURES, "evaluated": {"loss": float("nan"), "accuracy": 0.5}, "missing": [f"{VM}/0", f"{MAC}/1"],
               "shares": {f"{MAC}/0": 500, f"{MAC}/1": 250, f"{PAD}/0": 250}}
    told = told_round("t1", "digits", figures, 20, DeviceNames(Known()).of)
    assert told.text.startswith("digits: round 3/20  loss nan  accuracy 0.5") and "  Mac 75%, Pad 25%" in told.text
    assert told == ToldRound("t1", "digits", told.text, 3, 20, 2.0, 1.5, 0.0, 1000, {"accuracy": 0.5},
                             {MAC: 750, PAD: 250}, [VM])


def test_devices_of_one_name_are_told_apart_by_the_beginning_of_their_ids():
    cluster = Known()
    cluster.names.update({VM: "vm", OTHER_VM: "vm"})
    said = line(DeviceNames(cluster), shares={f"{VM}/0": 750, f"{MAC}/0": 250}, missing=[f"{OTHER_VM}/0"])
    assert said.endswith("  Mac 25%, vm (vvvvvvvv) 75%  without vm (wwwwwwww)")


@pytest.mark.parametrize("count, words", [
    (999, "999 bytes"), (1_230, "1.23 kB"), (192_400, "192 kB"), (999_600, "1,000 kB"), (2_500_000, "2.5 MB"),
    (1_234_000_000, "1,234 MB")])
def test_bytes_are_told_in_three_figures(count, words):
    assert f"  {words} moved" in line(moved_bytes=count)


def test_who_joins_is_looked_up_and_who_is_gone_keeps_its_name():
    cluster = Known()
    names = DeviceNames(cluster)
    cluster.names = {VM: "vm"}
    assert [names.of(each) for each in (f"{VM}/1", f"{PAD}/0", OTHER_VM)] == ["vm", "Pad", OTHER_VM[:8]]


def going_on(*words):
    """Return what follows `train --resume --checkpoint run --rounds N` in the line that goes on with these words."""
    arguments = CommandLine(["train"]).parse(["train", "--checkpoint", "run", *words])
    before, _, rest = resuming_line(arguments, "N").partition(" --rounds N ")
    assert before == f"{program_name()} train --resume --checkpoint run"
    return rest


@pytest.mark.parametrize("words", [
    "digits", "--strategy diloco --local-steps 50 --min-devices 2 'my job.py' --hidden 8",
    "--wait 60 --target accuracy=0.95 --patience 3 digits", "--wait 0.125 --seed 5 --shards 9 digits",
    "--average ring --compression top-k --top-k 1e-06 digits", "--reproducible --json digits",
    "--config my.yaml --state-dir 'my state' --peer a:1 --peer b:2 -v -v digits",
    "--target 'a b=1' \"it's $HOME.py\" '*' '' '--note=a;b' '`x`'",
])
def test_the_line_that_goes_on_repeats_what_was_given(words):
    assert shlex.split(going_on(*shlex.split(words))) == shlex.split(words)


def test_the_line_that_goes_on_says_nothing_twice():
    words = "--peer a:1 train --resume --rounds 7 --strategy fedavg --checkpoint 'my run' digits"
    line = resuming_line(CommandLine(["train"]).parse(shlex.split(words)), "7")
    assert line == f"{program_name()} train --resume --checkpoint 'my run' --rounds 7 --peer a:1 digits"


def test_what_goes_on_is_a_line_of_its_own_that_is_not_broken(capsys, monkeypatch):
    monkeypatch.setattr("discompute_lite.faces.console.is_terminal", lambda stream: True)
    monkeypatch.setenv("NO_COLOR", "1")
    arguments = CommandLine(["train"]).parse(["train", "--checkpoint", "run", "x" * 300 + ".py", *["y z"] * 30])
    show_how_to_go_on(Console(), arguments, "N")
    first, second = capsys.readouterr().err.splitlines()
    assert first == "saved in run; go on with:" and second == f"  {resuming_line(arguments, 'N')}"


class Interrupted:
    """A training that Ctrl-C ends after some rounds; the folder holds what was saved."""

    def __init__(self, monkeypatch, folder, rounds):
        self.folder, self.rounds = folder, rounds
        monkeypatch.setattr("discompute_lite.faces.train_run.train_and_show", self.train)

    def train(self, context, shown):
        for number in range(1, self.rounds + 1):
            shown.show({**FIGURES, "round": number})
            (self.folder / "checkpoint.json").write_text("{}")
        raise KeyboardInterrupt


@pytest.mark.parametrize("is_saved, is_resumed, rounds, is_told", [
    (True, True, 0, True), (True, True, 2, True), (False, False, 1, True),
    # Nothing was saved, or it is of another training.
    (False, False, 0, False), (False, True, 0, False), (True, False, 0, False),
])
def test_ctrl_c_tells_how_to_go_on_wherever_something_was_saved(
        tmp_path, monkeypatch, capsys, is_saved, is_resumed, rounds, is_told):
    if is_saved:
        (tmp_path / "checkpoint.json").write_text("{}")
    Interrupted(monkeypatch, tmp_path, rounds)
    words = ["train", *["--resume"] * is_resumed, "--checkpoint", str(tmp_path), "--wait", "60", "digits"]
    with pytest.raises(KeyboardInterrupt):
        train_command(Context(None, CommandLine(["train"]).parse(words), Console()))
    line = shlex.join(["train", "--resume", "--checkpoint", str(tmp_path), "--rounds", "10", "--wait", "60", "digits"])
    assert (f"  {program_name()} {line}\n" in capsys.readouterr().err) == is_told


@pytest.mark.parametrize("text, told", [
    (f"all on {MAC[:8]}: it ended", "all on Mac: it ended"),
    (f"on {MAC[:8]} and {PAD[:8]}", "on Mac and Pad"),
    ("mmmmmmmmm stays, as does aaaaaaaa", "mmmmmmmmm stays, as does aaaaaaaa"),
])
def test_names_take_the_place_of_ids_in_what_others_said(text, told):
    assert DeviceNames(Known()).put_into(text) == told
