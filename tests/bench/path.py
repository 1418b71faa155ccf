#!/usr/bin/env python3
"""make bench-callgrind: what one request costs in instructions and system calls, and where they go.

Each server runs twice, for fewer and for more requests, and the difference is divided by theirs: what the
start and the connections cost falls out. Instructions are those of the program and its libraries, not the
kernel's; they repeat whatever else the machine does.
"""

import argparse
import contextlib
import glob
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True

from candidates import ENCHUFE, Setting  # noqa: E402
from machine import free_port, wait_for_port  # noqa: E402

FEWER, MORE = 1000, 11000


def limit_command(setting, service):
    """The command of the limit; its port is told by itself."""
    return [os.path.join(setting.bench, "bare"), service], None


def enchufe_command(setting, service):
    """The command of the server, in one process, and its port."""
    kind = "udp" if service == "udp" else "tcp"
    port = free_port(kind)
    plugin = "hola" if service == "hola" else "echo"
    # valgrind cannot live in the probe's sandbox, which denies memory that is written and executed, nor open
    # its own files there as another user. One process serves without a sandbox anyway.
    sections = ENCHUFE.sections(plugin, kind, port, 1) + "isolate = yes\nsandbox = no\n"
    user = "user = root\n" if os.geteuid() == 0 else ""
    config = ENCHUFE.config(setting, sections, server=user)
    return [os.path.join(setting.build, "enchufe"), "run", "--debug", *ENCHUFE.plugins(setting),
            setting.file("enchufe.ini", config)], port


COMMANDS = {"limit": limit_command, "enchufe": enchufe_command}


def load(setting, args, port, requests):
    mode = "datagram" if args.service == "udp" else "stream"
    protocol = "hola" if args.service == "hola" else "echo"
    with setting.load(mode, "--port", port, "--connections", args.connections, "--depth", args.depth,
                      "--size", args.size, "--protocol", protocol, "--warmup", 0, "--requests",
                      requests) as process:
        process.finish(300)


def run(setting, args, name, wrapper, requests):
    """One server under a tool, for so many requests."""
    command, port = COMMANDS[name](setting, args.service)
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(setting.process([*wrapper, *command], end_by=signal.SIGINT))
        if port is None:
            port = int(server.line().split()[1])
        wait_for_port(port, server, "udp" if args.service == "udp" else "tcp")
        load(setting, args, port, requests)
        # The tool passes the signal on to its program, or is it.
        if wrapper[0] == "strace":
            for child in subprocess.run(["ps", "-o", "pid=", "--ppid", str(server.pid)], text=True,
                                        capture_output=True, check=False).stdout.split():
                os.kill(int(child), signal.SIGINT)
            server.popen.wait(30)


# ---- instructions ----

def instructions(setting, args, name, requests):
    """Instructions of each function, by (function, object)."""
    out = os.path.join(setting.directory, "callgrind.out")
    run(setting, args, name, ["valgrind", "--tool=callgrind", "--quiet",
                              f"--callgrind-out-file={out}.%p"], requests)
    counts = {}
    for path in glob.glob(out + ".*"):
        # That of a child that was ended has nothing in it, and annotates to nothing.
        text = subprocess.run(["callgrind_annotate", "--threshold=100", "--auto=no",
                               "--show-percs=no", path], capture_output=True, text=True,
                              check=False).stdout
        for line in text.splitlines():
            match = re.match(r"\s*([\d,]+)\s+(?:.*/)?[^:]*:(\S+?)(?:'\d+)?(?: \[(.*)\])?\s*$", line)
            if match:
                key = match.group(2), os.path.basename(match.group(3) or "")
                counts[key] = counts.get(key, 0) + int(match.group(1).replace(",", ""))
        os.unlink(path)
    return counts


def difference(more, fewer):
    """Counts of one request."""
    found = {key: (count - fewer.get(key, 0)) / (MORE - FEWER) for key, count in more.items()}
    return {key: count for key, count in found.items() if count >= 0.005}


def with_inlined(counts):
    """What was inlined from another file is told without an object: it is its function's."""
    homes = {function: where for function, where in counts if where}
    found = {}
    for (function, where), count in counts.items():
        key = function, where or homes.get(function, "")
        found[key] = found.get(key, 0) + count
    return found


def print_instructions(name, counts, rows):
    counts, objects = with_inlined(counts), {}
    for (_, where), count in counts.items():
        objects[where] = objects.get(where, 0) + count
    parts = ", ".join(f"{where or 'elsewhere'} {count:.1f}" for where, count in
                      sorted(objects.items(), key=lambda item: -item[1]) if count >= 0.5)
    print(f"\n{name}: {sum(counts.values()):.1f} instructions a request ({parts})")
    for (function, where), count in sorted(counts.items(), key=lambda item: -item[1])[:rows]:
        if count >= 0.5:
            print(f"  {count:8.1f}  {function} [{where}]")


# ---- system calls ----

def system_calls(setting, args, name, requests):
    out = os.path.join(setting.directory, "strace.out")
    run(setting, args, name, ["strace", "-f", "-c", "-o", out], requests)
    counts = {}
    with open(out, encoding="utf-8") as file:
        for line in file:
            fields = line.split()
            if len(fields) >= 5 and fields[0].replace(".", "").isdigit() and fields[-1] != "total":
                counts[fields[-1]] = int(fields[3])
    return counts


def print_calls(name, counts):
    parts = ", ".join(f"{call} {count:.3f}" for call, count in
                      sorted(counts.items(), key=lambda item: -item[1]))
    print(f"{name}: {sum(counts.values()):.3f} system calls a request ({parts})")


def main():
    parser = argparse.ArgumentParser(prog="make bench-callgrind ARGS=",
                                     description=__doc__.split("\n\n")[0])
    parser.add_argument("--build", default="build", help="where the server was built")
    parser.add_argument("--service", default="echo", choices=["echo", "hola", "udp"])
    parser.add_argument("--connections", type=int, default=1)
    parser.add_argument("--depth", type=int, default=1)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--rows", type=int, default=25, help="functions to print")
    args = parser.parse_args()
    directory = tempfile.mkdtemp(prefix="enchufe-path-")
    setting = Setting(os.path.abspath(args.build), directory, max(os.sched_getaffinity(0)), 0)
    try:
        for tool, count, show in (
                ("strace", system_calls, print_calls),
                ("valgrind", instructions, lambda *found: print_instructions(*found, args.rows))):
            if shutil.which(tool) is None:
                print(f"{tool} is not installed, see make bench-deps")
                continue
            for name in COMMANDS:
                fewer, more = (count(setting, args, name, requests) for requests in (FEWER, MORE))
                show(name, difference(more, fewer))
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
