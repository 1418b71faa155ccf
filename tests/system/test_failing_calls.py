"""The system fails, on purpose: each call in turn, in each process (see faults.py and tests/fault/)."""

import mmap
import os
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor

import pytest

import faults
from server import Server, environment, service
from settings import DEADLINE, ENCHUFE, PLUGINS, SANITIZED, SOAK, soak

pytestmark = pytest.mark.skipif(SANITIZED, reason="sanitizers bring a malloc of their own")

# Of what the run calls, how many calls of each function and process are tried in the suite.
SAMPLE = 2
CALLS_MAX = 500
AT_ONCE = 3  # runs
WORKER, = [number for number, name in faults.PROCESSES.items() if name == "worker"]

FUNCTIONS = faults.functions() if not SANITIZED else []


@pytest.fixture(scope="module")
def calls():
    """How often each process calls each function, where nothing fails."""
    run = faults.Run("malloc", 0, 0)
    assert run.outcome() == "never came"
    names = faults.functions()
    return {process: dict(zip(names, counts)) for process, counts in run.calls.items()}


def test_the_processes_are_those_that_are_named(calls):
    """A process that the server forks anew moves the numbers of those behind it."""
    makes = {process: {name for name, count in calls[process].items() if count} for process in calls}
    for process, name in {**faults.PROCESSES, 8: "nobody"}.items():
        assert ("pthread_create" in makes[process]) == name.endswith("worker"), name
        assert ("setresuid" in makes[process]) <= name.endswith(("worker", "probe")), name
        assert bool(makes[process]) == (name != "nobody"), name


def try_all(function, process):
    """Every call until the run makes no such call any more, which a little more or less luck decides."""
    outcomes, missing = [], 0
    for number in range(1, CALLS_MAX + 1):
        outcomes.append(faults.Run(function, number, process).outcome())
        missing = missing + 1 if outcomes[-1] == "never came" else 0
        if missing == 3:
            break
    return outcomes


def try_some(function, process, count):
    if count == 0:
        return []
    numbers = {1 + count * i // SAMPLE for i in range(SAMPLE)}
    return [faults.Run(function, number, process).outcome() for number in sorted(numbers)]


@pytest.mark.soak
@pytest.mark.timeout(soak(300, 1800))
@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_call_that_fails_is_refused_or_recovered_from(function, calls):
    with ThreadPoolExecutor(AT_ONCE) as pool:
        tried = {process: pool.submit(try_all, function, process) if SOAK else
                 pool.submit(try_some, function, process, calls[process][function])
                 for process in faults.PROCESSES}
        for process, outcomes in tried.items():
            outcomes = outcomes.result()
            seen = {outcome: outcomes.count(outcome) for outcome in ("refused", "recovered")}
            if any(seen.values()):
                print(f"{function} in {faults.PROCESSES[process]}: {seen}")


@pytest.mark.parametrize("number, thread", [(1, "for orders"), (2, "of a loop")])
def test_a_worker_that_lacks_a_thread_waits_for_no_plugin(number, thread):
    """No start_timeout would end it, so the worker must by itself, before or while a plugin hangs."""
    with tempfile.NamedTemporaryFile() as notes:
        notes.truncate(mmap.PAGESIZE)
        env = {"LD_PRELOAD": faults.LIBRARY, "FAULT": f"pthread_create {number} {WORKER}",
               "FAULT_FILE": notes.name}
        config = "[server]\nthreads = 2\nstart_timeout = 0\n"
        with Server(config + service("refuser", at="loop_start", hangs="yes"), env=env, wait=False) as server:
            assert server.process.wait(DEADLINE) == 1
            error, = [line["error"] for line in server.lines("worker cannot start")]
            assert f"cannot start the thread {thread}" in error


def test_a_faulty_configuration_is_refused_whatever_memory_lacks(tmp_path):
    """What there is no memory to tell is still wrong."""
    file = tmp_path / "enchufe.ini"
    file.write_text("[echo]\nplugin = echo\nlisten = tcp://127.0.0.1:0\nspeed = 3\n[server]\nlog_level = loud\n")
    notes = tmp_path / "notes"
    for function in ("malloc", "calloc", "realloc", "open_memstream"):
        for number in range(1, CALLS_MAX):
            notes.write_bytes(b"\0" * os.sysconf("SC_PAGESIZE"))
            env = environment({"LD_PRELOAD": faults.LIBRARY, "FAULT": f"{function} {number} 0",
                               "FAULT_FILE": str(notes)})
            done = subprocess.run([ENCHUFE, "check", file, "--plugin-dir", PLUGINS], env=env,
                                  capture_output=True, text=True, timeout=faults.PATIENCE, check=False)
            assert done.returncode == 1 and done.stderr, f"{function} call {number}: {done}"
            if notes.read_bytes()[4] == 0:
                break
