"""What is no data travels as a pickle where both ends allow it, and nothing is unpickled anywhere else."""

import copyreg
import datetime
import functools
import json
import pickle
import types
from pathlib import Path

import pytest

from discompute_lite.faces.calling import FunctionCalls
from discompute_lite.faces.packing import FunctionPacker
from discompute_lite.model.errors import TaskRejected
from discompute_lite.tasks.calls import calls_data, read_outcomes
from discompute_lite.tasks.class_book import (
    NO_PICKLES, PICKLES_ALLOWED, PICKLES_OF_WORKERS, PICKLES_UNWANTED, ClassBook,
)
from discompute_lite.tasks.values import dump_value, load_value
from discompute_lite.tasks.work import WORK_LIMITS, WorkRequest, run_work

HINT = "set allow-pickle on both devices"


class Temperature:
    """Says itself how to pickle it, so it is no data."""

    def __init__(self, degrees):
        self.degrees = degrees

    def __reduce__(self):
        return Temperature, (self.degrees,)


class Toucher:
    """Touches a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (Path(self.path),)


class Broken:
    def __reduce__(self):
        raise OSError("not today")


class Zone(datetime.tzinfo):
    def __reduce__(self):
        return Zone, ()

    def utcoffset(self, moment):
        return datetime.timedelta(hours=2)


def warmer(temperature, by=1):
    return Temperature(temperature.degrees + by)


def same(value):
    return value


def is_same_twice(pair):
    return pair[0] is pair[1], pair


def make_toucher(path):
    return Toucher(path)


def call(function, *args, submitter=True, worker=True, read=None):
    """Call as a device does that was sent this alone; `submitter` and `worker` are their settings."""
    rule = PICKLES_ALLOWED if submitter else PICKLES_UNWANTED
    calls = FunctionCalls(FunctionPacker(submitter), function, rule)
    unit = calls.one(args, {})
    data = calls_data(calls.packed.line, [unit])
    outcome = run_work(WorkRequest("run", "calls", data, "t/0.1"), WORK_LIMITS, None, worker)
    if not outcome.ok:
        assert outcome.blame == "device", "another device may allow it"
        raise TaskRejected(outcome.error)
    result, = read_outcomes(outcome.data, calls.packed.spaces, rule if read is None else read)
    if result.raised is not None:
        raise result.raised
    return result.values[0]


def forged(function, unit, submitter=False):
    """Return the data of a submitter that sends a pickle whatever its own setting."""
    calls = FunctionCalls(FunctionPacker(submitter), function)
    return calls_data(calls.packed.line, [unit])


def pickled_call(value):
    return dump_value([[value], {}], classes=ClassBook(pickles=PICKLES_ALLOWED))


# ---- both ends --------------------------------------------------------------------------------------------------


def test_what_is_no_data_goes_there_and_back_where_both_ends_allow_it():
    back = call(warmer, Temperature(20), 5)
    assert type(back) is Temperature and back.degrees == 25


def test_it_may_stand_anywhere_and_stays_one_object():
    shared = Temperature(1)
    assert call(is_same_twice, [shared, shared])[0]
    back = call(same, {"rooms": [shared, (shared, 2)]})
    assert back["rooms"][0] is back["rooms"][1][0] and back["rooms"][0].degrees == 1


def test_what_looks_like_data_and_is_none_goes_too():
    moment = datetime.datetime(2024, 8, 28, 18, 30, tzinfo=Zone())
    assert call(same, moment) == moment
    with pytest.raises(TaskRejected, match=f"time zone.*{HINT}"):
        call(same, moment, submitter=False)


def test_data_goes_as_data_all_the_same():
    classes = ClassBook(pickles=PICKLES_ALLOWED)
    assert b"pickle" not in dump_value({"a": [1, b"x", {2}]}, classes=classes)


@pytest.mark.parametrize("submitter, worker", [(False, False), (False, True)])
def test_without_the_submitters_setting_an_argument_is_refused_before_it_leaves(submitter, worker):
    with pytest.raises(TaskRejected) as refusal:
        call(same, {"room": Temperature(1)}, submitter=submitter, worker=worker)
    assert refusal.value.message == (
        "args[0]['room'] is a Temperature; it cannot travel: send plain data (numbers, text, bytes, lists, dicts, "
        f"arrays), or {HINT}")


def test_without_the_devices_setting_an_argument_is_not_unpickled(tmp_path):
    path = tmp_path / "touched"
    with pytest.raises(TaskRejected) as refusal:
        call(same, Toucher(str(path)), worker=False)
    assert refusal.value.message == f"a pickled {__name__}.Toucher is not read here: {HINT}"
    assert not path.exists()
    with pytest.raises(TaskRejected):
        call(make_toucher, str(path), worker=False)
    assert not path.exists()


def test_a_pickle_that_is_allowed_does_what_its_author_chose(tmp_path):
    """So the tests that nothing was touched can fail."""
    call(same, Toucher(str(tmp_path / "touched")))
    assert (tmp_path / "touched").exists()


def test_a_submitter_that_does_not_allow_it_is_not_obeyed_and_gets_none(tmp_path):
    unit = pickled_call(Toucher(str(tmp_path / "touched")))
    outcome = run_work(WorkRequest("run", "calls", forged(same, unit), "t/0.1"), WORK_LIMITS, None, True)
    assert not outcome.ok and HINT in outcome.error and not (tmp_path / "touched").exists()
    with pytest.raises(TaskRejected, match=rf"the result of make_toucher\(\) is a Toucher; it cannot travel: .*{HINT}"):
        call(make_toucher, str(tmp_path), submitter=False)


@pytest.mark.parametrize("rule, words", [
    (PICKLES_UNWANTED, HINT), (PICKLES_OF_WORKERS, "role is worker"), (NO_PICKLES, "is not read here"),
])
def test_a_result_is_not_unpickled_where_the_submitter_does_not_read_it(tmp_path, rule, words):
    path = tmp_path / "touched"
    with pytest.raises(TaskRejected, match=words):
        call(make_toucher, str(path), read=rule)
    assert not path.exists()


# ---- what cannot be pickled either --------------------------------------------------------------------------------


@pytest.mark.parametrize("value, words", [
    ((n for n in "ab"), "cannot be pickled either: cannot pickle 'generator' object"),
    (Broken(), "cannot be pickled either: not today"),
    (functools.partial(same), "a function of your own, which travels only as the function that is called"),
    (json, "cannot pickle 'module' object"),
])
def test_what_cannot_be_pickled_is_refused_by_name(value, words, monkeypatch):
    # Whoever imported tinygrad can pickle modules.
    monkeypatch.delitem(copyreg.dispatch_table, types.ModuleType, raising=False)
    with pytest.raises(TaskRejected, match=r"args\[0\]\[1\] is an? ") as refusal:
        call(same, [0, value])
    assert words in refusal.value.message


@pytest.mark.parametrize("content", [None, [], ["a.B"], ["a.B", "text"], [1, b""], ["a.B", b"", 1]])
def test_hostile_contents_are_refused(content):
    with pytest.raises(TaskRejected, match="the content of 'pickle'"):
        load_value(dump_value(content).join((b'{"$t":"pickle","v":', b"}")), ClassBook(pickles=PICKLES_ALLOWED))


@pytest.mark.parametrize("data", [b"", b"junk", pickle.dumps(Temperature(1)).replace(b"test_pickles", b"not_here_now")])
def test_a_pickle_that_cannot_be_read_is_refused(data):
    content = dump_value(["a.B", data])
    with pytest.raises(TaskRejected, match="the pickled a.B cannot be read here: "):
        load_value(b'{"$t":"pickle","v":' + content + b"}", ClassBook(pickles=PICKLES_ALLOWED))


def test_without_a_book_nothing_is_unpickled(tmp_path):
    data = dump_value(Toucher(str(tmp_path / "touched")), classes=ClassBook(pickles=PICKLES_ALLOWED))
    with pytest.raises(TaskRejected, match="is not read here$"):
        load_value(data)
    assert not (tmp_path / "touched").exists()
