"""What the contract promises to plugins, each by a plugin under tests/plugins/ that relies on it."""

import os
import random
import re
import signal
import socket
import struct
import threading
import time

import pytest

from bursts import Stopped
from client import socket_address
from processes import memory_of, process_lives, processor_share
from server import Server, service
from settings import DEADLINE, SANITIZED, SLOWER, wait_until

MIB = 1 << 20


# -- timers


def test_a_timer_rings_once_and_not_early():
    with Server(service("timer")) as server, server.connect("timer") as client:
        start = time.monotonic()
        assert client.ask_line("after 200") == "rang\n"
        assert time.monotonic() - start >= 0.2
        assert client.is_silent(0.5)


def test_timers_ring_in_the_order_of_their_deadlines_not_of_their_setting():
    with Server(service("timer", threads=1)) as server:
        delays = [700, 100, 400, 250, 550]
        rang = []
        clients = [server.connect("timer") for _ in delays]
        for client, delay in zip(clients, delays):
            client.send(b"after %d\n" % delay)

        def wait_for(client, delay):
            assert client.receive_line() == "rang\n"
            rang.append(delay)
        threads = [threading.Thread(target=wait_for, args=pair) for pair in zip(clients, delays)]
        for thread in threads:
            thread.start()
        for thread, client in zip(threads, clients):
            thread.join(DEADLINE)
            client.socket.close()
        assert rang == sorted(delays)


def test_a_timer_that_was_cancelled_or_moved_rings_at_its_new_time_only():
    with Server(service("timer")) as server, server.connect("timer") as client:
        client.send(b"after 100\n")
        assert client.ask_line("cancel") == "cancelled\n"
        assert client.is_silent(0.4)
        start = time.monotonic()
        client.send(b"after 100\nafter 600\n")
        assert client.receive_line() == "rang\n"
        assert time.monotonic() - start >= 0.6
        client.send(b"after 60000\nafter 10\n")
        assert client.receive_line() == "rang\n"


def test_a_timer_may_be_set_again_as_it_rings():
    with Server(service("timer")) as server, server.connect("timer") as client:
        client.send(b"every 10 20\n")
        assert [client.receive_line() for _ in range(20)] == ["rang\n"] * 20
        assert client.is_silent(0.2)
        assert client.ask_line("after 0") == "rang\n"


def test_a_timer_that_runs_when_its_connection_ends_rings_nowhere():
    with Server(service("timer")) as server:
        for _ in range(20):
            with server.connect("timer") as client:
                client.send(b"after 50\n")
        with server.connect("timer") as client:
            assert client.ask_line("after 200") == "rang\n"


# -- work from other threads


def counts(client):
    client.send(b"stats\n")
    return {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", client.receive_line())}


def test_an_answer_from_another_thread_reaches_its_connection():
    with Server(service("poster")) as server:
        clients = [server.connect("poster") for _ in range(20)]
        for number, client in enumerate(clients):
            client.send(b"".join(b"job %d of %d\n" % (job, number) for job in range(20)))
        for number, client in enumerate(clients):
            for job in range(20):
                assert client.receive_line() == f"job {job} of {number}\n"
        assert counts(clients[0]) == {"jobs": 400, "delivered": 400, "destroyed": 0, "refused": 0}
        for client in clients:
            client.socket.close()


def test_work_for_a_connection_that_ended_meanwhile_is_destroyed_or_refused_and_never_lost():
    with Server(service("poster")) as server, server.connect("poster") as control:
        assert control.ask_line("hold") == "ok\n"
        for number in range(40):
            client = server.connect("poster")
            client.send(b"late\n" * 5)
            wait_until(lambda: counts(control)["jobs"] == 5 * (number + 1), "the jobs are queued")
            if number % 2:
                client.reset()
            client.socket.close()
        server.wait_for_lines("closed", count=40, service="poster")
        assert control.ask_line("release") == "ok\n"

        def all_ended():
            now = counts(control)
            return now["delivered"] + now["destroyed"] + now["refused"] == now["jobs"] and now
        now = wait_until(all_ended, "every job has an end")
        assert now["jobs"] == 200 and now["delivered"] == 0


def test_posts_that_race_with_closing_connections_each_end_exactly_once():
    rounds = 300 if not SANITIZED else 60
    with Server(service("poster", threads=2)) as server, server.connect("poster") as control:
        for number in range(rounds):
            clients = [server.connect("poster") for _ in range(4)]
            for client in clients:
                client.send(b"race\n" * 3)
            for client in clients:
                if number % 3 == 0:
                    client.receive_line()
                client.reset() if number % 2 else client.socket.close()

        def all_ended():
            now = counts(control)
            return now["delivered"] + now["destroyed"] + now["refused"] == now["jobs"] and now
        server.wait_for_lines("closed", count=rounds * 4)
        wait_until(all_ended, "every job has an end")


def test_a_worker_that_ends_with_jobs_on_their_way_loses_none():
    """The thread posts its last jobs while the connections and then the loops end."""
    with Server("[server]\ndrain_timeout = 100ms\n" + service("poster")) as server:
        clients = [server.connect("poster") for _ in range(10)]
        control = server.connect("poster")
        assert control.ask_line("hold") == "ok\n"
        for client in clients:
            client.send(b"late\n" * 10)
        wait_until(lambda: counts(control)["jobs"] == 100, "the jobs are queued")
        server.stop()
        line = re.search(r"poster jobs (\d+) delivered (\d+) destroyed (\d+) refused (\d+)",
                         server.log())
        jobs, delivered, destroyed, refused = map(int, line.groups())
        assert jobs == 100 == delivered + destroyed + refused
        for client in [*clients, control]:
            client.socket.close()


# -- back-pressure


def produced(count):
    block = bytes((i * 7 + (i >> 8)) & 0xff for i in range(65521))
    return (block * (count // len(block) + 1))[:count]


def test_a_producer_goes_on_when_its_output_has_drained_and_memory_stays_bounded():
    size = 50 * MIB if not SANITIZED else 10 * MIB
    expected = produced(size)
    with Server(service("producer")) as server:
        worker = server.worker()
        with server.connect("producer", receive_buffer=65536) as client:
            before = memory_of(worker)
            client.send(b"%d\n" % size)
            at, peak = 0, 0
            while at < size:
                part = client.socket.recv(300_000)
                assert part and part == expected[at:at + len(part)], f"other bytes after {at}"
                at += len(part)
                peak = max(peak, memory_of(worker))
                if at % 97 == 0:
                    time.sleep(0.002)
            assert client.receive_all() == b""
        assert peak - before < 8 * MIB * SLOWER
        server.wait_for_lines("closed", reason="closed-by-plugin", out=str(size))


def test_a_producer_whose_client_stops_reading_waits_and_then_is_closed():
    with Server(service("producer", write_timeout="1s")) as server:
        worker = server.worker()
        with server.connect("producer", receive_buffer=8192) as client:
            client.send(b"1000000000\n")
            before = memory_of(worker)
            server.wait_for_lines("closed", reason="slow-reader")
            assert memory_of(worker) - before < 8 * MIB * SLOWER


def test_a_plugin_that_ignores_back_pressure_meets_max_output():
    with Server(service("flood", max_output="1m")) as server:
        worker = server.worker()
        before = memory_of(worker)
        with server.connect("flood") as client:
            client.send(b"go")
            server.wait_for_lines("closed", service="flood", reason="slow-reader")
        assert memory_of(worker) - before < 8 * MIB * SLOWER
        assert re.search(r"flood ended with -105, then -107", server.log())


def test_a_paused_connection_gets_nothing_until_it_is_resumed():
    with Server(service("pauser")) as server:
        with server.connect("pauser") as client:
            client.send(b"abcPdef")
            client.end()
            assert client.receive_all() == b"abc(resumed)def"
        with server.connect("pauser") as client:
            client.send(b"aPPb")
            client.end()
            assert client.receive_all() == b"a(resumed)(resumed)b"


def test_nothing_is_received_of_a_paused_connection_though_there_is_more():
    listen = "unix://{dir}/x.sock"
    with Server(service("holder", listen=listen, wait="1h", idle_timeout="1s", max_input="1m")) as server:
        with server.connect("holder") as client:
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MIB)
            with Stopped(server.worker()):
                client.send(b"x" * 200_000)
            assert client.receive_line() == "held 65536\n"
            closed, = server.wait_for_lines("closed", reason="idle-timeout")
            assert closed["in"] == "65536"


def test_what_a_paused_connection_is_sent_waits_in_bounded_memory():
    data = random.Random(6).randbytes(20 * MIB).replace(b"P", b"p")
    with Server(service("pauser")) as server:
        worker = server.worker()
        with server.connect("pauser") as client:
            assert client.ask(b"x", 1) == b"x"
            before, peak = memory_of(worker), 0
            sender = threading.Thread(target=lambda: (client.send(b"P" + data), client.end()))
            sender.start()
            got = b""
            while True:
                part = client.socket.recv(MIB)
                peak = max(peak, memory_of(worker))
                if not part:
                    break
                got += part
            sender.join(DEADLINE)
            assert got == b"(resumed)" + data
            assert peak - before < 8 * MIB * SLOWER


def test_what_a_plugin_left_as_it_paused_comes_again_when_it_resumes():
    with Server(service("holder")) as server, server.connect("holder") as client:
        client.send(b"abcdef")
        assert client.receive_line() == "held 6\n"
        assert client.receive_line() == "6\n"
        assert client.ask(b"x", 2) == b"1\n"


def test_what_a_plugin_left_as_it_paused_comes_again_before_the_clients_end():
    with Server(service("holder")) as server, server.connect("holder") as client:
        client.send(b"abcdef")
        client.end()
        assert client.receive_line() == "held 6\n"
        assert client.receive_line() == "6\n"
        assert client.receive_line() == "end\n"


@pytest.mark.parametrize("half_closed", [False, True], ids=["paused", "half_closed"])
def test_an_urgent_byte_that_nobody_reads_takes_no_processor(half_closed):
    wait = "0" if half_closed else "1h"
    with Server(service("holder", wait=wait, threads=1)) as server:
        worker = server.worker()
        with server.connect("holder") as client:
            client.send(b"abc")
            assert client.receive_line() == ("3\n" if half_closed else "held 3\n")
            client.socket.send(b"!", socket.MSG_OOB)
            if half_closed:
                client.end()
                assert client.receive_line() == "end\n"
            assert processor_share(worker, 1) < 0.5
            with server.connect("holder") as other:
                other.send(b"abc")
                assert other.receive_line() == ("3\n" if half_closed else "held 3\n")


@pytest.mark.parametrize("ends", ["closed", "aborted"])
def test_a_connection_that_a_forked_process_holds_is_forgotten_when_it_ends(ends):
    """Its socket then lives on, and must not tell the loop of a connection that is freed."""
    with Server(service("forker", threads=1, isolate="yes", sandbox="no")) as server:
        worker = server.worker()
        with server.connect("forker") as held, server.connect("forker") as client:
            assert held.ask(b"-", 1) == b"-"
            client.send(b"f")
            child = int(client.receive_line())
            try:
                held.send(b"c" if ends == "closed" else b"a")
                if ends == "closed":
                    assert held.receive_all() == b""
                    held.end()
                server.wait_for_lines("closed", service="forker")
                if ends == "aborted":
                    held.send(b"more")
                assert processor_share(worker, 1) < 0.5
                assert process_lives(child)
                assert client.ask(b"-", 1) == b"-"
                with server.connect("forker") as other:
                    assert other.ask(b"-", 1) == b"-"
                assert server.workers() == [worker]
            finally:
                os.kill(child, signal.SIGKILL)


# -- input


def test_what_a_plugin_leaves_comes_again_with_what_follows():
    text = random.Random(7).randbytes(3000)
    expected = b"".join(text[i:i + 3][::-1] for i in range(0, 3000, 3))
    with Server(service("nibbler")) as server:
        for size in (1, 2, 4, 100, 3000):
            with server.connect("nibbler") as client:
                for start in range(0, len(text), size):
                    client.send(text[start:start + size])
                client.end()
                assert client.receive_all() == expected


def test_input_that_a_plugin_never_takes_is_bounded_by_max_input():
    with Server(service("hoarder", max_input="64k")) as server:
        with server.connect("hoarder") as client:
            try:
                while True:
                    client.send(b"x" * 10_000)
            except OSError:
                pass
        closed, = server.wait_for_lines("closed", reason="input-full")
        assert 65536 <= int(closed["in"]) < 1 << 20


def test_no_part_of_the_input_is_larger_than_max_input():
    with Server(service("holder", wait="0", max_input=100)) as server:
        with server.connect("holder") as client:
            total = 0
            client.send(b"x" * 60_000)
            while total < 60_000:
                part = int(client.receive_line())
                assert 0 < part <= 100
                total += part
            assert total == 60_000


def test_a_plugin_that_takes_nothing_is_closed_at_max_input_and_not_before():
    with Server(service("hoarder", max_input=100)) as server:
        with server.connect("hoarder") as client:
            client.send(b"x" * 99)
            assert client.is_silent(0.2)
            client.send(b"x")
            assert client.receive_all() == b""
        closed, = server.wait_for_lines("closed", service="hoarder")
        assert (closed["reason"], closed["in"]) == ("input-full", "100")


def test_a_plugin_may_answer_after_the_clients_end():
    with Server(service("eof")) as server, server.connect("eof") as client:
        client.send(b"x" * 100_000)
        client.end()
        assert client.receive_all() == b"100000 bytes\n"


def test_a_plugin_that_takes_more_than_it_got_is_cut_off_and_named():
    with Server(service("contract_breaker") + service("echo")) as server:
        with server.connect("contract_breaker") as client:
            client.send(b"hola")
            try:
                client.receive_all()
            except ConnectionResetError:
                pass
        server.wait_for_lines("closed", service="contract_breaker", reason="plugin-error")
        assert re.search(r" error .*(on_data|contract_breaker).*5", server.log())
        with server.connect("echo") as client:
            assert client.ask(b"hola", 4) == b"hola"


# -- closing


def test_after_a_close_calls_are_harmless_and_what_was_written_before_is_sent():
    with Server(service("closer")) as server:
        with server.connect("closer") as client:
            client.send(b"xc and more that is not delivered")
            assert client.receive_all() == b"xlast words"
        server.wait_for_lines("closed", reason="closed-by-plugin")
        assert "closer write -107 writev -107 ref none" in server.log()
        assert "closer on_close closed-by-plugin" in server.log()
        assert "called after a close" not in server.log()


def test_an_abort_resets_at_once():
    with Server(service("closer")) as server:
        with server.connect("closer") as client:
            client.send(b"a")
            try:
                client.receive_all()
                raise AssertionError("the stream ended, but was not reset")
            except ConnectionResetError:
                pass
        server.wait_for_lines("closed", reason="aborted")
        assert "closer write -107 writev -107 ref none" in server.log()
        assert "closer on_close aborted" in server.log()


def test_every_open_has_exactly_one_close_however_it_ends():
    rounds = 100 if not SANITIZED else 25
    with Server(service("lifecycle", idle_timeout="500ms", threads=2)) as server:
        idle = []
        for _ in range(rounds):
            server.connect("lifecycle").socket.close()
            server.connect("lifecycle").reset()
            for last in (b"close\n", b"abort\n", b"close\nabort\n", b"abort\nclose\n", b"x" * 200):
                client = server.connect("lifecycle")
                client.send(last)
                client.socket.close()
            idle.append(server.connect("lifecycle"))
        server.wait_for_lines("closed", count=8 * rounds)
        for client in idle:
            client.socket.close()
        with server.connect("lifecycle") as client:
            found = client.ask_line("stats")
            assert found == f"opened={8 * rounds + 1} closed={8 * rounds} twice=0\n"


def test_what_is_accepted_as_the_server_quits_is_closed_too():
    """The loop is busy as the order to quit comes, and with it many clients at eight ports."""
    listen = " ".join(["tcp://127.0.0.1:0"] * 8)
    with Server(service("lifecycle", listen=listen, threads=1, slow="500ms")) as server:
        endpoints = server.endpoints("lifecycle")
        clients = [server.connect(endpoint=endpoints[0])]
        server.wait_for_lines("lifecycle opens slowly")
        server.process.send_signal(signal.SIGINT)
        server.wait_for_lines("ending")
        for endpoint in endpoints * 5:
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(socket_address(endpoint)[1])
            clients.append(client)
        assert server.process.wait(DEADLINE) == 0
        opened, closed, twice, _ = lifecycle_counts(server)
        assert opened == closed >= 1 and twice == 0
        for client in clients:
            getattr(client, "socket", client).close()


def lifecycle_counts(server):
    """What the plugin logs as it stops: opened, closed, twice, most."""
    line = server.wait_for_log(r"lifecycle opened=(\d+) closed=(\d+) twice=(\d+) most=(\d+)")
    return tuple(map(int, line.groups()))


def test_several_loops_together_never_pass_max_connections():
    """The worker sleeps while a storm of clients connects, so that all its loops wake to full queues."""
    rounds, crowd = (100, 32) if not SANITIZED else (20, 32)
    with Server("[server]\nthreads = 8\nstall_limit = never\n" + service("lifecycle", max_connections=4)) as server:
        start = time.monotonic()
        for _ in range(rounds):
            os.kill(server.worker(), signal.SIGSTOP)
            clients = [server.connect("lifecycle") for _ in range(crowd)]
            os.kill(server.worker(), signal.SIGCONT)
            for client in clients:
                client.end()
                ended_somehow(client)
                client.socket.close()
        server.stop()
        seconds = time.monotonic() - start
        served, = server.lines("served")
        opened, closed, twice, most = lifecycle_counts(server)
        assert most <= 4 and opened == closed and twice == 0
        assert (int(served["opened"]), int(served["refused"])) == (opened, rounds * crowd - opened)
        assert int(served["refused"]) > 0
        refusals = [line for line in server.lines("closed") if line["reason"] == "limit"]
        assert 1 <= len(refusals) <= seconds + 2


def ended_somehow(client):
    try:
        client.receive_all()
    except ConnectionResetError:
        pass


# -- state


def test_state_of_connections_loops_and_services_is_kept_apart():
    threads, clients = 3, 60
    config = service("loopstate", threads=threads) + service("other", "loopstate", threads=1)
    with Server(f"[server]\nthreads = {threads}\n" + config) as server:
        last_of_loop, services = {}, []
        for _ in range(clients):
            with server.connect("loopstate") as client:
                for line in (1, 2):
                    match = re.fullmatch(r"loopstate conn=(\d+) loop=(\d+):(\d+) service=(\d+)\n",
                                         client.ask_line("x"))
                    conn, loop, of_loop, of_service = map(int, match.groups())
                    assert conn == line and 1 <= loop <= threads
                    assert of_loop == last_of_loop.get(loop, 0) + 1
                    last_of_loop[loop] = of_loop
                    services.append(of_service)
        assert services == list(range(1, 2 * clients + 1))
        with server.connect("other") as client:
            assert client.ask_line("x") == "other conn=1 loop=1:1 service=1\n"


def test_start_and_stop_are_called_once_around_the_loops():
    config = service("loopstate", threads=2)
    with Server("[server]\nthreads = 2\n" + config) as server:
        with server.connect("loopstate") as client:
            client.ask_line("x")
        server.stop()
        found = re.findall(r"(loopstate (?:start|stop|loop_start|loop_stop))\b", server.log())
        assert found == ["loopstate start"] + ["loopstate loop_start"] * 2 \
            + ["loopstate loop_stop"] * 2 + ["loopstate stop"]
        assert "stop after 1 lines" in server.log()


# -- addresses and languages


def test_a_plugin_knows_who_asks_and_where():
    listen = "tcp://127.0.0.1:0 tcp://[::1]:0 unix://{dir}/x.sock udp://[::1]:0"
    with Server(service("whoami", listen=listen)) as server:
        for endpoint in server.endpoints("whoami")[:2]:
            with server.connect(endpoint=endpoint) as client:
                peer = ("[%s]:%d" if "[" in endpoint else "%s:%d") % client.socket.getsockname()[:2]
                local = endpoint.removeprefix("tcp://")
                assert client.receive_all().decode() == f"whoami peer={peer} local={local}\n"
        with server.connect(endpoint=server.endpoints("whoami")[2]) as client:
            assert client.receive_all() == b"whoami peer=unix local=unix\n"
        with server.datagram_socket("whoami") as client:
            client.send(b"?")
            assert client.recv(200).decode() == "whoami peer=[%s]:%d local=[%s]:%d\n" % (
                *client.getsockname()[:2], *client.getpeername()[:2])


def test_a_plugin_may_be_written_in_cplusplus():
    with Server(service("cplusplus")) as server:
        with server.connect("cplusplus") as client:
            assert [client.ask_line(word) for word in ("uno", "dos", "uno", "x" * 500)] == \
                ["uno 1\n", "dos 1\n", "uno 2\n", "x" * 500 + " 1\n"]


def wire_request(identity, *texts, operation=1, count=None):
    body = struct.pack(">BIH", operation, identity, len(texts) if count is None else count)
    return body + b"".join(struct.pack("B", len(text)) + text for text in texts)


def test_a_binary_protocol_is_read_and_written_within_bounds():
    good = struct.pack(">BIIB", 0, 7, 9, 5) + b"three"
    bad = struct.pack(">BI", 1, 7)
    whole = wire_request(7, b"one", b"three", b"x")
    cases = [(whole, good), (whole + b"?", bad), (wire_request(7, b"one", operation=2), bad),
             (wire_request(7, b"one", count=2), bad), (wire_request(7, count=65535), bad),
             (wire_request(7), struct.pack(">BIIB", 0, 7, 0, 0)),
             (wire_request(7, b"y" * 255), struct.pack(">BIIB", 0, 7, 255, 255) + b"y" * 255),
             (b"", struct.pack(">BI", 1, 0))]
    cases += [(whole[:cut], bad if cut >= 5 else None) for cut in range(1, len(whole))]
    with Server(service("wire")) as server, server.connect("wire") as client:
        for request, reply in cases:
            client.send(struct.pack(">I", len(request)) + request)
            length, = struct.unpack(">I", client.receive(4))
            answer = client.receive(length)
            assert answer == reply or (reply is None and answer[:1] == b"\x01"), request
