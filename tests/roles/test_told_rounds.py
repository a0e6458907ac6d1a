"""Rounds of trainings are events and figures of the node that a script leads them by, until it or they end."""

import pytest

from discompute_lite.model.codec import to_json
from discompute_lite.model.errors import InvalidParams
from discompute_lite.model.told_round import ToldRound
from discompute_lite.roles.told_rounds import TRAININGS_TOLD, ToldRounds


def a_round(number=1, training="t1", **others):
    return ToldRound(training, "digits", f"digits: round {number}/9", number, 9, 2.0, 1.25, 0.5, 1000,
                     {"accuracy": 0.5}, {"mac": 600, "pad": 400}, ["vm"], **others)


@pytest.fixture
def host(world):
    return world.host("a").start()


@pytest.fixture
def script(world, host):
    client = world.owner(host)
    client.call("ServeScript")
    return client


def told_in(page):
    return {line for line in page.splitlines() if line.startswith("discompute_training_")}


def test_a_round_is_an_event_and_stands_beside_the_tasks_and_in_the_metrics(world, host, script):
    for number in (1, 2):
        script.call("TellRound", to_json(a_round(number)))
    owner = world.owner(host)
    assert owner.call("ListTasks")["trainings"] == [to_json(a_round(2))]
    _, events = host.node.events.after(host.node.events.last - 2, 9)
    assert [(event.kind, event.text) for event in events] == [("round", f"digits: round {n}/9") for n in (1, 2)]
    facts = to_json(a_round(2))
    assert dict(events[1].facts) == {key: facts[key] for key in facts if key not in ("text", "is_over")}
    _, _, body = world.browser(host).ask("GET", "/metrics", authorization=f"Bearer {host.token}")
    of = 'training="t1",name="digits"'
    assert told_in(body.decode()) == {
        f"discompute_training_round{{{of}}} 2", f'discompute_training_evaluated{{{of},figure="accuracy"}} 0.5',
        f'discompute_training_samples{{{of},device="mac"}} 600',
        f'discompute_training_samples{{{of},device="pad"}} 400',
        f'discompute_training_round_seconds{{{of},part="computing"}} 1.25',
        f'discompute_training_round_seconds{{{of},part="starting"}} 0.5',
        f'discompute_training_round_seconds{{{of},part="communicating"}} 0.25'}
    # People who look at `start` did not ask for each round.
    assert "round" not in [kind for kind, _ in host.told]


@pytest.mark.parametrize("end", ["training", "script"])
def test_a_training_that_is_over_is_forgotten_and_so_are_those_of_a_script_that_ends(world, host, script, end):
    script.call("TellRound", to_json(a_round()))
    script.call("TellRound", to_json(a_round(training="t2")))
    if end == "training":
        script.call("TellRound", to_json(ToldRound("t1", is_over=True)))
        assert [each["training"] for each in world.owner(host).call("ListTasks")["trainings"]] == ["t2"]
    else:
        script.link.close("killed")
        world.settle()
        assert world.owner(host).call("ListTasks")["trainings"] == []
    assert host.node.events.counts["round"] == 2


def test_whoever_serves_no_script_tells_nothing(world, host):
    with pytest.raises(InvalidParams, match="call ServeScript first"):
        world.owner(host).call("TellRound", to_json(a_round()))


def test_of_very_many_trainings_the_one_that_was_silent_for_longest_goes():
    rounds = ToldRounds(lambda *told, **facts: None)
    for number in range(TRAININGS_TOLD):
        rounds.told(a_round(training=str(number)))
    rounds.told(a_round(2, training="0"))
    rounds.told(a_round(training="one more"))
    assert [each.training for each in rounds.newest()] == [*map(str, range(2, TRAININGS_TOLD)), "0", "one more"]
