"""Devices pair by the commands that people type, work for each other over TLS, and go again."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import ssl

import pytest

#: With `folder`, a piece goes on once two nodes, whose processes make pieces, have met there.
PRIMES = """
import os, time

def split(bound: int = 4000, folder: str = ""):
    return [(start, start + 100, folder) for start in range(0, bound, 100)]

def work(part):
    start, end, folder = part
    if folder:
        open(os.path.join(folder, str(os.getppid())), "w").close()
    while folder and len(os.listdir(folder)) < 2:
        time.sleep(0.01)
    return sum(1 for n in range(start, end) if n > 1 and all(n % d for d in range(2, int(n ** 0.5) + 1)))

def merge(parts):
    return sum(parts)
"""


#: What the README's walk with two devices has people type; the test does that, the greetings first.
WALK = ["start", "invite", "join", "list", "send"]


@pytest.fixture
def town(field):
    """Type commands on devices."""

    class Town:
        def type(self, node, *words):
            return field.type(*words, DISCOMPUTE_STATE_DIR=str(node.state))

        def meeting(self):
            (field.folder / "meeting").mkdir()
            return str(field.folder / "meeting")

        def members(self, node):
            listed = self.type(node, "devices", "--json").document
            return {each["name"]: each["state"] for each in listed["members"]}

        def wait_until_all_here(self, *nodes):
            for node in nodes:
                field.wait_for(
                    lambda node=node: {*self.members(node).values()} - {"removed"} == {"here"},
                    f"{node.name} sees all", 30.0,
                )

    return Town()


@pytest.mark.smoke
def test_two_devices_pair_by_a_code_and_work_for_each_other(field, town, fails, root):
    walk = (root / "README.md").read_text("utf-8").partition("## Two devices in a minute")[2].partition("\n## ")[0]
    assert re.findall("^    python3 -m discompute_lite ([a-z]+)", walk, re.M) == WALK
    ann, ben = field.start("ann", "--slots", "1"), field.start("ben", "--slots", "1")
    field.wait_until_met([ann, ben])
    listed = town.type(ann, "list").out
    # Nodes of other tests may be there too, on the ports that a device looks at on its own machine.
    assert re.match(r"Found \d+ device\(s\):", listed) and "Name: ann" in listed and "Name: ben" in listed
    assert town.type(ann, "send", "ben", "hello").code == 0
    field.wait_for(lambda: ben.said("message", "hello"), "the message comes")
    invitation = field.invite(ann)
    assert re.fullmatch(r"\d{4} \d{4}", invitation.facts["code"])
    invitation.process.stdin.write("y\n"), invitation.process.stdin.flush()
    joined = town.type(ben, "join", invitation.facts["code"], "--json")
    assert joined.code == 0, joined.err
    code, _, said = invitation.end()
    assert code == 0 and 'Pair "ben"' in said
    assert joined.document == {"cluster": invitation.facts["cluster"]}
    town.wait_until_all_here(ann, ben)
    job = field.job("primes.py", PRIMES)
    done = town.type(ben, "submit", "--json", job, "--folder", town.meeting())
    assert done.code == 0, done.err
    assert done.document["result"] == 550
    tasks = town.type(ben, "status", done.document["task_id"], "--json").document
    assert len(tasks["lite"]["devices"]) == 2, tasks
    check_audit(field, town, ann, ben, fails)


def check_audit(field, town, ann, ben, fails):
    entries = town.type(ann, "audit", "--json").document
    assert {"founded", "let-in", "ran"} <= {entry["what"] for entry in entries}
    assert {entry["sender"] for entry in entries if entry["what"] == "ran"} == {ben.id}
    assert town.type(ann, "audit", "--verify").code == 0
    log = ann.state / "audit"
    log.write_bytes(log.read_bytes().replace(b'"what":"let-in"', b'"what":"let-on"', 1))
    changed = next(entry["n"] for entry in entries if entry["what"] == "let-in")
    fails(town.type(ann, "audit", "--verify"), 1, f"line {changed} of the audit log")


def test_a_classroom_joins_by_one_link_a_removed_device_is_out_and_the_others_stay_over_a_restart(field, town):
    host, one, two = field.start("host"), field.start("one"), field.start("two")
    field.pair(host, one.state, two.state)
    town.wait_until_all_here(host, one, two)
    assert town.type(host, "revoke", "one").code == 0
    for node in (host, two):
        field.wait_for(lambda node=node: town.members(node)["one"] == "removed", "all hear of it", 5.0)
    field.wait_for(lambda: town.members(one) == {}, "the removed device is alone", 5.0)
    done = town.type(host, "submit", "--json", field.job("primes.py", PRIMES), "--folder", town.meeting())
    worked = town.type(host, "status", done.document["task_id"], "--json").document["lite"]["devices"]
    assert done.document["result"] == 550 and set(worked) == {host.id, two.id}, "a removed device gets no work"
    two.ask_to_end()
    two.wait_end()
    two = field.start("two")
    town.wait_until_all_here(host, two)


def test_wrong_codes_end_an_invitation_and_every_refusal_says_what_to_do(field, town, fails):
    ann, ben = field.start("ann"), field.start("ben")
    invitation = field.invite(ann)
    right = invitation.facts["code"]
    wrong = f"{(int(right.replace(' ', '')) + 1) % 10 ** 8:08d}@{invitation.facts['address']}"
    for words in ("2 tries left", "1 try left", "Pairing stopped after 3 wrong codes"):
        done = field.wait_for(lambda: _settled(town.type(ben, "join", wrong)), "an answer")
        fails((done.code, done.out, _last_line(done.err)), 4, words)
    code, _, said = invitation.end()
    assert code == 5 and "used a wrong code" in said
    told = town.type(ann, "audit", "--json").document
    wrong = [entry for entry in told if entry.get("rule") == "code"]
    assert {entry["from"] for entry in wrong} == {"127.0.0.1"} and sum(entry.get("count", 1) for entry in wrong) == 3
    fails((lambda done: (done.code, done.out, _last_line(done.err)))(town.type(ben, "join", invitation.at())), 5)


def test_an_invitation_that_nobody_takes_ends_and_its_link_opens_nothing(field, town, fails):
    ann, ben = field.start("ann", "--limits", "pairing-open-s=0.5"), field.start("ben")
    invitation = field.invite(ann, "--token", "--yes")
    code, _, said = invitation.end()
    assert code == 5 and "Nobody joined. Start again" in said
    done = town.type(ben, "join", invitation.facts["link"])
    fails((done.code, done.out, _last_line(done.err)), 5)
    assert town.members(ben) == {}
    again = field.invite(ann, "--token", "--yes", "--minutes", "1")
    assert town.type(ben, "join", again.facts["link"]).code == 0
    assert again.end().code == 0


def _settled(done):
    return None if "Another device is being paired" in done.err else done


def _last_line(text):
    return text.splitlines()[-1] + "\n" if text else ""


def test_a_stranger_on_plain_tcp_gets_hello_of_a_member_and_nothing_else(field, town):
    ann, ben = field.start("ann"), field.start("ben")
    field.pair(ann, ben.state)
    with ann.client(is_owner=False) as stranger:
        assert stranger.call("Hello")["node_id"] == ann.id
        with pytest.raises(Exception, match="answers its members only"):
            stranger.call("GetDevices")


def test_what_a_device_lets_others_run_is_kept(field, town, fails):
    ann, ben = field.start("ann"), field.start("ben")
    field.pair(ann, ben.state)
    # Whose invitation was accepted is not asked about again.
    assert town.type(ben, "policy", "--json").document["approved_senders"] == [ann.id]
    done = town.type(ann, "policy", "accept=named", "types=echo,primes", "hours=22:00-06:30", "--json")
    assert done.document["everybody"]["types"] == ["echo", "primes"]
    assert "accept=named" in town.type(ann, "policy").out
    fails(town.type(ann, "policy", "slots=many"), 2, "slots")
    fails(town.type(ann, "policy", "accept=maybe"), 2, "Write one of nobody, named, hash, ask, any")
    fails(town.type(ann, "policy", "hours=8-9"), 2, "Write them like 22:00-06:30")
    by_thread = field.type("policy", "wall_s=600", DISCOMPUTE_EXECUTOR="thread")
    assert by_thread.code == 0 and by_thread.err.startswith("wall_s of the policy cannot be held to here")
    assert field.type("policy", "wall_s=600").err == ""
    fails(town.type(ann, "revoke", "cat"), 3, "no device of the cluster")


GREEDY = """
import time

def split(want: str = "time"):
    return [want]

def work(want):
    hog = bytearray(300 << 20) if want == "memory" else b""
    time.sleep(120)
    return len(hog)

def merge(parts):
    return parts
"""


@pytest.mark.parametrize(("want", "rule", "says"), [
    ("time", "wall_s=0.5", "longer than its limit of 0.5 s"), ("memory", "memory_mb=100", "gives 100 MiB to each"),
])
def test_what_the_owner_gives_a_sender_bounds_its_work(field, town, fails, want, rule, says):
    ann, ben = field.start("ann"), field.start("ben")
    field.pair(ann, ben.state)
    town.wait_until_all_here(ann, ben)
    assert town.type(ben, "policy", "--sender", "ann", rule, "slots=1").code == 0
    field.wait_for(lambda: ann.devices()[ben.id]["lite"].get("slots") == 1, "ann hears how much of ben it has")
    done = town.type(ann, "submit", "--requires", ben.id, field.job("greedy.py", GREEDY), "--want", want)
    assert done.code == 1 and says in done.err, done


def test_a_second_admin_decides_too_and_a_lost_cluster_lives_on_from_its_backup(field, town, fails):
    ann, ben, cat = (field.start(name) for name in ("ann", "ben", "cat"))
    for host, joiner, words in ((ann, ben, ["--admin"]), (ben, cat, [])):
        invitation = field.invite(host, "--token", "--yes", *words)
        assert town.type(joiner, "join", invitation.facts["link"]).code == 0
        assert invitation.end()[0] == 0
    town.wait_until_all_here(ann, ben, cat)
    backup = str(field.folder / "cluster.backup")
    assert town.type(ann, "devices", "--backup", backup).code == 0
    assert os.name != "posix" or os.stat(backup).st_mode & 0o777 == 0o600
    fails(town.type(ann, "devices", "--backup", backup), 2, "choose another name")
    fails(town.type(cat, "devices", "--backup", backup + "2"), 4, "Do it on ann or ben")
    assert town.type(ann, "devices", "ben", "role=member").code == 0
    field.wait_for(lambda: not (ben.state / "ca.key").exists(), "ben gives up the cluster's key")
    fails(town.type(ben, "revoke", "cat"), 4, "Do it on ann")
    check_promoted_again(field, town, ann, ben, fails)
    ann.kill(signal.SIGKILL)
    ann.wait_end()
    shutil.rmtree(ann.state)
    check_restored(field, town, field.start("dan"), backup, ann, (ben, cat), fails)


def check_promoted_again(field, town, ann, ben, fails):
    fails(town.type(ann, "devices", "ben", "role=admin"), 4, "devices --leave", "invite --admin")
    assert town.type(ben, "devices", "--leave").code == 0
    invitation = field.invite(ann, "--token", "--yes", "--admin")
    assert town.type(ben, "join", invitation.facts["link"]).code == 0
    assert invitation.end().code == 0
    assert (ben.state / "ca.key").exists()
    assert "kitty" in town.type(ben, "devices", "cat", "name=kitty").out
    field.wait_for(lambda: town.members(ann).get("kitty") == "here", "ann hears what ben has changed")


def check_restored(field, town, dan, backup, lost, others, fails):
    """Ann's folder is gone for good; dan has her backup, and nobody has ever heard of dan."""
    fails(town.type(dan, "join", "--restore", backup + "2"), 2, "no such file")
    done = town.type(dan, "join", "--restore", backup)
    assert done.code == 0 and f"revoke {lost.id[:8]}" in done.err, done
    for node in others:
        field.wait_for(lambda node=node: town.members(node).get("dan") == "here", f"{node.name} hears of dan", 30.0)
    assert town.type(dan, "revoke", "ann").code == 0
    for node in others:
        field.wait_for(lambda node=node: town.members(node)["ann"] == "removed", "all hear of it", 5.0)
    done = town.type(dan, "submit", "--json", field.job("primes.py", PRIMES))
    assert done.code == 0 and done.document["result"] == 550, done
    check_last_admin(field, town, dan, others, fails)


def check_last_admin(field, town, dan, others, fails):
    """The last admin does not leave others behind without a key; it may take the key along and come back."""
    for node in others:
        if town.type(node, "devices", "--json").document["is_admin"]:
            assert town.type(dan, "devices", node.name, "role=member").code == 0
    fails(town.type(dan, "devices", "--leave"), 4, "devices --leave --backup FILE")
    taken = str(field.folder / "taken.backup")
    assert town.type(dan, "devices", "--leave", "--backup", taken, "--json").document["cluster"] == ""
    assert town.type(dan, "join", "--restore", taken).code == 0
    field.wait_for(lambda: town.members(others[0]).get("dan") == "here", "dan is back", 30.0)


def test_members_ask_by_https_with_their_certificates_also_after_both_were_restarted(field, town):
    ann, ben = field.start("ann"), field.start("ben")
    field.pair(ann, ben.state)
    for node in (ann, ben):
        node.ask_to_end()
        node.wait_end()
    ann, ben = field.start("ann"), field.start("ben")
    town.wait_until_all_here(ann, ben)
    status, body = ask_by_https(field, ann, ben, "/api/devices")
    assert status == 200 and {each["id"] for each in json.loads(body)["devices"]} == {ann.id, ben.id}
    assert ask_by_https(field, ann, ben, "/api/tasks")[0] == 403
    with pytest.raises((ssl.SSLError, OSError)):
        ask_by_https(field, ann, None, "/api/devices")


def test_a_link_is_tried_at_each_of_its_addresses(field, town, fails):
    ann, ben = field.start("ann", *(["--bind", "::1"] if has_ipv6() else [])), field.start("ben")
    invitation = field.invite(ann, "--token", "--yes")
    start, _, address = invitation.facts["link"].partition("@")
    assert address.startswith("[::1]:" if has_ipv6() else "127.0.0.1:")
    # Nobody listens at the first, and at the second is who knows no pairing.
    nowhere = f"127.0.0.1:{free_port()},127.0.0.1:{ben.port}"
    fails((lambda done: (done.code, done.out, done.err.splitlines()[-1] + "\n"))(
        town.type(ben, "join", f"{start}@{nowhere}")), 5)
    done = town.type(ben, "join", f"{start}@{nowhere},{address}", "--json")
    assert done.code == 0 and done.document == {"cluster": invitation.facts["cluster"]}, done
    assert invitation.end().code == 0


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
        return True
    except OSError:
        return False


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def ask_by_https(field, host, guest, path):
    """GET a path of a node as another member, by Python's own client."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.set_alpn_protocols(["http/1.1"])
    context.load_verify_locations(host.state / "ca.pem")
    if guest is not None:
        context.load_cert_chain(guest.state / "device.pem", guest.state / "device.key")
    connection = http.client.HTTPSConnection("127.0.0.1", host.port, timeout=field.scale(10.0), context=context)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_row_30_the_later_of_two_nodes_with_one_copied_folder_takes_no_work_while_the_first_runs(field, fails):
    (place,) = field.let_belong("first")
    shutil.copytree(place, field.folder / "copy")
    first = field.start("first")
    address = f"127.0.0.1:{first.port}"
    copy = field.start("copy", "--peers", address)
    field.wait_for(lambda: copy.said("warning", "no work is taken here"), "the copy stands back", 10.0)
    field.wait_for(lambda: first.said("warning", "was the folder copied?"), "the first is told", 10.0)
    assert not first.said("warning", "no work is taken")
    job = field.job("primes.py", PRIMES)
    refused = field.type("submit", job, "--bound", "200", DISCOMPUTE_STATE_DIR=str(copy.state))
    fails(refused, 5, f"in use at {address} as well, by one that began earlier; delete the state folder")
    assert field.type("submit", job, "--bound", "200", DISCOMPUTE_STATE_DIR=str(first.state)).out == "46\n"


@pytest.mark.parametrize("module, words", [
    ("raise ImportError('No module named _ssl')", "has no TLS (its module ssl is missing)"),
    ("OPENSSL_VERSION, HAS_ALPN = 'OpenSSL 0.9.8zh', False", "TLS is too old (OpenSSL 0.9.8zh)"),
], ids=["missing", "old"])
def test_row_48_without_tls_a_device_is_not_paired_and_works_alone(field, fails, module, words):
    (field.folder / "odd").mkdir()
    (field.folder / "odd" / "ssl.py").write_text(module)
    odd = os.pathsep.join(filter(None, [str(field.folder / "odd"), os.environ.get("PYTHONPATH"), os.getcwd()]))
    node = field.start("odd-python", PYTHONPATH=odd)
    own = {"DISCOMPUTE_STATE_DIR": str(node.state), "PYTHONPATH": odd}
    what_to_do = "this device stays alone; use another Python to join a cluster"
    fails(field.run("invite", **own), 4, words, what_to_do)
    done = field.run("join", "12345678@127.0.0.1:9", **own)
    assert done.code == 4 and words in done.err.splitlines()[-1] and what_to_do in done.err
    assert not list(node.state.glob("*.pem")), "nothing of a cluster is kept"
    assert field.type("submit", field.job("primes.py", PRIMES), "--bound", "200", **own).out == "46\n"


@pytest.mark.parametrize("is_encrypted", [False, True])
def test_row_49_a_browser_gets_no_page_from_the_pairing_port_and_uses_no_try(field, is_encrypted):
    host = field.start("host")
    invitation = field.invite(host, "--yes")
    port = int(invitation.facts["address"].rpartition(":")[2])
    for head in (b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", b"OPTIONS * HTTP/1.1\r\nOrigin: http://evil\r\n\r\n",
                 b"POST /rpc HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 2\r\n\r\n{}", b"DELETE / HTTP/1.1\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", port), field.scale(10.0)) as sock:
            answer = answer_to(head, encrypted(sock) if is_encrypted else sock)
        assert b"HTTP/1" not in answer and len(answer) < 1000
    done = field.type("join", invitation.at(), DISCOMPUTE_STATE_DIR=str(field.folder / "guest"))
    assert done.code == 0, done.err
    assert invitation.end().code == 0


def encrypted(sock):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(sock)


def answer_to(data, sock):
    """Return all that comes until the other side hangs up, however it does."""
    answer = b""
    with contextlib.suppress(OSError), sock:
        sock.sendall(data)
        while data:
            data = sock.recv(4096)
            answer += data
    return answer
