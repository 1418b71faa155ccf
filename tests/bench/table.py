"""The results as tables: text for a terminal, Markdown for the README."""

import figures

HEAD = ["workload", "candidate", "ns/request", "requests/s", "p50 µs", "p99 µs", "p99.9 µs",
        "ratio: median", "best", "min to max", "target"]


def number(value):
    """Three digits or more, and no more than are needed."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def verdict(workload, name, found):
    """Whether the server is near enough to the limit; of peers nothing is asked."""
    if name == "limit":
        return "the limit"
    if name != "enchufe":
        return ""
    word = "met" if figures.meets(found["ratio"], workload["target"]) else "missed"
    return f"{workload['target']:.2f} {word}"


def ratio_cells(found):
    if found is None:
        return ["-", "-", "-"]
    return [f"{found['median']:.3f}", f"{found['best']:.3f}",
            f"{found['min']:.3f} to {found['max']:.3f}"]


def workload_rows(results):
    for workload in results["workloads"]:
        for name, found in workload["candidates"].items():
            cells = [workload["name"], name]
            cells += [number(found[key]["median"]) for key in figures.FIGURES]
            cells += ratio_cells(found["ratio"])
            cells.append(verdict(workload, name, found))
            if found["lost"]:
                part = found["lost"] / (found["lost"] + found["requests"])
                cells[-1] += f" lost {part:.2%}"
            yield cells


def measure_rows(results):
    for workload, name, times in figures.gains(results):
        target = f"at least 5 {'met' if times >= 5 else 'missed'}" if name == "enchufe" else ""
        yield [workload, f"{name}: a datagram alone, times one of a burst", number(times) + " ×", "",
               target]
    for measure in results["measures"]:
        for row in measure["rows"]:
            yield [measure["name"], row["what"], number(row["value"]) + " " + row["unit"],
                   f"{number(row['min'])} to {number(row['max'])}" if "min" in row else "",
                   row.get("target", "")]


MEASURE_HEAD = ["measure", "what", "value", "min to max", "target"]


def head(results):
    nice = f", niceness {results['nice']}" if results["nice"] else ""
    return (f"{results['machine']}; server and load on one core{nice}; {results['rounds']} rounds of "
            f"{results['window_ms']} ms")


def explanation():
    return ("ratio: what a request costs, times the bare loop, within one round: processor time of the "
            "server,\nor (16 KiB, 1 MiB) the time that it took")


def aligned(rows):
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [cell.ljust(width) if i < 2 else cell.rjust(width)
                 for i, (cell, width) in enumerate(zip(row, widths))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def text(results):
    parts = [head(results)]
    rows = list(workload_rows(results))
    if rows:
        parts += [aligned([HEAD, *rows]), explanation()]
    rows = list(measure_rows(results))
    if rows:
        parts.append(aligned([MEASURE_HEAD, *rows]))
    if results["notes"]:
        parts.append("\n".join(results["notes"]))
    return "\n\n".join(parts)


def piped(rows):
    lines = ["| " + " | ".join(cells) + " |" for cells in rows]
    lines.insert(1, "|" + "---|" * len(rows[0]))
    return "\n".join(lines)


def compact_rows(results):
    """One line a workload: the server, and every other by its ratio alone."""
    names = [name for name in results["titles"] if name not in ("limit", "enchufe")]
    yield ["workload", "limit", "Enchufe", "median", "best", "min to max", "p99 µs", *names]
    for workload in results["workloads"]:
        found = workload["candidates"]
        limit, ours = found.get("limit"), found.get("enchufe")
        if limit is None or ours is None:
            continue
        key, unit = ("cpu_ns", " ns") if workload["by"] == "cpu" else ("per_second", "/s")
        yield [workload["title"], number(limit[key]["median"]) + unit,
               number(ours[key]["median"]) + unit, *ratio_cells(ours["ratio"]),
               f"{number(limit['p99_us']['median'])}, {number(ours['p99_us']['median'])}",
               *(f"{found[name]['ratio']['median']:.2f}" if found.get(name, {}).get("ratio")
                 else "" for name in names)]


def markdown(results):
    parts = [head(results)]
    if results["workloads"]:
        parts.append(piped(list(compact_rows(results))))
    rows = list(measure_rows(results))
    if rows:
        parts.append(piped([MEASURE_HEAD, *rows]))
    return "\n\n".join(parts)
