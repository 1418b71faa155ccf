"""A reload loses nothing, and what is wrong in it changes nothing."""

import os
import signal
import threading

import pytest


from controlled import QUIET, Controlled, copy_plugin
from load import Load
from processes import process_lives
from server import Server, service
from settings import DEADLINE, SANITIZED, SLOWER, soak, wait_until

BOTH = "tcp://127.0.0.1:0 udp://127.0.0.1:0"
RELOADS = soak(5 if SANITIZED else 20, 50)
MESSAGES = soak(1000 if SANITIZED else 5000, 20000 if SANITIZED else 100000)


def load_on(server, name="echo", **keys):
    return Load(server.port(name, "tcp"), server.port(name, "udp"), streams=MESSAGES,
                datagrams=MESSAGES, **keys)


def each_reload(server, name="echo"):
    """The numbers of the reloads, spread evenly over the load."""
    for number in range(RELOADS):
        wanted = MESSAGES * number // RELOADS
        wait_until(lambda wanted=wanted: server.service_status(name)["opened"] >= wanted,
                   f"{wanted} connections were opened", soak(1, 20) * DEADLINE)
        yield number


@pytest.mark.soak
@pytest.mark.parametrize("threads", [1, 4])
def test_reloads_under_load_lose_nothing(threads):
    """Each reload is a change of generation, seen through by 50 connections that were open before."""
    with Controlled(service("echo", listen=BOTH), {"threads": threads}) as server:
        server.write(service("echo", listen=BOTH), **QUIET)
        with load_on(server) as load:
            for number in each_reload(server):
                held = [server.connect("echo") for _ in range(50)]
                for client in held:
                    assert client.ask(b"before", 6) == b"before"
                assert server.reload() == f"generation {number + 2} serves\n"
                for client in held:
                    assert client.ask(b"after", 5) == b"after"
                    client.end()
                    assert client.receive_all() == b""
                    client.socket.close()
        print(load.counts)
        counted = server.service_status("echo")
        assert counted["datagrams_dropped"] == 0 and counted["datagrams_unsent"] == 0
        assert counted["datagrams_in"] == load.counts["datagrams"]
        assert counted["opened"] == load.counts["streams"] + 50 * RELOADS


@pytest.mark.soak
def test_connections_held_open_through_many_orders_to_reload_stay_unbroken():
    """The first changes the generation; of the others the last waits until these have ended."""
    with Controlled(service("echo", listen=BOTH), {"drain_timeout": 0}) as server:
        server.write(service("echo", listen=BOTH), **QUIET)
        with load_on(server, hold=50) as load:
            for number in each_reload(server):
                server.hang_up()
                assert server.with_workers() <= 2
                if number == 0:
                    wait_until(lambda: "draining" in server.generations(), "a reload was done")
            assert server.generations()["draining"]["left"] is None
        print(load.counts)
        assert server.wait_for_generation()["number"] <= RELOADS + 1


@pytest.mark.soak
def test_a_plugin_copied_over_before_each_reload_answers_whole_in_one_version():
    with Controlled(service("version", "{dir}/version.so", BOTH),
                    plugins={"version.so": "version_one"}) as server:
        server.write(service("version", "{dir}/version.so", BOTH), **QUIET)
        with load_on(server, "version", keys=(0, 32)) as load:
            for number in each_reload(server, "version"):
                new = number % 2 == 0
                copy_plugin("version_two" if new else "version_one", server.path("version.so"))
                server.reload()
                for _ in range(5):
                    # Whoever comes after the reload was told gets the new code, and nothing else.
                    with server.connect("version", "tcp") as client:
                        assert client.ask(b"hola", 4) == (b"HOLA" if new else b"hola")
        print(load.counts)
        assert load.counts["key0"] > 0 and load.counts["key32"] > 0


@pytest.mark.soak
def test_connections_that_never_close_do_not_let_generations_pile_up():
    """20 reloads in a row; every old generation is gone when its time is over."""
    with Controlled(service("echo"), {"drain_timeout": "300ms"}) as server:
        stop = threading.Event()
        seen = []

        def watch():
            while not stop.is_set():
                seen.append(server.with_workers())
        watcher = threading.Thread(target=watch)
        watcher.start()
        clients = [server.connect("echo")]
        for _ in range(soak(6, 20)):
            assert clients[-1].ask(b"hola", 4) == b"hola"
            server.reload()
            clients.append(server.connect("echo"))
        stop.set()
        watcher.join()
        assert max(seen) == 2
        left = server.generations().get("draining", {"left": 0})["left"]
        wait_until(lambda: len(server.status()["generations"]) == 1, "the last old one is gone",
                   left + 1 * SLOWER)
        print(f"{len(seen)} looks at the status, never more than two generations")
        for client in clients[:-2]:
            assert client.receive_all() == b""  # its time was over
        assert clients[-1].ask(b"hola", 4) == b"hola"
        for client in clients:
            client.socket.close()


def test_an_old_generation_keeps_what_is_left_of_its_time_when_the_next_reload_comes():
    with Controlled(service("echo"), {"drain_timeout": "600s"}) as server:
        with server.connect("echo") as first, server.connect("echo") as second:
            assert first.ask(b"hola", 4) == second.ask(b"hola", 4) == b"hola"
            server.reload()
            before = server.generations()["draining"]["left"]
            waiting = []
            for number in (3, 4, 5):
                waiting.append(server.reload_in_background())
                server.wait_for_waiting(number)
            drains = server.generations()["draining"]
            assert drains["number"] == 1 and 0 < drains["left"] <= before
            assert first.ask(b"adios", 5) == b"adios"
        said = {process.communicate(timeout=DEADLINE)[0] for process in waiting}
        assert said == {"generation 5 serves\n"}, "the last counts for all three"
        server.wait_for_generation(5)


def test_reloads_by_signal_are_joined_and_the_last_configuration_counts():
    with Controlled(service("echo")) as server:
        for number in range(10):
            server.write(service("echo") + service(f"extra-{number}", "echo"))
            server.hang_up()
        wait_until(lambda: server.status()["services"][-1]["name"] == "extra-9", "the last one counts")
        wait_until(lambda: len(server.status()["generations"]) == 1, "the old ones are gone")
        assert server.generations()["serving"]["number"] <= 11
        wait_until(lambda: server.left_over() == [], "and none is on its way")


def test_on_drain_lets_a_plugin_say_goodbye():
    with Controlled(service("drain") + service("echo")) as server:
        with server.connect("drain") as client, server.connect("echo") as other:
            assert client.ask(b"hola", 4) == b"hola"
            assert other.ask(b"hola", 4) == b"hola"
            server.reload()
            assert client.receive_all() == b"bye\n"
            assert other.ask(b"hola", 4) == b"hola"
        server.wait_for_generation(2)


def test_what_is_half_sent_at_a_reload_is_finished_by_the_old_generation():
    with Controlled(service("hola") + service("framing_line")) as server:
        with server.connect("hola") as client, server.connect("framing_line") as other:
            client.send(b"ho")
            other.send(b"half a ")
            wait_until(lambda: server.service_status("framing_line")["bytes_in"] == 7, "the half is there")
            server.reload()
            assert client.ask(b"la", 9) == b"pues hola"
            assert other.ask_line("line") == "11 half a line\n"


def test_a_connection_that_waits_in_the_queue_is_served_by_the_next_generation():
    """The only loop hangs in a callback as they connect; the new generation takes them."""
    with Controlled(service("crash", threads=1), {"threads": 1, "drain_timeout": "200ms"},
                    crashes=True) as server:
        with server.connect("crash") as stuck:
            assert stuck.ask(b"-", 1) == b"-"
            stuck.send(b"h")
            assert stuck.is_silent(0.05)
            waiting = [server.connect("crash") for _ in range(20)]
            server.reload()
            for client in waiting:
                assert client.ask(b"=", 1) == b"="
                client.socket.close()


def test_a_drop_in_plugin_and_file_are_a_new_service_after_a_reload():
    with Controlled(service("echo"), {"include": "{dir}/conf.d/*.ini"}) as server:
        copy_plugin("version_two", server.path("mine.so"))
        os.mkdir(server.path("conf.d"))
        with open(server.path("conf.d/mine.ini"), "w", encoding="utf-8") as file:
            file.write("[mine]\nplugin = ../mine.so\nlisten = tcp://127.0.0.1:0\n")
        with server.connect("echo") as client:
            assert client.ask(b"hola", 4) == b"hola"
            server.reload()
            with server.connect_now("mine") as mine:
                assert mine.ask(b"hola", 4) == b"HOLA"
            assert client.ask(b"hola", 4) == b"hola"
        os.unlink(server.path("conf.d/mine.ini"))
        server.reload()
        assert [s["name"] for s in server.status()["services"] if not s["removed"]] == ["echo"]


def test_counters_are_added_up_over_generations():
    with Controlled(service("echo", listen=BOTH)) as server:
        for number in range(3):
            with server.connect("echo", "tcp") as client:
                assert client.ask(b"hola", 4) == b"hola"
            with server.datagram_socket("echo") as client:
                client.send(b"hola")
                assert client.recv(10) == b"hola"
            server.reload()
            server.wait_for_generation(number + 2)
        echo = server.service_status("echo")
        assert (echo["opened"], echo["closed"], echo["now"]) == (3, 3, 0)
        assert (echo["bytes_in"], echo["bytes_out"]) == (12, 12)
        assert (echo["datagrams_in"], echo["datagrams_out"]) == (3, 3)
        assert echo["ended"]["closed-by-client"] == 3


def test_no_descriptor_process_or_memory_file_is_left_by_reloads():
    with Controlled(service("echo", listen=BOTH) + service("hola", isolate="yes")) as server:
        def descriptors():
            return len(os.listdir(f"/proc/{server.pid}/fd"))

        def reload_and_wait(number):
            server.reload()
            server.wait_for_generation(number)
        reload_and_wait(2)
        before = descriptors()
        for number in range(3, 8):
            reload_and_wait(number)
        server.write("[oops]\n")
        for _ in range(3):
            server.reload(status=1)
        wait_until(lambda: descriptors() <= before, "no more descriptors than before")
        wait_until(lambda: not server.left_over(), "no process is left")


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_the_server_ends_in_the_middle_of_reloads(sig):
    with Controlled(service("echo"), {"drain_timeout": "none"}) as server:
        with server.connect("echo") as client:
            assert client.ask(b"hola", 4) == b"hola"
            server.reload()
            waiting = [server.reload_in_background()]
            server.wait_for_waiting(3)
            waiting.append(server.reload_in_background())
            server.wait_for_lines("reloading", generation="4")
            server.hang_up()
            server.process.send_signal(sig)
            for process in waiting:
                _, err = process.communicate(timeout=DEADLINE)
                assert process.returncode == 1 and "the server is leaving" in err
        assert server.process.wait(DEADLINE) == 0


def test_a_reload_right_before_the_end_keeps_no_process():
    for pause in (0, 0.002, 0.005, 0.01, 0.02, 0.05):
        with Controlled(service("echo") + service("hola", isolate="yes")) as server:
            server.hang_up()
            threading.Event().wait(pause)
            server.stop()
            assert not any(process_lives(pid) for pid in server.workers())


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_the_end_may_come_right_after_a_reload(sig):
    for _ in range(3 if SANITIZED else 10):
        with Server(service("echo", threads=2)) as server:
            server.process.send_signal(signal.SIGHUP)
            server.wait_for_lines("ready", generation="2")
            server.stop(sig)
