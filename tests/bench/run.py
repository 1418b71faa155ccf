#!/usr/bin/env python3
"""make bench: measures the server beside a bare loop and whichever peers are installed.

Every round of a workload takes one sample of each candidate, in random order, so that what changes on the
machine changes for all. Server and load share one core. The README of this folder tells how to read it.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time

sys.dont_write_bytecode = True

import chart  # noqa: E402
import figures  # noqa: E402
import machine  # noqa: E402
import table  # noqa: E402
from candidates import ENCHUFE, LIBRARIES, LIMIT, Setting  # noqa: E402
from installed import INSTALLED  # noqa: E402
from measures import MEASURES  # noqa: E402
from workloads import WORKLOADS, disturbance, sample  # noqa: E402

# A disturbed sample is taken again so many times at most.
REPEATS = 3


def say(text):
    print(text, file=sys.stderr, flush=True)


def chosen(text, known, what):
    """The names of a list with commas; all, where none was given."""
    if not text:
        return None
    names = text.split(",")
    for name in names:
        if name not in known:
            sys.exit(f"{name} is no {what}, there are: {' '.join(known)}")
    return names


def arguments():
    parser = argparse.ArgumentParser(prog="make bench ARGS=", description=__doc__.split("\n\n")[0])
    parser.add_argument("--build", default="build", help="where the server was built")
    parser.add_argument("--quick", action="store_true", help="the most important, in a minute")
    parser.add_argument("--workloads", default="", help="names with commas; `none`: measures only")
    parser.add_argument("--measures", default="", help="names with commas; `none`: workloads only")
    parser.add_argument("--only", default="", help="candidates: names with commas")
    parser.add_argument("--rounds", type=int, help="of each workload (5)")
    parser.add_argument("--window", type=int, help="milliseconds of one sample (1000)")
    parser.add_argument("--core", type=int, help="that server and load share (the last one)")
    parser.add_argument("--nice", type=int, default=-20, help="of server and load, if permitted")
    parser.add_argument("--keep", action="store_true", help="disturbed samples too")
    parser.add_argument("--output", metavar="PATH", help="without .json and .svg (BUILD/bench/results)")
    parser.add_argument("--seed", type=int, help="of the order in the rounds")
    parser.add_argument("--markdown", action="store_true", help="print the tables as Markdown")
    parser.add_argument("--from", dest="again", metavar="JSON", help="print an earlier run")
    parser.add_argument("--list", action="store_true", help="what can be chosen")
    return parser.parse_args()


def select(args):
    """Workloads, measures and candidates of this run."""
    candidates = [LIMIT, ENCHUFE, *LIBRARIES, *INSTALLED]
    by_name = {each.name: each for each in candidates}
    loads = {each.name: each for each in WORKLOADS}
    if args.list:
        for each in [*candidates, *WORKLOADS]:
            print(f"{each.name:16} {each.title}")
        for name, measure in MEASURES.items():
            print(f"{name:16} {measure.__doc__.splitlines()[0]}")
        sys.exit(0)
    if args.workloads or args.measures:     # those that were named, and of the other kind all
        names = chosen(args.workloads, ["none", *loads], "workload")
        measures = chosen(args.measures, ["none", *MEASURES], "measure")
        names = names or ([] if args.measures and args.measures != "none" else list(loads))
        measures = measures or ([] if args.workloads and args.workloads != "none" else
                                list(MEASURES))
    else:
        names = [each.name for each in WORKLOADS if each.quick or not args.quick]
        measures = ["start"] if args.quick else list(MEASURES)
    only = chosen(args.only or ("limit,enchufe" if args.quick else ""), by_name, "candidate")
    return ([loads[name] for name in names if name != "none"],
            [name for name in measures if name != "none"],
            [each for each in candidates if only is None or each.name in only])


class Run:
    def __init__(self, setting, candidates, rounds, window_ms, keep):
        self.setting, self.candidates = setting, candidates
        self.rounds, self.window_ms, self.keep = rounds, window_ms, keep
        self.notes = []

    def note(self, text):
        self.notes.append(text)
        say(f"  {text}")

    def undisturbed(self, candidate, workload, thrown):
        """A sample that nothing disturbed, or None after some tries."""
        for _ in range(1 + REPEATS):
            found = sample(self.setting, candidate, workload, self.window_ms // 5, self.window_ms)
            why = disturbance(found, self.setting.nice <= -15)
            if why is None or self.keep:
                return found
            thrown.append(why)
        return None

    def workload(self, workload):
        candidates = [each for each in self.candidates if each.serves(workload)]
        samples = {each.name: {} for each in candidates}
        thrown = {each.name: [] for each in candidates}
        for number in range(self.rounds):
            for candidate in random.sample(candidates, len(candidates)):
                if candidate not in candidates:
                    continue
                try:
                    found = self.undisturbed(candidate, workload, thrown[candidate.name])
                except RuntimeError as error:
                    self.note(f"{workload.name}: {candidate.name} failed: {error}")
                    candidates.remove(candidate)
                    continue
                if found is not None:
                    samples[candidate.name][number] = found
        limits = samples.get("limit", {})
        for name, reasons in thrown.items():
            if reasons:
                self.note(f"{workload.name}: {name}: {len(reasons)} samples thrown away, such as: "
                          f"{reasons[0]}; {len(samples[name])} rounds of {self.rounds} are left")
        return {"name": workload.name, "title": workload.title, "by": workload.by,
                "target": workload.target,
                "candidates": {name: figures.summary(rounds, limits, workload.by)
                               for name, rounds in samples.items() if rounds}}


def measure(args, setting):
    """Yields the results, more of them each time."""
    workloads, measures, candidates = select(args)
    candidates = [each for each in candidates if each.available(setting)]
    rounds = args.rounds or (3 if args.quick else 5)
    run = Run(setting, candidates, rounds, args.window or (300 if args.quick else 1000),
              args.keep)
    results = {"machine": machine.describe(), "core": setting.core, "nice": setting.nice,
               "rounds": rounds, "window_ms": run.window_ms,
               "titles": {each.name: each.title for each in candidates},
               "workloads": [], "measures": [], "notes": run.notes}
    began = time.monotonic()
    for workload in workloads:
        say(f"{time.monotonic() - began:5.0f} s  {workload.title}")
        results["workloads"].append(run.workload(workload))
        yield results
    for name in measures:
        title = MEASURES[name].__doc__.splitlines()[0]
        say(f"{time.monotonic() - began:5.0f} s  {title}")
        try:
            rows = MEASURES[name](run)
        except (RuntimeError, TimeoutError) as error:
            run.note(f"{name} failed: {error}")
            continue
        results["measures"].append({"name": name, "title": title, "rows": rows})
        yield results


def write(path, results):
    with open(path + ".json", "w", encoding="utf-8") as file:
        json.dump(results, file, indent=1)
    with open(path + ".svg", "w", encoding="utf-8") as file:
        file.write(chart.page(results))


def main():
    args = arguments()
    signal.signal(signal.SIGTERM, signal.default_int_handler)   # ends what was started, as Ctrl-C does
    random.seed(args.seed)
    if args.again:
        with open(args.again, encoding="utf-8") as file:
            results = json.load(file)
    else:
        cores = sorted(os.sched_getaffinity(0))
        directory = tempfile.mkdtemp(prefix="enchufe-bench-")
        setting = Setting(os.path.abspath(args.build), directory,
                          cores[-1] if args.core is None else args.core,
                          machine.best_priority(args.nice))
        path = args.output or os.path.join(args.build, "bench", "results")
        results = None
        try:
            for results in measure(args, setting):
                write(path, results)    # each time, so that an interrupted run leaves what it has
        except KeyboardInterrupt:
            if results is None:
                sys.exit(1)
            results["notes"].append("interrupted: the rest is missing")
        finally:
            shutil.rmtree(directory, ignore_errors=True)
        say(f"{path}.json, {path}.svg")
    print(table.markdown(results) if args.markdown else table.text(results))


if __name__ == "__main__":
    main()
