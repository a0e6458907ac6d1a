"""TLS without a socket: members understand each other, nobody else gets a byte read, and nothing is ever wrong."""

from __future__ import annotations

import ssl
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from discompute_lite.crypto import certificates
from discompute_lite.crypto.p256 import device_id, pem, pkcs8_der, private_key
from discompute_lite.host.detect import has_tls
from discompute_lite.host.probe import Probe
from discompute_lite.host.this_device import start_warnings
from discompute_lite.model.errors import ProtocolError, StateError, Unauthenticated, Unavailable
from discompute_lite.model.limits import KIB, MIB, Limits
from discompute_lite.model.settings import Settings
from discompute_lite.net.loop import Loop
from discompute_lite.net.tls import ALPN_HTTP, ALPN_RPC, TlsIdentity, TlsPipe, make_tls_context, why_no_tls
from discompute_lite.net.tls_channel import TlsChannel
from discompute_lite.net.tls_door import TlsDoor

LIMITS = Limits()


class Stranger:
    """A TLS client of somebody else's making, with the same way of being fed as a pipe."""

    def __init__(self, context):
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing)
        self.error = None
        self.is_in = False
        self.receive_data(b"")

    def receive_data(self, data):
        self.incoming.write(data)
        try:
            if not self.is_in:
                self.tls.do_handshake()
                self.is_in = True
                # In TLS 1.3 a client is done before it is judged: it may say something at once.
                self.tls.write(b"let me in")
            self.tls.read(100)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self.error = error

    def data_to_send(self):
        return self.outgoing.read()


def carry(one, other, step=0):
    """Carry ciphertext until there is none, in pieces of `step` bytes; return how much went each way."""
    carried = [0, 0]
    while True:
        moved = 0
        for way, (source, target) in enumerate(((one, other), (other, one))):
            data = source.data_to_send()
            for start in range(0, len(data), step or len(data) or 1):
                target.receive_data(data[start:start + (step or len(data))])
            carried[way] += len(data)
            moved += len(data)
        if not moved:
            return carried


def pipe_of(identity, is_server):
    return TlsPipe(make_tls_context(identity, is_server=is_server), LIMITS, is_server=is_server, deadline=0.0)


def strange_context(identity=None):
    """Return a client's context that takes any server and shows what it is given."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols([ALPN_RPC])
    if identity is not None:
        context.load_cert_chain(identity.certificate_file, identity.key_file)
    return context


@pytest.fixture
def cluster(make_cluster):
    return make_cluster(1)


@pytest.fixture
def pair(cluster):
    """Return a maker of (client, server), connected to each other."""

    def make(step=0):
        client, server = pipe_of(cluster.device(1)[1], False), pipe_of(cluster.device(2)[1], True)
        carry(client, server, step)
        return client, server

    return make


# ---- members ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [0, 1, 7])
def test_members_shake_hands_and_prove_their_ids(pair, cluster, step):
    client, server = pair(step)
    assert (client.state, server.state) == ("open", "open")
    assert (client.device_id, server.device_id) == (cluster.device(2)[0], cluster.device(1)[0])
    assert client.protocol == server.protocol == ALPN_RPC


@pytest.mark.parametrize("step", [0, 1])
def test_plaintext_crosses_in_both_directions(pair, step):
    client, server = pair()
    server.write(b"hello")
    client.write(b"good")
    client.write(b" day")
    carry(client, server, step)
    assert client.read(100) == b"hello" and server.read(4) == b"good"
    assert server.has_received and server.read(100) == b" day"
    assert not server.has_received and client.read(100) == server.read(100) == b""


def test_much_plaintext_crosses_into_a_buffer(pair):
    client, server = pair()
    data = bytes(range(256)) * (4 * KIB)
    client.write(data)
    carry(client, server)
    received, view = bytearray(len(data)), memoryview(bytearray(len(data)))
    filled = 0
    while filled < len(data):
        count = server.read_into(view[:50_000])
        assert count
        received[filled:filled + count] = view[:count]
        filled += count
    assert received == data and server.read_into(view) == 0


class OneRead:
    """Be a socket that has so many bytes and no more, and gives `step` of them at a time."""

    def __init__(self, data, step=MIB):
        self.data, self.step = data, step

    def recv(self, size):
        data, self.data = self.data[:min(size, self.step)], self.data[min(size, self.step):]
        if not data:
            raise BlockingIOError
        return data

    def recv_into(self, view):
        data = self.recv(len(view))
        view[:len(data)] = data
        return len(data)

    def send(self, data):
        return len(data)


def test_a_line_is_read_without_what_follows_it_where_that_is_much(pair):
    client, server = pair()
    for data in (b"line one\n", b"line two\n", bytes(100_000)):
        client.write(data)
    channel = TlsChannel(OneRead(client.data_to_send()), server, lambda: None, lambda: None)
    assert [channel.recv(64 * KIB) for _ in range(2)] == [b"line one\n", b"line two\n"]
    view = memoryview(bytearray(200_000))
    assert channel.has_received and channel.recv_into(view) == 100_000 and not channel.has_received
    client.write(b"three\n")
    client.write(b"four\n")
    channel = TlsChannel(OneRead(client.data_to_send()), server, lambda: None, lambda: None)
    assert channel.recv(64 * KIB) == b"three\nfour\n"


@pytest.mark.parametrize("step", [1009, 16406, 70_000, MIB])
def test_a_large_message_comes_by_the_memory_that_it_is_for(pair, step):
    client, server = pair()
    data = bytes(range(251)) * 1200
    client.write(data)
    client.write(b"next\n")
    channel = TlsChannel(OneRead(client.data_to_send(), step), server, lambda: None, lambda: None)
    received = bytearray(len(data))
    # In one go, whatever the socket gives at a time; and nothing of what follows it.
    assert channel.recv_into(memoryview(received)) == len(data) and received == data
    assert channel.recv(100) == b"next\n"
    with pytest.raises(BlockingIOError):
        channel.recv_into(memoryview(received))


def test_what_has_come_of_a_large_message_is_told_and_the_rest_comes_later(pair):
    client, server = pair()
    data = bytes(range(251)) * 1200
    client.write(data)
    ciphertext = client.data_to_send()
    sock = OneRead(ciphertext[:100_000])
    channel = TlsChannel(sock, server, lambda: None, lambda: None)
    received = bytearray(len(data))
    # Six records are whole.
    filled = channel.recv_into(memoryview(received))
    assert filled == 6 * 16 * KIB and received[:filled] == data[:filled]
    sock.data = ciphertext[100_000:]
    assert channel.recv_into(memoryview(received)[filled:]) == len(data) - filled and received == data
    client.close()
    sock.data = client.data_to_send()
    assert channel.recv_into(memoryview(received)) == 0


def test_a_large_message_has_its_turn_and_then_others_have_theirs(pair):
    client, server = pair()
    client.write(bytes(3 * MIB))
    channel = TlsChannel(OneRead(client.data_to_send()), server, lambda: None, lambda: None)
    view = memoryview(bytearray(4 * MIB))
    assert [channel.recv_into(view) for _ in range(3)] == [MIB] * 3


def test_a_record_of_a_large_message_that_was_changed_is_given_to_nobody(pair):
    client, server = pair()
    client.write(bytes(10 * 16 * KIB))
    ciphertext = bytearray(client.data_to_send())
    ciphertext[5 * 16406 + 100] ^= 1
    channel = TlsChannel(OneRead(bytes(ciphertext), 3 * 16406), server, lambda: None, lambda: None)
    view = memoryview(bytearray(MIB))
    with pytest.raises(ConnectionError):
        channel.recv_into(view)
    with pytest.raises(ConnectionError):
        channel.recv_into(view)
    assert server.state == "broken"


def test_an_end_is_told_and_the_other_direction_stays(pair):
    client, server = pair()
    client.write(b"last")
    client.close()
    carry(client, server)
    assert server.read(100) == b"last" and server.read(100) == b""
    assert server.state == "ended"
    server.write(b"too late for you, but allowed")
    assert server.data_to_send()


def test_http_is_chosen_by_its_name(cluster):
    device, identity = cluster.device(1)
    server, context = pipe_of(cluster.device(2)[1], True), strange_context(identity)
    context.set_alpn_protocols([ALPN_HTTP])
    carry(Stranger(context), server)
    assert (server.state, server.protocol, server.device_id) == ("open", ALPN_HTTP, device)


def test_row_36_a_certificate_that_has_expired_is_accepted(cluster, monkeypatch):
    """Membership ends by revocation: a clock that is wrong must lock nobody out."""
    monkeypatch.setattr(certificates, "_VALIDITY", certificates.der_sequence(
        certificates.der_value(certificates.DER_UTC_TIME, b"000101000000Z"),
        certificates.der_value(certificates.DER_UTC_TIME, b"010101000000Z")))
    client, server = pipe_of(cluster.device(1)[1], False), pipe_of(cluster.device(2)[1], True)
    carry(client, server)
    assert (client.state, server.state) == ("open", "open")


# ---- everybody else ---------------------------------------------------------------------------------------------


def self_signed(cluster):
    key = private_key(77)
    certificate = certificates.pairing_certificate(key, serial=b"serial number 2")
    return cluster.identity("alone", pem("CERTIFICATE", certificate), pem("PRIVATE KEY", pkcs8_der(key)))


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
@pytest.mark.parametrize("shows", ["nothing", "another cluster's", "its own"])
def test_row_04_a_stranger_gets_an_alert_and_nothing_of_it_is_read(cluster, make_cluster, shows, version):
    shown = {"nothing": None, "another cluster's": make_cluster(2).device(1)[1], "its own": self_signed(cluster)}[shows]
    context = strange_context(shown)
    context.maximum_version = getattr(ssl.TLSVersion, version)
    stranger, server = Stranger(context), pipe_of(cluster.device(2)[1], True)
    carry(stranger, server)
    assert server.state == "broken" and isinstance(server.error, Unauthenticated)
    assert "Pair this device first" in server.error.message
    assert server.read(100) == b"" and server.device_id == ""
    assert stranger.error is not None, "it is told"


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_row_05_a_device_that_a_member_has_signed_is_refused_with_the_members_certificate_too(cluster, version):
    member, made = private_key(2001), private_key(78)
    signed = pem("CERTIFICATE", certificates.device_certificate(member, made.public, serial=b"serial number 5"))
    chain = signed + cluster.certificate(member)
    context = strange_context(cluster.identity("made", chain, pem("PRIVATE KEY", pkcs8_der(made))))
    context.maximum_version = getattr(ssl.TLSVersion, version)
    stranger, server = Stranger(context), pipe_of(cluster.device(2)[1], True)
    carry(stranger, server)
    assert isinstance(server.error, Unauthenticated) and server.device_id == "" and server.read(100) == b""
    assert stranger.error is not None, "it is told"


def test_a_server_of_another_cluster_is_not_believed(cluster, make_cluster):
    client, server = pipe_of(cluster.device(1)[1], False), pipe_of(make_cluster(2).device(2)[1], True)
    carry(client, server)
    assert client.state == "broken" and isinstance(client.error, Unauthenticated)
    assert server.state == "broken", "it heard the alert"


@pytest.mark.parametrize("names", [[], ["h2"]])
def test_row_09_whoever_names_nothing_that_is_spoken_here_is_refused(cluster, names):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    identity = cluster.device(1)[1]
    context.load_cert_chain(identity.certificate_file, identity.key_file)
    if names:
        context.set_alpn_protocols(names)
    server = pipe_of(cluster.device(2)[1], True)
    carry(Stranger(context), server)
    assert server.state == "broken" and "ALPN" in server.error.message
    assert server.read(100) == b""


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_row_09_old_tls_is_refused(cluster):
    context = strange_context(cluster.device(1)[1])
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    server = pipe_of(cluster.device(2)[1], True)
    stranger = Stranger(context)
    assert carry(stranger, server)[0], "it said something"
    assert server.state == "broken" and stranger.error is not None


def test_contexts_are_strict_from_the_start(cluster):
    for is_server in (True, False):
        context = make_tls_context(cluster.device(1)[1], is_server=is_server)
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2
        assert context.cert_store_stats() == {"x509": 1, "crl": 0, "x509_ca": 1}, "the cluster is the only root"
        assert context.options & ssl.OP_NO_TICKET and not context.options & 0x80
        assert all("DHE" in suite["name"] or suite["protocol"] == "TLSv1.3" for suite in context.get_ciphers())


def test_no_device_is_named_in_the_clear(pair, cluster):
    client = pipe_of(cluster.device(1)[1], False)
    assert b"discompute" in client.data_to_send(), "its protocol's name, in ALPN"
    assert cluster.device(2)[0].encode() not in client.data_to_send()


# ---- bytes that nobody should send ------------------------------------------------------------------------------


@pytest.mark.parametrize("noise", [
    b'{"jsonrpc":"2.0","method":"Ping"}\n',  # plaintext in the middle
    b"\x17\x03\x03\xff\xff" + bytes(70_000),  # a record longer than any may be
    b"\x17\x03\x03\x00\x20" + bytes(32),  # a record that nobody encrypted
    b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00",  # a second ClientHello
])
@pytest.mark.parametrize("step", [0, 1])
def test_noise_in_the_middle_breaks_it_and_gives_nothing(pair, noise, step):
    client, server = pair()
    client.write(b"fine")
    carry(client, server)
    assert server.read(100) == b"fine"
    for start in range(0, len(noise), step or len(noise)):
        server.receive_data(noise[start:start + (step or len(noise))])
        assert server.read(100) == b""
    assert server.state == "broken" and isinstance(server.error, ProtocolError)
    server.receive_data(b"more")
    server.write(b"nothing")
    assert server.read(100) == b"" and server.read_into(memoryview(bytearray(9))) == 0


def test_row_18_a_cut_without_goodbye_is_no_end(pair):
    client, server = pair()
    client.write(b"x" * 1000)
    server.receive_data(client.data_to_send()[:500])
    server.receive_data(b"")
    assert server.read(2000) == b"" and server.state == "broken"


def test_a_cut_in_the_handshake_breaks_it(cluster):
    client, server = pipe_of(cluster.device(1)[1], False), pipe_of(cluster.device(2)[1], True)
    server.receive_data(client.data_to_send()[:100])
    assert server.state == "handshaking"
    server.receive_data(b"")
    assert server.state == "broken"


def test_a_handshake_without_end_is_broken_off(cluster):
    server = pipe_of(cluster.device(2)[1], True)
    message = b"\x01\x01\xf0\x00" + bytes(0x1F000)
    for start in range(0, len(message), 1024):
        piece = message[start:start + 1024]
        server.receive_data(b"\x16\x03\x01" + len(piece).to_bytes(2, "big") + piece)
        if server.state == "broken":
            break
    assert start <= LIMITS.handshake_bytes, "no more is taken from somebody unknown"
    assert server.state == "broken"


@given(st.lists(st.binary(max_size=200), max_size=10))
def test_any_bytes_are_refused_or_waited_for(tls_server, pieces):
    server = tls_server()
    for piece in pieces:
        server.receive_data(piece)
        assert server.read(100) == b"" and server.device_id == ""
        assert server.state in ("handshaking", "broken")


@given(st.data())
def test_a_changed_byte_never_gives_other_plaintext(tls_pair, data):
    client, server = tls_pair()
    client.write(b"the truth")
    changed = bytearray(client.data_to_send())
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
    server.receive_data(bytes(changed))
    assert server.read(100) == b""


@pytest.fixture(scope="module")
def contexts(tmp_path_factory):
    """Return one cluster's contexts (server, client), for tests that make many pipes."""
    folder, ca = tmp_path_factory.mktemp("cluster"), private_key(9)
    found = []
    for number, is_server in ((10, True), (11, False)):
        key = private_key(number)
        paths = [folder / f"{number}.{part}" for part in ("pem", "key")]
        der = certificates.device_certificate(ca, key.public, serial=b"serial number 3")
        for path, text in zip(paths, (pem("CERTIFICATE", der), pem("PRIVATE KEY", pkcs8_der(key)))):
            path.write_text(text)
        root = pem("CERTIFICATE", certificates.ca_certificate(ca, serial=b"serial number 4"))
        found.append(make_tls_context(TlsIdentity(*map(str, paths), root), is_server=is_server))
    return found


@pytest.fixture(scope="module")
def tls_server(contexts):
    return lambda: TlsPipe(contexts[0], LIMITS, is_server=True, deadline=0.0)


@pytest.fixture(scope="module")
def tls_pair(contexts, tls_server):
    def make():
        client, server = TlsPipe(contexts[1], LIMITS, is_server=False, deadline=0.0), tls_server()
        carry(client, server)
        assert server.state == "open"
        return client, server

    return make


# ---- what is missing --------------------------------------------------------------------------------------------


def test_row_48_without_the_module_ssl_a_node_stays_alone_and_says_so(cluster, monkeypatch):
    identity = cluster.device(1)[1]
    assert has_tls() and not start_warnings(Settings(), Probe(), [])
    for name in ("ssl", "_ssl"):
        monkeypatch.setitem(sys.modules, name, None)
    assert not has_tls() and "its module ssl is missing" in why_no_tls()
    warning, = start_warnings(Settings(), Probe(), [])
    assert "stays alone" in warning
    with pytest.raises(StateError, match="no TLS .* stays alone; use another Python"):
        make_tls_context(identity, is_server=True)


class OldContext:
    """A context as the modules of app Pythons with old libraries make it."""

    def __init__(self, protocol):
        pass

    def set_ciphers(self, ciphers):
        raise OSError("No cipher can be selected.")


@pytest.mark.parametrize("lack", [
    {"PROTOCOL_TLS_SERVER": None}, {"TLSVersion": None}, {"SSLContext": None}, {"HAS_ALPN": False},
    {"SSLContext": OldContext},
], ids=["protocol", "versions", "context", "alpn", "ciphers"])
def test_row_48_a_module_ssl_that_is_too_old_is_told_in_one_sentence(cluster, monkeypatch, lack):
    for name, value in lack.items():
        if value is None:
            monkeypatch.delattr(ssl, name)
        else:
            monkeypatch.setattr(ssl, name, value)
    monkeypatch.setattr(ssl, "OPENSSL_VERSION", "OpenSSL 0.9.8zh")
    sentence = ("this Python's TLS is too old (OpenSSL 0.9.8zh), so this device stays alone; use another Python to join"
                " a cluster")
    assert why_no_tls() == sentence
    with pytest.raises(StateError) as caught:
        make_tls_context(cluster.device(1)[1], is_server=True)
    assert caught.value.message == sentence


def test_files_that_do_not_belong_together_are_told(cluster):
    mixed = TlsIdentity(cluster.device(1)[1].certificate_file, cluster.device(2)[1].key_file, cluster.ca_pem)
    gone = TlsIdentity("nowhere.pem", "nowhere.key", cluster.ca_pem)
    rootless = TlsIdentity(cluster.device(1)[1].certificate_file, cluster.device(1)[1].key_file, "no PEM")
    for identity in (mixed, gone, rootless):
        with pytest.raises(StateError, match="pair it anew"):
            make_tls_context(identity, is_server=True)


def test_ssl_is_imported_only_where_tls_is_used():
    code = "import sys, discompute_lite.run; sys.exit('ssl' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# ---- the door ---------------------------------------------------------------------------------------------------


class Hand:
    """A clock that is moved by hand."""

    time = 0.0

    def now(self):
        return self.time


@pytest.fixture
def door():
    loop = Loop()
    yield TlsDoor(loop, Limits(handshakes=5, handshakes_per_address=3), dict)
    loop.close()


def test_a_door_is_closed_until_there_is_a_membership(door, cluster):
    assert not door.is_member and door.answering_pipe("10.0.0.1") is None
    door.enter(cluster.device(1)[1], lambda device: None)
    assert door.is_member and door.answering_pipe("10.0.0.1").state == "handshaking"
    door.leave()
    assert not door.is_member and door.answering_pipe("10.0.0.2") is None


def test_handshakes_are_counted_by_address_and_in_all(door, cluster):
    door.enter(cluster.device(1)[1], lambda device: None)

    pipes = []

    def places(host, count):
        found = [pipe for pipe in (door.answering_pipe(host) for _ in range(count)) if pipe is not None]
        pipes.extend(found)
        return len(found)

    assert places("10.0.0.1", 9) == 3 and places("10.0.0.2", 9) == 2 and places("10.0.0.3", 1) == 0
    assert door.refused == 6 + 7 + 1
    door.knock_over("10.0.0.1", pipes[0])
    assert places("10.0.0.1", 2) == 1
    for host, count in (("10.0.0.1", 3), ("10.0.0.2", 2)):
        for _ in range(count):
            door.knock_over(host, pipes[0])
    assert places("10.0.0.3", 9) == 3


def test_row_03_whoever_fails_again_and_again_is_not_listened_to_for_a_minute(cluster, caplog):
    caplog.set_level("INFO", "discompute")
    clock = Hand()
    door = TlsDoor(clock, Limits(failed_handshakes=3), dict)
    door.enter(cluster.device(1)[1], lambda device: None)
    told = []
    door.on_refused = lambda rule, whom, facts: told.append((rule, whom, *facts))

    def fail(host):
        pipe = door.answering_pipe(host)
        if pipe is None:
            return False
        pipe.receive_data(b"nonsense")
        door.knock_over(host, pipe)
        return True

    assert [fail("10.0.0.1") for _ in range(5)] == [True] * 3 + [False] * 2
    assert told == [("handshake", "10.0.0.1", "reason")] * 3 + [("crowd", "10.0.0.1")] * 2
    assert fail("10.0.0.2"), "others are not concerned"
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == ["10.0.0.1", "10.0.0.2"]
    clock.time += 61.0
    assert fail("10.0.0.1")
    for number in range(3000):
        assert fail(f"10.1.{number // 250}.{number % 250}")
    assert len(door._failures) <= 1024


def test_row_03_who_fails_on_this_machine_is_listened_to_and_the_log_tells_of_it_once_a_minute(cluster, caplog):
    caplog.set_level("INFO", "discompute")
    clock = Hand()
    door = TlsDoor(clock, Limits(failed_handshakes=3), dict)
    door.enter(cluster.device(1)[1], lambda device: None)
    for _ in range(2):
        for _ in range(20):
            pipe = door.answering_pipe("127.0.0.1")
            pipe.receive_data(b"nonsense")
            door.knock_over("127.0.0.1", pipe)
        clock.time += 61.0
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == ["127.0.0.1"] * 2


def test_another_membership_brings_other_contexts(door, cluster, make_cluster):
    door.enter(cluster.device(1)[1], lambda device: None)
    before, member = door.answering_pipe("a"), pipe_of(cluster.device(2)[1], False)
    door.enter(make_cluster(2).device(1)[1], lambda device: None)
    carry(member, before)
    assert before.state == "open", "what has begun goes on as it was"
    old, now = pipe_of(cluster.device(2)[1], False), door.answering_pipe("a")
    carry(old, now)
    assert now.state == "broken"


def test_a_membership_that_cannot_be_used_changes_nothing(door, cluster):
    door.enter(cluster.device(1)[1], lambda device: None)
    with pytest.raises(StateError):
        door.enter(TlsIdentity("nowhere", "nowhere", cluster.ca_pem), lambda device: None)
    client, server = door.calling_pipe(), door.answering_pipe("a")
    carry(client, server)
    assert server.state == "open"


def test_the_membership_judges_who_has_proved_an_id(door, cluster):
    removed = Unavailable("removed")
    door.enter(cluster.device(1)[1], {"k3f": removed}.get)
    told = []
    door.on_refused = lambda rule, whom, facts: told.append((rule, whom))
    assert door.refusal("k3f") is removed and door.refusal("other") is None
    assert told == [("membership", "k3f")]


def test_a_mebibyte_costs_no_more_than_its_records(pair):
    client, server = pair()
    client.write(bytes(MIB))
    assert carry(client, server)[0] < MIB + 64 * 40
    assert device_id(private_key(1))  # The ids in this file are those of real keys.
