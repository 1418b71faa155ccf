"""Loops on processors of their own, and connections shared out among them."""

import collections
import os
import re

import pytest

from processes import loops_of
from server import Server, service
from settings import wait_until

CPUS = sorted(os.sched_getaffinity(0))
CONNECTIONS = 1000

several = pytest.mark.skipif(len(CPUS) < 2, reason="one processor only")


def bound(server):
    """Of each loop's thread of the worker the processors that it may run on."""
    return sorted(sorted(os.sched_getaffinity(thread)) for thread in loops_of(server.worker()))


def settings(**keys):
    return "[server]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items())


@several
def test_one_loop_for_each_processor_is_bound_to_it():
    with Server(service("echo")) as server:
        assert bound(server) == [[cpu] for cpu in CPUS]


@several
@pytest.mark.parametrize("config", [
    settings(threads=1) + service("echo"),
    settings(threads=len(CPUS) + 1) + service("echo"),
    settings(pin="no") + service("echo"),
    service("echo") + service("hola", isolate="yes"),
], ids=["fewer loops", "more loops", "told not to", "two workers"])
def test_loops_that_do_not_own_the_processors_are_not_bound(config):
    with Server(config) as server:
        loops = bound(server)
        assert loops and all(cpus == CPUS for cpus in loops)


@several
def test_loops_are_bound_where_the_file_says_so():
    with Server(settings(pin="yes", threads=len(CPUS) + 1) + service("echo")) as server:
        assert bound(server) == sorted([cpu] for cpu in CPUS + CPUS[:1])


def shares(server, count):
    """How many of so many connections each loop has. One after the other: none waits to be accepted."""
    loops, clients = collections.Counter(), []
    for _ in range(count):
        clients.append(server.connect("loopstate"))
        loops[re.search(r"loop=(\d+):", clients[-1].ask_line("x")).group(1)] += 1
    for client in clients:
        client.socket.close()
    return loops


def test_without_pinning_connections_are_shared_out_evenly():
    with Server(settings(pin="no", threads=2) + service("loopstate")) as server:
        loops = shares(server, CONNECTIONS)
        assert sum(loops.values()) == CONNECTIONS
        assert max(loops.values()) <= 1.2 * CONNECTIONS / 2, loops


@several
def test_connections_that_all_arrive_on_one_processor_are_spread_after_a_while():
    config = settings(pin="yes", threads=2, log_level="info") + service("loopstate")
    with Server(config) as server:
        os.sched_setaffinity(0, CPUS[:1])
        try:
            loops = shares(server, CONNECTIONS)
        finally:
            os.sched_setaffinity(0, CPUS)
        server.wait_for_log(r" connections arrive unevenly, .* service=loopstate$")
        assert min(loops.values()) > CONNECTIONS / 8, loops
        wait_until(lambda: len(server.lines("closed")) == CONNECTIONS, "all to end")
