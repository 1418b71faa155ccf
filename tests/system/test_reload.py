"""A reload loses nothing, and what is wrong in it changes nothing."""

import os
import signal
import socket
import threading

import pytest

from client import Client, socket_address
from controlled import QUIET, Controlled, copy_plugin
from load import Load
from processes import process_lives
from server import service
from settings import DEADLINE, SANITIZED, SLOWER, plugin_path, soak, wait_until

BOTH = "tcp://127.0.0.1:0 udp://127.0.0.1:0"
RELOADS = soak(3 if SANITIZED else 6, 50)
MESSAGES = soak(0, 20000 if SANITIZED else 100000)


def load_on(server, name="echo", **keys):
    return Load(server.port(name, "tcp"), server.port(name, "udp"), **keys)


@pytest.mark.soak
@pytest.mark.parametrize("threads", [1, 4])
def test_reloads_under_load_lose_nothing(threads):
    """Each reload is a change of generation, seen through by 50 connections that were open before."""
    with Controlled(service("echo", listen=BOTH), {"threads": threads}) as server:
        server.write(service("echo", listen=BOTH), **QUIET)
        with load_on(server, streams=MESSAGES, datagrams=MESSAGES) as load:
            for number in range(RELOADS):
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
    """The first changes the generation; the others are one, which waits until these have ended."""
    with Controlled(service("echo", listen=BOTH), {"drain_timeout": 0}) as server:
        server.write(service("echo", listen=BOTH), **QUIET)
        with load_on(server, hold=50, streams=MESSAGES, datagrams=MESSAGES) as load:
            for number in range(RELOADS):
                server.hang_up()
                generations = server.status()["generations"]
                assert len(generations) <= 2, generations
                if number == 0:
                    wait_until(lambda: "draining" in server.generations(), "a reload was done")
            assert server.generations()["draining"]["left"] is None
        print(load.counts)
        server.wait_for_generation(3)


@pytest.mark.soak
def test_a_plugin_copied_over_before_each_reload_answers_whole_in_one_version():
    with Controlled(service("version", "{dir}/version.so", BOTH),
                    plugins={"version.so": "version_one"}) as server:
        server.write(service("version", "{dir}/version.so", BOTH), **QUIET)
        with load_on(server, "version", streams=MESSAGES, datagrams=MESSAGES, keys=(0, 32)) as load:
            for number in range(RELOADS):
                new = number % 2 == 0
                copy_plugin("version_two" if new else "version_one", server.path("version.so"))
                server.reload()
                for _ in range(5):
                    # Whoever comes after the reload was told gets the new code, and nothing else.
                    with server.connect("version", "tcp") as client:
                        assert client.ask(b"hola", 4) == (b"HOLA" if new else b"hola")
        print(load.counts)
        assert load.counts["key0"] > 0 and load.counts["key32"] > 0
