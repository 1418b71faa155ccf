"""Datagrams with forged senders: whom a service does not answer, and how much it answers at most."""

import ctypes
import multiprocessing
import os
import re
import shutil
import socket
import struct
import subprocess
import time

import pytest

from controlled import Controlled
from server import Server, service
from settings import DEADLINE, wait_until

EACCES, EDQUOT = 13, 122
CLONE_NEWNET = 0x40000000
NOT_ANSWERED = r"not answered: .*?(?= service=)"
LOOPBACK = "udp://127.0.0.1:0"
SERVICES = [("echo", {}), ("responder", {"reply": "{count} {peer} {data}"})]


def forge(sender, to, data):
    """One datagram over IPv4 from whoever `sender` is."""
    try:
        raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    except PermissionError:
        pytest.skip("raw sockets need root or CAP_NET_RAW")
    udp = struct.pack("!HHHH", sender[1], to[1], 8 + len(data), 0) + data
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, socket.IPPROTO_UDP, 0,
                     socket.inet_aton(sender[0]), socket.inet_aton(to[0]))
    with raw:
        raw.sendto(ip + udp, to)


def ask(client, data):
    client.send(data)
    return client.recv(1 << 17)


def reads_all(server, name="echo"):
    """Waits until what was sent before has been handled, by an exchange behind it."""
    with server.datagram_socket(name) as client:
        ask(client, b"the last one")


def served(server, name):
    """What a service did, once its server has ended."""
    if server.process.poll() is None:
        server.stop()
    line = server.lines("served service=" + name)[0]
    return {key: int(value) for key, value in line.items() if value.isdigit()}


def is_silent(client, seconds=0.3):
    client.settimeout(seconds)
    try:
        client.recv(1 << 17)
        return False
    except TimeoutError:
        return True
    finally:
        client.settimeout(DEADLINE)


def in_a_network_of_its_own(function, *args):
    """In a child, which makes it with unshare()."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("a network of its own needs root and the command ip")
    child = multiprocessing.get_context("fork").Process(target=function, args=args)
    child.start()
    child.join(3 * DEADLINE)
    child.kill()
    assert child.exitcode == 0


# ---------------------------------------------------------------- services that answer each other


@pytest.mark.parametrize("plugin, keys", SERVICES)
def test_a_forged_datagram_between_two_services_is_the_only_one(plugin, keys):
    config = service("one", plugin, LOOPBACK, **keys) + service("two", plugin, LOOPBACK, **keys)
    with Server(config) as server:
        forge(("127.0.0.1", server.port("two")), ("127.0.0.1", server.port("one")), b"to and fro")
        for name in ("one", "two", "one", "two"):
            reads_all(server, name)
        counts = [served(server, name) for name in ("one", "two")]
    asked = 4
    assert sum(count["datagrams_in"] for count in counts) == 1 + asked
    assert sum(count["datagrams_out"] for count in counts) == asked
    assert sum(count["datagrams_refused"] for count in counts) == 1


def test_a_rate_ends_what_two_servers_would_send_each_other_for_ever():
    """Neither knows that the other is a server. Each datagram beyond the rate is one less on its way."""
    config = service("echo", listen=LOOPBACK, rate_per_source="5/s")
    with Controlled(config) as one, Controlled(config) as other:
        forge(("127.0.0.1", other.port("echo")), ("127.0.0.1", one.port("echo")), b"to and fro")

        def dropped():
            return sum(server.service_status("echo")["datagrams_over_rate"] for server in (one, other))
        wait_until(lambda: dropped() != 0, "it came faster than the rate")
        handled = [server.service_status("echo")["datagrams_out"] for server in (one, other)]
        assert is_quiet_for_a_while(one, other) and dropped() == 1
        assert handled == [server.service_status("echo")["datagrams_out"] for server in (one, other)]


def is_quiet_for_a_while(*servers):
    """For longer than a rate of 5 a second keeps anything from going on."""
    def seen():
        return [server.service_status("echo")["datagrams_in"] for server in servers]
    before, end = seen(), time.monotonic() + 0.5
    while time.monotonic() < end:
        if seen() != before:
            return False
    return True


def free_low_port():
    for port in range(1023, 512, -1):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except PermissionError:
                pytest.skip("ports below 1024 need root")
            except OSError:
                continue
    return pytest.skip("no port below 1024 is free")


@pytest.mark.parametrize("plugin, keys", SERVICES)
@pytest.mark.parametrize("first", ["low", "high"])
def test_of_two_servers_with_one_on_a_low_port_two_datagrams_are_all(plugin, keys, first):
    """The other server knows nothing of this one, but knows a service's port where it sees one."""
    low_config = service("echo", plugin, f"udp://127.0.0.1:{free_low_port()}", **keys)
    with Server(low_config) as low, Server(service("echo", plugin, LOOPBACK, **keys)) as high:
        ends = {"low": ("127.0.0.1", low.port()), "high": ("127.0.0.1", high.port())}
        forge(ends["low" if first == "high" else "high"], ends[first], b"to and fro")
        servers = [low, high] if first == "low" else [high, low]
        for server in servers + servers:
            # From a client's port, but the one of the other server, it is a datagram like any other.
            reads_all(server)
        counts = [served(server, "echo") for server in servers]
        asked = 4
        assert sum(count["datagrams_in"] for count in counts) <= asked + 2
        assert sum(count["datagrams_in"] for count in counts) == asked + (2 if first == "low" else 1)
        assert sum(count["datagrams_refused"] for count in counts) == 1


def test_a_sender_without_a_port_is_not_answered():
    """RFC 768: port 0 means that no reply is expected."""
    with Server(service("echo", listen=LOOPBACK)) as server:
        forge(("127.0.0.1", 0), ("127.0.0.1", server.port()), b"no reply, please")
        reads_all(server)
        counts = served(server, "echo")
        assert counts["datagrams_in"] == 2 and counts["datagrams_refused"] == 1


OWN = {"udp://:0": ("10.9.0.1", "2001:db8::1"), "udp://0.0.0.0:0": ("10.9.0.1",),
       "udp://[::]:0": ("2001:db8::1",)}


def talk_to_itself(listen):
    """To each of its addresses, a service gets a datagram from itself at another one of this machine."""
    assert ctypes.CDLL(None).unshare(CLONE_NEWNET) == 0
    for address in ("10.9.0.1/32", "10.9.0.2/32", "2001:db8::1/128", "2001:db8::2/128"):
        subprocess.run(["ip", "addr", "add", address, "dev", "lo"], check=True)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with Server(service("echo", listen=listen)) as server:
        for to in OWN[listen]:
            family = socket.AF_INET6 if ":" in to else socket.AF_INET
            with socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_UDP) as raw:
                if family == socket.AF_INET6:
                    raw.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_CHECKSUM, 6)
                raw.bind((to[:-1] + "2", 0))
                raw.sendto(struct.pack("!HHHH", server.port(), server.port(), 8 + 4, 0) + b"echo", (to, 0))
            with socket.socket(family, socket.SOCK_DGRAM) as client:
                client.settimeout(DEADLINE)
                client.connect((to, server.port()))
                assert ask(client, b"the last one") == b"the last one"
        counts, asked = served(server, "echo"), len(OWN[listen])
        assert counts["datagrams_refused"] == asked
        assert counts["datagrams_in"] == 2 * asked and counts["datagrams_out"] == asked


@pytest.mark.parametrize("listen", OWN)
def test_a_service_on_all_addresses_never_answers_itself_at_another_one(listen):
    in_a_network_of_its_own(talk_to_itself, listen)


# ---------------------------------------------------------------- multicast and broadcast


def group_socket(to, port):
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.settimeout(DEADLINE)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    client.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
    client.sendto(b"is anybody there?", (to, port))
    return client


GROUPS = [("udp://0.0.0.0:0", "127.255.255.255"), ("udp://:0", "127.255.255.255"),
          ("udp://127.255.255.255:0", "127.255.255.255"), ("udp://0.0.0.0:0", "224.0.0.1")]


@pytest.mark.parametrize("listen, to", GROUPS)
def test_what_was_sent_to_a_group_is_not_answered(listen, to):
    # One thread: every socket of a group gets a copy of its own.
    with Server(service("echo", listen=listen, threads=1)) as server:
        with group_socket(to, server.port("echo")) as client:
            line = server.wait_for_lines(NOT_ANSWERED, service="echo")[0]
            assert line["advice"].strip('"').startswith("trust_source_ports = yes")
            assert is_silent(client)
        counts = served(server, "echo")
        assert counts["datagrams_in"] == 1 and counts["datagrams_to_groups"] == 1
        assert counts["datagrams_out"] == counts["datagrams_unsent"] == 0


@pytest.mark.parametrize("listen, to", GROUPS)
def test_where_it_is_trusted_a_group_is_answered_from_a_hosts_own_address(listen, to):
    with Server(service("echo", listen=listen, threads=1, trust_source_ports="yes")) as server:
        with group_socket(to, server.port("echo")) as client:
            answer, sender = client.recvfrom(100)
            assert answer == b"is anybody there?"
            assert sender == ("127.0.0.1", server.port("echo"))


def ask_a_group_of_ipv6(trusted):
    """On a network that only this process and its children see."""
    assert ctypes.CDLL(None).unshare(CLONE_NEWNET) == 0
    for command in ("link set lo up", "link add near type veth peer name far", "link set near up",
                    "link set far up"):
        subprocess.run(["ip", *command.split()], check=True)
    keys = {"trust_source_ports": "yes"} if trusted else {}
    with Server(service("echo", listen="udp://:0", threads=1, **keys)) as server:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as client:
            client.settimeout(DEADLINE)
            index = socket.if_nametoindex("near")
            # For its first seconds an interface has no address of its own.
            wait_until(lambda: can_send(client, ("ff02::1", server.port(), 0, index)), "a network")
            if trusted:
                answer, sender = client.recvfrom(100)
                assert answer == b"is anybody there?" and not sender[0].startswith("ff")
            else:
                server.wait_for_lines(NOT_ANSWERED, service="echo")
                assert is_silent(client)
                assert served(server, "echo")["datagrams_to_groups"] >= 1


def can_send(client, address):
    try:
        return client.sendto(b"is anybody there?", address)
    except OSError:
        return False


@pytest.mark.parametrize("trusted", [False, True])
def test_what_was_sent_to_a_group_of_ipv6_is_answered_only_where_it_is_trusted(trusted):
    in_a_network_of_its_own(ask_a_group_of_ipv6, trusted)


def test_a_wildcard_that_refuses_groups_still_answers_whoever_asks_it_alone():
    with Server(service("echo", listen="udp://:0") + service("four", "echo", "udp://0.0.0.0:0")) as server:
        for name, host in (("echo", "127.0.0.1"), ("echo", "127.0.0.9"), ("echo", "::1"),
                           ("four", "127.0.0.1"), ("four", "127.0.0.9")):
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            with socket.socket(family, socket.SOCK_DGRAM) as client:
                client.settimeout(DEADLINE)
                client.connect((host, server.port(name)))
                assert ask(client, b"hola") == b"hola"


def test_a_plugin_sends_to_no_group():
    """The addresses that only the system knows are refused by the system."""
    with Server(service("pair", listen=LOOPBACK, threads=1)) as server:
        with server.datagram_socket("pair") as client:
            for group in (b"multicast", b"broadcast"):
                assert ask(client, group) == b"error %d" % -EACCES
            assert ask(client, b"subnet") == b"error 0"
        counts = served(server, "pair")
        assert counts["datagrams_to_groups"] == 2 and counts["datagrams_unsent"] == 1
        assert len(server.lines(NOT_ANSWERED)) == 1


def test_a_trusted_plugin_sends_to_a_subnet():
    with Server(service("pair", listen=LOOPBACK, threads=1, trust_source_ports="yes")) as server:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(DEADLINE)
            client.sendto(b"subnet", ("127.0.0.1", server.port("pair")))
            assert {client.recv(100) for _ in range(2)} == {b"x", b"error 0"}
        counts = served(server, "pair")
        assert counts["datagrams_to_groups"] == counts["datagrams_unsent"] == 0


# ---------------------------------------------------------------- how much


def multiplied(server, client, count, size, padding=0):
    """Asks for `count` datagrams of `size` bytes. Returns how many were sent, the error, the question."""
    before = len(re.findall("multiplied sent=", server.log()))
    question = (b"%d %d" % (count, size)).ljust(padding)
    client.send(question)
    match = server.wait_for_log(r"multiplied sent=(\d+) error=(-?\d+)", before + 1)
    sent, error = int(match.group(1)), int(match.group(2))
    for _ in range(sent):
        assert len(client.recv(1 << 17)) == size
    return sent, error, len(question)


@pytest.mark.parametrize("host, header", [("127.0.0.1", 28), ("[::1]", 48)])
def test_all_replies_together_are_at_most_three_times_the_datagram(host, header):
    with Server(service("multiplier", listen=f"udp://{host}:0", threads=1)) as server:
        with server.datagram_socket("multiplier") as client:
            # To the byte: the longest that fits, and one byte more.
            longest = 3 * (1000 + header) - header
            assert multiplied(server, client, 1, longest, 1000) == (1, 0, 1000)
            assert multiplied(server, client, 1, longest + 1, 1000) == (0, -EDQUOT, 1000)
            # Several count together, and each brings its headers.
            assert multiplied(server, client, 10, 1000, 1000) == (3, -EDQUOT, 1000)
            assert multiplied(server, client, 100, 0, 100)[0] == 3 * (100 + header) // header
            # The largest may be answered with the largest, three times.
            assert multiplied(server, client, 4, 65507, 65507) == (3, -EDQUOT, 65507)
        counts = served(server, "multiplier")
        assert counts["datagrams_over_ratio"] == 1 + 7 + 100 - 3 * (100 + header) // header + 1
        assert len(server.lines(NOT_ANSWERED)) == 1


@pytest.mark.parametrize("said, longest", [(None, 112), ("3", 56), ("4", 84), ("unlimited", 180)])
def test_the_section_overrides_what_the_plugin_declares(said, longest):
    """responder declares 5; an empty datagram is 28 bytes on the wire."""
    keys = {"max_reply_ratio": said} if said else {}
    config = (service("fits", "responder", LOOPBACK, reply="x" * longest, **keys)
              + service("not", "responder", LOOPBACK, reply="x" * (longest + 1), **keys))
    with Server(config) as server:
        with server.datagram_socket("fits") as client:
            assert len(ask(client, b"")) == longest
        with server.datagram_socket("not") as client:
            if said != "unlimited":
                client.send(b"")
                server.wait_for_lines(NOT_ANSWERED, service="not")
            assert len(ask(client, b"longer")) == longest + 1


def test_a_reply_that_is_dropped_tells_its_author_once_what_to_do():
    with Controlled(service("long", "responder", LOOPBACK, reply="x" * 170)) as server:
        with server.datagram_socket("long") as client:
            for _ in range(20):
                client.send(b"")
            assert len(ask(client, b"x" * 50)) == 170
        assert len(server.lines(NOT_ANSWERED)) == 1
        line = server.lines(NOT_ANSWERED)[0]
        assert line["level"] == "warning" and line["service"] == "long" and line["size"] == "170"
        assert "a larger max_reply_ratio in the section" in line["advice"]
        assert server.service_status("long")["datagrams_over_ratio"] == 20
        assert ", 20 over the ratio\n" in server.command("status").stdout


def test_defaults_say_the_ratio_of_every_service():
    config = "[defaults]\nmax_reply_ratio = 1\n" + service("echo", listen=LOOPBACK)
    config += service("responder", listen=LOOPBACK, reply="{data}!")
    config += service("more", "responder", LOOPBACK, reply="{data}!", max_reply_ratio=2)
    with Server(config) as server:
        for name, answer in (("echo", b"hola"), ("more", b"hola!")):
            with server.datagram_socket(name) as client:
                assert ask(client, b"hola") == answer
        with server.datagram_socket("responder") as client:
            client.send(b"hola")
            server.wait_for_lines(NOT_ANSWERED, service="responder")
            assert is_silent(client)


@pytest.mark.parametrize("ratio, result", [(None, -EDQUOT), ("1000", -EDQUOT), ("unlimited", 0)])
def test_what_no_datagram_asked_for_is_sent_only_without_a_limit(ratio, result):
    keys = {"max_reply_ratio": ratio} if ratio else {}
    with Server(service("multiplier", listen=f"tcp://127.0.0.1:0 {LOOPBACK}", threads=1, **keys)) as server:
        with server.datagram_socket("multiplier") as peer, server.connect("multiplier") as client:
            multiplied(server, peer, 0, 0)
            assert client.ask_line("now") == f"{result}\n"
            if result == 0:
                assert peer.recv(10) == b"x"
            else:
                assert is_silent(peer)


def test_every_example_configuration_is_answered():
    """conf/lab.ini and the README: the shortest datagram that a person sends gets its reply."""
    config = (service("clock", "responder", LOOPBACK, reply="{time}\\n")
              + service("who-am-i", "responder", LOOPBACK, reply="{name} #{count}: {peer} said {data}\\n")
              + service("all", "responder", LOOPBACK, reply="{name} {count} {peer} {time} {data}"))
    with Server(config) as server:
        for name in ("clock", "who-am-i", "all"):
            with server.datagram_socket(name) as client:
                assert ask(client, b"")
        assert not server.lines(NOT_ANSWERED)
