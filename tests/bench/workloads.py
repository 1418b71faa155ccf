"""What is asked of every candidate: one row of the table each."""

import json
from dataclasses import dataclass

from candidates import started


@dataclass(frozen=True)
class Workload:
    name: str
    title: str
    service: str = "echo"      # echo, hola, udp, gso
    mode: str = "stream"       # of the load: stream, short, datagram
    connections: int = 1
    depth: int = 1
    size: int = 64
    by: str = "cpu"            # what is compared: processor time, or throughput
    target: float = 1.03       # the most that a request may cost, times the limit
    log_level: str = "warning"
    sections: int = 1          # of the configuration, a port each
    quick: bool = False        # part of QUICK=1

    def load_args(self, running):
        args = [self.mode, "--connections", self.connections, "--depth", self.depth, "--size",
                self.size, "--protocol", "hola" if self.service == "hola" else "echo"]
        if self.service == "gso":
            args += ["--gso", 1]
        return args + running.load_args()


def hola(name, title, **keys):
    return Workload("hola-" + name, "hola, " + title, "hola", target=1.05, **keys)


def udp(name, title, service="udp", **keys):
    return Workload("udp-" + name, "UDP " + title, service, "datagram", **keys)


WORKLOADS = [
    Workload("tcp-64-1", "echo 64 B, 1 connection", quick=True),
    Workload("tcp-64-50", "echo 64 B, 50 connections", connections=50, quick=True),
    Workload("tcp-64-1000", "echo 64 B, 1,000 connections", connections=1000, quick=True),
    Workload("tcp-64-10000", "echo 64 B, 10,000 connections", connections=10000),
    Workload("tcp-64-50x16", "echo 64 B, 50 connections, 16 deep", connections=50, depth=16,
             target=1.05, quick=True),
    Workload("tcp-16k-x4", "echo 16 KiB, 10 connections, 4 deep", connections=10, depth=4,
             size=16384, by="throughput", target=1 / 0.98, quick=True),
    Workload("tcp-1m", "echo 1 MiB, 4 connections", connections=4, size=1 << 20, by="throughput",
             target=1 / 0.98),
    hola("1", "1 connection"),
    hola("50", "50 connections", connections=50, quick=True),
    hola("1000", "1,000 connections", connections=1000),
    hola("50x16", "50 connections, 16 deep", connections=50, depth=16),
    Workload("short", "connect, ask, answer, close", mode="short", connections=50, target=1.05,
             quick=True),
    Workload("short-log", "the same with the connection log", mode="short", connections=50,
             target=1.15, log_level="info"),
    udp("64-1", "64 B, 1 source", depth=64, quick=True),
    udp("64-1000", "64 B, 1,000 sources", connections=1000),
    udp("1200-1", "1,200 B, 1 source", depth=64, size=1200),
    udp("1200-1000", "1,200 B, 1,000 sources", connections=1000, size=1200),
    udp("64-gso", "64 B, bursts with GSO", "gso", depth=64, quick=True),
    udp("1200-gso", "1,200 B, bursts with GSO", "gso", depth=50, size=1200),
    Workload("services-1000", "echo 64 B, 1,000 services in one file", connections=1000,
             sections=1000),
]


def sample(setting, candidate, workload, warmup_ms, window_ms):
    """One window of one candidate. Returns what the load printed."""
    with started(candidate, setting, workload) as running:
        args = [*workload.load_args(running), "--core", setting.core, "--warmup", warmup_ms,
                "--window", window_ms]
        with setting.load(*args) as load:
            figures = json.loads(load.finish(60 + (warmup_ms + window_ms) / 1000))
    known = sum(figures[key] for key in ("server_ms", "helper_ms", "load_ms", "idle_ms"))
    figures["other_ms"] = max(0.0, figures["wall_ms"] - known)
    return figures


def disturbance(figures, preferred):
    """Why a sample cannot be trusted, or nothing. Idle and stolen time come in steps of 10 ms.

    Where ours are preferred to all others, these get what ours leave, and those are no disturbance who use
    the time in which a candidate waits."""
    wall = figures["wall_ms"]
    waits = figures["wall_ms"] - figures["idle_ms"] - figures["other_ms"] < 0.6 * wall
    if figures["other_ms"] > 0.05 * wall + 20 and not (preferred and waits):
        return f"others ran for {figures['other_ms'] / wall:.0%} of the time"
    if figures["stolen_ms"] > 0.01 * wall + 10:
        return f"the host took {figures['stolen_ms'] / wall:.0%} of the time"
    return None
