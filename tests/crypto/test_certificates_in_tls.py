"""The `ssl` module of this Python takes our certificates on both sides, and nobody else's. No socket is needed."""

from __future__ import annotations

import ssl

import pytest

from discompute_lite.crypto.certificates import (
    ca_certificate, device_certificate, pairing_certificate, server_name,
)
from discompute_lite.crypto.p256 import device_id, pem, pkcs8_der, private_key

CA, OTHER_CA = private_key(201), private_key(202)
SERVER, CLIENT, THIRD = private_key(203), private_key(204), private_key(205)
SERIAL = b"serial number 1"
ROOT = pem("CERTIFICATE", ca_certificate(CA, serial=SERIAL))


class Party:
    """One end of a TLS connection whose bytes are carried by hand."""

    def __init__(self, context: ssl.SSLContext, **named) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, **named)
        self.error = None
        self.is_done = False

    def step(self, do) -> None:
        try:
            do(self)
            self.is_done = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self.error = error


def carried(client: Party, server: Party):
    """Shake hands, then send a word each way, and return both words; raise the first error of either side."""
    words = []
    for do in (
        lambda party: party.tls.do_handshake(),
        lambda party: party.tls.write(b"word"),
        lambda party: words.append(party.tls.read(10)),
    ):
        client.is_done = server.is_done = False
        for _ in range(10):
            for party, other in ((client, server), (server, client)):
                if not party.is_done and not party.error:
                    party.step(do)
                other.incoming.write(party.outgoing.read())
        if client.error or server.error:
            raise client.error or server.error
    return words


@pytest.fixture
def context(tmp_path):
    """Return a maker of strict contexts: whose key, and by which cluster signed; None for no certificate."""

    def make(is_server: bool, key=None, ca=CA, chain: str = "") -> ssl.SSLContext:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if is_server else ssl.PROTOCOL_TLS_CLIENT)
        made.minimum_version = ssl.TLSVersion.TLSv1_2
        made.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
        made.check_hostname = not is_server
        made.verify_mode = ssl.CERT_REQUIRED
        made.verify_flags |= ssl.VERIFY_X509_STRICT
        made.load_verify_locations(cadata=ROOT)
        if key is not None:
            path = tmp_path / f"{key.public[0]}.pem"
            leaf = pem("CERTIFICATE", device_certificate(ca, key.public, serial=SERIAL))
            path.write_text(pem("PRIVATE KEY", pkcs8_der(key)) + leaf + chain)
            made.load_cert_chain(str(path))
        return made

    return make


def name_of(key) -> str:
    return server_name(device_id(key))


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_members_shake_hands_and_know_each_other(context, version):
    if version == "TLSv1_3" and not ssl.HAS_TLSv1_3:
        pytest.skip("this Python's TLS library has no TLS 1.3")
    of_server, of_client = context(True, SERVER), context(False, CLIENT)
    of_client.maximum_version = getattr(ssl.TLSVersion, version)
    client, server = Party(of_client, server_hostname=name_of(SERVER)), Party(of_server, server_side=True)
    assert carried(client, server) == [b"word", b"word"]
    assert client.tls.version() == version.replace("_", ".")
    assert server.tls.getpeercert()["subject"] == ((("commonName", device_id(CLIENT)),),)
    assert client.tls.getpeercert()["subjectAltName"] == (("DNS", name_of(SERVER)),)


def refused(client: ssl.SSLContext, server: ssl.SSLContext, name: str) -> bool:
    with pytest.raises(ssl.SSLError):
        carried(Party(client, server_hostname=name), Party(server, server_side=True))
    return True


def test_a_client_without_certificate_is_refused(context):
    assert refused(context(False), context(True, SERVER), name_of(SERVER))


def test_another_clusters_device_is_refused_on_both_sides(context):
    assert refused(context(False, CLIENT, OTHER_CA), context(True, SERVER), name_of(SERVER))
    assert refused(context(False, CLIENT), context(True, THIRD, OTHER_CA), name_of(THIRD))


def test_row_05_a_member_cannot_make_members(context):
    """Signed with a member's own key for another id, and sent with the member's certificate as the chain."""
    chain = pem("CERTIFICATE", device_certificate(CA, CLIENT.public, serial=SERIAL))
    assert refused(context(False, THIRD, CLIENT, chain), context(True, SERVER), name_of(SERVER))


def test_row_06_the_right_cluster_but_the_wrong_device_is_refused(context):
    assert refused(context(False, CLIENT), context(True, SERVER), name_of(THIRD))


def test_a_pairing_port_shows_its_certificate_to_anybody(tmp_path):
    der = pairing_certificate(THIRD, serial=SERIAL)
    path = tmp_path / "pairing.pem"
    path.write_text(pem("PRIVATE KEY", pkcs8_der(THIRD)) + pem("CERTIFICATE", der))
    of_server, of_client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    of_server.load_cert_chain(str(path))
    of_client.check_hostname, of_client.verify_mode = False, ssl.CERT_NONE
    client, server = Party(of_client), Party(of_server, server_side=True)
    assert carried(client, server) == [b"word", b"word"]
    # What SPAKE2 binds itself to is what the joiner sees.
    assert client.tls.getpeercert(binary_form=True) == der
