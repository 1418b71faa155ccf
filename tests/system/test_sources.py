"""Limits by source: allow and deny, connections and rates. Every address of 127.0.0.0/8 is a source."""

import contextlib
import datetime
import os
import signal
import socket
import statistics
import time

import pytest

from client import Client
from controlled import Controlled
from load import Flood, Load
from server import Server, run, service
from settings import DEADLINE, SANITIZED, soak, wait_until


class Asked(Controlled):
    """A server, and connections from any source; who still has one at the end leaves first."""

    def __init__(self, *args, **keys):
        super().__init__(*args, **keys)
        self.clients = []

    def __exit__(self, kind, *rest):
        for client in self.clients:
            client.socket.close()
        super().__exit__(kind, *rest)

    def ask_from(self, source="127.0.0.1", name="echo"):
        """A connection that was let in, or None. It was answered once."""
        family = socket.AF_INET6 if ":" in source else socket.AF_INET
        client = Client.__new__(Client)
        client.socket = socket.socket(family, socket.SOCK_STREAM)
        client.socket.settimeout(DEADLINE)
        client.socket.bind((source, 0))
        self.clients.append(client)
        try:
            host = "::1" if family == socket.AF_INET6 else "127.0.0.1"
            client.socket.connect((host, self.port(name, "tcp")))
            if client.ask(b"x", 1) == b"x":
                return client
        except OSError:
            pass
        client.socket.close()
        return None


def answered_from(server, source, requests=1, name="echo"):
    """How many of so many datagrams are answered; all of them were handled."""
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as client:
        client.bind((source, 0))
        client.settimeout(0.3)
        target = ("::1" if family == socket.AF_INET6 else "127.0.0.1", server.port(name, "udp"))
        before = server.service_status(name)["datagrams_in"]
        for number in range(requests):
            client.sendto(b"%d" % number, target)
        wait_until(lambda: server.service_status(name)["datagrams_in"] >= before + requests,
                   "all datagrams arrived")
        count = 0
        try:
            while client.recv(100):
                count += 1
        except TimeoutError:
            return count


def ended(server, reason, name="echo"):
    return server.service_status(name)["ended"][reason]


def wait_for_ended(server, reason, count, name="echo"):
    wait_until(lambda: ended(server, reason, name) >= count, f"{count} times {reason}")
    assert ended(server, reason, name) == count


def time_of(line):
    return datetime.datetime.fromisoformat(line.split(" ")[0].rstrip("Z")).timestamp()


# -- connections of a source


def test_a_source_has_no_more_than_its_connections_and_others_are_served():
    with Asked(service("echo", max_connections_per_source=2)) as server:
        mine = [server.ask_from() for _ in range(2)]
        assert all(mine)
        assert server.ask_from() is None and server.ask_from() is None
        assert server.ask_from("127.0.0.2")
        assert mine[0].ask(b"y", 1) == b"y"
        wait_for_ended(server, "source-limit", 2)
        mine.pop().socket.close()
        mine.append(wait_until(lambda: server.ask_from(), "the place is free again"))
        assert server.ask_from() is None


@pytest.mark.parametrize("way", ["client", "reset", "half", "idle", "plugin", "abort"])
def test_the_place_of_a_connection_is_free_again_whatever_way_it_ended(way):
    plugin, keys = {"plugin": ("hola", {}), "abort": ("closer", {}),
                    "idle": ("echo", {"idle_timeout": "100ms"})}.get(way, ("echo", {}))
    config = service("one", plugin, max_connections_per_source=1, **keys)
    with Asked(config) as server:
        for round_ in range(3):
            def let_in():
                try:
                    client = server.connect("one")
                    if way == "plugin":
                        return client if client.ask(b"adios", 9) == b"pues adios"[:9] else None
                    if way == "abort":
                        client.send(b"a")
                        return client
                    return client if client.ask(b"x", 1) == b"x" else None
                except OSError:
                    return None
            before = server.service_status("one")["opened"]
            client = wait_until(let_in, f"let in, in round {round_}")
            if way == "reset":
                client.reset()
            elif way == "half":
                client.end()
                client.receive_all()
            elif way in ("plugin", "idle"):
                client.receive_all()
            client.socket.close()
            wait_until(lambda: server.service_status("one")["opened"] > before, "counted")
            wait_until(lambda: server.service_status("one")["now"] == 0, "ended")
        status = server.service_status("one")
        assert status["opened"] == status["closed"] >= 3


def test_who_is_refused_for_another_reason_takes_no_place_of_its_source():
    with Asked(service("echo", max_connections=1, max_connections_per_source=1)) as server:
        holder = server.ask_from("127.0.0.2")
        for _ in range(3):
            assert server.ask_from() is None
        wait_for_ended(server, "limit", 3)
        assert ended(server, "source-limit") == 0
        holder.socket.close()
        assert wait_until(lambda: server.ask_from(), "the only place is free again")


def test_several_loops_together_never_pass_the_connections_of_a_source():
    """The worker sleeps while a storm of clients connects, so that all its loops wake to full queues."""
    config = "[server]\nthreads = 8\nstall_limit = never\n" + service("echo", max_connections_per_source=4)
    with Server(config) as server:
        for _ in range(10 if not SANITIZED else 3):
            os.kill(server.worker(), signal.SIGSTOP)
            clients = [client for client in (connected(server) for _ in range(32)) if client]
            os.kill(server.worker(), signal.SIGCONT)
            let_in = 0
            for client in clients:
                try:
                    let_in += client.ask(b"x", 1) == b"x"
                except OSError:
                    pass
            assert let_in == 4
            lines = len(server.lines("closed"))
            for client in clients:
                client.socket.close()
            server.wait_for_lines("closed", lines + 4)


def connected(server):
    """Or None: the worker may still be awake, and refuse it at once."""
    try:
        return server.connect("echo")
    except ConnectionResetError:
        return None


def test_a_source_prefix_makes_a_network_one_source():
    config = service("echo", max_connections_per_source=1, source_prefix="/24 /48")
    with Asked(config) as server:
        held = server.ask_from("127.0.3.1")
        assert held and server.ask_from("127.0.3.250") is None
        assert server.ask_from("127.0.4.1")


def test_a_unix_socket_has_no_source():
    config = service("echo", listen="unix://{dir}/echo.sock", max_connections_per_source=1,
                     rate_per_source="1/h", allow="192.0.2.1")
    with Asked(config) as server:
        for _ in range(5):
            server.clients.append(server.connect("echo"))
            assert server.clients[-1].ask(b"x", 1) == b"x"


def test_a_reload_begins_with_an_empty_table():
    config = service("echo", max_connections_per_source=1, rate_per_source="3/h")
    with Asked(config) as server:
        held = server.ask_from()
        assert held and server.ask_from() is None and server.ask_from() is None
        assert server.ask_from() is None
        server.reload()
        again = server.ask_from()
        assert again and server.ask_from() is None
        assert held.ask(b"y", 1) == b"y"


# -- rates


def test_a_source_that_comes_too_often_waits_and_is_served_again():
    with Asked(service("echo", rate_per_source="4/s burst 8")) as server:
        start = time.monotonic()
        served = sum(server.ask_from() is not None for _ in range(40))
        seconds = time.monotonic() - start
        assert 8 <= served <= 8 + 4 * seconds + 1
        assert server.ask_from("127.0.0.2")
        wait_for_ended(server, "source-rate", 40 - served)
        assert wait_until(lambda: server.ask_from(), "served again")


def test_datagrams_are_counted_by_network():
    config = service("echo", listen="udp://127.0.0.1:0", rate_per_source="5/h")
    with Asked(config) as server:
        assert answered_from(server, "127.0.3.1", 4) == 4
        assert answered_from(server, "127.0.3.2", 4) == 1
        assert answered_from(server, "127.0.3.3", 4) == 0
        assert answered_from(server, "127.0.4.1", 5) == 5
        status = server.service_status("echo")
        assert (status["datagrams_in"], status["datagrams_out"]) == (17, 10)
        assert (status["datagrams_over_rate"], status["datagrams_denied"]) == (7, 0)
        assert "datagrams refused: 0 denied, 7 over the rate" in server.command("status").stdout


def test_streams_and_datagrams_of_one_section_are_counted_apart():
    config = service("echo", listen="tcp://127.0.0.1:0 udp://127.0.0.1:0", rate_per_source="2/h")
    with Asked(config) as server:
        assert answered_from(server, "127.0.0.1", 3) == 2
        assert server.ask_from() and server.ask_from() and server.ask_from() is None


def test_who_is_refused_keeps_the_rate_for_when_there_is_room():
    config = service("echo", max_connections=1, rate_per_source="3/h")
    with Asked(config) as server:
        holder = server.ask_from("127.0.0.2")
        for _ in range(10):
            assert server.ask_from() is None
        wait_for_ended(server, "limit", 10)
        holder.socket.close()
        wait_until(lambda: server.service_status("echo")["now"] == 0, "there is room")
        assert server.ask_from()
        assert ended(server, "source-rate") == 0


def test_what_the_server_keeps_of_sources_and_loops_is_not_the_services_memory():
    """Tables for connections and datagrams of 20 services, and buffers of 32 loops, are far more than 16 MiB."""
    config = "[server]\nthreads = 32\n[defaults]\nrate_per_source = 100/s\nmax_memory = 16m\n"
    listen = "tcp://127.0.0.1:0 udp://127.0.0.1:0"
    with Server(config + "".join(service(f"s{i}", "echo", listen, threads=1) for i in range(20))) as server:
        with server.connect("s19") as client:
            assert client.ask(b"x", 1) == b"x"


# -- allow and deny


def test_who_is_not_allowed_is_closed_before_the_plugin_knows():
    config = service("echo", allow="127.0.2.0/24 127.0.3.1", deny="127.0.2.7")
    with Asked(config) as server:
        assert server.ask_from("127.0.2.1") and server.ask_from("127.0.3.1")
        for source in ("127.0.0.1", "127.0.2.7", "127.0.3.2"):
            assert server.ask_from(source) is None
        wait_for_ended(server, "denied", 3)
        status = server.service_status("echo")
        assert status["opened"] == 2
        lines = server.wait_for_lines("closed", 3, reason="denied")
        assert sorted(line["peer"].split(":")[0] for line in lines) == \
            ["127.0.0.1", "127.0.2.7", "127.0.3.2"]
        row = next(line for line in server.command("status").stdout.splitlines()
                   if line.startswith("echo "))
        assert row.split()[3] == "3"


def test_datagrams_of_who_is_denied_are_not_answered():
    config = service("echo", listen="udp://127.0.0.1:0", deny="127.0.2.0/24")
    with Asked(config) as server:
        assert answered_from(server, "127.0.2.1", 3) == 0
        assert answered_from(server, "127.0.3.1", 3) == 3
        status = server.service_status("echo")
        assert (status["datagrams_denied"], status["datagrams_over_rate"]) == (3, 0)
        assert server.wait_for_lines("dropped", reason="denied", service="echo")


@pytest.mark.parametrize("listen", ["tcp://:0 udp://:0", "tcp://[::]:0 udp://[::]:0"])
def test_ipv4_on_a_socket_of_both_families_is_ipv4(listen):
    with Asked(service("echo", listen=listen, allow="127.0.0.0/8", deny="::/0")) as server:
        assert server.ask_from("::1") is None
        assert answered_from(server, "::1") == 0
        if listen.startswith("tcp://:"):
            assert server.ask_from("127.0.0.1")
            assert answered_from(server, "127.0.0.1") == 1
    with Asked(service("echo", listen=listen, allow="::1", deny="0.0.0.0/0")) as server:
        assert server.ask_from("::1") and answered_from(server, "::1") == 1
        if listen.startswith("tcp://:"):
            assert server.ask_from("127.0.0.1") is None
            assert answered_from(server, "127.0.0.1") == 0


def test_a_section_says_anew_what_the_defaults_say():
    config = ("[defaults]\nallow = 127.0.2.0/24\nmax_connections_per_source = 1\n" +
              service("one", "echo") +
              service("two", "echo", allow="127.0.0.1", max_connections_per_source="unlimited"))
    with Asked(config) as server:
        held = server.ask_from("127.0.2.1", "one")
        assert held and server.ask_from("127.0.2.1", "one") is None
        assert server.ask_from("127.0.0.1", "one") is None
        held = [server.ask_from("127.0.0.1", "two") for _ in range(3)]
        assert all(held) and server.ask_from("127.0.2.1", "two") is None


def test_a_mistyped_entry_opens_nothing(tmp_path):
    file = tmp_path / "e.ini"
    file.write_text(service("echo", allow="127.0.0.1/8"))
    for command in ("check", "run"):
        done = run(command, file)
        assert done.returncode == 1
        assert ("e.ini:4: [echo] allow: \"127.0.0.1/8\" has bits beyond its prefix; write 127.0.0.0/8, "
                "or 127.0.0.1 for this one address") in done.stderr


# -- the log


def refusals_said(server, message, reason):
    """The times of the lines, and how many refusals the log has told in all."""
    lines = [line for line in server.log().splitlines()
             if f" {message} " in line and f"reason={reason}" in line]
    more = sum(int(line["count"]) for line in server.lines("further refusals"))
    return [time_of(line) for line in lines], len(lines) + more


def test_many_sources_have_ten_lines_a_second_and_a_count():
    with Asked(service("echo", listen="udp://127.0.0.1:0", deny="127.0.0.0/8")) as server:
        for network in range(1, 101):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.bind((f"127.0.{network}.1", 0))
                client.sendto(b"x", ("127.0.0.1", server.port("echo", "udp")))
                client.sendto(b"x", ("127.0.0.1", server.port("echo", "udp")))
        wait_until(lambda: server.service_status("echo")["datagrams_denied"] == 200, "all dropped")
        wait_until(lambda: refusals_said(server, "dropped", "denied")[1] == 200, "all are told")
        times, _ = refusals_said(server, "dropped", "denied")
        for first in times:
            assert sum(first <= time < first + 0.999 for time in times) <= 10


# -- floods


@pytest.mark.soak
def test_one_source_that_floods_harms_nobody_but_itself():
    """Its own processor stands for the other machine that it would be: what it costs to send a flood is not
    the server's. The neighbour asks in the same way alone and beside it, in turns."""
    rate, refusals = 1000, soak(3000, 200000)
    config = service("echo", rate_per_source=f"{rate}/s")
    own, other = processors()
    floods, alone, beside = [], [], []
    with on_processor(own), Asked(config, server={"threads": 1}) as server:
        port = server.port("echo", "tcp")
        for _ in range(soak(1, 6)):
            alone.append(latencies("127.0.8.8", port))
            with flooding(floods, other, port):
                before = ended(server, "source-rate")
                wait_until(lambda: ended(server, "source-rate") > before, "the flooder is refused")
                beside.append(latencies("127.0.8.8", port))
        with Load(tcp=port, parallel=4) as load, flooding(floods, other, port):
            wait_until(lambda: ended(server, "source-rate") >= refusals, "the flooder is refused",
                       soak(4, 10) * DEADLINE)
        print(f"server on processor {own}, flooder on {other}; a neighbour's connection with one request, in ms")
        print(f"alone:  {percentiles(alone)}\nbeside: {percentiles(beside)}\n{load.counts}")
        assert load.counts["streams"] > 0
        for flood in floods:
            counts = flood.counts
            print(f"{1000 * counts['begun'] / counts['ms']:.0f} connections a second for {counts['ms']} ms: "
                  f"{counts['let_in']} let in, {counts['refused_flood']} refused")
            assert counts["let_in"] <= 1.05 * (rate + rate * counts["ms"] / 1000)
            assert counts["refused_flood"] > 0
        count = ended(server, "source-rate")
        server.stop()
        times, said = refusals_said(server, "closed", "source-rate")
        assert said == count
        assert all(b - a >= 0.99 for a, b in zip(times, times[1:])), times


def processors():
    """One for the server and its neighbours, and one for the flooder; the same where there is but one."""
    found = sorted(os.sched_getaffinity(0))
    return found[0], found[-1]


@contextlib.contextmanager
def on_processor(number):
    """Where this thread runs, and what it starts meanwhile."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {number})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def flooding(floods, processor, port):
    flood = Flood(soak(4000, 20000), "127.0.9.9", tcp=port)
    with on_processor(processor):
        flood.__enter__()
    floods.append(flood)
    kind = True
    try:
        yield
        kind = None
    finally:
        flood.__exit__(kind)


def latencies(source, port):
    """Of connections with one request, in milliseconds. Each is answered."""
    taken = []
    for _ in range(soak(20, 500)):
        start = time.monotonic()
        with socket.create_connection(("127.0.0.1", port), DEADLINE, (source, 0)) as client:
            client.sendall(b"x")
            assert client.recv(1) == b"x"
        taken.append(1000 * (time.monotonic() - start))
        time.sleep(0.002)  # its own rate is within the limit
    return taken


def percentiles(windows):
    """The medians of the windows, and the median and p99 of all."""
    taken = sorted(sum(windows, []))
    return (f"median {statistics.median(taken):.2f}, p99 {taken[len(taken) * 99 // 100]:.2f}; windows "
            + " ".join(f"{statistics.median(window):.2f}" for window in windows))


@pytest.mark.soak
def test_forged_requests_of_one_network_leave_the_others_their_answers():
    """What the system itself drops, before the server sees it, is nobody's fault here."""
    rate, requests = 1000, soak(300, 5000)
    config = service("echo", listen="udp://127.0.0.1:0", rate_per_source=f"{rate}/s")
    with Asked(config, server={"threads": 2}) as server:
        flood = Flood(soak(5000, 50000), "127.1.1.0", udp=server.port("echo", "udp"))
        start = time.monotonic()
        with flood:
            unanswered = neighbour("127.1.2.5", server.port("echo", "udp"), requests)
        status = server.service_status("echo")
        replies = status["datagrams_out"] - (requests - unanswered)
        print(f"{unanswered} of {requests} unanswered, {replies} replies to", flood.counts)
        assert unanswered <= status["datagrams_dropped"]
        assert replies <= 1.05 * (rate + rate * (time.monotonic() - start))
        assert flood.counts["answered"] <= replies and status["datagrams_over_rate"] > 0
        server.stop()
        times, said = refusals_said(server, "dropped", "source-rate")
        assert said == status["datagrams_over_rate"]
        assert all(b - a >= 0.99 for a, b in zip(times, times[1:])), times


def neighbour(source, port, requests):
    """Asks, and waits for each answer. Returns how many got none."""
    unanswered = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind((source, 0))
        client.connect(("127.0.0.1", port))
        client.settimeout(2)
        for number in range(requests):
            client.send(b"%d" % number)
            try:
                while client.recv(100) != b"%d" % number:
                    pass
            except TimeoutError:
                unanswered += 1
            time.sleep(0.003)  # its own rate is within the limit
    return unanswered
