"""What the README shows to be typed does what it says, as it stands there."""

import asyncio
import json
import os
import re
import socket
import textwrap
import time
from pathlib import Path

import pytest

from discompute_lite import Cluster

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def python_blocks():
    """Return the README's Python, in order."""
    return [textwrap.dedent(block) for block in re.findall(r"```python\n(.*?)```", README, re.S)]


def block_with(text):
    """Return the one block that has this text."""
    found = [block for block in python_blocks() if text in block]
    assert len(found) == 1, f"{text!r} is in {len(found)} blocks of the README"
    return found[0]


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch):
    for name, value in (("STATE_DIR", str(tmp_path / "state")), ("DISCOVERY", "peers"), ("SLOTS", "2")):
        monkeypatch.setenv(f"DISCOMPUTE_{name}", value)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def snippet(tmp_path):
    """Run a block as a script would, in a file of its own; return its names."""

    def run(source, **names):
        path = tmp_path / f"snippet_{len(os.listdir(tmp_path))}.py"
        path.write_text(source, encoding="utf-8")
        names.setdefault("__name__", "__main__")
        exec(compile(source, str(path), "exec"), names)
        return names

    return run


def test_the_first_script_prints_what_the_readme_says(snippet, capsys):
    snippet(block_with("with Cluster() as cluster:"))
    said = re.search(r"It ends with `(.+?)`", README).group(1)
    out = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"111 steps, counted on [a-z2-7]{8}", out[0]) and out[-1] == said


def test_the_asyncio_snippet(snippet):
    source = block_with("run_in_executor(cluster, pow")
    body = "import asyncio\n\nasync def main(cluster):\n    loop = asyncio.get_running_loop()\n"
    names = snippet(body + textwrap.indent(source, "    ") + "    return squares\n")
    with Cluster() as cluster:
        assert asyncio.run(names["main"](cluster)) == [number * number for number in range(10)]


def note_pid_and_sleep(path):
    Path(path).write_text(str(os.getpid()))
    time.sleep(60)


def test_cancelling_an_awaitable_ends_its_call_down_to_its_process(tmp_path, scale, is_alive):
    path = tmp_path / "pid"

    async def until(condition):
        deadline = time.monotonic() + scale(20.0)
        while not condition():
            assert time.monotonic() < deadline, "it never happened"
            await asyncio.sleep(0.01)

    async def main(cluster):
        future = asyncio.get_running_loop().run_in_executor(cluster, note_pid_and_sleep, str(path))
        await until(lambda: path.exists() and path.read_text())
        pid = int(path.read_text())
        assert is_alive(pid)
        future.cancel()
        with pytest.raises(asyncio.CancelledError):
            await future
        await until(lambda: not is_alive(pid))

    with Cluster() as cluster:
        asyncio.run(main(cluster))
        assert cluster.submit(pow, 2, 5).result() == 32


@pytest.mark.against
def test_the_joblib_snippet(snippet):
    joblib = pytest.importorskip("joblib")
    source = "def steps(n):\n    return n * 2\n\n" + block_with("register_joblib()").replace(
        "    joblib.Parallel()(", "    found = joblib.Parallel()(")
    with Cluster() as cluster:
        assert snippet(source, joblib=joblib, cluster=cluster)["found"] == [2 * n for n in range(1, 1000)]


@pytest.mark.against
def test_the_dask_snippet_makes_an_executor(snippet):
    distributed = pytest.importorskip("distributed")
    source = block_with("get_executor()")
    # Its scheduler and worker are in this process.
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, dashboard_address=None, processes=False, protocol="tcp://",
        host="127.0.0.1",
    ) as dask:
        assert "tcp://scheduler:8786" in source
        names = snippet(source.replace("tcp://scheduler:8786", dask.scheduler_address))
        executor = names["make"]()
        assert executor.submit(pow, 2, 5).result(30) == 32
        distributed.default_client().close()


def test_the_map_commands(field):
    (field.folder / "words.py").write_text(block_with("def longest"), encoding="utf-8")
    command = re.search(r"-m discompute_lite (map words\.py:longest --text --items README\.md)", README).group(1)
    (field.folder / "README.md").write_text("a longer line\nthen short\n", encoding="utf-8")
    words = [str(field.folder / word) if word.endswith(".md") or word.startswith("words") else word
             for word in command.split()]
    done = field.run(*words, DISCOMPUTE_DISCOVERY="peers")
    assert (done.code, done.out) == (0, '"longer"\n"short"\n')


def test_the_line_for_netcat_is_answered_in_a_cluster_too(field):
    (node,) = field.start_members(1)
    lines = re.search(r"printf '(.+?)' .* \| nc 127\.0\.0\.1", README).group(1)
    with socket.create_connection(("127.0.0.1", node.port), field.scale(10.0)) as caller:
        caller.sendall(lines.replace("\\n", "\n").replace("%s", node.token).encode())
        answers = [json.loads(line) for _, line in zip(range(2), caller.makefile("rb"))]
    assert [device["id"] for device in answers[1]["result"]["devices"]] == [node.id]
