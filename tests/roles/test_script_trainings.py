"""Scripts beside a node lead trainings by it: it asks devices, keeps vectors, and nothing stays when a script ends."""

from array import array

import pytest

from discompute_lite.model.errors import (
    DiscomputeError, Forbidden, InvalidParams, LinkError, StateError, Unauthenticated,
)
from discompute_lite.roles.far_vectors import FarVectors

TRAINING, OTHER = "0123456789abcdef" * 2, "f" * 32
STATE = f"{TRAINING}-s1"
NUMBERS = 5000


class LeadingScript:
    """A script that leads a training by the first of some nodes, which have all joined it."""

    def __init__(self, world, hosts, training_id=TRAINING):
        self.world, self.training_id, self.hosts = world, training_id, hosts
        self.link = world.connect(
            hosts[0], from_ip="127.0.0.1", receiver=self, clock=world.clock, is_dialled=True)
        self.link.call("Hello", {"auth": hosts[0].token}, lambda result, error: None)
        self.link.call("ServeScript", {}, lambda result, error: None)
        self.far = FarVectors(self.link, hosts[0].limits)
        for host in hosts:
            assert self.ask(host.id, "JoinTraining", training_id=training_id)["success"]

    def connection_closed(self, link, reason):
        pass

    def admit_call(self, link, method):
        return None

    def ask(self, device_id, method, **params):
        return self.outcome(lambda got: self.far.ask(device_id, method, params, got))

    def keep(self, name, data, step=1 << 20, size=None):
        for offset in range(0, len(data), step):
            self.outcome(self.far.keep_range(name, size or len(data), offset, data[offset:offset + step]).then)

    def read(self, name, offset, size):
        return bytes(self.outcome(self.far.read_range(name, offset, size).then))

    def outcome(self, begin):
        got = []
        begin(lambda *reply: got.append(reply))
        self.world.advance(1.0)
        (result, error), = got
        if error is not None:
            raise error
        return result


@pytest.fixture
def hosts(world):
    hosts = world.nodes("abc")
    world.advance(8.0)
    return hosts


@pytest.fixture
def script(world, hosts):
    return LeadingScript(world, hosts)


def trainings(hosts):
    return [[*host.node.averaging.vectors.trainings] for host in hosts]


def test_devices_take_the_node_for_the_leader(script, hosts):
    assert [host.node.averaging.vectors.trainings for host in hosts] == [{TRAINING: hosts[0].id}] * 3


def test_a_state_goes_to_the_node_and_from_there_to_the_devices(script, hosts):
    state = bytes(range(256)) * 12_000
    script.keep(STATE, state)
    params = {"name": STATE, "size": len(state), "sources": [hosts[0].id]}
    assert script.ask(hosts[1].id, "FetchVector", **params)["success"]
    assert bytes(hosts[1].vectors.vectors[STATE]) == state
    assert script.read(STATE, 3_000_000, 72_000) == state[3_000_000:]


def test_devices_average_among_themselves_and_the_script_reads_the_mean(script, hosts):
    for index, host in enumerate(hosts):
        values = array("f", [float(index)] * NUMBERS)
        host.vectors.make(f"{TRAINING}-o1", 4 * NUMBERS)[:] = memoryview(values).cast("B")
    answers = []
    for host in hosts:
        script.far.ask(host.id, "AverageVectors", {
            "name": STATE, "members": [each.id for each in hosts], "shape": "ring", "code": "f", "numbers": NUMBERS,
            "shares": [f"{TRAINING}-o1"], "weights": [1 / 3]}, lambda *reply: answers.append(reply))
    script.world.advance(1.0)
    assert [result["success"] for result, error in answers] == [True] * 3
    assert array("f", script.read(STATE, 0, 4 * NUMBERS)).tolist() == pytest.approx([1.0] * NUMBERS)


def test_an_error_of_a_device_is_the_scripts(script, hosts):
    hosts[1].node.averaging.vectors.leave(hosts[1].node.discovery.trusted_link_to(hosts[0].id), TRAINING)
    with pytest.raises(Forbidden, match="you lead no such training"):
        script.ask(hosts[1].id, "FetchVector", name=STATE, size=8)
    with pytest.raises(DiscomputeError, match="there is no link to that device"):
        script.ask("z" * 52, "FetchVector", name=STATE, size=8)


@pytest.mark.parametrize("method, params", [
    ("GetVector", {"name": STATE, "size": 1}), ("AveragePiece", {"name": STATE}), ("ExecuteSubtask", {}),
    ("FetchVector", {"name": f"{OTHER}-s1", "size": 8}), ("LeaveTraining", {"training_id": OTHER}),
    ("StopAverage", {"name": "../s1"}), ("JoinTraining", {"training_id": "x"}), ("AverageVectors", {}),
])
def test_nothing_else_is_asked_for_a_script(script, hosts, method, params):
    for host in hosts[:2]:
        with pytest.raises(InvalidParams):
            script.ask(host.id, method, **params)


def test_what_is_no_next_range_of_a_vector_is_refused(script, hosts):
    for name in (f"{OTHER}-s1", "../../s1", f"{TRAINING}-", ""):
        with pytest.raises(InvalidParams):
            script.keep(name, b"12345678")
    limits = hosts[0].limits
    with pytest.raises(DiscomputeError, match="no room for a vector"):
        script.keep(STATE, b"12345678", size=limits.vector_bytes + 1)
    for size, offset, data in ((8, 4, b"1234"), (8, 0, b""), (4, 0, b"12345678"), (-1, 0, b"1"), (8, -1, b"1")):
        with pytest.raises(InvalidParams):
            script.outcome(script.far.keep_range(STATE, size, offset, data).then)
    assert hosts[0].vectors.vectors == {}
    # One that is not whole is none, and begins anew.
    script.outcome(script.far.keep_range(STATE, 8, 0, b"1234").then)
    assert hosts[0].node.averaging.vectors.find(STATE, 8) is None
    script.keep(STATE, b"12345678", 3)
    assert script.read(STATE, 2, 4) == b"3456"
    with pytest.raises(StateError):
        script.read(f"{TRAINING}-s2", 0, 4)


def test_when_the_script_ends_nothing_stays_anywhere(world, script, hosts):
    other = LeadingScript(world, hosts[:2], OTHER)
    other.keep(f"{OTHER}-s1", b"87654321")
    script.keep(STATE, b"12345678")
    script.ask(hosts[1].id, "FetchVector", name=STATE, size=8, sources=[hosts[0].id])
    # This one is on its way.
    script.outcome(script.far.keep_range(f"{TRAINING}-s2", 8, 0, b"1234").then)
    script.link.close("killed")
    world.advance(1.0)
    assert trainings(hosts) == [[OTHER], [OTHER], []]
    assert [sorted(host.vectors.vectors) for host in hosts] == [[f"{OTHER}-s1"], [], []]
    assert hosts[0].node.averaging.vectors._arriving == {}


def test_what_a_script_has_everybody_leave_is_left_once(world, script, hosts):
    for host in hosts:
        assert script.ask(host.id, "LeaveTraining", training_id=TRAINING)["success"]
    assert trainings(hosts) == [[], [], []]
    with pytest.raises(InvalidParams, match="have devices join it first"):
        script.ask(hosts[1].id, "LeaveTraining", training_id=TRAINING)


def test_when_the_node_ends_the_script_sees_it_and_the_devices_forget(world, script, hosts):
    script.keep(STATE, b"12345678")
    assert not script.far.is_gone
    hosts[0].node.stop()
    world.advance(1.0)
    assert script.far.is_gone and trainings(hosts[1:]) == [[], []]
    with pytest.raises(LinkError):
        script.ask(hosts[1].id, "FetchVector", name=STATE, size=8)
    with pytest.raises(LinkError):
        script.keep(STATE, b"12345678")


def test_nobody_but_the_owner_leads_by_a_node(world, hosts):
    for method in ("AskInTraining", "KeepVector"):
        for client in (world.client(hosts[0]), world.client(hosts[0], member="b")):
            with pytest.raises(Unauthenticated):
                client.call(method)
    with pytest.raises(InvalidParams, match="call ServeScript first"):
        world.owner(hosts[0]).call("KeepVector", {"name": STATE, "size": 1, "data": "MQ=="})
