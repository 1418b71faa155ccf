"""UDP: sizes, sources, bursts and what became of every datagram."""

import os
import re
import select
import socket
import struct
import threading

import pytest

from server import Server, service
from settings import DEADLINE, SANITIZED

LARGEST = 65507
SO_MEMINFO = 55
MEMINFO_DROPS = 8


def ask(client, data):
    client.send(data)
    return client.recv(1 << 17)


@pytest.fixture(scope="module")
def server():
    config = (service("echo", listen="udp://127.0.0.1:0 udp://[::1]:0")
              + service("same", "responder", "udp://127.0.0.1:0", reply="{data}")
              + service("fixed", "responder", "udp://127.0.0.1:0", reply="pong")
              + service("full", "responder", "udp://127.0.0.1:0", threads=1,
                        reply="{name} {count} {peer} {time} {data}"))
    with Server(config) as server:
        yield server


@pytest.mark.parametrize("name", ["echo", "same"])
@pytest.mark.parametrize("size", [0, 1, 1472, 9000, LARGEST])
def test_a_datagram_of_any_size_comes_back_whole(server, name, size):
    data = bytes(i * 7 & 0xff for i in range(size))
    with server.datagram_socket(name) as client:
        assert ask(client, data) == data


def test_datagrams_over_ipv6_come_back(server):
    endpoint = next(e for e in server.endpoints("echo") if "[::1]" in e)
    with server.datagram_socket(endpoint=endpoint) as client:
        assert client.family == socket.AF_INET6
        assert ask(client, b"hola") == b"hola"
        assert ask(client, b"") == b""


def test_responder_answers_a_fixed_text(server):
    with server.datagram_socket("fixed") as client:
        assert ask(client, b"ping") == b"pong"
        assert ask(client, b"") == b"pong"


def test_responder_fills_its_template(server):
    with server.datagram_socket("full") as client:
        peer = "%s:%d" % client.getsockname()
        counts = []
        for text in (b"one", b"two"):
            answer = ask(client, text).decode()
            match = re.fullmatch(r"full (\d+) (\S+) (\d{4}-\d\d-\d\dT\S+Z) (\w+)", answer)
            assert match, answer
            assert match.group(2) == peer and match.group(4) == text.decode()
            counts.append(int(match.group(1)))
        assert counts[1] == counts[0] + 1


@pytest.mark.parametrize("listen, to", [("udp://:0", "127.0.0.2"), ("udp://:0", "::1"),
                                        ("udp://0.0.0.0:0", "127.0.0.3")])
def test_the_answer_comes_from_the_address_that_was_asked(listen, to):
    """A connected socket takes answers from nowhere else, on a host with several addresses too."""
    with Server(service("echo", listen=listen) + service("whoami", listen=listen)) as server:
        family = socket.AF_INET6 if ":" in to else socket.AF_INET
        for name in ("echo", "whoami"):
            with socket.socket(family, socket.SOCK_DGRAM) as client:
                client.settimeout(DEADLINE)
                client.connect((to, server.port(name)))
                answer = ask(client, b"hola")
                text = "%s:%d" if family == socket.AF_INET else "[%s]:%d"
                if name == "echo":
                    assert answer == b"hola"
                else:
                    assert answer.decode() == "whoami peer=%s local=%s\n" % (
                        text % client.getsockname()[:2], text % (to, server.port(name)))


def drops_of(udp_socket):
    """What the kernel dropped because this socket's buffer was full."""
    return struct.unpack("9I", udp_socket.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 36))[MEMINFO_DROPS]


class Burst:
    """Sends numbered datagrams as fast as it can, while it counts the answers."""

    def __init__(self, client, count):
        self.client, self.count = client, count
        self.answers, self.wrong = set(), 0
        self.thread = threading.Thread(target=self._receive, daemon=True)
        self.ended = threading.Event()
        self.thread.start()
        for number in range(count):
            client.send(b"%08d" % number)

    def _receive(self):
        while True:
            ready, _, _ = select.select([self.client], [], [], 0.5)
            if not ready and self.ended.is_set():
                return
            if ready:
                answer = self.client.recv(2000)
                if len(answer) == 8 and int(answer) not in self.answers:
                    self.answers.add(int(answer))
                else:
                    self.wrong += 1

    def finish(self):
        self.ended.set()
        self.thread.join(DEADLINE)
        assert not self.thread.is_alive()


@pytest.mark.parametrize("name, keys", [("echo", {}), ("responder", {"reply": "{data}"})])
def test_of_a_burst_every_datagram_is_answered_or_counted_as_dropped(name, keys):
    """answered + dropped before the server + dropped before the client = sent."""
    count = 100_000 if not SANITIZED else 10_000
    with Server(service(name, listen="udp://127.0.0.1:0", **keys)) as server:
        with server.datagram_socket(name) as client:
            burst = Burst(client, count)
            burst.finish()
            dropped_here = drops_of(client)
            server.stop()
        served = server.wait_for_lines("served", service=name)[0]
        arrived, dropped = int(served["datagrams_in"]), int(served["datagrams_dropped"])
        unsent, sent = int(served["datagrams_unsent"]), int(served["datagrams_out"])
        assert burst.wrong == 0
        assert arrived + dropped == count
        assert sent + unsent == arrived
        assert len(burst.answers) + dropped_here == sent
        assert len(burst.answers) > 0


def test_a_burst_that_a_patient_client_paces_loses_nothing():
    """With no more on their way than any buffer holds, every datagram is answered."""
    with Server(service("echo", listen="udp://127.0.0.1:0")) as server:
        with server.datagram_socket("echo") as client:
            for start in range(0, 20_000 if not SANITIZED else 4_000, 50):
                texts = {b"%d" % number for number in range(start, start + 50)}
                for text in texts:
                    client.send(text)
                assert {client.recv(100) for _ in texts} == texts


def test_a_route_leads_back_to_an_earlier_sender():
    """From the address that the earlier one had asked: a connected socket takes no other."""
    with Server(service("pair", listen="udp://:0", threads=1)) as server:
        port = server.port("pair")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as first, \
                socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as second:
            for client, host in ((first, "127.0.0.2"), (second, "::1")):
                client.settimeout(DEADLINE)
                client.connect((host, port))
            first.send(b"to nobody")
            second.send(b"to the first")
            assert first.recv(100) == b"to the first"
            first.send(b"to the second")
            assert second.recv(100) == b"to the second"


def test_a_copy_of_a_datagram_leads_back_to_its_sender():
    with Server(service("datagram_copy", listen="udp://127.0.0.1:0")) as server:
        with server.datagram_socket("datagram_copy") as client:
            for number in range(20):
                assert ask(client, b"%d" % number) == b"%d" % number


def test_what_cannot_be_sent_is_an_error_to_the_plugin():
    with Server(service("pair", listen="udp://127.0.0.1:0", threads=1)) as server:
        with server.datagram_socket("pair") as client:
            assert ask(client, b"big") == b"error -90"  # EMSGSIZE
            assert ask(client, b"astray") == b"error -22"  # EINVAL


def test_a_sender_that_is_gone_disturbs_nobody():
    """Answers to a closed port come back as errors; the next sender must not see them."""
    with Server(service("echo", listen="udp://127.0.0.1:0", threads=1)) as server:
        for _ in range(50):
            with server.datagram_socket("echo") as gone:
                gone.send(b"and away")
        with server.datagram_socket("echo") as client:
            for number in range(50):
                assert ask(client, b"%d" % number) == b"%d" % number


def test_one_service_takes_streams_and_datagrams():
    with Server(service("echo", listen="tcp://127.0.0.1:0 udp://127.0.0.1:0")) as server:
        with server.connect("echo") as stream, server.datagram_socket("echo") as datagrams:
            assert stream.ask(b"hola", 4) == b"hola"
            assert ask(datagrams, b"hola") == b"hola"


@pytest.mark.parametrize("trusted", [False, True])
def test_two_services_do_not_answer_each_other_for_ever(trusted):
    trust = {"trust_source_ports": "yes"} if trusted else {}
    config = (service("one", "responder", "udp://127.0.0.1:0", **trust) +
              service("two", "responder", "udp://127.0.0.1:0"))
    with Server(config) as server:
        one, two = (("127.0.0.1", server.port(name, "udp")) for name in ("one", "two"))
        # What a forger does with a raw socket, any user's process can do with a shared port.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as forger:
            forger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            forger.bind(two)
            for _ in range(20):
                forger.sendto(b"ping", one)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(DEADLINE)
            client.sendto(b"after", one)
            assert client.recv(100) == b"after"
        server.stop()
        served = {line["service"]: line for line in server.lines("served")}
        assert int(served["one"]["datagrams_refused"]) == (0 if trusted else 20)
        # Trusted, some of the answers reach the other service, which ends it.
        assert int(served["two"]["datagrams_out"]) == 0


def test_a_peer_with_the_port_of_a_service_is_not_answered():
    if os.geteuid() != 0:
        pytest.skip("binding a port below 1024 needs root")
    with Server(service("echo", "echo", "udp://127.0.0.1:0")) as server:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.bind(("127.0.0.9", 7))
            peer.sendto(b"chargen", ("127.0.0.1", server.port("echo", "udp")))
            server.wait_for_log("not answered: the sender looks like a service")
            peer.setblocking(False)
            with pytest.raises(BlockingIOError):
                peer.recv(100)
