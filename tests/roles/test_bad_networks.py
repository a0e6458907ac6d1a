"""Links that are cut and do not say so, datagrams that vanish or come twice: every task is done, once."""

from __future__ import annotations

import pytest

from discompute_lite.model.device import DeviceStatus

#: Which ways are cut: (from the first node to the second, and back).
CUTS = {"both": (True, True), "there": (True, False), "back": (False, True)}


@pytest.mark.parametrize("ways", CUTS.values(), ids=CUTS)
def test_row_35_a_link_that_is_cut_is_noticed_within_15_s_and_each_piece_is_done_once(world, ways):
    first, second = world.nodes("ab")
    for host in (first, second):
        host.executor.holds.add("run")
    owner, there, back = world.owner(first), (first, second), (second, first)
    cut = [way for way, is_cut in zip((there, back), ways) if is_cut]
    task_id = owner.call("SubmitTask", world.echo(range(12)))["task_id"]
    world.advance(1.0)
    sent = list(second.executor.runs())
    assert sent and first.executor.held
    for way in cut:
        world.cut(*way)
    world.advance(16.0)
    assert "lost" in first.kinds_told() or "lost" in second.kinds_told(), "nobody noticed"
    # What was sent there is done meanwhile, and cannot be told or is too late.
    for host in (first, second):
        host.executor.holds.clear()
        host.executor.release()
    world.advance(4.0)
    for way in cut:
        world.mend(*way)
    world.advance(40.0)
    assert first.is_linked_with(second) and second.is_linked_with(first)
    assert first.sees(second).status is DeviceStatus.AVAILABLE
    assert world.value(owner.call("GetTaskResult", {"task_id": task_id})["result_data"]) == list(range(12))
    status = owner.call("GetTaskStatus", {"task_id": task_id})["lite"]
    assert status["counts"] == {"COMPLETED": 12} and sum(status["devices"].values()) == 12
    assert first.executor.held == second.executor.held == []


@pytest.mark.parametrize("loss", [0.05, 0.2])
def test_row_35_on_a_bad_network_nobody_is_lost_in_ten_minutes_and_every_task_is_done_once(world, loss):
    world.loss, world.doubled, world.delay_s, world.jitter_s = loss, 0.02, 0.005, 0.2
    hosts = world.nodes("abc")
    world.advance(10.0)
    assert all(host.is_linked_with(other) for host in hosts for other in hosts if host is not other)
    world.delay_s = world.jitter_s = 0.0  # Of the links that are made from here on: the owner sits at the machine.
    owner = world.owner(hosts[0])
    for _ in range(10):
        done_before = [len(host.executor.runs()) for host in hosts]
        task_id = owner.call("SubmitTask", world.echo(range(30), lite={"pure": False}))["task_id"]
        world.advance(60.0)
        answer = owner.call("GetTaskResult", {"task_id": task_id})
        assert (answer["state"], world.value(answer["result_data"])) == ("COMPLETED", list(range(30)))
        runs = [run for host, before in zip(hosts, done_before) for run in host.executor.runs()[before:]]
        assert len(runs) == 30, "a piece was done twice"
    for host in hosts:
        assert not {"lost", "left", "restarted"} & set(host.kinds_told())
        assert loss > 0.05 or "suspect" not in host.kinds_told()


def test_row_34_after_a_minute_asleep_a_submitter_takes_nobody_for_dead_and_its_task_ends_well(world):
    # Nobody takes the task over meanwhile.
    first, second = world.nodes("ab", limits={"owner_lease_s": 1e6})
    for host in (first, second):
        host.executor.holds.add("run")
    owner = world.owner(first)
    task_id = owner.call("SubmitTask", world.echo(range(4), lite={"pure": False}))["task_id"]
    world.advance(1.0)
    sent = list(second.executor.runs())
    assert sent
    first.freeze()
    second.executor.holds.clear()
    second.executor.release()
    world.advance(60.0)
    assert "lost" in second.kinds_told()
    first.executor.holds.clear()
    first.executor.release()
    first.thaw()
    world.advance(30.0)
    assert not {"lost", "left"} & set(first.kinds_told())
    assert world.value(owner.call("GetTaskResult", {"task_id": task_id})["result_data"]) == list(range(4))
    assert second.executor.runs() == sent, "what was done for the sleeper is handed over, not done again"
    assert len(first.executor.runs()) == 4 - len(sent)
    assert not second.node.worker._attempts, "what was handed over is kept no longer"


def test_row_34_another_life_of_a_submitter_gets_nothing_that_was_kept_for_the_one_asleep(world):
    first, second = world.nodes("ab", limits={"owner_lease_s": 1e6})
    for host in (first, second):
        host.executor.holds.add("run")
    world.owner(first).call("SubmitTask", world.echo(range(4)))
    world.advance(1.0)
    first.freeze()
    second.executor.release()
    world.advance(60.0)
    assert "lost" in second.kinds_told() and second.node.worker._attempts
    first.is_frozen = False
    first.kill()
    first.start()
    world.advance(5.0)
    assert first.is_linked_with(second) and not second.node.worker._attempts


def test_row_34_a_worker_that_slept_itself_ends_nothing_before_it_has_read_what_came(world):
    first, second = world.nodes("ab", limits={"owner_lease_s": 1e6})
    for host in (first, second):
        host.executor.holds.add("run")
    world.owner(first).call("SubmitTask", world.echo(range(4)))
    world.advance(1.0)
    held = list(second.executor.held)
    second.freeze()
    world.advance(60.0)
    second.thaw()
    assert held and not any(future.stop_reason.startswith("its lease ended") for future in held)
