"""UDP in bursts: the plugin sees single datagrams, and so does the client, however the system moves them."""

import ctypes
import multiprocessing
import os
import shutil
import socket
import struct
import subprocess
import threading

import pytest

from bursts import (UDP_GRO, Stopped, numbered, receive, send_burst, takes_bursts, udp_sockets,
                    until_bursts_are_taken)
from controlled import Controlled
from server import Server, service
from service_manager import ServiceManager, udp_socket
from settings import DEADLINE, SANITIZED, SLOWER, soak, wait_until
from test_service_manager import endpoint_of, with_sockets
from test_spoofing import CLONE_NEWNET
from upgradable import Upgradable

LOOPBACK = "udp://127.0.0.1:0"
ECHO = service("echo", listen=LOOPBACK, threads=1)

# Datagrams, their length, and that of the last.
SHAPES = [(1, 100, 100), (2, 1, 1), (64, 64, 64), (64, 64, 1), (50, 1200, 1200), (40, 1472, 17),
          (7, 9000, 8999), (3, 20000, 20000), (2, 32000, 500)]


def served(server, name="echo"):
    server.stop()
    line = server.lines("served service=" + name)[0]
    return {key: int(value) for key, value in line.items() if value.isdigit()}


@pytest.mark.parametrize("taken", [False, True])
@pytest.mark.parametrize("listen", [LOOPBACK, "udp://:0", "udp://[::1]:0"])
def test_a_burst_comes_back_as_its_datagrams(listen, taken):
    """In order and byte for byte, whether the socket takes bursts in one piece yet or not."""
    with Server(service("echo", listen=listen, threads=1)) as server:
        for host in ["127.0.0.1", "::1"] if listen == "udp://:0" else [None]:
            family = socket.AF_INET6 if ":" in (host or listen.split("//")[1][:5]) else socket.AF_INET
            with socket.socket(family, socket.SOCK_DGRAM) as client:
                client.settimeout(DEADLINE)
                client.connect((host or ("::1" if family == socket.AF_INET6 else "127.0.0.1"),
                                server.port()))
                if taken and not takes_bursts(server):
                    until_bursts_are_taken(server, client)
                for count, size, last in SHAPES:
                    sent = numbered(count, count, size, last)
                    send_burst(client, sent)
                    assert receive(client, count) == sent, (count, size, last)
        counts = served(server)
        assert counts["datagrams_in"] == counts["datagrams_out"] >= sum(s[0] for s in SHAPES)


def test_the_plugin_is_called_for_each_datagram_of_a_burst():
    config = service("echo", "responder", LOOPBACK, threads=1, reply="{count} {data}")
    with Server(config) as server, server.datagram_socket() as client:
        expected = 0
        while not takes_bursts(server) or expected < 1000:
            texts = [b"%04d" % number for number in range(50)]
            send_burst(client, texts)
            answers = receive(client, 50)
            first = int(answers[0].split()[0])
            assert first == expected + 1
            assert answers == [b"%d %s" % (first + i, text) for i, text in enumerate(texts)]
            expected += 50


def test_answers_of_one_size_leave_in_one_piece():
    """To a client that asks for it; the last one may be shorter."""
    with Server(ECHO) as server, server.datagram_socket() as client:
        until_bursts_are_taken(server, client)
        client.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)
        for count, size, last in [(64, 64, 64), (20, 1200, 7)]:
            sent = numbered(1, count, size, last)
            send_burst(client, sent)
            data, control, _, _ = client.recvmsg(1 << 17, 100)
            assert data == b"".join(sent)
            assert control == [(socket.IPPROTO_UDP, UDP_GRO, struct.pack("=i", size))]
        # 64 is what every system takes.
        with Stopped(server.worker()):
            for first in range(0, 90, 30):
                send_burst(client, numbered(first, 30, 100))
        texts = numbered(0, 90, 100)
        assert receive(client, 2) == [b"".join(texts[:64]), b"".join(texts[64:])]


def test_answers_to_single_datagrams_of_several_clients_stay_theirs():
    """They arrive together and leave together, mixed in any way."""
    with Server(service("echo", listen="udp://:0", threads=1)) as server:
        clients = []
        for host in ("127.0.0.1", "127.0.0.2", "::1", "127.0.0.1"):
            client = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET,
                                   socket.SOCK_DGRAM)
            client.settimeout(DEADLINE)
            client.connect((host, server.port()))
            clients.append(client)
        plan = [(index * index // 3 % 4, 1 + index * 37 % 5 * 40) for index in range(150)]
        sent = [numbered(index, 1, size)[0] for index, (_, size) in enumerate(plan)]
        for _ in range(3):
            with Stopped(server.worker()):
                for (who, _), data in zip(plan, sent):
                    clients[who].send(data)
                    if len(data) > 100:
                        send_burst(clients[who], [data, data, data[:3]])
            for number, client in enumerate(clients):
                for (who, _), data in zip(plan, sent):
                    if who == number:
                        assert client.recv(1 << 17) == data
                        if len(data) > 100:
                            assert receive(client, 3) == [data, data, data[:3]]
        for client in clients:
            client.close()


def test_answers_to_one_client_leave_from_each_address_that_it_asked():
    with Server(service("echo", listen="udp://0.0.0.0:0", threads=1)) as server:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(DEADLINE)
            asked = [("127.0.0.%d" % (1 + number // 3 % 2), server.port()) for number in range(60)]
            with Stopped(server.worker()):
                for number, address in enumerate(asked):
                    client.sendto(b"%02d" % number, address)
            answers = [client.recvfrom(100) for _ in asked]
            assert answers == [(b"%02d" % number, address) for number, address in enumerate(asked)]


def test_empty_datagrams_between_others_stay_single():
    with Server(ECHO) as server, server.datagram_socket() as client:
        texts = [b"aa", b"aa", b"", b"", b"aa", b"a", b"a", b"aa", b""]
        with Stopped(server.worker()):
            for text in texts:
                client.send(text)
        assert receive(client, len(texts)) == texts


def test_more_than_one_piece_can_hold_leaves_in_several():
    with Server(ECHO) as server, server.datagram_socket() as client:
        client.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)
        texts = numbered(0, 7, 20000)
        with Stopped(server.worker()):
            for text in texts:
                client.send(text)
        assert receive(client, 3) == [b"".join(texts[:3]), b"".join(texts[3:6]), texts[6]]


# ---- limits


def test_the_rate_of_a_source_counts_each_datagram_of_a_burst():
    config = service("echo", listen=LOOPBACK, threads=1, rate_per_source="5/h")
    with Controlled(config) as server, server.datagram_socket("echo") as client:
        for copy in udp_sockets(server.pid):
            copy.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)
        sent = numbered(0, 30, 100)
        send_burst(client, sent)
        assert receive(client, 5) == sent[:5]
        wait_until(lambda: server.service_status("echo")["datagrams_over_rate"] == 25, "25 dropped")
        status = server.service_status("echo")
        assert (status["datagrams_in"], status["datagrams_out"]) == (30, 5)


def test_what_a_datagram_may_be_answered_with_counts_for_each_of_a_burst():
    with Server(service("multiplier", listen=LOOPBACK, threads=1)) as server:
        for copy in udp_sockets(server.pid):
            copy.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)
        with server.datagram_socket() as client:
            text = b"5 30".ljust(30)
            send_burst(client, [text] * 20 + [b"1 200".ljust(20)])
            assert receive(client, 60) == [bytes(30)] * 60
            server.wait_for_log("multiplied sent=0 error=-122")
        counts = served(server, "multiplier")
        assert (counts["datagrams_in"], counts["datagrams_out"]) == (21, 60)
        assert counts["datagrams_over_ratio"] == 20 * 2 + 1


# ---- changes while bursts come


class BurstTraffic:
    """Bursts of changing shapes, one after the other; every byte of every answer is looked at."""

    def __init__(self, server, clients=4):
        self.wrong, self.rounds, self.ending = None, 0, False
        self.threads = [threading.Thread(target=self._run, args=(server.endpoint(), number),
                                         daemon=True) for number in range(clients)]

    def _run(self, endpoint, number):
        host, _, port = endpoint.split("//")[1].rpartition(":")
        try:
            while not self.ending:
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                    client.settimeout(DEADLINE)
                    client.connect((host, int(port)))
                    for turn in range(50):
                        count = 1 + (turn * 13 + number) % 64
                        size = 1 + turn * 29 % 900
                        sent = numbered(turn, count, size, 1 + turn % size)
                        send_burst(client, sent)
                        answers = receive(client, count)
                        if answers != sent:
                            self.wrong = (count, size, list(map(len, answers)))
                        self.rounds += 1
        except OSError as error:
            self.wrong = repr(error)

    def goes_on(self):
        before = self.rounds
        wait_until(lambda: self.rounds > before + 100 or self.wrong, "answers come")
        assert self.wrong is None

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.ending = True
        for thread in self.threads:
            thread.join(DEADLINE)
            assert not thread.is_alive()
        assert self.wrong is None, self.wrong


@pytest.mark.soak
@pytest.mark.timeout(soak(180, 900) * SLOWER)
def test_reloads_in_the_middle_of_bursts_lose_and_mistake_nothing():
    with Controlled(service("echo", listen=LOOPBACK, threads=2)) as server:
        with BurstTraffic(server) as traffic:
            for _ in range(soak(10 if not SANITIZED else 3, 100)):
                traffic.goes_on()
                server.reload()
            wait_until(lambda: takes_bursts(server), "a socket takes bursts")
            server.reload()
            traffic.goes_on()


@pytest.mark.soak
@pytest.mark.timeout(soak(180, 900) * SLOWER)
def test_upgrades_in_the_middle_of_bursts_lose_and_mistake_nothing():
    with Upgradable(service("echo", listen=LOOPBACK, threads=2)) as server:
        with BurstTraffic(server) as traffic:
            for _ in range(soak(4 if not SANITIZED else 2, 30)):
                traffic.goes_on()
                server.upgrade()
            wait_until(lambda: takes_bursts(server), "a socket takes bursts")
            server.upgrade()
            traffic.goes_on()
        server.those_before_have_left()


def test_a_socket_of_the_service_manager_is_not_switched():
    """Who gets it next may not know what to do with a burst."""
    with ServiceManager() as manager, udp_socket() as ours:
        config = service("echo", listen=endpoint_of(ours), threads=1)
        with with_sockets(manager, [ours], "echo", config) as server:
            with server.datagram_socket() as client:
                for _ in range(100):
                    sent = numbered(0, 64, 100)
                    send_burst(client, sent)
                    assert receive(client, 64) == sent
            assert ours.getsockopt(socket.IPPROTO_UDP, UDP_GRO) == 0


# ---- what the system does not take


def ask_over_a_narrow_network():
    """A burst is cut by its sizes, not by the path's: with datagrams that are too long for it none can leave."""
    assert ctypes.CDLL(None).unshare(CLONE_NEWNET) == 0
    subprocess.run(["ip", "link", "set", "lo", "up", "mtu", "1500"], check=True)
    with Server(ECHO) as server, server.datagram_socket() as client:
        texts = numbered(0, 30, 2000)
        for _ in range(3):
            with Stopped(server.worker()):
                for text in texts:
                    client.send(text)
            assert receive(client, len(texts)) == texts
        client.setsockopt(socket.IPPROTO_UDP, UDP_GRO, 1)
        short = numbered(0, 30, 500)
        # It rested after the failure, and tries again.
        for _ in range(300):
            client.send(b"one")
            assert client.recv(100) == b"one"
        with Stopped(server.worker()):
            for text in short:
                client.send(text)
        assert client.recv(1 << 17) == b"".join(short)
        counts = served(server)
        assert counts["datagrams_out"] == counts["datagrams_in"] == 3 * 30 + 300 + 30
        assert counts["datagrams_unsent"] == 0


def test_a_burst_that_cannot_leave_leaves_one_by_one():
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("a network of its own needs root and the command ip")
    child = multiprocessing.get_context("fork").Process(target=ask_over_a_narrow_network)
    child.start()
    child.join(3 * DEADLINE)
    child.kill()
    assert child.exitcode == 0
