"""A quiet service beside a flooded one on the same loop: how much of the flood it waits for is counted, not timed."""

import contextlib
import ctypes
import os
import platform
import socket
import struct
import time

import pytest

from bursts import Stopped
from controlled import QUIET, Controlled
from load import Load
from processes import loops_of
from server import Server, own_descriptors, service
from settings import wait_until

# What core/share.h says: events that a flooded service has in a turn at most.
MOST = 32

# What core/loop.h says: bytes that one receive brings at most.
RECEIVED = 65536

CONNECTIONS = 100

SYS_SCHED_GETATTR = 315

# What core/slice.c says, in nanoseconds.
SHORTEST_SLICE = 100_000

# Its workers may be looked into.
OPEN = "[server]\nthreads = 1\ncore_dumps = yes\ncontrol = {dir}/control.sock\n"


def stamp(client):
    """When the server handled the request of which the answer comes next."""
    return struct.unpack("=Q", client.receive(8))[0]


def ask_all(server, clients, quiet):
    """All of the flood is there before the quiet request, and the server sees both at once."""
    with Stopped(server.worker()):
        for client in clients:
            client.send(b"x")
        quiet.send(b"x")


def connected(server, stack, name, count, answer=8):
    """Accepted as well: what a connection brings along as it is accepted is no event of the loop."""
    clients = [stack.enter_context(server.connect(name)) for _ in range(count)]
    for client in clients:
        client.send(b"x")
        client.receive(answer)
    return clients


@contextlib.contextmanager
def crowded(takes="0ms", **keys):
    """A server whose service `flood` has shown that it crowds the loop of `quiet`."""
    own_descriptors(4 * CONNECTIONS)
    config = OPEN + service("flood", "stamp", takes=takes, **keys) + service("quiet", "stamp")
    with Server(config) as server, contextlib.ExitStack() as stack:
        clients = connected(server, stack, "flood", CONNECTIONS)
        quiet = connected(server, stack, "quiet", 1)[0]
        ask_all(server, clients, quiet)
        yield server, clients, quiet


def sets_of(pid):
    """The descriptors in each epoll set of a process, fewest first."""
    sets = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/{pid}/fd/{fd}") == "anon_inode:[eventpoll]":
                with open(f"/proc/{pid}/fdinfo/{fd}", encoding="ascii") as info:
                    sets.append(sum(line.startswith("tfd:") for line in info))
    return sorted(sets)


def test_a_quiet_service_is_answered_before_a_flood_that_came_earlier():
    with crowded() as (_, clients, quiet):
        flood = [stamp(client) for client in clients]
        at = stamp(quiet)
        assert sum(each < at for each in flood) <= MOST


def test_while_a_flood_is_served_a_quiet_service_waits_for_a_bounded_part_of_it():
    """Each of the flood takes a millisecond, so that it is far from its end when the quiet one asks again."""
    with crowded(takes="1ms") as (_, clients, quiet):
        flood, waits = [stamp(clients[0])], []
        for number in range(10):
            began = time.monotonic_ns()
            quiet.send(b"x")
            if number == 0:
                stamp(quiet)  # of the request that came with the flood
            waits.append((began, stamp(quiet)))
        flood += [stamp(client) for client in clients[1:]]
    for began, at in waits:
        assert sum(began < each < at for each in flood) <= MOST


def test_a_quiet_service_waits_for_a_bounded_part_of_each_of_two_floods():
    """One of them slow: a millisecond each. The first batch shows both that they crowd."""
    own_descriptors(4 * CONNECTIONS)
    config = (OPEN + service("slow", "stamp", takes="1ms") + service("fast", "stamp")
              + service("quiet", "stamp"))
    with Server(config) as server, contextlib.ExitStack() as stack:
        floods = [connected(server, stack, name, CONNECTIONS) for name in ("slow", "fast")]
        quiet = connected(server, stack, "quiet", 1)[0]
        ask_all(server, floods[0] + floods[1], quiet)
        before, waits = stamp(quiet), []
        assert all(stamp(client) for client in floods[0] + floods[1])
        ask_all(server, floods[0] + floods[1], quiet)
        waits.append((0, stamp(quiet)))
        for _ in range(5):
            began = time.monotonic_ns()
            quiet.send(b"x")
            waits.append((began, stamp(quiet)))
        handled = [[stamp(client) for client in clients] for clients in floods]
    for began, at in waits:
        for flood in handled:
            assert sum(max(began, before) < each < at for each in flood) <= MOST


def test_every_connection_of_a_flood_has_its_turn_and_every_answer():
    """Requests wait for each other in every connection, and none is forgotten behind the others."""
    with crowded() as (server, clients, quiet):
        for _ in range(20):
            ask_all(server, clients, quiet)
        for client in [*clients, quiet]:
            assert len(client.receive(21 * 8)) == 21 * 8


def test_after_a_flood_its_connections_are_with_the_others_again():
    with crowded() as (server, clients, quiet):
        for client in [*clients, quiet]:
            stamp(client)
        pid = server.worker()
        assert len(sets_of(pid)) == 2

        def are_back():
            for client in clients:
                time.sleep(0.002)  # else the next request could always be there before a turn ends
                client.send(b"x")
                stamp(client)
            # The set stays for the next time. The listening socket is in it until somebody connects.
            return sets_of(pid)[0] <= 1

        wait_until(are_back, "the connections are in the loop's set")
        ask_all(server, clients, quiet)
        for client in [*clients, quiet]:
            stamp(client)
        assert sets_of(pid)[0] > 1


def test_one_service_alone_has_one_set_however_much_comes():
    with Server(OPEN + service("stamp")) as server, contextlib.ExitStack() as stack:
        clients = connected(server, stack, "stamp", CONNECTIONS)
        before = len(sets_of(server.worker()))
        ask_all(server, clients[1:], clients[0])
        for client in clients:
            stamp(client)
        assert len(sets_of(server.worker())) == before


def received_in_a_turn(server, stack, full_before=0):
    """How often a connection with much to receive is received from before another one's turn comes; after so many turns
    in which exactly as much was there as one receive takes."""
    # bulk last: whoever was served last may be still in the list of those that are ready, before who becomes so.
    other, bulk = connected(server, stack, "bulk", 2)
    bulk.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8 * RECEIVED)
    for size in full_before * [RECEIVED] + [3 * RECEIVED]:
        with Stopped(server.worker()):
            bulk.send(size * b"x")
            other.send(b"x")
        parts, at = [stamp(bulk) for _ in range(size // RECEIVED)], stamp(other)
    return sum(part < at for part in parts)


BULK = OPEN + service("bulk", "stamp", listen="unix://{dir}/bulk.sock", once="yes")


def test_bulk_is_received_twice_in_a_turn():
    with Server(BULK) as server, contextlib.ExitStack() as stack:
        assert received_in_a_turn(server, stack) == 2


def test_bulk_is_received_once_in_a_turn_while_another_service_may_wait():
    with Server(BULK + service("quiet", "stamp")) as server, contextlib.ExitStack() as stack:
        assert received_in_a_turn(server, stack) == 1


@pytest.mark.parametrize("full_before, received", [(1, 1), (15, 1), (16, 2)])
def test_after_a_second_receive_in_vain_there_is_one_for_15_times(full_before, received):
    with Server(BULK) as server, contextlib.ExitStack() as stack:
        assert received_in_a_turn(server, stack, full_before) == received


@pytest.mark.parametrize("end", ["close", "reset", "half-close"])
def test_connections_may_end_in_the_middle_of_a_flood(end):
    """Some of the events that were fetched together are of connections that are gone by then."""
    with crowded() as (server, clients, quiet):
        with Stopped(server.worker()):
            for client in clients:
                client.send(b"x" * 50)
            for client in clients[::2]:
                if end == "reset":
                    client.reset()
                elif end == "close":
                    client.socket.close()
                else:
                    client.end()
            quiet.send(b"x")
        assert len(quiet.receive(16)) == 16
        for client in clients[1::2]:
            assert len(client.receive(51 * 8)) == 51 * 8
        if end == "half-close":
            for client in clients[::2]:
                assert len(client.receive_all()) == 51 * 8
        server.wait_for_lines("closed", count=CONNECTIONS // 2, service="flood")


def test_connections_that_come_to_a_flooded_service_are_accepted_and_served():
    with crowded() as (server, clients, quiet), contextlib.ExitStack() as stack:
        for _ in range(3):
            more = connected(server, stack, "flood", 40)
            ask_all(server, clients + more, quiet)
            assert all(stamp(client) for client in [*clients, *more, quiet])
            clients = clients + more
            assert stamp(clients[0])
            clients[0].send(b"x")


def test_datagrams_and_streams_of_a_flooded_service_are_both_answered():
    listen = "tcp://127.0.0.1:0 udp://127.0.0.1:0"
    config = OPEN + service("echo", listen=listen) + service("quiet", "echo")
    with Server(config) as server, contextlib.ExitStack() as stack:
        clients = connected(server, stack, "echo", CONNECTIONS, answer=1)
        quiet = connected(server, stack, "quiet", 1, answer=1)[0]
        datagrams = stack.enter_context(server.datagram_socket("echo"))
        for number in range(5):
            with Stopped(server.worker()):
                for client in clients:
                    client.send(b"stream")
                for n in range(20):
                    datagrams.send(b"%d %d" % (number, n))
                quiet.send(b"quiet")
            assert quiet.receive(5) == b"quiet"
            assert [datagrams.recv(100) for _ in range(20)] == [b"%d %d" % (number, n)
                                                                for n in range(20)]
            assert all(client.receive(6) == b"stream" for client in clients)


def test_a_reload_in_the_middle_of_a_flood_loses_nothing():
    config = "".join(service(name, "echo") for name in ("flood", "quiet"))
    with Controlled(config, server={"threads": 1}) as server:
        server.write(config, **QUIET)
        with Load(server.port("flood"), hold=100, streams=16), Load(server.port("quiet"), hold=5):
            server.reload()


def slice_of(pid):
    """How long the scheduler lets a process run at a time, in nanoseconds; 0 where it does not tell."""
    attributes = struct.Struct("=IIQiIQQQII")
    buffer = ctypes.create_string_buffer(attributes.size)
    if ctypes.CDLL(None).syscall(SYS_SCHED_GETATTR, pid, buffer, attributes.size, 0) != 0:
        return 0
    return attributes.unpack(buffer.raw)[5]


def slices(server):
    """Of the loops of each worker."""
    return sorted(({slice_of(loop) for loop in loops_of(pid)} for pid in server.workers()), key=max)


slices_are_known = pytest.mark.skipif(platform.machine() != "x86_64" or slice_of(0) == 0,
                                      reason="the number of the system call, or no slices of a process's own")


@slices_are_known
def test_loops_have_the_shortest_slices_beside_other_workers_and_alone_what_the_system_likes():
    with Server(service("apart", "echo", isolate="yes") + service("echo")) as server:
        wait_until(lambda: slices(server) == [{SHORTEST_SLICE}, {SHORTEST_SLICE}], "all loops are calm")
        worker = server.workers()[0]
        others = {int(thread) for thread in os.listdir(f"/proc/{worker}/task")} - set(loops_of(worker))
        assert others and {slice_of(thread) for thread in [server.pid, *others]} == {slice_of(0)}
    for keys in ({}, {"isolate": "yes"}):
        with Server(service("echo", **keys)) as server:
            assert slices(server) == [{slice_of(0)}]


@slices_are_known
def test_a_loop_that_is_busy_has_long_slices_until_it_is_calm():
    config = (OPEN + service("flood", "stamp", takes="50ms", isolate="yes", sandbox="strict") +
              service("quiet", "echo"))

    def is_seen_busy():
        for client in clients:
            client.send(b"x")
        return any([client.receive(8) and min(slices(server)[-1]) > 10 * SHORTEST_SLICE for client in clients])

    with Server(config) as server, contextlib.ExitStack() as stack:
        clients = connected(server, stack, "flood", 20)
        wait_until(is_seen_busy, "a loop is busy")
        assert {SHORTEST_SLICE} in slices(server)
        wait_until(lambda: slices(server) == [{SHORTEST_SLICE}, {SHORTEST_SLICE}], "all loops are calm")
