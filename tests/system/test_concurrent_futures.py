"""What CPython documents of concurrent.futures, done by its ProcessPoolExecutor and by Cluster in its place.

Every test runs with both: where they were to differ, it would fail with one of them. What is meant to be different is
in the last part, and in the README.
"""

import concurrent.futures
import itertools
import math
import multiprocessing
import os
import shutil
import sys
import threading
import time
from concurrent.futures import ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION, ProcessPoolExecutor, as_completed, wait
from pathlib import Path

import pytest

from discompute_lite import Cluster

posix = pytest.mark.skipif(os.name != "posix", reason="the pool's workers are forked: test modules cannot be imported")
pytestmark = posix

PRIMES = [112272535095293, 112582705942171, 115797848077099, 1099726899285419]
BOTH = ("processes", "cluster")
#: Longer than any test: a call that is never meant to end by itself.
FOREVER = 60.0


def is_prime(n):
    if n < 2:
        return False
    if n == 2:
        return True
    if n % 2 == 0:
        return False

    sqrt_n = int(math.floor(math.sqrt(n)))
    for i in range(3, sqrt_n + 1, 2):  # noqa: SIM110 (as it stands in the documentation)
        if n % i == 0:
            return False
    return True


PAGES = {"http://www.foxnews.com/": 320, "http://www.cnn.com/": 512, "http://www.bbc.co.uk/": 1024}


def load_url(url, timeout):
    """Stand for the documentation's urlopen: three pages are there."""
    if url not in PAGES:
        raise OSError(f"cannot load {url} within {timeout} s")
    return b"x" * PAGES[url]


def square(x):
    return x * x


def when(path, value=None):
    """Return a value once a file is there."""
    until = time.monotonic() + FOREVER
    while not os.path.exists(path) and time.monotonic() < until:
        time.sleep(0.005)
    return value


def raise_value_error(text):
    raise ValueError(text)


def raise_when(path):
    when(path)
    raise ValueError("at last")


def note(path, value):
    Path(path).touch()
    return value


def forked_pool():
    return ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork"))


@pytest.fixture(scope="module")
def executors(tmp_path_factory):
    """One of each for all tests."""
    with pytest.MonkeyPatch.context() as patch, forked_pool() as pool:
        # Both workers are there before this process has a thread more: forking beside threads is not safe.
        wait([pool.submit(time.sleep, 0.05) for _ in range(2)])
        patch.setenv("DISCOMPUTE_STATE_DIR", str(tmp_path_factory.mktemp("cluster")))
        patch.setenv("DISCOMPUTE_DISCOVERY", "peers")
        patch.setenv("DISCOMPUTE_SLOTS", "2")
        with Cluster() as cluster:
            yield {"processes": pool, "cluster": cluster}


@pytest.fixture(params=BOTH)
def executor(request, executors):
    return executors[request.param]


@pytest.fixture(params=BOTH)
def fresh(request, executors):
    """A new executor, which the test may shut down."""
    made = forked_pool() if request.param == "processes" else Cluster()
    yield made
    made.shutdown(wait=True, cancel_futures=True)


@pytest.fixture
def signal_file(tmp_path):
    """A file that lets those end who wait for it; at the end of a test it is there in any case."""
    path = tmp_path / "go"
    yield path
    path.touch()


# ---- the examples ---------------------------------------------------------------------------------


def test_shutil_copy(executor, tmp_path):
    for number in range(1, 5):
        (tmp_path / f"src{number}.txt").write_text(str(number))
    with_names = [(str(tmp_path / f"src{n}.txt"), str(tmp_path / f"dest{n}.txt")) for n in range(1, 5)]
    wait([executor.submit(shutil.copy, *names) for names in with_names])
    assert [(tmp_path / f"dest{n}.txt").read_text() for n in range(1, 5)] == ["1", "2", "3", "4"]


def test_pow(executor):
    future = executor.submit(pow, 323, 1235)
    assert future.result() == 323 ** 1235


def test_the_urls(executor):
    told = []
    future_to_url = {executor.submit(load_url, url, 60): url for url in [*PAGES, "http://some-made-up-domain.com/"]}
    for future in as_completed(future_to_url):
        url = future_to_url[future]
        try:
            data = future.result()
        except Exception as exc:
            told.append(f"{url!r} generated an exception: {exc}")
        else:
            told.append(f"{url!r} page is {len(data)} bytes")
    assert sorted(told) == sorted([*(f"{url!r} page is {size} bytes" for url, size in PAGES.items()), (
        "'http://some-made-up-domain.com/' generated an exception: cannot load http://some-made-up-domain.com/ within"
        " 60 s"
    )])


def test_the_primes(executor):
    assert list(zip(PRIMES, executor.map(is_prime, PRIMES))) == list(zip(PRIMES, [True, True, True, False]))


# ---- Executor -------------------------------------------------------------------------------------


def test_submit_takes_named_arguments_of_any_name(executor):
    def answer(future):
        return future.result()

    assert answer(executor.submit(dict, fn=1, self=2, timeout=3)) == {"fn": 1, "self": 2, "timeout": 3}


def test_map_is_like_the_builtin(executor):
    assert list(executor.map(pow, range(10), range(10))) == list(map(pow, range(10), range(10)))
    assert list(executor.map(square, [])) == []
    assert list(executor.map(square, range(100), chunksize=7)) == [n * n for n in range(100)]
    with pytest.raises(ValueError, match="chunksize"):
        executor.map(square, [1], chunksize=0)


def test_map_raises_where_the_value_is_asked_for(executor):
    results = executor.map(divmod, [1, 1, 1, 1], [2, 3, 0, 5])
    assert [next(results), next(results)] == [(0, 1), (0, 1)]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert list(results) == []


def test_map_has_a_timeout_counted_from_the_call(executor, signal_file, scale):
    # Of it the first result, which comes within milliseconds, may use none but this.
    results = executor.map(when, [str(signal_file.parent), str(signal_file)], [1, 2], timeout=scale(1.0))
    assert next(results) == 1
    with pytest.raises(concurrent.futures.TimeoutError):
        next(results)


@pytest.mark.parametrize("size", [1, 3])
def test_map_draws_no_more_than_its_buffer(request, executor, size):
    if isinstance(executor, ProcessPoolExecutor) and sys.version_info < (3, 14):
        pytest.skip("ProcessPoolExecutor.map has buffersize from Python 3.14 on")
    drawn = []
    items = (drawn.append(number) or number for number in itertools.count())
    results = executor.map(square, items, buffersize=size)
    assert len(drawn) == size
    for taken in range(1, 20):
        assert next(results) == (taken - 1) ** 2 and len(drawn) <= taken + size
    results.close()
    for wrong, error in ((0, ValueError), ("1", TypeError)):
        with pytest.raises(error, match="buffersize"):
            executor.map(square, [1], buffersize=wrong)


def test_after_shutdown_nothing_is_taken(fresh):
    future = fresh.submit(square, 3)
    fresh.shutdown()
    assert future.done() and future.result() == 9
    for call in (lambda: fresh.submit(square, 1), lambda: fresh.map(square, [1])):
        with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
            call()
    fresh.shutdown()


def test_shutdown_without_waiting_lets_what_was_submitted_end(fresh, signal_file):
    futures = [fresh.submit(when, str(signal_file), number) for number in range(4)]
    fresh.shutdown(wait=False)
    assert not any(future.done() for future in futures)
    signal_file.touch()
    assert [future.result() for future in futures] == [0, 1, 2, 3]


def test_shutdown_can_cancel_what_waits_and_never_what_runs(fresh, tmp_path, signal_file):
    running = [fresh.submit(note_and_wait, str(tmp_path / str(number)), str(signal_file)) for number in range(2)]
    for number in range(2):
        when(str(tmp_path / str(number)))
    waiting = [fresh.submit(square, number) for number in range(40)]
    ender = threading.Thread(target=lambda: fresh.shutdown(wait=True, cancel_futures=True))
    ender.start()
    when_true(lambda: waiting[-1].cancelled())
    signal_file.touch()
    ender.join()
    assert [future.result() for future in running] == ["ran", "ran"]
    # A few may have been on their way to a worker already.
    assert sum(future.cancelled() for future in waiting) >= 30
    assert all(future.cancelled() or future.result() == number ** 2 for number, future in enumerate(waiting))


def note_and_wait(path, signal_file):
    Path(path).touch()
    return when(signal_file, "ran")


def when_true(condition):
    until = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until, "it never happened"
        time.sleep(0.005)


def test_with_waits_for_everything(fresh):
    with fresh as executor:
        futures = [executor.submit(square, number) for number in range(20)]
    assert all(future.done() for future in futures)


# ---- Future ---------------------------------------------------------------------------------------


def test_states_of_a_future(executor, signal_file):
    future = executor.submit(when, str(signal_file), "value")
    assert not future.done() and not future.cancelled()
    with pytest.raises(concurrent.futures.TimeoutError):
        future.result(timeout=0.01)
    with pytest.raises(concurrent.futures.TimeoutError):
        future.exception(timeout=0.01)
    when_true(future.running)
    signal_file.touch()
    assert future.result(timeout=30) == "value" and future.exception() is None
    assert future.done() and not future.running() and not future.cancel() and not future.cancelled()


def test_a_cancelled_future(executor, signal_file):
    blocking = [executor.submit(when, str(signal_file)) for _ in range(8)]
    future = executor.submit(square, 1)
    called = []
    future.add_done_callback(called.append)
    assert future.cancel() and future.cancel() and future.cancelled() and future.done() and not future.running()
    when_true(lambda: called == [future])
    for ask in (future.result, future.exception):
        with pytest.raises(concurrent.futures.CancelledError):
            ask()
    signal_file.touch()
    wait(blocking)


def test_what_a_call_raises(executor):
    future = executor.submit(raise_value_error, "this and that")
    error = future.exception()
    assert type(error) is ValueError and error.args == ("this and that",)
    assert 'raise ValueError(text)' in str(error.__cause__)
    with pytest.raises(ValueError, match="this and that"):
        future.result()


def test_callbacks(executor, signal_file, caplog):
    future = executor.submit(when, str(signal_file))
    called = []
    future.add_done_callback(lambda done: called.append(1))
    future.add_done_callback(lambda done: 1 / 0)
    future.add_done_callback(lambda done: called.append(2 if done is future else 0))
    assert called == []
    signal_file.touch()
    when_true(lambda: len(called) == 2)
    assert called == [1, 2] and "ZeroDivisionError" in caplog.text
    future.add_done_callback(lambda done: called.append(3))
    assert called == [1, 2, 3], "at once"


# ---- wait and as_completed --------------------------------------------------------------------------


def test_wait_for_the_first(executor, signal_file):
    slow, quick = executor.submit(when, str(signal_file)), executor.submit(square, 3)
    done, not_done = wait([slow, quick, quick], return_when=FIRST_COMPLETED)
    assert (done, not_done) == ({quick}, {slow})
    assert wait([slow], timeout=0.01) == (set(), {slow})
    signal_file.touch()
    assert wait([slow, quick], return_when=ALL_COMPLETED).not_done == set()


def test_wait_for_the_first_exception(executor, tmp_path, signal_file):
    slow = executor.submit(when, str(signal_file))
    bad = executor.submit(raise_when, str(tmp_path / "fail"))
    waited = []
    waiter = threading.Thread(target=lambda: waited.append(wait([slow, bad], return_when=FIRST_EXCEPTION)))
    waiter.start()
    (tmp_path / "fail").touch()
    waiter.join()
    assert waited == [({bad}, {slow})]
    signal_file.touch()
    assert wait([slow], return_when=FIRST_EXCEPTION) == ({slow}, set())


def test_as_completed(executor, signal_file):
    first = executor.submit(square, 1)
    wait([first])
    last = executor.submit(when, str(signal_file))
    order = as_completed([last, first, first])
    assert next(order) is first
    signal_file.touch()
    assert list(order) == [last]


def test_as_completed_has_a_timeout(executor, signal_file):
    slow = executor.submit(when, str(signal_file))
    with pytest.raises(concurrent.futures.TimeoutError, match=r"1 \(of 1\) futures unfinished"):
        list(as_completed([slow], timeout=0.01))


def test_futures_of_several_executors_are_waited_for_together(executors):
    futures = [executors[name].submit(square, number) for number in range(10) for name in BOTH]
    assert sorted(future.result() for future in as_completed(futures)) == sorted(2 * [n * n for n in range(10)])
    assert wait(futures).done == set(futures)


# ---- what is meant to be different ------------------------------------------------------------------


def test_cancel_reaches_what_runs(executors, tmp_path, signal_file):
    future = executors["cluster"].submit(note_and_wait, str(tmp_path / "begun"), str(signal_file))
    when(str(tmp_path / "begun"))
    assert future.cancel() and future.cancelled()


def test_a_process_that_dies_breaks_nothing(executors):
    cluster = executors["cluster"]
    good = [cluster.submit(square, number) for number in range(50)]
    bad = cluster.submit(os._exit, 1)
    assert [future.result() for future in good] == [number ** 2 for number in range(50)]
    assert bad.exception() is not None and cluster.submit(square, 4).result() == 16


def test_set_up_by_run_on_all_in_place_of_an_initializer(executors, tmp_path):
    """Each device is prepared once; what is prepared has to be of the device, since its processes come and go."""
    cluster = executors["cluster"]
    prepared = cluster.run_on_all(note, str(tmp_path / "ready"), 7)
    assert list(prepared.values()) == [7] and list(prepared) == [cluster.devices()[0].id]
    assert cluster.submit(os.path.exists, str(tmp_path / "ready")).result()
    with pytest.raises(ValueError, match="not here"):
        cluster.run_on_all(raise_value_error, "not here")


def test_map_is_lazy(executors):
    drawn = []
    results = executors["cluster"].map(square, (drawn.append(n) or n for n in itertools.count()))
    assert [next(results) for _ in range(5)] == [0, 1, 4, 9, 16] and len(drawn) < 300_000
    results.close()
