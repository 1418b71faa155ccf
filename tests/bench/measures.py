"""What is measured of the server alone, or in another layout: memory, start, reload, neighbours, cores.

Each function takes the Run and returns rows: what, value, unit, and where known min, max and target.
"""

import contextlib
import json
import os
import resource
import socket
import struct
import time

import figures
from candidates import ENCHUFE, LIMIT, started
from machine import (DEADLINE, free_port, kernel_memory, private_memory, processor_time,
                     thread_times, wait_for_port, wait_until)
from workloads import Workload

ECHO = Workload("echo", "echo")
MOST_IDLE = 19500
SO_TIMESTAMPNS = 35    # Python has no name for it


def row(what, values, unit, target="", scale=1.0):
    found = figures.spread([value * scale for value in values])
    return {"what": what, "value": found["median"], "min": found["min"], "max": found["max"],
            "unit": unit, "target": target}


def one(what, value, unit, target=""):
    return {"what": what, "value": value, "unit": unit, "target": target}


def verdict(value, most, words):
    return f"{words} {'met' if value <= most else 'missed'}"


def other_core(run):
    """A core beside the measured one, or that one where there is no other."""
    others = os.sched_getaffinity(0) - {run.setting.core}
    return min(others) if others else run.setting.core


def report(load):
    return json.loads(load.finish(60))


# ---- idle connections ----

def idle_of(run, candidate, count):
    """Bytes of user memory and of the kernel's, and processor time, of so many idle connections."""
    setting = run.setting
    with started(candidate, setting, ECHO) as running:
        server = running.server.pid
        args = ["hold", *running.load_args()]
        with setting.load(*args, "--connections", 50, stdin=True) as load:
            load.line()         # what the first connections bring with them is not theirs
        wait_until(lambda: settled(server), "memory settles")
        user, kernel = private_memory(server), sum(kernel_memory())
        with setting.load(*args, "--connections", count, stdin=True) as load:
            load.line()
            wait_until(lambda: settled(server), "memory settles")
            user, kernel = private_memory(server) - user, sum(kernel_memory()) - kernel
            busy = processor_time(server)
            time.sleep(2)
            busy = processor_time(server) - busy
    return user / count, kernel / count, busy / 2e6


def settled(pid):
    before = private_memory(pid)
    time.sleep(0.2)
    return private_memory(pid) == before


def memory(run):
    """idle connections: memory and processor time of each

    Kernel memory is that of both ends, since the load is on the same machine."""
    count = min(resource.getrlimit(resource.RLIMIT_NOFILE)[1] - 200, MOST_IDLE)
    rows = []
    for candidate in run.candidates:
        if not candidate.serves(ECHO):
            continue
        held = min(count, candidate.most)
        try:
            user, kernel, busy = idle_of(run, candidate, held)
        except RuntimeError as error:
            run.note(f"memory: {candidate.name} failed: {error}")
            continue
        ours = candidate is ENCHUFE
        rows += [one(f"{candidate.name}: user, each of {held:,}", user, "bytes",
                     verdict(user, 300, "300") if ours else ""),
                 one(f"{candidate.name}: kernel, both ends", kernel, "bytes")]
        if ours:
            rows.append(one("enchufe: processor time of all", busy, "ms/s"))
    return rows


# ---- start and reload ----

def heard_at(manager):
    """Waits until the server tells its service manager that it is ready. Returns when that was sent, as the
    system notes it: this program may be late."""
    while True:
        message, notes, _, _ = manager.recvmsg(4096, 256)
        if b"READY=1" in message:
            seconds, nanoseconds = struct.unpack("qq", notes[0][2])
            return seconds + nanoseconds / 1e9


def start_once(run, count):
    """Seconds from the execution of the server until it is ready, and the memory of all of it."""
    setting = run.setting
    path = setting.file("start.ini", ENCHUFE.config(
        setting, ENCHUFE.sections("echo", "tcp", free_port("tcp", count), count)))
    name = os.path.join(setting.directory, "notify")
    with contextlib.ExitStack() as stack:
        manager = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        manager.settimeout(DEADLINE)
        manager.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        manager.bind(name)
        stack.callback(os.unlink, name)
        server = ENCHUFE.run_file(setting, path, stack, env=dict(os.environ, NOTIFY_SOCKET=name))
        took = heard_at(manager) - server.executed()
        return took, private_memory(server.pid)


def start(run):
    """start to ready, and 1,000 services in one file"""
    rows = []
    for count, most in ((3, 20), (1000, 300)):
        found = [start_once(run, count) for _ in range(run.rounds)]
        took = row(f"{count} services: start to ready", [each[0] for each in found], "ms",
                   scale=1e3)
        took["target"] = verdict(took["value"], most, str(most))
        rows += [took, row(f"{count} services: memory of all processes",
                           [each[1] for each in found], "KiB", scale=1 / 1024)]
    return rows


def reload_once(run, count):
    setting = run.setting
    with started(ENCHUFE, setting, ECHO) as running:
        with setting.load("hold", *running.load_args(), "--connections", count, stdin=True) as load:
            load.line()
            began = time.monotonic()
            done = ENCHUFE.command(setting, "reload", "--control", f"{setting.directory}/control")
            took = time.monotonic() - began
            if done.returncode != 0:
                raise RuntimeError(f"the reload failed: {done.stderr or done.stdout}")
            load.say("check")
            load.line()         # or the load dies of what it lost
    return took


def reload(run):
    """a reload with 15,000 connections open, none of which is lost"""
    count = min(15000, resource.getrlimit(resource.RLIMIT_NOFILE)[1] - 200)
    return [row(f"{held:,} connections", [reload_once(run, held) for _ in range(run.rounds)], "ms",
                scale=1e3) for held in (1, count)]


# ---- a quiet service beside a flooded one ----

FLOODS = {
    "requests": ["stream", "--connections", 50, "--depth", 16],
    "connections": ["short", "--connections", 50],
}


def quiet_once(run, quiet, flood, kind):
    """p99 in microseconds of a request each millisecond at one port while another is flooded. The load is
    on the other core; the quiet one goes first there, so that it is the server that it waits for."""
    setting, there = run.setting, other_core(run)
    paced = ["stream", "--port", quiet, "--pace", 1000, "--window", max(500, run.window_ms),
             "--core", there]
    with contextlib.ExitStack() as stack:
        if kind is not None:
            stack.enter_context(setting.load(*FLOODS[kind], "--port", flood, "--core", there,
                                             "--window", 60000, on={there}))
            time.sleep(0.2)
        load = stack.enter_context(setting.load(*paced, on={there}, first=True))
        return report(load)["p99_us"]


def quiet_rows(run, name, ports):
    rows = []
    alone = [quiet_once(run, *ports, None) for _ in range(run.rounds)]
    rows.append(row(f"{name}: p99 alone", alone, "µs"))
    for kind in FLOODS:
        beside = [quiet_once(run, *ports, kind) for _ in range(run.rounds)]
        times = figures.spread(beside)["median"] / figures.spread(alone)["median"]
        rows.append(row(f"{name}: p99 beside a flood of {kind}", beside, "µs",
                        verdict(times, 2, f"{times:.1f} × alone, 2") if name != "limit" else ""))
    return rows


def quiet(run):
    """a quiet service while its neighbour is flooded; the load is on the other core"""
    setting, rows = run.setting, []
    with started(LIMIT, setting, ECHO) as running:
        rows += quiet_rows(run, "limit", (running.port, running.port))
    for name, extra in (("one worker", ""), ("isolated", "isolate = yes\n")):
        port = free_port("tcp", 2)
        sections = (ENCHUFE.sections("echo", "tcp", port, 1) + extra +
                    f"[flooded]\nplugin = echo\nlisten = tcp://127.0.0.1:{port + 1}\n{extra}")
        with contextlib.ExitStack() as stack:
            server = ENCHUFE.run(setting, ENCHUFE.config(setting, sections), stack)
            wait_for_port(port + 1, server)
            rows += quiet_rows(run, name, (port, port + 1))
    return rows


# ---- more cores ----

def both_cores(run):
    return {run.setting.core, other_core(run)}


def pin_line(run, value):
    """For [server]; nothing, where this server does not know the key."""
    line = f"pin = {value}\n"
    return line if ENCHUFE.knows(run.setting, line.strip()) else ""


def cores_server(run, name, stack):
    """Two loops, pinned where the server can do that."""
    setting, on = run.setting, both_cores(run)
    if name == "limit":
        return LIMIT.start(setting, ECHO, stack, on, extra=(len(on),)).port
    port = free_port()
    server = ENCHUFE.run(setting, ENCHUFE.config(
        setting, ENCHUFE.sections("echo", "tcp", port, 1), threads=len(on),
        server=pin_line(run, "auto" if name == "pinned" else "no")), stack, on)
    wait_for_port(port, server)
    return port


def cores_once(run, name):
    """Requests a second of a load on each core."""
    with contextlib.ExitStack() as stack:
        port = cores_server(run, name, stack)
        loads = [stack.enter_context(run.setting.load(
            "stream", "--port", port, "--connections", 25, "--core", core, "--warmup", 300,
            "--window", run.window_ms, on={core})) for core in both_cores(run)]
        found = [report(load) for load in loads]
    return sum(each["per_second"] for each in found), max(each["p99_us"] for each in found)


def cores(run):
    """two loops and a load on the same two cores, 50 connections"""
    if len(both_cores(run)) < 2:
        return []
    names = ["limit", "unpinned"]
    if pin_line(run, "auto"):
        names.append("pinned")
    found = {name: [] for name in names}
    for _ in range(run.rounds):
        for name in names:
            found[name].append(cores_once(run, name))
    rows = []
    for name in names:
        rows += [row(f"{name}: requests a second", [each[0] for each in found[name]], "/s"),
                 row(f"{name}: p99", [each[1] for each in found[name]], "µs")]
        if name != "limit":
            part = row(f"{name}: throughput, times the limit",
                       [ours[0] / limit[0] for ours, limit in zip(found[name], found["limit"])],
                       "×")
            if name == "pinned":
                part["target"] = verdict(-part["value"], -0.95, "at least 0.95")
            rows.append(part)
    return rows


def fairness_once(run):
    """The busiest loop's processor time, times the mean."""
    with contextlib.ExitStack() as stack:
        setting, on = run.setting, both_cores(run)
        port = free_port()
        server = ENCHUFE.run(setting, ENCHUFE.config(
            setting, ENCHUFE.sections("echo", "tcp", port, 1), threads=2,
            server=pin_line(run, "no")), stack, on)
        wait_for_port(port, server)
        before = thread_times(server.pid)
        load = stack.enter_context(setting.load(
            "stream", "--port", port, "--connections", 1000, "--window", run.window_ms, on=on))
        report(load)
        busy = [now - before.get(thread, 0) for thread, now in thread_times(server.pid).items()]
    loops = sorted(busy)[-2:]
    return max(loops) / (sum(loops) / 2)


def fairness(run):
    """the busiest of two loops, 1,000 connections, not pinned"""
    found = row("processor time, times the mean", [fairness_once(run) for _ in range(run.rounds)],
                "×")
    found["target"] = verdict(found["value"], 1.2, "1.20")
    return [found]


MEASURES = {each.__name__: each for each in (memory, start, reload, quiet, cores, fairness)}
