"""The measure of tests/bench: that it counts right and notices what is wrong. No test says how fast anything is."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading

import pytest

from settings import BUILD, DEADLINE

BENCH = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "bench")
sys.path.insert(0, BENCH)

import figures  # noqa: E402
import workloads  # noqa: E402


def load(mode, port, **options):
    """Runs the load generator for some requests. Returns the finished process."""
    args = [mode, "--port", port, "--warmup", 0]
    if "window" not in options:
        options.setdefault("requests", 100)
    for name, value in options.items():
        args += ["--" + name, value]
    return subprocess.run([os.path.join(BUILD, "bench", "load"), *map(str, args)], text=True,
                          capture_output=True, timeout=DEADLINE, check=False)


@contextlib.contextmanager
def bare(*args):
    """The limit; the value is its port."""
    process = subprocess.Popen([os.path.join(BUILD, "bench", "bare"), *args], text=True,
                               stdout=subprocess.PIPE)
    try:
        yield int(process.stdout.readline().split()[1])
    finally:
        process.kill()
        process.communicate()


class Liar:
    """A server that answers all but truly: `answer` makes of what came what goes back, or None."""

    def __init__(self, kind, answer):
        self.answer = answer
        self.socket = socket.socket(socket.AF_INET, kind)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        if kind == socket.SOCK_STREAM:
            self.socket.listen()
        self.thread = threading.Thread(
            target=self.stream if kind == socket.SOCK_STREAM else self.datagrams, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.socket.close()

    def stream(self):
        with contextlib.suppress(OSError):
            client, _ = self.socket.accept()
            with client:
                while data := client.recv(65536):
                    client.sendall(self.answer(data))

    def datagrams(self):
        self.socket.settimeout(1)
        with contextlib.suppress(OSError):
            while True:
                data, peer = self.socket.recvfrom(65536)
                data = self.answer(data)
                if data is not None:
                    self.socket.sendto(data, peer)


def flip_last(data):
    return data[:-1] + bytes([data[-1] ^ 1])


# ---- the load generator ----

@pytest.mark.parametrize("options", [
    {"connections": 1}, {"connections": 50, "depth": 16}, {"size": 1 << 20}, {"pace": 500},
    {"connections": 3, "depth": 4, "size": 16384}], ids=str)
def test_load_counts_what_a_stream_answers(options):
    with bare("echo") as port:
        done = load("stream", port, **options)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["requests"] >= 100 and told["lost"] == 0
    assert told["bytes"] == told["requests"] * options.get("size", 64)
    assert 0 < told["p50_us"] <= told["p99_us"] <= told["p999_us"]


@pytest.mark.parametrize("mode, service, options", [
    ("stream", "hola", {"protocol": "hola", "depth": 16}), ("short", "echo", {"connections": 10}),
    ("datagram", "udp", {"depth": 64}), ("datagram", "udp", {"connections": 100, "size": 1200}),
    ("datagram", "gso", {"depth": 64, "gso": 1})], ids=str)
def test_load_counts_what_is_answered(mode, service, options):
    with bare(service) as port:
        done = load(mode, port, **options)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["requests"] >= 100


def test_load_ends_after_as_many_requests_as_it_is_told():
    with bare("echo") as port:
        assert json.loads(load("stream", port, requests=1000).stdout)["requests"] == 1000


def test_load_ends_when_its_window_does():
    with bare("echo") as port:
        told = json.loads(load("stream", port, window=300).stdout)
    assert told["requests"] > 0 and told["seconds"] >= 0.3


def test_load_fails_at_a_wrong_byte_of_a_stream():
    with Liar(socket.SOCK_STREAM, flip_last) as server:
        done = load("stream", server.port)
    assert done.returncode == 1 and "wrong byte" in done.stderr


def test_load_fails_at_an_answer_too_many():
    with Liar(socket.SOCK_STREAM, lambda data: data + data) as server:
        done = load("stream", server.port)
    assert done.returncode == 1 and "more was answered than was asked" in done.stderr


def test_load_fails_at_a_wrong_byte_of_a_datagram():
    with Liar(socket.SOCK_DGRAM, flip_last) as server:
        done = load("datagram", server.port)
    assert done.returncode == 1 and "wrong byte" in done.stderr


def test_load_counts_lost_datagrams():
    with Liar(socket.SOCK_DGRAM, lambda data: None) as server:
        done = load("datagram", server.port, depth=8, window=1000)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["requests"] == 0 and told["lost"] >= 8


# ---- what becomes of the samples ----

def samples(**cpu_ns):
    return {int(name[1:]): {"cpu_ns": value, "per_second": 1e9 / value, "p50_us": 1, "p99_us": 2,
                            "p999_us": 3, "requests": 10, "lost": 1}
            for name, value in cpu_ns.items()}


def test_ratios_are_taken_within_a_round():
    found = figures.ratio(samples(r0=110, r1=210, r2=330), samples(r0=100, r1=200, r2=300), "cpu")
    assert found["median"] == pytest.approx(1.1) and found["max"] == pytest.approx(1.1)
    assert found["min"] == pytest.approx(1.05) and found["best"] == pytest.approx(1.1)


def test_a_round_without_the_limit_gives_no_ratio():
    found = figures.ratio(samples(r0=110, r1=999), samples(r0=100), "cpu")
    assert found["rounds"] == 1 and found["max"] == pytest.approx(1.1)
    assert figures.ratio(samples(r1=999), samples(r0=100), "cpu") is None


def test_less_throughput_is_a_higher_cost():
    assert figures.cost({"cpu_ns": 1, "per_second": 50}, "throughput") == \
        2 * figures.cost({"cpu_ns": 1, "per_second": 100}, "throughput")


def test_a_summary_adds_up_requests_and_losses():
    found = figures.summary(samples(r0=100, r1=120), samples(r0=100, r1=100), "cpu")
    assert (found["requests"], found["lost"]) == (20, 2)
    assert found["cpu_ns"]["best"] == 100 and found["per_second"]["best"] == pytest.approx(1e7)


def test_best_and_median_must_meet_the_target():
    assert figures.meets({"best": 1.0, "median": 1.02}, 1.03)
    assert not figures.meets({"best": 1.0, "median": 1.04}, 1.03)
    assert not figures.meets({"best": 1.04, "median": 1.0}, 1.03)
    assert not figures.meets(None, 1.03)


def test_a_sample_is_disturbed_by_others_and_by_the_host():
    calm = {"wall_ms": 1000, "idle_ms": 0, "other_ms": 10, "stolen_ms": 10}
    assert workloads.disturbance(calm, True) is None
    assert "others ran" in workloads.disturbance({**calm, "other_ms": 200}, True)
    assert "host took" in workloads.disturbance({**calm, "stolen_ms": 50}, True)


def test_others_may_use_the_time_in_which_a_preferred_candidate_waits():
    waiting = {"wall_ms": 1000, "idle_ms": 100, "other_ms": 600, "stolen_ms": 0}
    assert workloads.disturbance(waiting, True) is None
    assert "others ran" in workloads.disturbance(waiting, False)


def test_a_gain_is_what_bursts_save():
    def workload(name, cost):
        return {"name": name, "candidates": {"enchufe": {"cpu_ns": {"median": cost}}}}
    results = {"workloads": [workload("udp-64-1", 3000), workload("udp-64-gso", 150)]}
    assert list(figures.gains(results)) == [("udp-64-gso", "enchufe", 20)]


def test_workloads_have_names_of_their_own():
    names = [each.name for each in workloads.WORKLOADS]
    assert len(names) == len(set(names))


# ---- the whole of it ----

def test_bench_measures_and_draws(tmp_path):
    output = str(tmp_path / "results")
    done = subprocess.run(
        [sys.executable, os.path.join(BENCH, "run.py"), "--build", BUILD, "--output", output,
         "--workloads", "tcp-64-50,udp-64-1", "--measures", "none", "--only", "limit,enchufe",
         "--rounds", "1", "--window", "200", "--nice", "0", "--keep"],
        capture_output=True, text=True, timeout=2 * DEADLINE, check=False)
    assert done.returncode == 0, done.stderr
    with open(output + ".json", encoding="utf-8") as file:
        results = json.load(file)
    for workload in results["workloads"]:
        ours = workload["candidates"]["enchufe"]
        assert ours["ratio"]["median"] > 0 and ours["requests"] > 0 and ours["cpu_ns"]["best"] > 0
        assert workload["name"] in done.stdout
    with open(output + ".svg", encoding="utf-8") as file:
        drawn = file.read()
    assert drawn.startswith("<svg") and drawn.rstrip().endswith("</svg>")
    assert "times the bare loop" in drawn
