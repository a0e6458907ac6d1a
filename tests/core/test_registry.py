"""The table of devices: who is there, who is gone, whom to dial, and what nobody can be talked into believing."""

import random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from discompute_lite.core.dialling import DIAL_PATIENCE_S, DIALS_AT_ONCE
from discompute_lite.core.events import (
    AddressFailed, BeaconHeard, DeviceDescribed, DeviceTold, Dial, ForeignHeard, GoodbyeHeard, HeartbeatHeard,
    HeartbeatMissed, LinkLost, LinkOpened, RoundTripMeasured, TellChanged, TellDead, TellDuplicateIdentity, TellJoined,
    TellLeft, TellRestarted, TellSuspect, Tick,
)
from discompute_lite.core.known import Liveness
from discompute_lite.core.own_events import LinkWanted
from discompute_lite.core.registry import ECHO_S, TOLD_DEVICES, DeviceRegistry
from discompute_lite.core.vigil import CALLED_CROWD, KEPT_S
from discompute_lite.model.device import ComputeMetrics, Device, DeviceCapabilities, DeviceStatus
from discompute_lite.model.limits import Limits

OWN = "m" * 52
#: Sorts after OWN: we dial at once. BEFORE: it dials, we wait a second.
AFTER, BEFORE = "z" * 52, "a" * 52


class World:
    """A registry, a clock, and short words for what happens."""

    def __init__(self, **limits):
        self.registry = DeviceRegistry(OWN, "own-boot", Limits(**limits), random.Random(7))
        self.now = 1000.0
        self.seq = 0

    def __call__(self, event):
        actions = self.registry.apply(event, self.now)
        self.registry.check()
        return actions

    def beacon(self, device_id=AFTER, *, boot="b1", address="10.0.0.2:8080", seq=None, every=2.5, **fields):
        self.seq += 1
        device = Device(id=device_id, **{"name": "peer", "status": DeviceStatus.AVAILABLE, **fields})
        return self(BeaconHeard(device, address, boot, self.seq if seq is None else seq, every, "broadcast"))

    def link(self, device_id=AFTER, *, boot="b1", address="10.0.0.2:8080", verified=False, name="peer"):
        return self(LinkOpened(device_id, name, address, boot, verified))

    def wait(self, seconds):
        """Let time pass, waking the registry whenever it asked for it; return all actions."""
        until, actions = self.now + seconds, []
        for _ in range(100000):
            due = self.registry.next_deadline()
            if due is None or due > until:
                break
            self.now = max(self.now, due)
            actions += self(Tick())
        self.now = until
        return actions

    def state(self, device_id=AFTER):
        device = self.registry.get(device_id)
        return device and device.state


@pytest.fixture
def world():
    return World()


def of(actions, kind):
    return [action for action in actions if isinstance(action, kind)]


# ---- joining and dialling --------------------------------------------------------------------------


def test_the_smaller_id_dials_at_once(world):
    assert world.beacon(AFTER) == [TellJoined(AFTER), Dial(AFTER, ("10.0.0.2:8080",))]


def test_the_larger_id_waits_a_second_and_dials_only_without_a_link(world):
    assert world.beacon(BEFORE) == [TellJoined(BEFORE)]
    assert world.wait(0.5) == []
    assert of(world.wait(1.0), Dial) == [Dial(BEFORE, ("10.0.0.2:8080",))]
    other = World()
    other.beacon(BEFORE)
    other.link(BEFORE)
    assert other.wait(60.0) == []


def test_a_dial_under_way_is_not_repeated_by_the_next_beacon(world):
    world.beacon()
    assert of(world.beacon() + world.beacon(), Dial) == []


def test_failing_dials_back_off_and_success_makes_them_normal_again(world):
    world.beacon()
    pauses = []
    for _ in range(8):
        world(AddressFailed(AFTER, "10.0.0.2:8080", "refused"))
        before = world.now
        while not of(world.wait(0.1), Dial):
            world.beacon()
        pauses.append(world.now - before)
    assert 1.5 < pauses[0] < 2.6 and 3.0 < pauses[1] < 5.0 and 45 < pauses[-1] < 75
    world.link()
    world(LinkLost(AFTER))
    world(AddressFailed(AFTER, "10.0.0.2:8080", "refused"))
    assert of(world.wait(2.6), Dial)


def test_a_dial_of_which_nothing_is_heard_is_taken_for_failed(world):
    world.beacon(every=300)
    assert of(world.wait(DIAL_PATIENCE_S + 3.0), Dial) == [Dial(AFTER, ("10.0.0.2:8080",))]


def test_addresses_are_dialled_in_the_order_of_their_round_trips(world):
    world.link(address="10.0.0.2:8080")
    world(RoundTripMeasured(AFTER, "10.0.0.2:8080", 0.2))
    world(RoundTripMeasured(AFTER, "192.168.0.2:8080", 0.01))
    assert world.registry.addresses(AFTER) == ["192.168.0.2:8080", "10.0.0.2:8080"]
    assert of(world(LinkLost(AFTER)), Dial) == [Dial(AFTER, ("192.168.0.2:8080", "10.0.0.2:8080"))]


def test_hearsay_is_an_address_to_try_and_nothing_else(world):
    told = Device(id=AFTER, name="told", address="10.0.0.9:8080", status=DeviceStatus.BUSY)
    assert world(DeviceTold(told, BEFORE)) == [Dial(AFTER, ("10.0.0.9:8080",))]
    assert world.registry.devices() == [] and world.registry.get(AFTER) is None
    assert world.link(name="true") == [TellJoined(AFTER)]
    assert world.registry.get(AFTER).device.name == "true"
    assert world.registry.get(AFTER).device.status is not DeviceStatus.BUSY


def test_hearsay_changes_nothing_of_a_known_device(world):
    world.beacon()
    lie = Device(id=AFTER, name="liar", address="6.6.6.6:1", status=DeviceStatus.OFFLINE)
    assert world(DeviceTold(lie, BEFORE)) == []
    world(DeviceTold(Device(id=AFTER, name="liar", address="6.6.6.6:1"), BEFORE))
    assert world.registry.get(AFTER).device.name == "peer"
    assert world.registry.addresses(AFTER) == ["10.0.0.2:8080", "6.6.6.6:1"]


def test_hearsay_fills_only_its_share_of_the_table(world):
    for number in range(2 * TOLD_DEVICES):
        world.registry.apply(DeviceTold(Device(id=f"x{number:04d}", address="10.0.0.9:1"), BEFORE), world.now)
    world.registry.check()
    assert world.registry._table.told == TOLD_DEVICES
    world.wait(KEPT_S + 1)
    assert world.registry._table.told == 0


# ---- repeats, restarts, copies ---------------------------------------------------------------------


def test_the_next_beacon_of_a_linked_device_needs_no_look_at_anything_else(world):
    world.beacon(seq=5)
    world.link()
    world.beacon(seq=6)
    device, said = world.registry.get(AFTER), {"address": "10.0.0.2:8080", "boot": "b1", "seq": 7}
    for news in ({"boot": "b2"}, {"seq": 6}, {"address": "10.0.0.9:8080"}):
        assert not device.hears_again(**{**said, **news}), news
    assert device.hears_again(**said) and device.seq == 7
    assert not device.hears_again(**said)
    # Whoever was heard elsewhere meanwhile is heard from here anew.
    world.beacon(seq=8, address="192.168.0.2:8080")
    assert not device.hears_again(**{**said, "seq": 9})
    world(LinkLost(AFTER))
    assert not device.hears_again(**{**said, "seq": 9, "address": "192.168.0.2:8080"})


def test_older_and_equal_beacons_of_a_boot_are_dropped_but_teach_a_second_address(world):
    world.beacon(seq=5, name="new")
    world.beacon(seq=4, name="old", address="10.9.9.9:1")
    world.beacon(seq=5, name="old", address="192.168.0.2:8080")
    assert world.registry.get(AFTER).device.name == "new"
    assert sorted(world.registry.addresses(AFTER)) == ["10.0.0.2:8080", "192.168.0.2:8080"]


def test_a_new_boot_is_a_restart_and_a_delayed_beacon_of_the_old_one_is_not(world):
    world.beacon(boot="b1", seq=900)
    assert TellRestarted(AFTER) in world.beacon(boot="b2", seq=1)
    assert world.beacon(boot="b1", seq=901) == []
    assert world.registry.get(AFTER).boot == "b2"


def test_who_is_spoken_of_again_is_kept_for_longer(world):
    told = DeviceTold(Device(id=AFTER, address="10.0.0.9:8080", status=DeviceStatus.BUSY), BEFORE)
    world(told)
    world.wait(KEPT_S - 1.0)
    world(told)
    world.wait(2.0)
    assert world.registry.addresses(AFTER) == ["10.0.0.9:8080"]
    world.wait(KEPT_S)
    assert world.registry.addresses(AFTER) == []


def test_a_restart_is_told_by_a_link_too(world):
    world.link(boot="b1")
    assert TellRestarted(AFTER) in world.link(boot="b2")


def test_a_forged_beacon_changes_nothing_about_a_linked_device(world):
    world.link(verified=True)
    assert world.beacon(boot="forged", name="evil", status=DeviceStatus.OFFLINE) == []
    device = world.registry.get(AFTER)
    assert (device.device.name, device.boot, device.state) == ("peer", "b1", Liveness.ALIVE)


def test_a_stranger_who_names_a_members_id_does_not_become_it(world):
    world.link(verified=True)
    assert world.link(boot="forged", verified=False, address="6.6.6.6:1") == []
    assert world.registry.get(AFTER).boot == "b1"


def test_our_own_beacons_are_ignored_and_a_copy_of_us_is_told_of_once_a_minute(world):
    assert world.beacon(OWN, boot="own-boot") == []
    assert world.beacon(AFTER, boot="own-boot") == []
    assert world.link(OWN, boot="own-boot") == []
    assert world.beacon(OWN, boot="other", address="10.0.0.7:1") == [TellDuplicateIdentity(OWN, "10.0.0.7:1")]
    assert world.link(OWN, boot="other") == []
    world.now += 61
    assert world.link(OWN, boot="other", address="10.0.0.7:1") == [TellDuplicateIdentity(OWN, "10.0.0.7:1")]
    assert world.registry.duplicates == 3 and world.registry.devices() == []


# ---- silence, loss, goodbye ------------------------------------------------------------------------


@pytest.mark.parametrize("every, silence", [(2.5, 30.0), (20.0, 80.0), (float("inf"), 1200.0), (float("nan"), 1200.0)])
def test_a_device_known_by_beacon_alone_is_dropped_after_its_silence(world, every, silence):
    world.beacon(every=every)
    assert of(world.wait(silence - 1), TellDead) == []
    dead = of(world.wait(2), TellDead)
    assert [action.device_id for action in dead] == [AFTER] and "silent for" in dead[0].reason


def test_a_killed_process_is_dead_as_soon_as_every_address_refuses(world):
    world.beacon(address="192.168.0.2:8080")
    world.link(address="10.0.0.2:8080")
    actions = world(LinkLost(AFTER))
    assert actions[0] == TellSuspect(AFTER) and len(of(actions, Dial)[0].addresses) == 2
    assert of(world(AddressFailed(AFTER, "10.0.0.2:8080", "refused")), TellDead) == []
    assert len(of(world(AddressFailed(AFTER, "192.168.0.2:8080", "refused")), TellDead)) == 1
    assert world.beacon() == []  # A datagram that was still under way.
    world.now += ECHO_S
    assert world.beacon()[0] == TellJoined(AFTER)


def test_a_link_that_was_only_moved_comes_back_without_a_death(world):
    world.link()
    world(LinkLost(AFTER))
    assert world.link() == [TellChanged(AFTER, is_back=True)]
    assert of(world.wait(120), (TellDead, TellSuspect)) == []


def test_beacons_do_not_put_off_the_death_of_a_device_whose_link_was_lost(world):
    world.link()
    world(LinkLost(AFTER))
    told = []
    for _ in range(8):
        told += world.wait(2) + world.beacon()
    assert len(of(told, TellDead)) == 1


def in_a_crowd(every=2.5, **fields):
    """A world with as many links as it seeks, which knows one device more, by its beacons."""
    world = World(links_sought=1)
    world.link("linked", address="10.0.0.9:8080")
    world.beacon(every=every, **fields)
    return world


def test_who_falls_silent_without_a_link_is_called_and_gone_at_once_where_nothing_listens():
    world = in_a_crowd()
    assert of(world.wait(8.4), Dial) == []
    assert of(world.wait(1.7), Dial) == [Dial(AFTER, ("10.0.0.2:8080",))]
    gone, = of(world(AddressFailed(AFTER, "10.0.0.2:8080", "nothing listens", is_refused=True)), TellDead)
    assert gone.device_id == AFTER and "nothing listens" in gone.reason


def test_who_falls_silent_and_cannot_be_reached_may_be_behind_a_bad_network():
    world = in_a_crowd()
    world.wait(10.1)
    assert of(world(AddressFailed(AFTER, "10.0.0.2:8080", "no answer")), TellDead) == []
    assert of(world.wait(19), TellDead) == [] and len(of(world.wait(2), TellDead)) == 1


def test_who_is_called_for_its_silence_and_is_there_has_a_link_then():
    world = in_a_crowd()
    world.wait(10.1)
    world.link()
    assert world.state() is Liveness.ALIVE and of(world.wait(60), TellDead) == []


def test_a_refusal_says_nothing_of_a_device_whose_beacons_come():
    world = in_a_crowd()
    world(LinkWanted(AFTER))
    assert of(world(AddressFailed(AFTER, "10.0.0.2:8080", "nothing listens", is_refused=True)), TellDead) == []
    world.wait(5)
    world.beacon()
    assert of(world.wait(8), TellDead) == [] and world.state() is Liveness.HEARD


def test_in_a_large_crowd_nobody_is_called_for_his_silence():
    world = in_a_crowd()
    for number in range(CALLED_CROWD):
        world.beacon(f"p{number}", every=20.0)
    assert of(world.wait(70), Dial) == []


@pytest.mark.parametrize("fields", [{"type": "iphone"}, {"every": 20.0}])
def test_phones_which_sleep_and_those_of_a_large_crowd_are_not_called_for_their_silence(fields):
    assert of(in_a_crowd(**fields).wait(70), Dial) == []


@pytest.mark.parametrize("type_, dead_after", [("mac", 15), ("iphone", 30)])
def test_silence_over_a_link_makes_suspect_and_then_dead(world, type_, dead_after):
    world.link()
    world(DeviceDescribed(Device(id=AFTER, name="peer", type=type_)))
    assert world(HeartbeatMissed(AFTER, 5.9)) == []
    assert world(HeartbeatMissed(AFTER, 7.0)) == [TellSuspect(AFTER)]
    assert world.registry.get(AFTER).reason_now() == "silent for 7 s"
    world.beacon()  # Anybody can forge one: it does not put death off.
    assert of(world.wait(dead_after - 7 - 0.1), TellDead) == []
    assert len(of(world.wait(0.2), TellDead)) == 1
    assert world(HeartbeatHeard(AFTER)) == [TellJoined(AFTER)]


def test_a_heartbeat_clears_suspicion(world):
    world.link()
    world(HeartbeatMissed(AFTER, 7.0))
    assert world(HeartbeatHeard(AFTER)) == [TellChanged(AFTER, is_back=True)]
    assert world.state() is Liveness.ALIVE and world.wait(1000) == []


def test_goodbye_counts_only_with_the_present_boot(world):
    world.beacon()
    assert world(GoodbyeHeard(AFTER, "b0")) == []
    assert world(GoodbyeHeard(AFTER, "b1")) == [TellLeft(AFTER)]
    assert world.beacon() == []
    assert world.beacon(boot="b2")[0] == TellJoined(AFTER)


def test_a_goodbye_of_a_linked_device_counts_when_the_link_ends(world):
    world.link()
    assert world(GoodbyeHeard(AFTER, "b1")) == []
    assert world(LinkLost(AFTER)) == [TellLeft(AFTER)]
    assert of(world.wait(KEPT_S - 1), Dial) == []


def test_a_forged_goodbye_is_forgotten(world):
    world.link()
    world(GoodbyeHeard(AFTER, "b1"))
    world.now += ECHO_S
    assert world(LinkLost(AFTER))[0] == TellSuspect(AFTER)


def test_a_link_closed_on_purpose_raises_no_suspicion(world):
    world.link()
    assert world(LinkLost(AFTER, on_purpose=True)) == [TellChanged(AFTER)]
    assert world.state() is Liveness.HEARD


def test_the_dead_are_dialled_a_while_and_then_forgotten(world):
    world.link()
    world(LinkLost(AFTER))
    world(AddressFailed(AFTER, "10.0.0.2:8080", "refused"))
    assert world.registry.get(AFTER).to_device(5000.0, world.now).status is DeviceStatus.OFFLINE
    assert of(world.wait(5), Dial)
    world.wait(KEPT_S)
    assert world.registry.devices() == [] and world.registry.next_deadline() is None


# ---- describing and asking -------------------------------------------------------------------------


def test_what_a_device_says_over_its_link_is_not_overwritten_by_its_beacons(world):
    full = DeviceCapabilities(cpu_cores=8, battery_level=0.5)
    world.link()
    assert world(DeviceDescribed(Device(id=AFTER, name="peer", capabilities=full))) == [TellChanged(AFTER)]
    world(LinkLost(AFTER, on_purpose=True))
    world.beacon(capabilities=DeviceCapabilities(chip="M3"), status=DeviceStatus.BUSY)
    device = world.registry.get(AFTER).device
    assert device.capabilities == full and device.status is DeviceStatus.BUSY


def test_heartbeats_tell_of_changes_only(world):
    world.link()
    busy = HeartbeatHeard(AFTER, DeviceStatus.BUSY, ComputeMetrics(cpu_usage=0.5))
    assert world(busy) == [TellChanged(AFTER)]
    assert world(busy) == []
    assert world(HeartbeatHeard(AFTER, metrics=ComputeMetrics(cpu_usage=0.9))) == []
    assert world.registry.get(AFTER).device.compute_metrics.cpu_usage == 0.9


def test_the_reason_of_a_status_goes_with_it(world):
    world.link()
    hot = Device(id=AFTER, name="peer", status=DeviceStatus.OVERLOADED, lite={"reason": "too hot", "slots": 4})
    world(DeviceDescribed(hot))
    world(HeartbeatHeard(AFTER, DeviceStatus.OVERLOADED))
    assert world.registry.get(AFTER).reason_now() == "too hot"
    world(HeartbeatHeard(AFTER, DeviceStatus.AVAILABLE))
    assert world.registry.get(AFTER).reason_now() == "" and world.registry.get(AFTER).device.lite == {"slots": 4}


def test_a_client_that_registers_without_a_link_is_listed(world):
    client = Device(id=AFTER, name="script", address="10.0.0.5:8080")
    assert world(DeviceDescribed(client)) == [TellJoined(AFTER), Dial(AFTER, ("10.0.0.5:8080",))]


def test_foreign_devices_are_listed_and_never_dialled(world):
    device = Device(id="go-node", name="go")
    assert world(ForeignHeard(device, "10.0.0.3:8080", "discompute (Go)", "broadcast")) == [TellJoined("go-node")]
    assert world.registry.get("go-node").to_device(9.0, world.now).lite["foreign"] == "discompute (Go)"
    assert [type(action) for action in world.wait(60)] == [TellDead]


def test_nobody_is_called_foreign_behind_its_back(world):
    world.beacon()
    world(ForeignHeard(Device(id=AFTER, name="fake"), "6.6.6.6:1", "EXO", "broadcast"))
    assert world.registry.get(AFTER).foreign == ""


def test_a_device_is_found_by_id_beginning_name_or_label(world):
    for device_id, name, label in [("abc1", "mac", ""), ("abd2", "abc1x", ""), ("xyz3", "mac", "study")]:
        world.beacon(device_id, name=name, lite={"label": label})

    def found(text):
        return [device.device_id for device in world.registry.find(text)]

    assert found("abc1") == ["abc1"]
    assert found("ab") == ["abc1", "abd2"]
    assert found("ABD") == ["abd2"]
    assert found("mac") == ["abc1", "xyz3"]
    assert found("study") == ["xyz3"]
    assert found("abc1x") == ["abd2"]
    assert found("nobody") == found("") == []


def test_the_wire_form_says_who_is_believed_and_why(world):
    lite = {"model": "MacBook", "label": "study", "verified": True, "junk": "x" * 9, "measured": {"cpu": 1.5}}
    world.link()
    world(DeviceDescribed(Device(id=AFTER, name="peer", lite=lite, status=DeviceStatus.AVAILABLE)))
    world.now += 4
    world(HeartbeatMissed(AFTER, 7.0))
    told = world.registry.get(AFTER).to_device(wall_now=5000.0, now=world.now)
    assert told.status is DeviceStatus.AVAILABLE and told.last_seen == 4996 and told.address == "10.0.0.2:8080"
    assert told.lite == {
        "model": "MacBook", "label": "study", "measured": {"cpu": 1.5}, "verified": False,
        "reason": "silent for 7 s", "boot": "b1", "addresses": ["10.0.0.2:8080"],
    }


def test_changed_since_gives_exactly_what_changed(world):
    for device_id in ("n1", "n2", "n3"):
        world.beacon(device_id)
    seen = world.registry.version
    assert world.registry.changed_since(seen) == []
    world.beacon("n2", status=DeviceStatus.BUSY)
    world.beacon("n1")  # Nothing new.
    assert [device.device_id for device in world.registry.changed_since(seen)] == ["n2"]
    assert [device.device_id for device in world.registry.changed_since(0)] == ["n1", "n3", "n2"]
    assert [device.device_id for device in world.registry.devices()] == ["n1", "n2", "n3"]


def test_two_who_know_the_same_devices_say_the_same_of_them_leaving_out_each_other(world):
    # That of `world`, which hears the other one's beacons, and that of the other one, which hears the world's.
    other = World()
    for each, own in ((world, OWN), (other, AFTER)):
        each.registry.own_id = own
    assert world.registry.knows(but=AFTER) == other.registry.knows(but=OWN)
    world.beacon(AFTER)
    other.beacon(OWN, address="10.0.0.1:8080")
    world.beacon("n1", address="10.0.0.5:8080")
    assert world.registry.knows(but=AFTER) != other.registry.knows(but=OWN)
    other.beacon("n1", address="10.0.0.5:8080")
    assert world.registry.knows(but=AFTER) == other.registry.knows(but=OWN)
    world.beacon("n1", address="10.0.0.6:8080")
    assert world.registry.knows(but=AFTER) != other.registry.knows(but=OWN)
    for each in (world, other):
        each(GoodbyeHeard("n1", "b1"))
        each(ForeignHeard(Device(id="exo"), "10.0.0.9:50051", "EXO", "broadcast"))
    assert world.registry.knows(but=AFTER) == other.registry.knows(but=OWN)


# ---- too many --------------------------------------------------------------------------------------


def test_the_longest_silent_stranger_makes_room_and_members_never_do():
    world = World(devices=3)
    world.link("member", boot="bm", verified=True)
    world(LinkLost("member", on_purpose=True))
    world.beacon("s1")
    world.beacon("s2")
    world.beacon("s1")
    actions = world.beacon("s3")
    assert of(actions, TellDead) == [TellDead("s2", "forgotten to make room for others")]
    assert {device.device_id for device in world.registry.devices()} == {"member", "s1", "s3"}
    world.link("s1")
    world.link("s3")
    assert world.beacon("s4") == [] and world.registry.get("s4") is None


@pytest.mark.slow
def test_a_flood_of_made_up_devices_costs_little_and_dials_little():
    registry = DeviceRegistry(OWN, "own-boot", Limits(devices=500), random.Random(1))
    registry.apply(LinkOpened(AFTER, "friend", "10.0.0.2:8080", "b1", True), 0.0)
    dials = 0
    for number in range(20000):
        beacon = BeaconHeard(Device(id=f"x{number:06d}"), "10.6.6.6:1", f"b{number}", 1, 2.5, "broadcast")
        dials += len(of(registry.apply(beacon, number * 0.0001), Dial))
    registry.check()
    # An evicted device takes its dial along, so a few more may start; none of them is over the limit at any time.
    assert len(registry._plan._dialling) <= DIALS_AT_ONCE
    assert len(registry._table) == 500 and registry.get(AFTER).state is Liveness.ALIVE
    for heap in (registry._plan.deadlines, registry._vigil.deadlines):
        assert len(heap._heap) <= 64 + 2 * 501


def test_links_we_open_stay_within_the_limit():
    world = World(links_sought=3)
    for number in range(10):
        world.beacon(f"p{number}", every=20.0)
    world.link("p0")
    world.link("p1")
    world.link("p2")
    assert of(world.wait(20), Dial) == []
    assert of(world(LinkLost("p0", on_purpose=True)), Dial) == [Dial("p3", ("10.0.0.2:8080",))]


def test_a_link_that_is_wanted_is_opened_whatever_the_number_and_before_those_that_are_only_sought():
    world = World(links_sought=2)
    for number in range(6):
        world.beacon(f"p{number}", every=20.0)
    world.link("p0")
    world.link("p1")
    assert of(world.wait(20), Dial) == []
    assert of(world(LinkWanted("p4")), Dial) == [Dial("p4", ("10.0.0.2:8080",))]
    world.link("p4")
    assert of(world(LinkWanted("p4")), Dial) == [] and of(world.wait(20), Dial) == []


def test_a_wanted_link_needs_no_courtesy_and_nobody_unheard_is_dialled_for_it(world):
    assert world.beacon(BEFORE) == [TellJoined(BEFORE)]
    assert of(world(LinkWanted(BEFORE)), Dial) == [Dial(BEFORE, ("10.0.0.2:8080",))]
    assert world(LinkWanted("nobody")) == []


# ---- whatever happens ------------------------------------------------------------------------------


IDS = st.sampled_from([AFTER, BEFORE, OWN, "n1", "n2", "n3", ""])
BOOTS = st.sampled_from(["b1", "b2", "", "own-boot"])
ADDRESSES = st.sampled_from(["10.0.0.2:1", "10.0.0.3:1", "10.0.0.4:1", "", "nonsense"])


class AnythingHappens(RuleBasedStateMachine):
    """Feed every event in every order; the invariants hold, and what is told makes one story a device."""

    def __init__(self):
        super().__init__()
        self.registry = DeviceRegistry(OWN, "own-boot", Limits(devices=4, addresses_per_device=2), random.Random(3))
        self.now = 0.0
        self.there = set()

    def feed(self, event):
        for action in self.registry.apply(event, self.now):
            name = getattr(action, "device_id", None)
            if isinstance(action, TellJoined):
                assert name not in self.there
                self.there.add(name)
            elif isinstance(action, (TellDead, TellLeft)):
                self.there.remove(name)
            elif isinstance(action, (TellSuspect, TellRestarted, TellChanged)):
                assert name in self.there or isinstance(action, TellChanged)
            elif isinstance(action, Dial):
                assert action.addresses and name != OWN and not self.registry._table.get(name).linked

    @rule(device_id=IDS, boot=BOOTS, address=ADDRESSES, seq=st.integers(0, 5))
    def beacon(self, device_id, boot, address, seq):
        self.feed(BeaconHeard(Device(id=device_id, name="n"), address, boot, seq, 2.5, "broadcast"))

    @rule(device_id=IDS, boot=BOOTS, address=ADDRESSES, verified=st.booleans())
    def opened(self, device_id, boot, address, verified):
        self.feed(LinkOpened(device_id, "n", address, boot, verified))

    @rule(device_id=IDS, on_purpose=st.booleans())
    def lost(self, device_id, on_purpose):
        self.feed(LinkLost(device_id, on_purpose))

    @rule(device_id=IDS, boot=BOOTS)
    def goodbye(self, device_id, boot):
        self.feed(GoodbyeHeard(device_id, boot))

    @rule(device_id=IDS, address=ADDRESSES)
    def told(self, device_id, address):
        self.feed(DeviceTold(Device(id=device_id, address=address), "n1"))

    @rule(device_id=IDS, address=ADDRESSES)
    def failed(self, device_id, address):
        self.feed(AddressFailed(device_id, address, "refused"))

    @rule(device_id=IDS)
    def wanted(self, device_id):
        self.feed(LinkWanted(device_id))

    @rule(device_id=IDS, silent=st.floats(0, 40))
    def missed(self, device_id, silent):
        self.feed(HeartbeatMissed(device_id, silent))

    @rule(device_id=IDS, kind=st.integers(0, 3))
    def spoke(self, device_id, kind):
        self.feed(
            [
                HeartbeatHeard(device_id, DeviceStatus.BUSY),
                DeviceDescribed(Device(id=device_id, name="d")),
                RoundTripMeasured(device_id, "10.0.0.2:1", 0.1),
                ForeignHeard(Device(id=device_id), "10.0.0.9:1", "EXO", "broadcast"),
            ][kind]
        )

    @rule(seconds=st.sampled_from([0.0, 0.5, 3.0, 20.0, 90.0, 700.0]))
    def wait(self, seconds):
        self.now += seconds
        self.feed(Tick())
        due = self.registry.next_deadline()
        assert due is None or due > self.now

    @invariant()
    def holds(self):
        self.registry.check()
        assert {device.device_id for device in self.registry.devices() if device.present} == self.there


AnythingHappens.TestCase.settings = settings(max_examples=settings.default.max_examples // 4, stateful_step_count=40)
TestAnythingHappens = AnythingHappens.TestCase
