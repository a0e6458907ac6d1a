"""What happens is told once, from one source: to people, to readers of /events, to those who come back."""

import json
import re

import pytest

from discompute_lite.core.events import AttemptSucceeded
from discompute_lite.roles.event_log import EventLog
from discompute_lite.wire.server_sent import SENT_COMMENT, SentEventReader


def log_of(count, kept=10):
    shown = []
    log = EventLog("boot", lambda: 100.0, kept, lambda kind, text, **facts: shown.append((kind, text)))
    for number in range(1, count + 1):
        log.tell("note", f"event {number}", task_id=f"t{number % 2}")
    return log, shown


class EventStream:
    """A browser that has asked for events."""

    def __init__(self, world, host, path="/events", **headers):
        self.browser = world.browser(host)
        self.browser.send("GET", path, authorization=f"Bearer {host.token}", **headers)
        head, _, body = self.browser.sent.partition(b"\r\n\r\n")
        self.head, self.browser.sent = head.decode(), body
        self.reader = SentEventReader(100_000)

    def read(self):
        """Return (kind, document) of what has come since."""
        raw, self.browser.sent = self.browser.sent, b""
        data = b""
        while raw:
            size, _, raw = raw.partition(b"\r\n")
            data, raw = data + raw[:int(size, 16)], raw[int(size, 16) + 2:]
        self.raw = data
        return [(event.kind, json.loads(event.data)) for event in self.reader.receive_data(data)]

    def kinds(self):
        return [kind for kind, _ in self.read()]


# ---- the log --------------------------------------------------------------------------------------


def test_events_are_numbered_kept_and_counted():
    log, shown = log_of(3)
    skipped, events = log.after(1, 10)
    assert skipped == 0 and [event.text for event in events] == ["event 2", "event 3"]
    assert log.after(3, 10) == (0, []) and len(log.after(0, 2)[1]) == 2
    assert log.counts == {"note": 3} and shown == [("note", f"event {number}") for number in (1, 2, 3)]


def test_what_is_not_kept_any_more_is_counted():
    log, _ = log_of(25)
    skipped, events = log.after(5, 100)
    assert skipped == 10 and [event.number for event in events] == list(range(16, 26))


def test_quiet_events_are_kept_and_not_shown():
    log, shown = log_of(0)
    log.tell("progress", "half")
    assert shown == [] and log.after(0, 9)[1][0].kind == "progress"


def test_an_event_is_known_by_the_life_of_its_node():
    log, _ = log_of(3)
    assert log.number_of(log.id_of(2)) == 2
    for other in ("", "2", "other.2", "boot.4", "boot.x", "boot.-1", "boot." + "9" * 400):
        assert log.number_of(other) is None, other


def test_a_long_text_is_cut():
    log, _ = log_of(0)
    log.tell("note", "x" * 100_000)
    assert len(log.after(0, 1)[1][0].text) == 4096


# ---- GET /events ----------------------------------------------------------------------------------


def test_a_task_is_told_from_its_submission_to_its_end(world):
    host = world.host("a").start()
    stream = EventStream(world, host)
    assert "200 OK" in stream.head and "Content-Type: text/event-stream" in stream.head
    world.owner(host).call("SubmitTask", world.echo([1, 2], task_id="mine"))
    world.advance(1.0)
    events = stream.read()
    told = [event for kind, event in events if kind == "task"]
    assert told[0]["text"].startswith("task mine: submitted") and told[-1]["state"] == "COMPLETED"
    placed = [event for kind, event in events if kind == "placed"]
    assert {(event["subtask"], event["attempt"], event["device_id"]) for event in placed} == {
        (0, 1, host.id), (1, 1, host.id)}
    progress = [event["percentage"] for kind, event in events if kind == "progress"]
    assert progress == sorted(progress) and progress[-1] == 99.9
    assert {event["task_id"] for kind, event in events} == {"mine"}


def test_devices_are_told_as_they_come_and_go(world):
    host = world.host("a").start()
    stream = EventStream(world, host)
    other = world.host("b").start()
    world.advance(3.0)
    events = stream.read()
    assert ("joined", other.id) in [(kind, event["device_id"]) for kind, event in events]
    other.node.stop()
    world.advance(3.0)
    assert ("left", other.id) in [(kind, event.get("device_id")) for kind, event in stream.read()]


def test_what_start_prints_comes_from_the_same_source(world):
    host = world.host("a").start()
    stream = EventStream(world, host)
    host.told.clear()
    world.host("b").start()
    world.owner(host).call("SubmitTask", world.echo([1], task_id="mine"))
    world.advance(3.0)
    loud = [(kind, event["text"]) for kind, event in stream.read() if kind not in ("changed", "placed", "progress")]
    assert loud and loud == [tuple(entry) for entry in host.told]


def test_one_may_ask_for_one_task_only(world):
    host = world.host("a").start()
    stream = EventStream(world, host, "/events?task=t2")
    for task_id in ("t1", "t2"):
        world.owner(host).call("SubmitTask", world.echo([1], task_id=task_id))
    world.advance(1.0)
    assert {event["task_id"] for _, event in stream.read()} == {"t2"}


def test_who_comes_back_goes_on_behind_the_last_event(world):
    host = world.host("a").start()
    stream = EventStream(world, host)
    host.node.tell("note", "one")
    world.settle()
    assert [event["text"] for _, event in stream.read()] == ["one"]
    stream.browser.close()
    host.node.tell("note", "two")
    back = EventStream(world, host, last_event_id=stream.reader.last_id)
    assert [event["text"] for _, event in back.read()] == ["two"]


def test_who_never_got_an_event_comes_back_to_its_place_too(world):
    host = world.host("a").start()
    stream = EventStream(world, host)
    assert stream.read() == [] and stream.reader.last_id
    host.node.tell("note", "meanwhile")
    back = EventStream(world, host, last_event_id=stream.reader.last_id)
    assert [event["text"] for _, event in back.read()] == ["meanwhile"]


def test_who_comes_back_too_late_is_told_how_many_were_skipped(world):
    host = world.host("a", limits={"events_kept": 5}).start()
    stream = EventStream(world, host)
    stream.read()
    for number in range(12):
        host.node.tell("note", f"{number}")
    kinds = EventStream(world, host, last_event_id=stream.reader.last_id).read()
    assert kinds[0][0] == "skipped" and kinds[0][1]["count"] == 7 and "7 events were skipped" in kinds[0][1]["text"]
    assert [event["text"] for kind, event in kinds[1:]] == ["7", "8", "9", "10", "11"]


@pytest.mark.parametrize("last_id", ["another.3", "nonsense", "."])
def test_who_comes_from_before_a_restart_is_told_so(world, last_id):
    host = world.host("a").start()
    events = EventStream(world, host, last_event_id=last_id).read()
    assert [kind for kind, _ in events] == ["skipped"] and events[0][1]["count"] is None
    assert "started anew" in events[0][1]["text"]


def test_a_reader_that_does_not_read_gets_no_more_until_it_does_and_is_told_what_it_missed(world):
    host = world.host("a", limits={"events_kept": 100}).start()
    stream = EventStream(world, host)
    stream.read()
    stream.browser.waiting_bytes = host.limits.event_backlog_bytes
    for number in range(1000):
        host.node.tell("note", f"{number}")
    world.advance(60.0)
    assert stream.browser.sent == b"", "nothing more waits for it, not even a comment"
    stream.browser.waiting_bytes = 0
    world.advance(1.0)
    events = stream.read()
    assert events[0][1]["count"] == 900 and [event["text"] for _, event in events[1:101]] == [
        str(number) for number in range(900, 1000)]
    assert host.node.event_readers.skipped == 900


def test_silence_is_broken_by_comments(world):
    host = world.host("a").start()
    stream = EventStream(world, host)
    stream.read()
    world.advance(46.0)
    stream.read()
    assert stream.raw == 3 * SENT_COMMENT


def test_a_reader_that_is_gone_is_forgotten(world):
    host = world.host("a").start()
    stream = EventStream(world, host)
    assert len(host.node.event_readers) == 1
    stream.browser.close()
    host.node.tell("note", "to nobody")
    world.advance(60.0)
    assert len(host.node.event_readers) == 0


def test_readers_are_bounded_and_a_connection_reads_once(world):
    host = world.host("a", limits={"event_readers": 2}).start()
    first, _ = EventStream(world, host), EventStream(world, host)
    refused = EventStream(world, host)
    assert "503" in refused.head and b"2 readers of events are open here" in refused.browser.sent
    first.browser.close()
    assert "200 OK" in EventStream(world, host).head


def test_head_opens_no_stream(world):
    host = world.host("a").start()
    status, headers, body = world.browser(host).ask("HEAD", "/events", authorization=f"Bearer {host.token}")
    assert (status, body, len(host.node.event_readers)) == (200, b"", 0)


def test_a_node_that_stops_ends_its_streams(world):
    host = world.host("a").start()
    stream = EventStream(world, host)
    host.node.stop()
    world.settle()
    assert stream.browser.sent.endswith(b"\r\n0\r\n\r\n") and len(host.node.event_readers) == 0


# ---- GET /metrics ---------------------------------------------------------------------------------

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
SAMPLE = re.compile(rf"({NAME})(?:\{{(.*)\}})? (\S+)")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(?:,|$)')


def samples_of(page):
    """Read Prometheus's text format by its rules: {(name, labels): value}; every name has HELP and TYPE before it."""
    assert page.endswith("\n") and "\r" not in page
    types, helped, samples, done, last = {}, set(), {}, set(), None
    for line in page[:-1].split("\n"):
        if line.startswith("# HELP "):
            name = re.fullmatch(rf"# HELP ({NAME}) .+", line).group(1)
            assert name not in helped
            helped.add(name)
        elif line.startswith("# TYPE "):
            name, kind = re.fullmatch(rf"# TYPE ({NAME}) (counter|gauge)", line).groups()
            assert name in helped and name not in types
            types[name] = kind
        else:
            name, labels, value = SAMPLE.fullmatch(line).groups()
            assert name in types and (name == last or name not in done), "lines of one name stand together"
            assert name.endswith("_total") == (types[name] == "counter")
            done.add(name)
            last, rest, pairs = name, labels or "", []
            while rest:
                match = LABEL.match(rest)
                assert match, rest
                pairs.append(match.groups())
                rest = rest[match.end():]
            key = (name, tuple(pairs))
            assert key not in samples and len(dict(pairs)) == len(pairs)
            samples[key] = float(value)
    return samples


def test_what_was_passed_by_is_counted_wherever_it_was(world):
    host = world.host("a").start()
    owner = world.owner(host)
    owner.call("SubmitTask", world.echo([1], task_id="mine"))
    world.advance(1.0)
    host.node.attempts.scheduler.apply(AttemptSucceeded("mine/0.1"), host.clock.now())
    host.transport.arrive(b"no beacon", "10.0.0.9:5005")
    _, _, body = world.browser(host).ask("GET", "/metrics", authorization=f"Bearer {host.token}")
    odd = {dict(labels)["what"]: count for (name, labels), count in samples_of(body.decode()).items()
           if name == "discompute_oddities_total"}
    assert odd == {"bad_datagrams": 1, "late_attempts": 1}


def test_metrics_are_prometheus_text(world):
    host = world.host("a")
    host.name = 'odd "name"\\\nhere'
    host.start()
    world.host("b").start()
    world.advance(3.0)
    world.owner(host).call("SubmitTask", world.echo([1], task_id="mine"))
    world.advance(1.0)
    status, headers, body = world.browser(host).ask("GET", "/metrics", authorization=f"Bearer {host.token}")
    assert status == 200 and headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    samples = samples_of(body.decode())
    assert samples[("discompute_devices", (("status", "AVAILABLE"),))] == 2
    assert samples[("discompute_tasks", (("state", "COMPLETED"),))] == 1
    assert samples[("discompute_slots", ())] == host.node.slots
    assert samples[("discompute_events_total", (("event", "joined"),))] == 1
    name = next(dict(labels) for key, labels in samples if key == "discompute_info")["name"]
    assert name == r'odd \"name\"\\\nhere'


# ---- GET /api/tasks/ID ----------------------------------------------------------------------------


def test_one_task_is_told_as_its_method_tells_it(world):
    host = world.host("a").start()
    owner = world.owner(host)
    owner.call("SubmitTask", world.echo([1], task_id="mine"))
    world.advance(1.0)
    bearer = {"authorization": f"Bearer {host.token}"}
    status, _, body = world.browser(host).ask("GET", "/api/tasks/mine", **bearer)
    assert (status, json.loads(body)) == (200, owner.call("GetTaskStatus", {"task_id": "mine"}))
    for method, path, status, says in [
        ("GET", "/api/tasks/none", 404, "this node knows no task 'none'; /api/tasks lists them"),
        ("GET", "/api/tasks/a%2Fb", 404, "knows no task 'a/b'"), ("GET", "/api/tasks/", 404, "nothing at this path"),
        ("POST", "/api/tasks/mine", 405, "use GET here"), ("POST", "/events", 405, "use GET here"),
    ]:
        answer = world.browser(host).ask(method, path, **bearer)
        assert answer[0] == status and says in json.loads(answer[2])["error"], path
    for path in ("/api/tasks/mine", "/events", "/metrics"):
        assert world.browser(host).ask("GET", path)[0] == 401
