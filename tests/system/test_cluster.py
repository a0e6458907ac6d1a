"""The Python interface as its users meet it: what concurrent.futures documents, and what a cluster has beside it."""

import asyncio
import collections
import concurrent.futures
import functools
import itertools
import math
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION, as_completed, wait
from pathlib import Path

import pytest

from discompute_lite import Cluster, PoisonedSubtask
from discompute_lite.faces.futures import RemoteTimeout
from discompute_lite.model.errors import TaskRejected
from discompute_lite.tasks.raised import RemoteTraceback

OFFSET = 100


class OwnError(Exception):
    """An exception of the caller's own module."""

    def __init__(self, what, code):
        super().__init__(what)
        self.code = code


class Account:
    """An object whose method is called elsewhere."""

    def __init__(self, balance):
        self.balance = balance

    def after(self, change):
        return self.balance + change


def square(x):
    return x * x


def with_offset(x):
    return x + OFFSET


def through_another(x):
    return with_offset(x)


def generated(n):
    yield n


def fail_own(code):
    print("about to fail")
    raise OwnError("it went wrong", code)


def sum_after(seconds, numbers, more):
    time.sleep(seconds)
    return sum(numbers) + more


def sleep_noting_pid(path, seconds=60.0):
    Path(path).write_text(str(os.getpid()))
    time.sleep(seconds)
    return "slept"


def value_when(path, value=None):
    """Return a value once there is a file: the test decides when that is."""
    while not os.path.exists(path):
        time.sleep(0.005)
    return value


def meet(folder, number):
    """Note this process's node, and go on once another node has done so too."""
    Path(folder, str(os.getppid())).touch()
    while len(os.listdir(folder)) < 2:
        time.sleep(0.005)
    return number


def note_and_wait(note, path):
    Path(note).touch()
    return value_when(path, "waited")


def two_commonest(counts):
    return collections.OrderedDict(counts.most_common(2))


def sleep_and_say_where(number):
    time.sleep(0.05)
    return number, os.getpid()


def sleep_and_return(seconds, value):
    time.sleep(seconds)
    return value


def die(_):
    os._exit(9)


def dies_at_37(number):
    if number == 37:
        os._exit(3)
    return number


def count_up_in(path):
    """Say how often this was called, by a file."""
    with open(path, "a") as file:
        file.write(".")
    calls = os.path.getsize(path)
    if calls < 3:
        raise RuntimeError(f"call {calls}")
    return calls


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """An environment for clusters of this process: alone, two slots, a folder of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DISCOMPUTE_STATE_DIR", str(tmp_path_factory.mktemp("cluster")))
        patch.setenv("DISCOMPUTE_DISCOVERY", "peers")
        patch.setenv("DISCOMPUTE_PORT", "0")  # Nodes on the usual ports are greeted by whoever starts on this machine.
        patch.setenv("DISCOMPUTE_SLOTS", "2")
        patch.setenv("DISCOMPUTE_NAME", "here")
        yield patch


@pytest.fixture(scope="module")
def cluster(environment):
    """One cluster for most tests; nothing of it is left at the end."""
    others = set(threading.enumerate())
    with Cluster() as cluster:
        yield cluster
    left = [thread.name for thread in threading.enumerate() if thread not in others]
    assert not [name for name in left if name.startswith("discompute")]


@pytest.fixture
def note(tmp_path):
    """A file in which a call notes its process."""
    return tmp_path / "pid"


@pytest.fixture
def go(tmp_path):
    """The file for which calls wait that are to last; at the end of a test it is there in any case."""
    yield tmp_path / "go"
    (tmp_path / "go").touch()


def scaled(seconds):
    """The seconds that a quick machine needs at most, as they are on this one."""
    return seconds * float(os.environ.get("DISCOMPUTE_TEST_SCALE", "1"))


def wait_for(condition, limit_s=10.0):
    until = time.monotonic() + scaled(limit_s)
    while not condition():
        assert time.monotonic() < until, "it never happened"
        time.sleep(0.005)


def pid_in(note):
    wait_for(lambda: note.exists() and note.read_text())
    return int(note.read_text())


def noted_in(note):
    """Return the process that is noted now, 0 for none: one that was ended at any moment may have noted nothing."""
    return int((note.read_text() if note.exists() else "") or 0)


def run_script(source, tmp_path, limit_s=30.0, **changes):
    """Run a script as a person does; return it when it has ended. Nothing that it started is left."""
    path = tmp_path / "script.py"
    path.write_text(textwrap.dedent(source))
    environ = dict(os.environ, DISCOMPUTE_STATE_DIR=str(tmp_path / "state"), TMPDIR=str(tmp_path), **changes)
    done = subprocess.run([sys.executable, str(path)], env=environ, capture_output=True, text=True,
                          timeout=scaled(limit_s))
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    if os.path.isdir("/proc/self"):
        wait_for(lambda: not [name for name in os.listdir("/proc") if name.isdigit() and is_about(name, tmp_path)], 5.0)
    return done.stdout


def is_about(pid, folder):
    try:
        return os.fsencode(str(folder)) in Path("/proc", pid, "environ").read_bytes()
    except OSError:
        return False


# ---- futures --------------------------------------------------------------------------------------


def test_waiting_for_some_and_for_all(cluster, go):
    slow, quick = cluster.submit(value_when, str(go), "slow"), cluster.submit(square, 3)
    done, others = wait([slow, quick], return_when=FIRST_COMPLETED)
    assert (done, others) == ({quick}, {slow})
    with pytest.raises(concurrent.futures.TimeoutError):
        slow.result(timeout=0.01)
    with pytest.raises(concurrent.futures.TimeoutError):
        list(as_completed([slow], timeout=0.01))
    assert wait([slow], timeout=0.01).not_done == {slow}
    bad = cluster.submit(divmod, 1, 0)
    assert wait([bad, slow], return_when=FIRST_EXCEPTION) == ({bad}, {slow})
    go.touch()
    assert wait([slow, quick, bad], return_when=ALL_COMPLETED).not_done == set()
    assert slow.result() == "slow" and isinstance(bad.exception(), ZeroDivisionError)


def test_cancelling_what_runs_ends_its_process(cluster, note, is_alive):
    future = cluster.submit(sleep_noting_pid, str(note))
    pid = pid_in(note)
    wait_for(future.running)
    assert not future.done() and is_alive(pid)
    assert future.cancel() and future.cancelled() and not future.running()
    with pytest.raises(concurrent.futures.CancelledError):
        future.result()
    wait_for(lambda: not is_alive(pid))
    assert cluster.submit(square, 4).result() == 16


def test_cancelling_what_waits_keeps_it_from_running(cluster, tmp_path, note):
    busy = [cluster.submit(sleep_noting_pid, str(tmp_path / f"busy{number}")) for number in range(2)]
    for number in range(2):
        pid_in(tmp_path / f"busy{number}")
    waiting = cluster.submit(sleep_noting_pid, str(note), 0.0)
    assert not waiting.running() and waiting.cancel() and not waiting.running()
    assert all(future.cancel() for future in busy)
    assert cluster.submit(square, 5).result() == 25 and not note.exists()
    done = cluster.submit(square, 2)
    assert done.result() == 4 and not done.cancel()


def one_by_one(cluster, count=20):
    """Make calls of which each waits for the last: soon they go past the node's thread."""
    assert [cluster.submit(square, number).result() for number in range(count)] == [n * n for n in range(count)]


@pytest.mark.smoke
def test_calls_one_after_the_other_are_as_all_others_are(cluster, tmp_path):
    one_by_one(cluster)
    future = cluster.submit(square, 7)
    assert future.result() == 49 and future.attempts == 1 and future.device == cluster.devices()[0].id
    futures = [cluster.submit(square, number) for number in range(3)]
    assert {each.result() for each in as_completed(futures, 10)} == {0, 1, 4} and wait(futures).done == set(futures)
    came = threading.Event()
    cluster.submit(square, 3).add_done_callback(lambda future: came.set())
    assert came.wait(10.0)
    for _ in range(5):
        with pytest.raises(OwnError) as caught:
            cluster.submit(fail_own, 3).result()
        assert caught.value.code == 3 and isinstance(caught.value.__cause__, RemoteTraceback)
    failing = cluster.submit(fail_own, 3)
    assert isinstance(failing.exception(), OwnError) and failing.logs == "about to fail\n"


def test_a_call_that_is_longer_or_worse_than_those_before_it(cluster, tmp_path, note, is_alive, go):
    def behave(number, note):
        if number == "long":
            value_when(note)
        elif number == "endless":
            sleep_noting_pid(note)
        elif number == "deadly" and not os.path.exists(note):
            Path(note).write_text("x")
            os._exit(3)
        return number

    def warm_up():
        assert [cluster.submit(behave, number, "").result() for number in range(20)] == list(range(20))

    warm_up()
    future = cluster.submit(behave, "long", str(go))
    with pytest.raises(concurrent.futures.TimeoutError):
        future.result(0.05)
    wait_for(future.running)
    go.touch()
    assert future.result() == "long"
    warm_up()
    assert cluster.submit(behave, "deadly", str(tmp_path / "died")).result() == "deadly"
    warm_up()
    future = cluster.submit(behave, "endless", str(note))
    pid = pid_in(note)
    assert future.cancel() and future.cancelled()
    wait_for(lambda: not is_alive(pid))
    warm_up()


def test_threads_that_each_wait_for_their_call_get_the_right_ones(cluster):
    one_by_one(cluster)
    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        calls = range(400)
        assert list(threads.map(lambda number: cluster.submit(square, number).result(), calls)) == [
            number * number for number in calls]


def test_ctrl_c_while_a_call_is_waited_for_loses_nothing(cluster):
    one_by_one(cluster)
    main = threading.main_thread().ident
    interrupted = 0
    for delay_s in [0.0, 0.00005, 0.0001, 0.00015, 0.0002, 0.0003] * 5:
        timer = threading.Timer(delay_s, signal.pthread_kill, (main, signal.SIGINT))
        future = None
        try:
            timer.start()
            future = cluster.submit(square, 12)
            future.result()
            timer.join()
        except KeyboardInterrupt:
            interrupted += 1
        timer.join()
        if future is not None:
            assert future.result(20.0) == 144
    assert interrupted
    one_by_one(cluster)


def test_exceptions_come_as_they_are_with_the_traceback_from_there(cluster):
    future = cluster.submit(fail_own, 42)
    with pytest.raises(OwnError, match="it went wrong") as caught:
        future.result()
    assert caught.value.code == 42 and future.logs == "about to fail\n"
    assert isinstance(caught.value.__cause__, RemoteTraceback)
    story = str(caught.value.__cause__)
    assert 'raise OwnError("it went wrong", code)' in story and "test_cluster.py" in story
    with pytest.raises(OwnError):
        list(cluster.map(fail_own, [1, 2]))
    with pytest.raises(SystemExit):
        cluster.submit(sys.exit, 3).result()


def test_what_a_call_prints_comes_with_it(cluster, capsys):
    future = cluster.submit(print, "hello", 1)
    assert future.result() is None and future.logs == "hello 1\n" and capsys.readouterr().out == ""
    assert list(cluster.map(print, ["one", "two"])) == [None, None]
    assert capsys.readouterr().out == "one\ntwo\n"


def test_callbacks_may_submit_and_fail(cluster, caplog):
    threads, followed = [], []

    def follow(future):
        threads.append(threading.current_thread().name)
        followed.append(cluster.submit(square, future.result()))

    def fail(future):
        raise OwnError("in a callback", 1)

    future = cluster.submit(square, 3)
    future.add_done_callback(fail)
    future.add_done_callback(follow)
    wait_for(lambda: followed)
    assert followed[0].result() == 81 and cluster.submit(square, 2).result() == 4
    assert set(threads) <= {"discompute-deliver", "MainThread"} and "in a callback" in caplog.text


def test_asyncio_takes_it_as_an_executor(cluster):
    async def main():
        loop = asyncio.get_running_loop()
        one, two = await asyncio.gather(
            loop.run_in_executor(cluster, square, 5), asyncio.wrap_future(cluster.submit(square, 6)))
        with pytest.raises(ZeroDivisionError):
            await loop.run_in_executor(cluster, divmod, 1, 0)
        slow = loop.run_in_executor(cluster, time.sleep, 60)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(slow, 0.05)
        return one, two

    assert asyncio.run(main()) == (25, 36)


# ---- what can be called ---------------------------------------------------------------------------


def test_all_kinds_of_callables(cluster):
    factor = 3
    assert cluster.submit(lambda x: x * factor, 5).result() == 15
    assert cluster.submit(functools.partial(pow, 2), 5).result() == 32
    assert cluster.submit(math.sqrt, 16.0).result() == 4.0
    assert cluster.submit("a,b".split, ",").result() == ["a", "b"]
    assert cluster.submit(int, "7").result() == 7
    assert cluster.submit(sorted, [2, 1], reverse=True).result() == [2, 1]
    assert list(cluster.map(lambda x: x + factor, range(3))) == [3, 4, 5]


def test_a_method_takes_its_object_along(cluster):
    account = Account(10)
    assert cluster.submit(account.after, 5).result() == 15
    account.balance = 20
    assert cluster.submit(account.after, 5).result() == 25


def test_a_function_is_sent_as_it_is_now(cluster, monkeypatch):
    for call in (with_offset, through_another):
        assert cluster.submit(call, 1).result() == 101
        monkeypatch.setitem(globals(), "OFFSET", 1000)
        assert cluster.submit(call, 1).result() == 1001 and list(cluster.map(call, [1, 2])) == [1001, 1002]
        monkeypatch.setitem(globals(), "OFFSET", 100)


def test_what_cannot_travel_is_refused_at_once(cluster):
    line = generated.__code__.co_firstlineno
    with pytest.raises(TaskRejected, match=rf"generated.*test_cluster\.py.*{line}.*is a generator"):
        cluster.submit(generated, 1)
    with pytest.raises(TaskRejected, match=r"args\[1\]\['key'\] is .*lock"):
        cluster.submit(square, 1, {"key": threading.Lock()})
    with pytest.raises(TaskRejected, match=r"kwargs\['x'\]"):
        cluster.submit(square, x=object())
    with pytest.raises(TaskRejected, match=r"items\[0\]"):
        cluster.map(square, [object()])
    with pytest.raises(TaskRejected):
        cluster.submit(3)


def test_a_result_that_cannot_travel_is_an_exception(cluster):
    with pytest.raises(TaskRejected, match="the result"):
        cluster.submit(threading.Lock).result()


# ---- map ------------------------------------------------------------------------------------------


@pytest.mark.smoke
def test_map_draws_as_much_as_is_wanted(cluster):
    drawn = []

    def numbers():
        for number in itertools.count():
            drawn.append(number)
            yield number

    results = cluster.map(square, numbers())
    assert 0 < len(drawn) < 100
    assert [next(results) for _ in range(50)] == [number * number for number in range(50)]
    results.close()
    ahead = len(drawn)
    assert cluster.submit(square, 3).result() == 9 and len(drawn) == ahead


def test_map_of_many_items_is_in_order(cluster):
    assert list(cluster.map(square, range(30_000))) == [number * number for number in range(30_000)]
    assert list(cluster.map(square, range(1000), chunksize=7)) == [number * number for number in range(1000)]
    assert list(cluster.map(pow, [2, 3, 4], itertools.count(1))) == [2, 9, 64]
    assert list(cluster.map(square, [])) == []


def test_map_in_the_order_of_arrival(cluster, go):
    waits_for = [str(go), *[str(go.parent)] * 3]
    results = cluster.map(value_when, waits_for, range(4), chunksize=1, ordered=False)
    assert [next(results) for _ in range(3)] == [1, 2, 3]
    go.touch()
    assert list(results) == [0]


def test_map_raises_in_turn_and_cancels_the_rest(cluster):
    results = cluster.map(divmod, itertools.repeat(6), [3, 2, 0, 1])
    assert [next(results), next(results)] == [(2, 0), (3, 0)]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert list(results) == []


def test_map_has_a_time_limit(cluster, tmp_path, is_alive):
    results = cluster.map(sleep_noting_pid, [str(tmp_path / "one"), str(tmp_path / "two")], timeout=0.4)
    with pytest.raises(concurrent.futures.TimeoutError):
        next(results)
    for name in ("one", "two"):
        # Where it came that far in time.
        if pid := noted_in(tmp_path / name):
            wait_for(lambda pid=pid: not is_alive(pid))
    with pytest.raises(ValueError):
        cluster.map(square, [1], chunksize=0)


# ---- options --------------------------------------------------------------------------------------


def test_a_call_that_raises_is_made_again(cluster, tmp_path):
    future = cluster.options(retries=2).submit(count_up_in, str(tmp_path / "calls"))
    assert future.result() == 3 and future.attempts == 3
    assert list(cluster.options(retries=5).map(count_up_in, [str(tmp_path / "more")], chunksize=9)) == [3]
    with pytest.raises(RuntimeError, match="call 2"):
        cluster.options(retries=1).submit(count_up_in, str(tmp_path / "other")).result()


def test_a_call_that_takes_too_long_is_ended(cluster, note, is_alive):
    for timeout in (0.3, 3.0, 30.0):
        future = cluster.options(timeout=timeout).submit(sleep_noting_pid, str(note))
        with pytest.raises(RemoteTimeout, match=re.escape(f"{timeout:g} s")):
            future.result()
        with pytest.raises(TimeoutError):
            future.result()
        if noted_in(note):
            break  # Else this machine was too busy for its process to come to its first line in that time.
    pid = noted_in(note)
    assert pid
    wait_for(lambda: not is_alive(pid))
    assert list(cluster.options(timeout=5).map(square, range(5))) == [0, 1, 4, 9, 16]


def test_a_call_waits_for_what_it_requires(cluster):
    future = cluster.options(requires="a thing that nobody has").submit(square, 1)
    with pytest.raises(concurrent.futures.TimeoutError):
        future.result(timeout=0.2)
    assert future.cancel()
    assert cluster.options(requires=[cluster.devices()[0].id], devices=1, pure=True).submit(square, 3).result() == 9
    for bad in ({"priority": 0}, {"retries": -1}, {"timeout": float("nan")}, {"devices": -1}):
        with pytest.raises(ValueError):
            cluster.options(**bad)


def test_it_shows_what_it_is(environment):
    with Cluster() as cluster:
        assert re.fullmatch(r"<Cluster of 1 device, \d+ slots? on here \(\d+\)>", repr(cluster))
        assert repr(cluster.options(retries=2)) == f"{cluster!r}.options(retries=2)"
        future = cluster.submit(square, 3)
        assert future.result() == 9 and repr(future).endswith("state=finished returned int>")
        assert cluster._dispatch.ask(lambda: repr(cluster)) == "<Cluster>", "its own thread does not wait for itself"
    assert repr(cluster) == "<Cluster, shut down>"


def test_containers_of_collections_travel(cluster):
    counts = collections.Counter("abracadabra")
    assert cluster.submit(two_commonest, counts).result() == collections.OrderedDict([("a", 5), ("b", 2)])


def test_run_on_all_runs_once_on_each(cluster):
    (device,) = cluster.devices()
    assert device.name == "here" and cluster.run_on_all(square, 7) == {device.id: 49}
    with pytest.raises(ZeroDivisionError):
        cluster.run_on_all(divmod, 1, 0)
    future = cluster.submit(square, 1)
    assert future.result() == 1 and future.device == device.id and future.attempts == 1


def test_a_call_that_kills_its_process_is_told_apart_from_the_others(cluster):
    good = [cluster.submit(square, number) for number in range(20)]
    with pytest.raises(PoisonedSubtask, match=cluster.devices()[0].id[:8]):
        cluster.submit(die, 1).result()
    assert [future.result() for future in good] == [number * number for number in range(20)]


def test_of_a_map_only_the_item_that_kills_its_process_fails_and_is_named(cluster):
    assert list(cluster.map(dies_at_37, range(30))) == list(range(30)), "calls are known to be short"
    results = cluster.map(dies_at_37, range(100))
    assert [next(results) for _ in range(37)] == list(range(37))
    with pytest.raises(PoisonedSubtask) as caught:
        next(results)
    assert str(caught.value) == (
        f"dies_at_37(37), item 37 of its map, failed 3 times, all on {cluster.devices()[0].id[:8]}: each time the"
        " process ended by itself with exit status 3; make that call in a plain Python to see why, then mend it or"
        " leave it out")


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_map_goes_on_though_somebody_stops_a_process(cluster):
    results = cluster.map(sleep_and_say_where, range(40))
    first = next(results)
    os.kill(first[1], signal.SIGSTOP)
    assert [first[0], *(number for number, _ in results)] == list(range(40)), "complete, in order, each once"


# ---- several at once ------------------------------------------------------------------------------


def test_many_threads_share_a_cluster(cluster):
    def work(number):
        shift = number * 1000
        futures = [cluster.submit(lambda x: x + shift, each) for each in range(50)]
        return [future.result() for future in futures] + list(cluster.map(lambda x: x - shift, range(50)))

    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        for number, results in enumerate(threads.map(work, range(8))):
            shift = number * 1000
            assert results == [each + shift for each in range(50)] + [each - shift for each in range(50)]


def test_two_clusters_live_side_by_side_and_end(cluster, environment):
    with Cluster() as other:
        assert other.devices()[0].id == cluster.devices()[0].id, "the one that came first is this machine's node"
        assert [each.submit(square, 3).result() for each in (cluster, other)] == [9, 9]
        late = other.map(square, itertools.count())
        future = other.submit(square, 4)
    assert future.result() == 16
    called = []
    future.add_done_callback(called.append)
    assert called == [future]
    for call in (lambda: other.submit(square, 1), lambda: other.map(square, [1]), other.devices, lambda: list(late)):
        with pytest.raises(RuntimeError, match="shut ?down"):
            call()
    other.shutdown()


def test_shutting_down_without_waiting(environment, tmp_path, go):
    cluster = Cluster()
    paths = [tmp_path / str(number) for number in range(12)]
    futures = [cluster.submit(note_and_wait, str(path), str(go)) for path in paths]
    wait_for(paths[0].exists)
    cluster.shutdown(wait=False)
    assert not any(future.done() for future in futures)
    with pytest.raises(RuntimeError):
        cluster.submit(square, 1)
    cluster.shutdown(wait=False, cancel_futures=True)
    kept = [future for future in futures if not future.cancelled()]
    go.touch()
    assert 0 < len(kept) < 12 and [future.result() for future in kept] == ["waited"] * len(kept)
    wait_for(lambda: not cluster._thread.is_alive())
    assert [path.exists() for path in paths] == [future in kept for future in futures]


def test_a_cluster_that_is_forgotten_ends_when_its_calls_are_done(environment):
    before = set(threading.enumerate())
    future = Cluster().submit(sleep_and_return, 0.1, "kept")
    results = Cluster().map(square, range(5))
    others = [each for each in threading.enumerate() if each.name == "discompute-loop" and each not in before]
    assert future.result() == "kept" and list(results) == [0, 1, 4, 9, 16]
    del future, results
    wait_for(lambda: not any(thread.is_alive() for thread in others))


def test_too_few_devices_are_named_with_their_reasons(environment, field):
    stranger = field.start("stranger", "--slots", "1")
    with pytest.raises(TimeoutError, match=r"1 of 2 devices can take work after 0\.3 s: here \(\w+\): ready"):
        Cluster(min_devices=2, wait=0.3)
    with pytest.raises(TimeoutError, match=r"0 of 1 .*here .*takes no work.*stranger \(\w+\): not paired"):
        Cluster(f"127.0.0.1:{stranger.port}", local=False, wait=field.scale(1.5))


def test_an_address_where_nobody_answers_is_named_by_the_own_node_and_by_the_one_beside(
    environment, field, monkeypatch, caplog, tmp_path
):
    monkeypatch.setenv("DISCOMPUTE_STATE_DIR", str(tmp_path))
    said = "nobody answers at 127.0.0.1:1, {}: nothing listens on 127.0.0.1:1; is the node there running?"
    with Cluster("127.0.0.1:1") as cluster:
        assert cluster.submit(square, 3).result() == 9
        field.wait_for(lambda: caplog.messages == [said.format("start a node there")], "it is said")
    node = field.start("node", "--slots", "1")
    for name, value in field.environ(DISCOMPUTE_STATE_DIR=str(node.state)).items():
        monkeypatch.setenv(name, value)
    caplog.clear()
    with Cluster("127.0.0.1:1"):
        field.wait_for(lambda: caplog.messages == [said.format("it is called again and again")], "it is said")


def test_what_a_cluster_is_given_is_read_before_anything_is_started(environment, monkeypatch):
    monkeypatch.setenv("DISCOMPUTE_PORT", "wrong")  # Whoever reads settings raises something else.
    with pytest.raises(ValueError, match="min_devices of Cluster is a whole number, 0 or more, and not -1"):
        Cluster(min_devices=-1)
    with pytest.raises(TypeError, match="durable of Cluster is True, False or the name of a run, and not 3"):
        Cluster(durable=3)


def test_a_call_is_kept_by_a_durable_cluster_only(cluster):
    with pytest.raises(ValueError, match=r"needs a cluster that keeps calls: Cluster\(durable=True\)"):
        cluster.options(durable=True)
    assert cluster.options(durable=False).submit(square, 3).result() == 9


# ---- scripts and nodes ----------------------------------------------------------------------------


def test_a_script_that_forgets_to_shut_down_ends_when_its_calls_are_done(tmp_path):
    out = run_script("""
        import os, time
        from discompute_lite import Cluster

        def slow(x, path=os.path.abspath(__file__) + ".go"):
            while not os.path.exists(path):
                time.sleep(0.01)
            return x + 1

        if __name__ == "__main__":
            cluster = Cluster()
            future = cluster.submit(slow, 1)
            future.add_done_callback(lambda done: print("got", done.result(), flush=True))
            print("end of script", flush=True)
            open(__file__ + ".go", "w").close()
    """, tmp_path)
    assert out == "end of script\ngot 2\n"


def test_large_arguments_and_results_come_to_another_device_and_back_as_they_are(environment, field, monkeypatch):
    """By the node beside the script, which hands them on to the other device."""
    first, second = field.start_members(2, "--slots", "1")
    for name, value in field.environ(DISCOMPUTE_STATE_DIR=str(first.state)).items():
        monkeypatch.setenv(name, value)
    large = bytes(range(256)) * 8192
    with Cluster(f"127.0.0.1:{second.port}", min_devices=2) as cluster:
        away = cluster.options(requires=[second.id])
        future = away.submit(lambda piece: (len(piece), piece[::-1]), large)
        assert future.result() == (len(large), large[::-1]) and future.device == second.id
        pieces = [bytes([number]) * 300_000 for number in range(20)]
        doubled = list(cluster.map(lambda piece: bytearray(piece + piece), pieces))
        assert doubled == [piece + piece for piece in pieces] and {*map(type, doubled)} == {bytearray}
        kept = cluster.put(large)
        assert list(away.map(lambda piece, number: piece[number], [kept] * 9, range(9))) == list(range(9))


@pytest.fixture
def meeting(tmp_path):
    """The folder in which nodes meet."""
    (tmp_path / "meeting").mkdir()
    return str(tmp_path / "meeting")


def test_work_spreads_over_nodes_and_survives_one_that_is_killed(environment, field, monkeypatch, meeting):
    nodes = field.start_members(2, "--slots", "2")
    for name, value in field.environ(DISCOMPUTE_STATE_DIR=str(field.let_belong("cluster")[0])).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("DISCOMPUTE_DISCOVERY")
    with Cluster(*[f"127.0.0.1:{node.port}" for node in nodes], min_devices=3) as cluster:
        everywhere = cluster.run_on_all(os.getpid)
        assert {*everywhere} > {node.id for node in nodes} and len(set(everywhere.values())) == 3
        results = cluster.map(sleep_and_return, itertools.repeat(0.02), range(250))
        first = [next(results) for _ in range(40)]
        nodes[0].kill(signal.SIGKILL)
        assert first + list(results) == list(range(250))
        futures = [cluster.submit(meet, meeting, number) for number in range(30)]
        assert [future.result() for future in futures] == list(range(30))
        assert {future.device for future in futures} == {*everywhere} - {nodes[0].id}


def test_a_script_uses_the_cluster_of_the_node_beside_it_and_survives_its_end(
    environment, field, monkeypatch, caplog, meeting
):
    first, second = field.start_members(2, "--slots", "1")
    for name, value in field.environ(DISCOMPUTE_STATE_DIR=str(first.state)).items():
        monkeypatch.setenv(name, value)
    with Cluster(f"127.0.0.1:{second.port}", min_devices=2) as cluster:
        assert [device.id for device in cluster.devices()] == [first.id, second.id] and cluster.slots() == 2
        assert {*cluster.run_on_all(os.getpid)} == {first.id, second.id} and caplog.text == ""
        shared = cluster.put(list(range(100_000)))
        results = cluster.map(sum_after, itertools.repeat(0.02), itertools.repeat(shared), range(250))
        taken = [next(results) for _ in range(20)]
        first.kill(signal.SIGKILL)
        assert [*taken, *results] == [sum(range(100_000)) + number for number in range(250)]
        # The script's own node has the identity that became free, and its cluster with it.
        futures = [cluster.submit(meet, meeting, number) for number in range(40)]
        assert [future.result() for future in futures] == list(range(40))
        assert {future.device for future in futures} == {first.id, second.id}


def test_a_script_goes_back_to_a_node_that_is_started_anew(environment, field, monkeypatch, caplog):
    caplog.set_level("INFO", "discompute")
    monkeypatch.setattr("discompute_lite.beside.LOOK_S", field.scale(20.0))
    node = field.start("node", "--slots", "2")
    for name, value in field.environ(DISCOMPUTE_STATE_DIR=str(node.state)).items():
        monkeypatch.setenv(name, value)
    with Cluster() as cluster, Cluster() as other:
        results = [each.map(sleep_and_return, itertools.repeat(0.02), range(60)) for each in (cluster, other)]
        taken = [next(each) for each in results]
        node.kill(signal.SIGTERM)
        assert node.wait_end() == 0
        field.start("node", "--slots", "2")
        assert [[first, *rest] for first, rest in zip(taken, results)] == [list(range(60))] * 2
    assert caplog.text == "", "nobody had to start a node of its own"


def test_a_node_that_is_started_beside_a_script_takes_its_place_when_that_ends(environment, field, monkeypatch):
    for name, value in field.environ(DISCOMPUTE_STATE_DIR=str(field.folder / "node")).items():
        monkeypatch.setenv(name, value)
    started = []
    starting = threading.Thread(target=lambda: started.append(field.start("node")))
    with Cluster() as cluster:
        own_id = cluster.devices()[0].id
        starting.start()
        said, complaints = f"process {os.getpid()}, is this device", field.folder / "node.err"
        wait_for(lambda: complaints.exists() and said in complaints.read_text(), 60.0)
        listed = field.type("list", "--json", DISCOMPUTE_STATE_DIR=str(field.folder / "node")).document
        assert [device["id"] for device in listed["devices"]] == [own_id] and not started
        assert cluster.submit(square, 3).result() == 9
    starting.join()
    assert started[0].id == own_id and not (field.folder / "node" / "2").exists()


def test_what_a_script_has_under_way_ends_with_it(environment, field, tmp_path, is_alive):
    first, second = field.start_members(2, "--slots", "1")
    path = tmp_path / "script.py"
    path.write_text(textwrap.dedent("""
        import os, sys, time
        from discompute_lite import Cluster

        def stay(folder):
            open(os.path.join(folder, str(os.getpid())), "w").close()
            time.sleep(600)

        with Cluster(sys.argv[2], min_devices=2) as cluster:
            list(cluster.map(stay, [sys.argv[1]] * 8))
    """))
    folder = tmp_path / "pids"
    folder.mkdir()
    script = subprocess.Popen([sys.executable, str(path), str(folder), f"127.0.0.1:{second.port}"],
                              env=field.environ(DISCOMPUTE_STATE_DIR=str(first.state)))
    try:
        wait_for(lambda: len(os.listdir(folder)) == 2, 60.0)
    finally:
        script.kill()
        script.wait()
    wait_for(lambda: not any(is_alive(int(pid)) for pid in os.listdir(folder)), 60.0)
    assert len(os.listdir(folder)) == 2, "the other calls were never begun"


def test_the_example_of_the_readme_works(tmp_path, root):
    text = (root / "README.md").read_text("utf-8").partition("## Python interface")[2]
    source = re.search(r"```python\n(.*?)```", text, re.DOTALL)[1]
    out = run_script(source, tmp_path, DISCOMPUTE_DISCOVERY="peers")
    assert out.splitlines()[-1] in text and out.count("\n") >= 2
