"""Name every limit once, with its reason and what happens when it is hit.

Knows:   numbers. `Limits()` are a desktop's, `Limits.for_phone()` a phone's.
Refuses: to enforce anything; each limit names the module that does.
Read next: model/settings.py (`limits` there changes any of these by name).
"""

from __future__ import annotations

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
# These two hold where no settings are at hand: in whoever reads them, and in every process that runs a source.
#: A configuration file. Beyond: SettingsError. (model/yaml_subset)
CONFIG_BYTES = 1 * MIB
#: Source of a job or function: bounds the compiler's work. Beyond: TaskRejected. (tasks/jobs)
SOURCE_BYTES = 1 * MIB


@dataclass(frozen=True)
class Limits:
    """Hold one node's limits; a field's comment is its documentation."""

    #: A message's JSON line. Hostile JSON costs about 24 times its size in memory (measured), so
    #: 1 MiB bounds one message at some 25 MiB. Beyond: TooLarge, close. (wire/framing)
    line_bytes: int = 1 * MIB
    #: Attachments of one message: bounds the bookkeeping of a message. Beyond: TooLarge, close. (wire/framing)
    attachments: int = 256
    #: Attachments of one message together. Beyond: TooLarge, close, nothing allocated. (wire/framing)
    message_bytes: int = 1 * GIB
    #: Attachments that all connections together receive at once: two of the largest messages. Beyond: whoever comes
    #: later is read when there is room. (net/memory)
    receiving_bytes: int = 2 * GIB
    #: JSON nesting. CPython's own parser gives up near 1,000; nobody needs 64. Beyond: ParseError, close.
    #: (wire/framing)
    json_depth: int = 64
    #: Values in a line of more than 64 KiB, an object or list counting twice: the fullest of ours have 52,000, and one
    #: that is all `{}` would hold the loop for a fifth of a second. Beyond: ParseError, close. (wire/strict_json)
    json_values: int = 64 * KIB
    #: Calls of one batch: bounds the work of one line. Beyond: TooLarge, close. (wire/rpc)
    batch_calls: int = 256
    #: Calls of one link being answered at once; further ones wait unread. (wire/rpc)
    calls_in_flight: int = 1024
    #: Bytes waiting to be sent to a peer that does not read; beyond it we stop reading from it. (net/stream)
    send_buffer_bytes: int = 4 * MIB
    #: HTTP request line and headers together. Beyond: 431, close. (wire/http)
    http_head_bytes: int = 16 * KIB
    #: HTTP header lines. Beyond: 431, close. (wire/http)
    http_headers: int = 64
    #: Events that are kept for readers who come back or are slow: a few minutes of a busy node, some 1 MiB. Older ones
    #: are gone, and a reader that lacks them is told how many. (roles/event_log)
    events_kept: int = 2048
    #: Readers of events at once: each costs a connection. Beyond: 503. (roles/web_events)
    event_readers: int = 16
    #: Bytes that may wait for one slow reader of events; beyond it gets no more until it has read. (roles/web_events)
    event_backlog_bytes: int = 64 * KIB
    #: Seconds until the first message of a connection must be complete; idle strangers cost a slot. (net/stream)
    first_message_s: float = 10.0
    #: Seconds within which a message, once begun, must be complete: a member's slow Wi-Fi passes, a trickle
    #: does not. (net/stream)
    message_s: float = 600.0
    #: Seconds without a message after which a connection that is nobody's link is closed. (net/stream)
    idle_s: float = 120.0
    #: Connections of a node; where the system gives it fewer than 512 open files, half of these. Beyond: closed at
    #: accept. (net/listener)
    connections: int = 256
    #: Connections of one remote address: leaves room for others. Beyond: closed at accept. (net/listener)
    connections_per_address: int = 32
    #: Of `connections`, how many only 127.0.0.1 and ::1 may take, at most half: strangers at eight addresses must not
    #: shut the owner out. (net/listener)
    connections_for_owner: int = 16
    #: TLS handshakes under way at once: each costs a millisecond of computing. Beyond: refused with an alert.
    #: (net/tls_door)
    handshakes: int = 64
    #: Handshakes under way of one remote address: leaves room for others. Beyond: refused with an alert. (net/tls_door)
    handshakes_per_address: int = 8
    #: Handshakes of one remote address that may fail within a minute: a thousand a second would take a core. Beyond:
    #: refused with an alert until the minute is over. (net/tls_door)
    failed_handshakes: int = 60
    #: Seconds within which a handshake must be over; a member's takes milliseconds. (net/tls_door)
    handshake_s: float = 5.0
    #: Bytes of a handshake, all that is taken from whoever has not proved who it is; a member's are 3 KiB. Beyond:
    #: closed. (net/tls)
    handshake_bytes: int = 64 * KIB
    #: A discovery datagram: fits every MTU without IP fragmentation. Longer ones are ignored. (wire/beacon)
    datagram_bytes: int = 1200
    #: Datagrams read a second: half as many again as all beacons of a network may be. A flood beyond is left to the
    #: kernel, so it costs under a tenth of a core. (net/datagrams)
    datagrams_per_s: int = 150
    #: Unicast answers to beacons a second: discovery must not amplify a flood. (roles/announcer)
    beacon_replies_per_s: int = 50
    #: Addresses of the own network tried at once, when all other ways have found nobody: phones have 256 descriptors,
    #: and routers of homes lose what is more. (core/sweep)
    sweep_sockets: int = 48
    #: Devices in the registry. Verified ones never make room for unverified ones. (core/table)
    devices: int = 4096
    #: Addresses remembered for one device; the least promising goes first. (core/addresses)
    addresses_per_device: int = 8
    #: Devices told in one answer: about 1 KiB each keeps the answer under half of `line_bytes`. (roles/bounds)
    devices_per_answer: int = 512
    #: Idle links kept open; the one that was of use least recently is closed first. (roles/discovery)
    idle_links: int = 64
    #: Links opened before anybody needs them: enough for news to spread, and few enough that a crowd's heartbeats cost
    #: less than its beacons. Beyond: devices are known by beacon, and linked when there is a use. (core/dialling)
    links_sought: int = 16
    #: A text message, in bytes. Beyond: InvalidParams. (roles/post)
    message_text_bytes: int = 2 * KIB
    #: Text messages of one unverified address a minute. Beyond: Unavailable with retry_after. (roles/post)
    messages_per_minute: int = 5
    #: Unfinished tasks a node coordinates. Beyond: Unavailable. (roles/coordinator) And as many copies of others'
    #: tasks, of which each device has a share. Beyond: refused, it goes to another device. (roles/held_copies)
    tasks: int = 256
    #: Subtasks of one task: bounds what is kept of it. Beyond: the task fails. (roles/coordinator)
    subtasks: int = 4096
    #: Finished tasks whose results are kept; the oldest goes first. (roles/coordinator)
    finished_tasks: int = 64
    #: Seconds that a result waits on the disk for whoever submitted its task: a week's absence. Then it is deleted.
    #: (roles/coordinator)
    result_kept_s: float = 7 * 86400.0
    #: Seconds that a result stays in memory once it is acknowledged, for whoever looks twice. (roles/coordinator)
    acknowledged_kept_s: float = 600.0
    #: Seconds that the owner of a task may be gone before the node with its copy takes it over: a restart takes less.
    #: (roles/copies)
    owner_lease_s: float = 15.0
    #: Blobs kept on a device, all together: what some models need, and a disk has. What nobody uses makes room, what
    #: was used longest ago first; if that is not enough, calls that need another go elsewhere. (core/blobs)
    blob_bytes: int = 4 * GIB
    #: Blobs kept on a device: bounds the bookkeeping. Beyond: as for `blob_bytes`. (core/blobs)
    blobs: int = 1024
    #: A range in which blobs travel: a heartbeat waits behind two of them, and each costs a call. Beyond:
    #: InvalidParams. (roles/blobs)
    blob_range_bytes: int = 1 * MIB
    #: Vectors of trainings kept on a device, all together, as for blobs. Beyond: the training averages without this
    #: device. (roles/vectors)
    vector_bytes: int = 4 * GIB
    #: Outcomes kept for coordinators that have not acknowledged them, all together; beyond it the oldest goes.
    #: (roles/worker) And once more copies of others' tasks, as for `tasks`. (roles/held_copies)
    outcome_bytes: int = 256 * MIB
    #: A piece of work with all that it names. Where it runs in a process, that is bounded anyway; on a phone, whose
    #: system ends the app, a quarter of the memory. Beyond: Unavailable, it goes elsewhere. (roles/worker)
    work_bytes: int = 1 << 53
    #: Memory that all connections together keep for what they receive next, and averages for what they send: some of
    #: each would be a phone's whole budget. Beyond: fresh memory, which takes longer. (net/memory)
    receive_kept_bytes: int = 32 * MIB
    #: Seconds an outcome is kept for a coordinator that lost its link. (roles/worker)
    outcome_kept_s: float = 3600.0
    #: What a subtask may print; beyond it the rest is dropped and said so. (tasks/work)
    output_bytes: int = 1 * MIB
    #: Memory of a subtask's process and all that it starts, as a share of the device's: four at once still fit. Beyond:
    #: killed, and the task is to blame. (host/child_guard)
    task_memory_share: float = 0.25
    #: Address space of a task's process: not limited, as numeric libraries reserve far more than they use; whoever
    #: wants it gives a number. Beyond: MemoryError. (host/child_limits)
    task_address_bytes: int = 1 << 53
    #: One file that a task writes. Beyond: OSError EFBIG. (host/child_limits)
    task_file_bytes: int = 1 * GIB
    #: Files that a task's process has open: a leak shows early. Beyond: OSError EMFILE. (host/child_limits)
    task_open_files: int = 256
    #: Processes of a subtask at once: a pool has room, a fork bomb has not. Beyond: killed. (host/child_guard)
    task_processes: int = 32
    #: What a task keeps in its own folder, all files together. Beyond: killed. (host/child_guard)
    task_folder_bytes: int = 1 * GIB
    #: Files in a task's own folder: removing them takes time. Beyond: killed. (host/child_guard)
    task_folder_files: int = 10_000
    #: Requests that a task's process serves before another takes its place: what piles up in it goes.
    #: (host/process_executor)
    child_requests: int = 10_000
    #: Memory that a task's process may hold between two requests, or twice what it held after the first, whichever is
    #: more. Beyond: another takes its place, since Python seldom gives memory back. (host/process_executor)
    child_rest_bytes: int = 256 * MIB
    #: The sentence that says what a user's function raised; an exception's text may be as long as its maker likes. Its
    #: middle is left out. (tasks/work)
    error_text_bytes: int = 1 * KIB
    #: That sentence with the traceback of the function, of which the middle is left out. (tasks/work)
    error_trace_bytes: int = 8 * KIB
    #: Statements of a cluster, one for each device that ever belonged to it; the oldest go first, those that revoke
    #: last. (core/membership)
    statements: int = 4096
    #: One such statement as a line: names are cut to fit. Beyond: ParseError. (wire/statements)
    statement_bytes: int = 1 * KIB
    #: A message of the pairing exchange, which strangers may send. Beyond: TooLarge, close. (wire/pairing)
    pairing_line_bytes: int = 4 * KIB
    #: The message that brings a joiner its certificate and all statements. Beyond: TooLarge, close. (wire/pairing)
    pairing_body_bytes: int = 8 * MIB
    #: Wrong codes until an invitation ends: eight digits are guessed three times in a hundred million.
    #: (wire/invitation)
    pairing_tries: int = 3
    #: Seconds that an invitation is open, unless its maker said otherwise. (wire/invitation)
    pairing_open_s: float = 300.0
    #: Seconds for which the program is offered as a file, unless its owner said otherwise. (roles/sharing)
    share_open_s: float = 600.0
    #: Seconds within which each message of the pairing exchange must be there, people not counted. (wire/pairing)
    pairing_message_s: float = 10.0
    #: Connections of a pairing port: one joiner at a time has the place, the others hear so and hang up. Beyond: closed
    #: at accept. (net/pairing_door)
    pairing_lines: int = 32
    #: Such connections of one remote address. Beyond: closed at accept. (net/pairing_door)
    pairing_lines_per_address: int = 8

    @classmethod
    def for_phone(cls, work_memory_mb: int = 0) -> Limits:
        """Return what an app that the system ends for its memory can afford; `work_memory_mb` is 0 where not known."""
        work_bytes = work_memory_mb * MIB or 516 * MIB
        receive_kept_bytes = min(4 * MIB, work_bytes // 64)
        # A message, blobs, vectors and outcomes may all be there at once.
        part = min(128 * MIB, (work_bytes - receive_kept_bytes) // 4)
        return cls(
            message_bytes=part, receiving_bytes=part, connections=64, connections_per_address=16,
            connections_for_owner=8, devices=512, idle_links=16, links_sought=8, events_kept=512, event_readers=4,
            blob_bytes=part, blobs=64, vector_bytes=part, outcome_bytes=part, work_bytes=work_bytes,
            receive_kept_bytes=receive_kept_bytes,
        )
