"""Whole nodes with a membership: they meet over TLS, know each other by their keys, and strangers stay strangers."""

from __future__ import annotations

import secrets
import socket
import ssl
import time

import pytest

from discompute_lite.model.errors import Forbidden
from discompute_lite.net.client import Client
from discompute_lite.net.tls import ALPN_RPC, TlsIdentity
from discompute_lite.run import LocalNode, read_settings


class House:
    """Nodes of one test, each in a thread of its own."""

    def __init__(self, folder, patience_s):
        self.folder, self.patience_s, self.nodes = folder, patience_s, []

    def start(self, name, cluster=None, peers=(), admit=lambda device: None):
        """Start a node; with a cluster it is a member from its first moment."""
        environ = {
            "DISCOMPUTE_BIND": "127.0.0.1", "DISCOMPUTE_PORT": "0", "DISCOMPUTE_NAME": name,
            "DISCOMPUTE_STATE_DIR": str(self.folder / name), "DISCOMPUTE_DISCOVERY": "peers",
            "DISCOMPUTE_PEERS": ",".join(f"127.0.0.1:{peer.node.port}" for peer in peers),
        }
        node = LocalNode(read_settings({}, environ))
        self.nodes.append(node)
        node.start()
        if cluster is not None:
            certificate = self.folder / f"{name}.pem"
            certificate.write_text(cluster.certificate(node.state.load_or_make_key(secrets.token_bytes)))
            key_file = str(self.folder / name / "device.key")
            node.door.enter(TlsIdentity(str(certificate), key_file, cluster.ca_pem), admit)
        node.run_in_thread()
        return node

    def listed(self, node):
        """Return what the owner of a node sees of others: name -> verified."""
        with Client(f"127.0.0.1:{node.node.port}", token=node.state.control_token()) as client:
            devices = client.call("GetDevices", {})["devices"][1:]
        return {device["name"]: device["lite"]["verified"] for device in devices if device["status"] != "OFFLINE"}

    def wait_until(self, condition):
        until = time.monotonic() + self.patience_s
        while not condition():
            assert time.monotonic() < until, "it did not happen in time"
            time.sleep(0.02)

    def stop(self):
        for node in self.nodes:
            node.stop()


@pytest.fixture
def house(tmp_path, scale):
    here = House(tmp_path, scale(20.0))
    yield here
    here.stop()
    here.wait_until(lambda: all(node._is_closed for node in here.nodes))


@pytest.mark.smoke
def test_members_meet_over_tls_and_are_listed_as_verified(house, make_cluster):
    cluster = make_cluster(1)
    first = house.start("first", cluster)
    second = house.start("second", cluster, [first])
    house.wait_until(lambda: house.listed(second) == {"first": True} and house.listed(first) == {"second": True})


def test_who_is_alone_or_of_another_cluster_is_never_verified(house, make_cluster):
    member = house.start("member", make_cluster(1))
    alone = house.start("alone", None, [member])
    other = house.start("other", make_cluster(2), [member])
    house.wait_until(lambda: house.listed(alone).get("member") is False)
    house.wait_until(lambda: member.door.failed)
    assert True not in house.listed(member).values() and True not in house.listed(other).values()
    assert "other" not in house.listed(member)


def test_a_removed_device_finds_no_link(house, make_cluster):
    cluster, refused = make_cluster(1), []

    def admit(device):
        refused.append(device)
        return Forbidden("This device was removed from the cluster.")

    first = house.start("first", cluster, admit=admit)
    second = house.start("second", cluster, [first])
    house.wait_until(lambda: second.node.id in refused)
    assert house.listed(first) == {} and house.listed(second) == {}


def test_row_26_a_member_that_calls_itself_another_is_not_linked(house, make_cluster):
    cluster = make_cluster(1)
    first = house.start("first", cluster)
    _, identity = cluster.device(7)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols([ALPN_RPC])
    context.load_cert_chain(identity.certificate_file, identity.key_file)
    raw = socket.create_connection(("127.0.0.1", first.node.port), house.patience_s)
    with context.wrap_socket(raw) as sock:
        assert b'"Hello"' in sock.recv(65536)
        sock.sendall(b'{"jsonrpc":"2.0","id":1,"method":"Hello","params":{"node_id":"%s"}}\n' % (b"a" * 52))
        assert b'"id":1' in sock.recv(65536)
        assert house.listed(first) == {}
