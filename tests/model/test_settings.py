"""Settings: one table, four sources, one value; whatever does not fit is refused by name, source and advice."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from discompute_lite.model.errors import SettingsError
from discompute_lite.model.limits import Limits
from discompute_lite.model.setting_kinds import EMPTY_LIST_WORD
from discompute_lite.model.settings import (
    ACCEPT_WORDS,
    ANNOUNCE_WORDS,
    DISCOVERY_WAYS,
    SETTINGS,
    Settings,
    load_settings,
    peers_typed,
    settings_rows,
    unknown_environment,
    with_peers,
)
from discompute_lite.model.yaml_writer import dump_yaml

BY_NAME = {setting.name: setting for setting in SETTINGS}
LIMIT_FIELDS = {field.name.replace("_", "-"): field.default for field in dataclasses.fields(Limits)}


def load(*, flags=None, environ=None, file=None):
    return load_settings(flags or {}, environ or {}, file, "conf.yaml")


def assert_refused(words, **sources):
    with pytest.raises(SettingsError) as refusal:
        load(**sources)
    for word in words:
        assert word in refusal.value.message
    assert "\n" not in refusal.value.message and ";" in refusal.value.message
    assert refusal.value.exit_status == 2
    return refusal.value.message


# ---- any value, from any source ------------------------------------------------------------------

VISIBLE = st.text(alphabet=st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), min_size=1, max_size=64)
LINES = VISIBLE.map(str.strip).filter(lambda text: text and text.isprintable())
HOSTS = st.one_of(st.from_regex(r"\A[a-z]([a-z0-9-]{0,10}[a-z0-9])?(\.[a-z]{2,6})?\Z"), st.ip_addresses(v=4).map(str),
                  st.ip_addresses(v=6).map("[{}]".format)).filter(lambda host: host != "none")


def limit_numbers(name):
    whole = isinstance(LIMIT_FIELDS[name], int)
    numbers = st.integers(1, 2 ** 53) if whole else st.floats(0.001, 1e8)
    return numbers.map(lambda number: (name, number))


VALUES = {
    "name": LINES, "state_dir": LINES, "discovery_interface": LINES,
    "device_id": st.from_regex(r"\A[A-Z0189 _-]{1,7}[0189]\Z").map(str.strip),
    "port": st.integers(0, 65535), "discovery_port": st.integers(1, 65535), "slots": st.integers(0, 1024),
    "bind": st.one_of(st.just("all"), st.ip_addresses().filter(lambda item: not item.is_unspecified).map(str)),
    "discovery": st.sets(st.sampled_from(DISCOVERY_WAYS)).map(
        lambda ways: tuple(way for way in DISCOVERY_WAYS if way in ways)),
    "broadcast_interval": st.floats(0.1, 3600), "battery_min": st.floats(0, 1),
    "peers": st.lists(st.tuples(HOSTS, st.integers(1, 65535)).map("{0[0]}:{0[1]}".format), unique=True).map(tuple),
    "executor": st.sampled_from(["process", "thread", "pool:make", "my.pool:Pool.shared"]),
    "accept": st.sampled_from(ACCEPT_WORDS), "announce": st.sampled_from(ANNOUNCE_WORDS),
    "limits": st.sets(st.sampled_from(sorted(LIMIT_FIELDS))).flatmap(
        lambda names: st.tuples(*[limit_numbers(name) for name in LIMIT_FIELDS if name in names])),
}


def write_setting(value):
    """The text that reads back as `value`: for a variable or a flag."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        items = ["=".join(map(str, item)) if isinstance(item, tuple) else item for item in value]
        return ",".join(items) or EMPTY_LIST_WORD
    return str(value)


def values_of(setting):
    return st.booleans() if isinstance(setting.default, bool) else VALUES[setting.name]


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda each: each.name)
@effort(max_examples=3 * effort.default.max_examples // 10)
@given(st.data())
def test_a_value_is_the_same_from_file_environment_and_flag(setting, data):
    value = data.draw(values_of(setting))
    text = write_setting(value)
    from_file = load(file=f"{setting.key}: {dump_yaml(setting.kind.to_plain(value))}")
    from_quoted_text = load(file=f"{setting.key}: {dump_yaml(text)}")
    from_environment = load(environ={setting.environment: text})
    from_flag = load(flags={setting.name: text})
    expected = Settings(**{setting.name: value})
    assert getattr(expected, setting.name) == value and type(getattr(expected, setting.name)) is type(value)
    assert from_file == from_quoted_text == from_environment == from_flag == expected
    assert from_file.source_of(setting.name) == "conf.yaml line 1"
    assert from_environment.source_of(setting.name) == f"environment {setting.environment}"
    assert from_flag.source_of(setting.name) == setting.flag


@given(st.sampled_from(SETTINGS), st.text(max_size=20))
def test_any_text_is_taken_or_refused_by_name(setting, text):
    try:
        taken = load(flags={setting.name: text})
    except SettingsError as refusal:
        assert refusal.message.startswith(f"{setting.key} ({setting.flag}) cannot be ")
    else:
        assert load(flags={setting.name: write_setting(getattr(taken, setting.name))}) == taken


# ---- which source wins ---------------------------------------------------------------------------


def test_defaults_are_the_documented_ones():
    settings = load()
    assert settings == Settings()
    assert (settings.port, settings.discovery_port, settings.broadcast_interval) == (8080, 5005, 2.5)
    assert settings.tls and settings.task_network and not settings.interop
    assert settings.discovery == ("broadcast", "mdns", "peers", "exchange", "sweep")
    assert (settings.bind, settings.announce, settings.battery_min) == ("all", "open", 0.2)
    assert {settings.source_of(setting.name) for setting in SETTINGS} == {"default"}


def test_flags_win_over_environment_over_file_over_defaults():
    environ = {"DISCOMPUTE_PORT": "2", "DISCOMPUTE_SLOTS": "2"}
    settings = load(file="name: a\nport: 1\nslots: 1", environ=environ, flags={"slots": "3"})
    assert (settings.name, settings.port, settings.slots, settings.bind) == ("a", 2, 3, "all")
    assert [settings.source_of(name) for name in ("name", "port", "slots", "bind")] == [
        "conf.yaml line 1", "environment DISCOMPUTE_PORT", "--slots", "default"]


def test_a_default_that_was_given_has_its_source():
    assert load(flags={"port": "8080"}).source_of("port") == "--port"


def test_a_list_replaces_a_list_whole():
    file = "peers: [a, b]\nlimits: {tasks: 1}"
    settings = load(file=file, environ={"DISCOMPUTE_PEERS": "c"}, flags={"limits": "none"})
    assert settings.peers == ("c:8080",) and settings.limits == ()


def test_what_is_empty_or_none_is_not_given():
    file = "# nothing\nport:\npeers: ~"
    settings = load(file=file, environ={"DISCOMPUTE_PORT": ""}, flags={"port": None, "name": None})
    assert settings.source_of("port") == settings.source_of("peers") == "default"
    assert load(file="") == load(file="---\n") == load(file=None) == Settings()


def test_an_empty_flag_takes_a_text_back_to_automatic():
    assert load(file="name: Ada", flags={"name": ""}).name == ""


def test_a_wrong_value_is_refused_even_where_another_wins():
    assert_refused(["port", "conf.yaml line 1"], file="port: no", flags={"port": "1"})


def test_flags_may_have_hyphens():
    assert load(flags={"device-id": "Ada"}).device_id == load(flags={"device_id": "Ada"}).device_id == "Ada"


# ---- names that are no settings ------------------------------------------------------------------


@pytest.mark.parametrize("key, words", [
    ("device_id: x", ["conf.yaml line 1", "write device-id"]),
    ("\nprot: 1", ["conf.yaml line 2", "'prot'", "write port"]),
    ("Port: 1", ["write port"]), ("brodcast-intervall: 3", ["write broadcast-interval"]),
    ("zzzz: 1", ["config --show"]),
    ("- port", ["line 1", "port: 8080"]), ("port 8080", ["line 1", "port: 8080"]), ("sources: {}", ["no setting"]),
    ("port: 1\nport: 2", ["line 2", "second time"]),
])
def test_a_file_that_says_something_else_is_refused(key, words):
    assert_refused(words, file=key)


def test_an_unknown_flag_is_refused():
    assert_refused(["--prot", "write port"], flags={"prot": "1"})


def test_unknown_variables_are_told_not_refused():
    environ = {"DISCOMPUTE_PROT": "1", "DISCOMPUTE_PORT": "1", "DISCOMPUTE_CONFIG": "x", "DISCOMPUTE_TEST_SCALE": "2",
               "PATH": "x", "DISCOMPUTE_A": "1"}
    assert load(environ=environ).port == 1
    assert unknown_environment(environ) == ("DISCOMPUTE_A", "DISCOMPUTE_PROT")


# ---- what fits -----------------------------------------------------------------------------------

TAKEN = [
    ("debug", "1", True), ("debug", " Yes ", True), ("tls", "off", False), ("tls", "0", False),
    ("port", "0x1F90", 8080),
    ("port", "010", 10), ("broadcast_interval", "3", 3.0), ("battery_min", "1e-1", 0.1),
    ("bind", "localhost", "127.0.0.1"),
    ("bind", "0:0:0:0:0:0:0:1", "::1"), ("bind", "127.0.0.5", "127.0.0.5"),
    ("bind", "0.0.0.0", "all"), ("bind", "::", "all"), ("bind", " 0:0:0:0:0:0:0:0 ", "all"), ("bind", "all", "all"),
    ("discovery", "sweep, mdns", ("mdns", "sweep")),
    ("discovery", "none", ()),
    ("peers", "h, 10.0.0.1:1,[::1], [0::2]:3", ("h:8080", "10.0.0.1:1", "[::1]:8080", "[::2]:3")),
    ("peers", "a,a:8080", ("a:8080",)), ("peers", "none", ()), ("peers", "none:1", ("none:1",)), ("executor", "", ""),
    ("peers", "[fe80::1%en0]:8080", ("[fe80::1%en0]:8080",)),
    ("limits", "attachments=8, line-bytes=4096", (("line-bytes", 4096), ("attachments", 8))),
    ("limits", "idle-s=5", (("idle-s", 5.0),)), ("device_id", "kitchen", "kitchen"),
    ("device_id", "work-shop", "work-shop"),
    ("device_id", "Living room", "Living room"), ("device_id", "a" * 53, "a" * 53),
    ("name", " Ada’s Mac ", "Ada’s Mac"),
]
WRONG = [
    ("debug", "maybe"), ("debug", ""), ("debug", "2"), ("port", "-1"), ("port", "65536"), ("port", "8080.0"),
    ("port", "abc"),
    ("port", ""), ("port", "1e400"), ("port", "9" * 500), ("port", "true"), ("port", "8_080"), ("port", "٣"),
    ("broadcast_interval", "0"), ("broadcast_interval", ".nan"), ("broadcast_interval", ".inf"), ("battery_min", "20"),
    ("battery_min", "20%"), ("bind", "eth0"), ("bind", "300.1.1.1"), ("bind", "127.1"), ("bind", "ALL"), ("bind", ""),
    ("discovery", "pigeon"), ("discovery", "mdns,,sweep"), ("peers", "a:0"), ("peers", "a:65536"), ("peers", "::1"),
    ("peers", "a b"), ("peers", "a,"), ("peers", "http://a"), ("peers", "1.2.3.400"), ("peers", "[1.2.3.4]:1"),
    ("peers", "[x]:1"), ("peers", "-a"), ("peers", "a:b"), ("peers", "[::1"), ("peers", "bücher"), ("executor", "fork"),
    ("executor", "a:b:c"), ("executor", "a.:b"), ("executor", "a b:c"), ("slots", "1025"), ("accept", "all"),
    ("announce", "Open"), ("announce", ""), ("name", "a" * 65), ("name", "a\nb"), ("name", "   "), ("name", "\x1b[31m"),
    ("device_id", "k3fq7zt2"), ("device_id", "abcdefgh"), ("device_id", "WORKSHOP"),
    ("device_id", "a" * 52), ("device_id", "mac:8080"), ("state_dir", "a\0b"), ("limits", "tasks=0"),
    ("limits", "tasks=-1"),
    ("limits", "tasks=1.5"), ("limits", "tasks"), ("limits", "tasks=1,tasks=2"),
    ("limits", "tasks=1=2"), ("limits", "idle-s=.inf"), ("limits", "idle-s=.nan"), ("limits", "tasks=1e99"),
]


@pytest.mark.parametrize("name, text, value", TAKEN)
def test_text_that_fits(name, text, value):
    taken = getattr(load(flags={name: text}), name)
    assert taken == value and type(taken) is type(value)


def test_a_limit_by_a_wrong_name_is_answered_by_the_names_that_are_close():
    message = assert_refused(["'line_bytes'", "write line-bytes or "], flags={"limits": "line_bytes=1"})
    assert len(message) < 200
    assert_refused(["'zzz'", "write one of ", "line-bytes", "idle-s"], flags={"limits": "zzz=1"})


@pytest.mark.parametrize("name, text", WRONG, ids=lambda each: repr(each)[:24])
def test_text_that_does_not_fit(name, text):
    setting = BY_NAME[name]
    assert_refused([f"{setting.key} ({setting.flag}) cannot be", "write " + setting.kind.wanted], flags={name: text})
    if text:
        assert_refused([f"({'environment ' + setting.environment})"], environ={setting.environment: text})


@pytest.mark.parametrize("file, words", [
    ("name: 007", ["name", "7", "quotes"]), ("name: true", ["True", "quotes"]),
    ("peers: {a: 1}", ["peers", "host:port"]),
    ("peers: [a, 'b:0']", ["'b:0'"]), ("peers: [1]", ["cannot be 1"]), ("debug: 2", ["true or false"]),
    ("debug: []", ["true or false"]), ("port: 80.5", ["80.5", "0 to 65535"]), ("port: true", ["True"]),
    ("port: [1]", ["whole number"]), ("announce: false", ["one of open, private, off"]), ("bind: 127", ["127.0.0.1"]),
    ("limits: {line-byte: 1}", ["'line-byte'", "line-bytes"]), ("limits: {tasks: 0}", ["cannot be 0", "above 0"]),
    ("limits: {tasks: true}", ["True"]), ("limits: [tasks]", ["'tasks'"]), ("limits: [1]", ["cannot be 1"]),
    ("limits: 5", ["cannot be 5"]), ("executor: 1", ["module:callable"]), ("discovery: true", ["broadcast"]),
    ("name: " + "x" * 5000, ["xxx...", "64"]),
])
def test_a_file_value_that_does_not_fit(file, words):
    message = assert_refused(["conf.yaml line 1", "write", *words], file=file)
    assert len(message) < 400


def test_yes_and_off_mean_what_they_say():
    assert load(file="debug: yes\ntls: off\nannounce: off\ninterop: 1") == Settings(
        debug=True, tls=False, announce="off", interop=True)


def test_a_bad_yaml_file_is_refused_with_its_line():
    assert_refused(["conf.yaml line 2", "tab"], file="port: 1\n\tname: x")


# ---- the settings themselves ---------------------------------------------------------------------


def test_settings_made_in_code_are_checked_and_brought_into_form():
    settings = Settings(peers=["a"], limits={"tasks": 3}, bind="localhost", battery_min=1)
    assert (settings.peers, settings.limits, settings.bind) == (("a:8080",), (("tasks", 3),), "127.0.0.1")
    assert type(settings.battery_min) is float
    assert settings.source_of("peers") == "the program" and settings.source_of("port") == "default"
    with pytest.raises(SettingsError, match=r"port \(the program\) cannot be 70000"):
        Settings(port=70000)
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.port = 1
    assert hash(settings) == hash(settings.replace())


def test_replacing_checks_and_forgets_the_old_source():
    settings = load(flags={"port": "1", "name": "Ada"})
    changed = settings.replace(port=2)
    assert (changed.port, changed.source_of("port")) == (2, "the program")
    assert changed.source_of("name") == "--name" and settings.port == 1
    with pytest.raises(SettingsError, match="slots"):
        settings.replace(slots=-1)


def test_limits_are_changed_by_name_on_phone_and_computer():
    settings = load(file="limits: {line-bytes: 4096, idle-s: 5}")
    for phone, standard in ((False, Limits()), (True, Limits.for_phone())):
        assert settings.limits_for(phone) == dataclasses.replace(standard, line_bytes=4096, idle_s=5.0)
        assert Settings().limits_for(phone) == standard
    assert Limits() != Limits.for_phone()


@pytest.mark.parametrize("open_files, connections", [(-1, 256), (1024, 256), (512, 256), (256, 128), (200, 100)])
def test_connections_leave_half_of_the_open_files_to_all_else(open_files, connections):
    assert Settings().limits_for(False, open_files=open_files) == dataclasses.replace(Limits(), connections=connections)
    assert load(file="limits: {connections: 300}").limits_for(False, open_files=open_files).connections == 300


# ---- the table -----------------------------------------------------------------------------------

CLI_PAGE = {
    "debug", "name", "device-id", "port", "bind", "tls", "discovery", "discovery-port", "discovery-interface",
    "broadcast-interval", "peers", "executor", "slots", "battery-min", "accept", "announce", "interop", "task-network",
    "state-dir",
}


def test_every_documented_setting_is_there_with_three_names():
    assert {setting.key for setting in SETTINGS} >= CLI_PAGE
    setting = BY_NAME["device_id"]
    assert (setting.key, setting.flag, setting.environment) == ("device-id", "--device-id", "DISCOMPUTE_DEVICE_ID")
    for setting in SETTINGS:
        assert setting.help and setting.default_text and setting.kind.label and setting.kind.wanted
        assert setting.check(setting.default) == setting.default
    # argparse reads % in a help text as a format.
    assert not [setting.key for setting in SETTINGS if "%" in setting.help]


def shown(settings):
    """Return key -> (what people read, source) as `config` shows it where the device chooses nothing."""
    return {setting.key: (setting.show(value), source) for setting, value, source in settings_rows(settings, settings)}


def test_rows_show_values_and_say_automatic_ones_in_words():
    rows = shown(load(flags={"peers": "a,b", "slots": "2"}))
    assert list(rows) == [setting.key for setting in SETTINGS]
    assert rows["peers"] == ("[a:8080, b:8080]", "--peers") and rows["slots"] == ("2", "--slots")
    assert rows["name"] == ("the device's own", "default") and rows["tls"] == ("true", "default")
    assert rows["state-dir"] == ("~/.discompute (~/Documents/.discompute on iOS)", "default")
    assert shown(Settings(port=0, battery_min=0))["port"] == ("0", "the program")
    assert shown(Settings())["slots"] == ("CPU cores (1 on a phone)", "default")


def test_rows_have_the_values_that_the_device_chose_and_say_that_nobody_else_did():
    rows = {each.key: (value, source) for each, value, source in settings_rows(Settings(), Settings(slots=8, name="x"))}
    assert rows["slots"] == (8, "default") and rows["name"] == ("x", "default")


def test_programs_read_values_as_what_they_are():
    settings = load(flags={"peers": "a,b", "limits": "line-bytes=4096", "slots": "2"})
    plain = {each.key: each.plain(value) for each, value, _ in settings_rows(settings, settings)}
    assert (plain["port"], plain["tls"], plain["slots"], plain["name"]) == (8080, True, 2, None)
    assert plain["peers"] == ["a:8080", "b:8080"] and plain["limits"] == {"line-bytes": 4096}


# ---- addresses that are typed ----------------------------------------------------------------------


def test_addresses_that_are_typed_stand_beside_those_of_the_file():
    settings = with_peers(load(file="peers: [10.0.0.2]"), ["10.0.0.3:81", "10.0.0.2,attic"])
    assert settings.peers == ("10.0.0.2:8080", "10.0.0.3:81", "attic:8080")
    assert settings.source_of("peers") == "--peer" and peers_typed(settings) == settings.peers


def test_whoever_types_an_address_wants_it_called():
    assert with_peers(load(flags={"discovery": "mdns"}), ["attic"]).discovery == ("mdns", "peers")
    assert with_peers(load(flags={"discovery": "mdns"}), []).discovery == ("mdns",)


@pytest.mark.parametrize("sources, typed", [
    ({"file": "peers: [10.0.0.2]"}, ()), ({"environ": {"DISCOMPUTE_PEERS": "10.0.0.2"}}, ()),
    ({"flags": {"peers": "10.0.0.2"}}, ("10.0.0.2:8080",)), ({}, ()),
])
def test_only_what_was_typed_is_news_to_a_node_that_runs(sources, typed):
    assert peers_typed(load(**sources)) == typed


@pytest.mark.parametrize("text", ["300.1.1.1", "a:0", "a:b:c", "[::1", "a b"])
def test_what_is_typed_and_no_address_is_refused_by_the_flag(text):
    with pytest.raises(SettingsError) as refusal:
        with_peers(load(), [text])
    assert "--peer" in refusal.value.message and "; write host or host:port" in refusal.value.message
