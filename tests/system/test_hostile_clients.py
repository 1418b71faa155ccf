"""Many clients that do what no client should: each is closed for what it did and when it should be, memory
stays bounded, and who behaves is served."""

import pytest

from abuse import Abuse, abused
from controlled import QUIET, Controlled
from load import Load
from processes import descriptors_at_rest, descriptors_of, memory_of
from server import service
from settings import DEADLINE, SANITIZED, soak, wait_until

SMALLER = 10 if SANITIZED else 1


def keep_quiet(server, config):
    """No line for each connection, from the second generation on. Returns the worker."""
    server.write(config, **QUIET)
    server.reload()
    server.wait_for_generation(2)
    return server.worker()


def nobody_is_there(server, name):
    wait_until(lambda: server.service_status(name)["now"] == 0, f"{name} has no connections")


@pytest.mark.soak
def test_clients_that_send_a_byte_a_second_are_closed_at_their_timeout_and_others_are_served():
    """That none is a second late is asserted at full length only, where no other test runs beside it."""
    timeout, count = soak(2, 10), soak(300, 2000) // SMALLER
    config = "".join(service(name, plugin, message_timeout=f"{timeout}s")
                     for name, plugin in (("lines", "framing_line"), ("echo", "echo")))
    with Controlled(config) as server:
        keep_quiet(server, config)
        with Load(server.port("echo"), hold=50) as load:
            with Abuse("drip", server.port("lines"), count) as abuse:
                pass
        print(load.counts)
        abuse.all_are("done")
        assert abuse.counts["done"] == count
        assert abuse.counts["earliest_ms"] >= timeout * 1000
        assert abuse.counts["latest_ms"] <= (timeout + soak(DEADLINE, 1)) * 1000
        assert server.service_status("lines")["ended"]["message-timeout"] == count


@pytest.mark.soak
def test_clients_that_never_read_cost_their_bounds_and_are_closed_as_slow_readers():
    """Of each, output up to max_output is kept, and up to max_input of what it sends on."""
    count, bound = soak(100, 1000) // SMALLER, (128 + 64) * 1024
    config = service("echo", max_output="128k", max_input="64k", write_timeout="3s",
                     message_timeout="1s")
    with Controlled(config) as server:
        worker = keep_quiet(server, config)
        abused("halfclose", server.port("echo"), 100).all_are("done")
        before, most = memory_of(worker), 0
        with Abuse("deaf", server.port("echo"), count) as abuse:
            abuse.wait_until_opened()
            while server.service_status("echo")["now"]:
                most = max(most, memory_of(worker) - before)
        abuse.all_are("done")
        assert server.service_status("echo")["ended"]["slow-reader"] == count
        print(f"{most / count:.0f} bytes a client")
        assert SANITIZED or most <= count * bound * 1.1


@pytest.mark.soak
@pytest.mark.parametrize("mode, reasons", [("halfclose", {"closed-by-client"}),
                                           ("reset", {"reset", "closed-by-client"}),
                                           ("fragments", {"closed-by-client"})])
def test_odd_ends_and_pieces_leave_nothing_behind(mode, reasons):
    """Half-closers get the whole answer; who resets in the middle of a write is forgotten."""
    count = soak(1000, 10000) // SMALLER
    config = service("s", "echo", message_timeout="20s")
    with Controlled(config) as server:
        worker = keep_quiet(server, config)
        abused(mode, server.port("s"), 100).all_are("done")
        nobody_is_there(server, "s")
        descriptors = descriptors_of(worker)
        abused(mode, server.port("s"), count).all_are("done")
        nobody_is_there(server, "s")
        assert descriptors_of(worker) == descriptors
        assert server.worker() == worker
        ended = server.service_status("s")["ended"]
        print({reason: n for reason, n in ended.items() if n})
        assert {reason for reason, n in ended.items() if n} <= reasons
        assert sum(ended.values()) == count + 100


def second_half_needs_no_more(names, seen):
    """Each row of `seen` has a number for each of `names`, in the order in which they were seen."""
    half = len(seen) // 2
    for name, early, late in zip(names, map(max, zip(*seen[:half])), map(max, zip(*seen[half:]))):
        print(f"{name}: {early} and {late}")
        if "memory" not in name:
            assert late <= early, (name, seen)
        else:  # the first of a few rounds are no measure
            assert SANITIZED or late <= early * soak(1.1, 1.01), (name, seen)


@pytest.mark.soak
def test_connections_without_end_leave_a_worker_as_it_was():
    rounds, streams = 10, soak(600, 100000) // SMALLER
    config = service("echo", message_timeout="20s", idle_timeout="1m")
    seen = []
    with Controlled(config) as server:
        worker = keep_quiet(server, config)
        for _ in range(rounds):
            with Load(server.port("echo"), streams=streams):
                pass
            nobody_is_there(server, "echo")
            seen.append([descriptors_of(worker), memory_of(worker)])
        assert server.workers() == [worker]
    second_half_needs_no_more(("worker's descriptors", "worker's memory"), seen)


@pytest.mark.soak
def test_connections_and_reloads_without_end_leave_no_memory_and_no_descriptor():
    """Of master and workers, each of which lives until the next reload."""
    rounds, streams = soak(6, 200) // (2 if SANITIZED else 1), soak(600, 5000) // SMALLER
    config = service("echo", message_timeout="20s")
    seen = []
    with Controlled(config) as server:
        keep_quiet(server, config)
        for _ in range(rounds):
            with Load(server.port("echo"), streams=streams):
                server.reload()
            wait_until(lambda: len(server.workers()) == 1, "the old worker ended")
            worker = server.worker()
            nobody_is_there(server, "echo")
            seen.append([descriptors_at_rest(server.pid), descriptors_of(worker),
                         memory_of(server.pid), memory_of(worker)])
        assert server.service_status("echo")["opened"] >= rounds * streams
    second_half_needs_no_more(("master's descriptors", "worker's descriptors", "master's memory",
                               "workers' memory"), seen)
