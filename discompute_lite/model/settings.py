"""Name every setting once: its file key, environment name, flag, default, meaning and documentation come from here.

Knows:   the table (the fields of `Settings`) and the order in which sources win: defaults, then the
         file, then the environment, then flags.
Refuses: to read files or the environment itself (faces hand in text), and to use a value that does
         not fit: a SettingsError names the setting, where its value came from and what to write.
Read next: model/setting_kinds.py (what fits), model/limits.py (what `limits` changes).

To add a setting, add one row to `Settings`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from .errors import SettingsError
from .limits import Limits
from .setting_kinds import (
    DEFAULT_DISCOVERY_PORT,
    DEFAULT_NODE_PORT,
    SettingKind,
    alias_kind,
    bind_kind,
    choice_kind,
    executor_kind,
    limits_kind,
    line_kind,
    number_kind,
    peers_kind,
    several_kind,
    switch_kind,
    whole_kind,
    words_like,
)
from .yaml_subset import read_yaml
from .yaml_writer import dump_scalar, dump_yaml

DISCOVERY_WAYS = ("broadcast", "mdns", "peers", "exchange", "sweep")
ACCEPT_WORDS = ("nobody", "named", "hash", "ask", "any")
ANNOUNCE_WORDS = ("open", "private", "off")
ENVIRONMENT_PREFIX = "DISCOMPUTE_"
#: Variables of ours that are no settings begin so: where the file is, and how patient and thorough the tests are.
RESERVED_ENVIRONMENT = ("DISCOMPUTE_CONFIG", "DISCOMPUTE_TEST_")
#: The flag, as often as a person likes, for addresses beside those of the setting `peers`.
PEER_FLAG = "--peer"
#: Where a value came from that neither a file nor the environment nor a flag gave.
SOURCE_DEFAULT, SOURCE_PROGRAM = "default", "the program"


#: By these a node meets others.
MEETING_SETTINGS = ("bind", "announce", "discovery", "discovery_port", "discovery_interface")


def setting_row(default: Any, kind: SettingKind, meaning: str, *, shown: str = "") -> Any:
    """Make one row of the table; `shown` says in words what a default of "", 0 or () stands for."""
    return field(default=default, metadata={"kind": kind, "meaning": meaning, "shown": shown})


@dataclass(frozen=True)
class Settings:
    """Hold the choices of the user, checked and in one form; made once by a face and changed by nobody.

    Making one with a value that does not fit raises SettingsError. Lists are held as tuples.
    """

    debug: bool = setting_row(False, switch_kind(), "say everything, and show stack traces")
    name: str = setting_row("", line_kind("NAME", 64), "what people call this device", shown="the device's own")
    device_id: str = setting_row("", alias_kind(), "an alias of your choice for the device's id", shown="none")
    port: int = setting_row(DEFAULT_NODE_PORT, whole_kind(0, 65535, "PORT"),
                            "where to listen, 0 for any; if taken and not set by you: the next free of 8081–8099, "
                            "else any")
    bind: str = setting_row("all", bind_kind(), "address to listen on; `127.0.0.1` keeps the node to this machine")
    from_internet: bool = setting_row(False, switch_kind(), "take connections from public addresses too, not only from "
                                      "private ones and this machine's networks")
    tls: bool = setting_row(True, switch_kind(), "encrypt; `false` is accepted only for a node that is alone")
    discovery: Tuple[str, ...] = setting_row(DISCOVERY_WAYS, several_kind("WAY,...", DISCOVERY_WAYS),
                                             "which ways of meeting other devices")
    discovery_port: int = setting_row(DEFAULT_DISCOVERY_PORT, whole_kind(1, 65535, "PORT"), "UDP port of announcements")
    discovery_interface: str = setting_row("all", line_kind("NAME", 64),
                                           "name or address of the interface to announce on")
    broadcast_interval: float = setting_row(2.5, number_kind(0.1, 3600, "SECONDS"), "seconds between announcements")
    peers: Tuple[str, ...] = setting_row((), peers_kind(), "host:port of nodes to contact", shown="[]")
    executor: str = setting_row("", executor_kind(), "where tasks run: process, thread, or `module:callable` "
                                "returning a `concurrent.futures.Executor`", shown="process (thread on iOS)")
    slots: int = setting_row(0, whole_kind(0, 1024, "N"), "subtasks at once", shown="CPU cores (1 on a phone)")
    battery_min: float = setting_row(0.20, number_kind(0, 1, "SHARE"),
                                     "charge, 0 to 1, below which there is no new work unless charging")
    accept: str = setting_row("", choice_kind("WHAT", ACCEPT_WORDS, blank=True),
                              "what members may run here: nobody, named tasks, approved by hash, ask each time, any",
                              shown="any (computers), ask (phones)")
    announce: str = setting_row("open", choice_kind("HOW", ANNOUNCE_WORDS), "what strangers see: open, private, off")
    interop: bool = setting_row(False, switch_kind(), "also hear and speak to EXO's port 5678")
    task_network: bool = setting_row(True, switch_kind(), "may tasks use the network")
    allow_pickle: bool = setting_row(False, switch_kind(), "let values of the Python interface that are no data travel "
                                     "as pickles, to and from devices that allow it too: reading one runs what its "
                                     "sender chose")
    state_dir: str = setting_row("", line_kind("FOLDER", 4096), "where identity, trust and journals are kept",
                                 shown="~/.discompute (~/Documents/.discompute on iOS)")
    limits: Tuple[Tuple[str, float], ...] = setting_row((), limits_kind(), "any limit of the limits table by name, "
                                                        "such as `line-bytes=4096`", shown="{}")
    #: Not a setting: name -> where its value came from, for the names that a source gave.
    sources: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        for setting in SETTINGS:
            value = setting.check(getattr(self, setting.name), self.sources.get(setting.name, SOURCE_PROGRAM))
            object.__setattr__(self, setting.name, value)

    def limits_for(self, phone: bool, work_memory_mb: int = 0, open_files: int = -1) -> Limits:
        """Return the limits of a phone, with so much memory for work, or a computer, with what `limits` changes.

        Of the files that it may open at once, where that is known, connections are half at most.
        """
        standard = Limits.for_phone(work_memory_mb) if phone else Limits()
        changes: Dict[str, Any] = {name.replace("-", "_"): number for name, number in self.limits}
        if open_files >= 0:
            changes.setdefault("connections", min(standard.connections, open_files // 2))
        return dataclasses.replace(standard, **changes)

    def source_of(self, name: str) -> str:
        """Say where a value came from: default, FILE line 3, environment DISCOMPUTE_PORT, --port, the program."""
        unchanged = getattr(self, name) == _SETTING_BY_NAME[name].default
        return self.sources.get(name, SOURCE_DEFAULT if unchanged else SOURCE_PROGRAM)

    def replace(self, **changes: Any) -> Settings:
        """Return a copy with `changes`, checked; their source becomes the program."""
        sources = {name: source for name, source in self.sources.items() if name not in changes}
        return dataclasses.replace(self, **{"sources": sources, **changes})

    def of_meeting(self) -> Dict[str, Any]:
        """Return those by which a node meets others, as JSON has them: `doctor` looks as the node does that runs."""
        return {name: _SETTING_BY_NAME[name].plain(getattr(self, name)) for name in MEETING_SETTINGS}


@dataclass(frozen=True)
class Setting:
    """Describe one row of the table."""

    #: As in Python, with underscores.
    name: str
    kind: SettingKind
    default: Any
    #: What the default is, in words that people read.
    default_text: str
    help: str

    @property
    def key(self) -> str:
        """The name in a file."""
        return self.name.replace("_", "-")

    @property
    def flag(self) -> str:
        """The name on a command line."""
        return "--" + self.key

    @property
    def environment(self) -> str:
        """The name of the variable."""
        return ENVIRONMENT_PREFIX + self.name.upper()

    def parse(self, text: str, source: str = SOURCE_PROGRAM) -> Any:
        """Return what `text` of a variable or a flag means; raises as `check` does."""
        return self.check(text, source)

    def check(self, value: Any, source: str = SOURCE_PROGRAM) -> Any:
        """Return `value`, text or typed, in the form that Settings hold; SettingsError when it does not fit."""
        try:
            return self.kind.take(value)
        except ValueError as misfit:
            part = repr(misfit.args[0])
            part = part if len(part) <= 60 else part[:57] + "..."
            wanted = misfit.args[1] if len(misfit.args) > 1 else self.kind.wanted
            raise SettingsError(f"{self.key} ({source}) cannot be {part}; write {wanted}") from None

    def show(self, value: Any) -> str:
        """Return `value` as a person reads it: YAML, or what an automatic one stands for in words."""
        if value == self.default and value in ("", 0, ()) and value is not False:
            return self.default_text
        return dump_yaml(self.kind.to_plain(value))

    def plain(self, value: Any) -> Any:
        """Return `value` as programs read it: numbers, text, lists; None where there is none."""
        return None if value == "" else self.kind.to_plain(value)


def _describe_setting(row: dataclasses.Field[Any]) -> Setting:
    kind, shown = row.metadata["kind"], row.metadata["shown"]
    text = shown or (", ".join(row.default) if isinstance(row.default, tuple) else dump_scalar(row.default))
    return Setting(row.name, kind, row.default, text, row.metadata["meaning"])


#: The table, in the order of the documentation.
SETTINGS: Tuple[Setting, ...] = tuple(
    _describe_setting(row) for row in dataclasses.fields(Settings) if "kind" in row.metadata)
_SETTING_BY_NAME: Dict[str, Setting] = {setting.name: setting for setting in SETTINGS}


def load_settings(
    flags: Mapping[str, Optional[str]], environ: Mapping[str, str], file_text: Optional[str], file_name: str,
) -> Settings:
    """Return the settings that file, environment and flags make together; later ones win, whole values at a time.

    `flags` maps Python names (hyphens are fine) to text; None means not given. An empty variable and
    an empty value in the file mean not given. `file_text` is None where there is no file.
    Every given value is checked, also one that a later source replaces.
    """
    values: Dict[str, Any] = {}
    sources: Dict[str, str] = {}
    found = _settings_in_file(file_text, file_name) if file_text is not None else []
    for setting, value, source in (*found, *_settings_in_environment(environ), *_settings_in_flags(flags)):
        values[setting.name] = setting.check(value, source)
        sources[setting.name] = source
    return Settings(sources=sources, **values)


def with_peers(settings: Settings, given: Sequence[str]) -> Settings:
    """Return the settings with these addresses beside those of `peers`; raise SettingsError for what is none.

    Whoever types an address wants it called: the way `peers` is on then.
    """
    if not given:
        return settings
    more = tuple(peer for text in given for peer in _SETTING_BY_NAME["peers"].check(text, PEER_FLAG))
    ways = settings.discovery if "peers" in settings.discovery else (*settings.discovery, "peers")
    sources = {**settings.sources, "peers": PEER_FLAG}
    return dataclasses.replace(settings, peers=(*settings.peers, *more), discovery=ways, sources=sources)


def peers_typed(settings: Settings) -> Tuple[str, ...]:
    """Return `peers` where they, or some of them, were typed with this command: a node that runs has not heard them."""
    return settings.peers if settings.source_of("peers") in (PEER_FLAG, "--peers") else ()


def unknown_environment(environ: Mapping[str, str]) -> Tuple[str, ...]:
    """Return the DISCOMPUTE_* variables that mean nothing to us: to warn about, as they may be a newer version's."""
    known = {setting.environment for setting in SETTINGS}
    ours = (name for name in environ if name.startswith(ENVIRONMENT_PREFIX) and name not in known)
    return tuple(sorted(name for name in ours if not name.startswith(RESERVED_ENVIRONMENT)))


def settings_rows(settings: Settings, here: Settings) -> List[Tuple[Setting, Any, str]]:
    """Return (setting, value, source) of every setting, for `config --show`; the values are those of `here`, in which
    the device has chosen what was left to it."""
    return [(setting, getattr(here, setting.name), settings.source_of(setting.name)) for setting in SETTINGS]


def _nearest_setting(key: str) -> str:
    close = words_like(key.replace("_", "-").lower(), [setting.key for setting in SETTINGS], likeness=0.5)
    return f"write {close[0]}" if close else "see `config --show` for the names of all settings"


def _settings_in_file(text: str, file_name: str) -> List[Tuple[Setting, Any, str]]:
    document = read_yaml(text, file_name)
    if document.value is None:
        return []
    if not isinstance(document.value, dict):
        raise SettingsError(f"{file_name} line 1: settings are expected here; write lines such as 'port: 8080'")
    by_key = {setting.key: setting for setting in SETTINGS}
    found = []
    for key, value in document.value.items():
        source = f"{file_name} line {document.lines[(key,)]}"
        if key not in by_key:
            raise SettingsError(f"{source}: there is no setting {key!r}; {_nearest_setting(key)}")
        if value is not None:
            found.append((by_key[key], value, source))
    return found


def _settings_in_environment(environ: Mapping[str, str]) -> List[Tuple[Setting, Any, str]]:
    return [(setting, environ[setting.environment], f"environment {setting.environment}")
            for setting in SETTINGS if environ.get(setting.environment)]


def _settings_in_flags(flags: Mapping[str, Optional[str]]) -> List[Tuple[Setting, Any, str]]:
    found = []
    for name, text in flags.items():
        setting = _SETTING_BY_NAME.get(name.replace("-", "_"))
        if setting is None:
            raise SettingsError(f"--{name.replace('_', '-')}: there is no such setting; {_nearest_setting(name)}")
        if text is not None:
            found.append((setting, text, setting.flag))
    return found
