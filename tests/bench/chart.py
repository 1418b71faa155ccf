"""The ratios as one SVG page: a row for each workload, a mark for each candidate."""

import math
from html import escape

WIDTH, LEFT, RIGHT = 1000, 300, 60
TOP, ROW = 110, 30
FIRST, LAST = 0.8, 8.0                      # the scale; what is beyond stands at its end
TICKS = [0.8, 0.9, 1, 1.1, 1.25, 1.5, 2, 3, 4, 6, 8]
COLOURS = {"limit": "#444444", "enchufe": "#d62728", "libev": "#1f77b4", "libuv": "#2ca02c",
           "libuv-try": "#98c379", "libevent": "#9467bd", "nginx": "#8c564b", "haproxy": "#e377c2",
           "redis": "#ff7f0e", "socat": "#bcbd22", "xinetd": "#17becf"}


def x(ratio):
    part = math.log(min(max(ratio, FIRST), LAST) / FIRST) / math.log(LAST / FIRST)
    return LEFT + part * (WIDTH - LEFT - RIGHT)


def text(at_x, at_y, words, anchor="start", size=12, more=""):
    return (f'<text x="{at_x:.1f}" y="{at_y:.1f}" text-anchor="{anchor}" font-size="{size}" '
            f'{more}>{escape(words)}</text>')


def line(x1, y1, x2, y2, colour, width=1, more=""):
    return (f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
            f'stroke-width="{width}" {more}/>')


def legend(results):
    parts, at_x, at_y = [], 20.0, 62.0
    for name in results["titles"]:
        width = 22 + 7.2 * len(name)
        if at_x + width > WIDTH - 20:
            at_x, at_y = 20.0, at_y + 16
        parts.append(f'<circle cx="{at_x + 5}" cy="{at_y - 4}" r="5" fill="{COLOURS[name]}"/>')
        parts.append(text(at_x + 14, at_y, name))
        at_x += width
    return parts


def axis(bottom):
    parts = []
    for tick in TICKS:
        strong = tick == 1
        parts.append(line(x(tick), TOP, x(tick), bottom, "#444444" if strong else "#dddddd",
                          1.5 if strong else 1))
        parts.append(text(x(tick), bottom + 16, f"{tick:g}", "middle"))
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(text(middle, bottom + 36, "cost of a request, times the bare loop's (logarithmic; "
                      "less is better)", "middle"))
    return parts


def mark(name, found, at_y):
    ratio = found["ratio"]
    ours = name == "enchufe"
    told = f"{name}: {ratio['median']:.3f} ({ratio['min']:.3f} to {ratio['max']:.3f})"
    parts = [line(x(ratio["min"]), at_y, x(ratio["max"]), at_y, COLOURS[name], 2.5 if ours else 1.2),
             f'<circle cx="{x(ratio["median"]):.1f}" cy="{at_y:.1f}" r="{6 if ours else 4}" '
             f'fill="{COLOURS[name]}"><title>{escape(told)}</title></circle>']
    if ratio["median"] > LAST:
        parts.append(text(WIDTH - RIGHT + 8, at_y + 4, f"{ratio['median']:.0f}×", size=11,
                          more=f'fill="{COLOURS[name]}"'))
    return parts


def row(workload, at_y):
    what = "" if workload["by"] == "cpu" else " (by throughput)"
    parts = [text(LEFT - 14, at_y + 4, workload["title"] + what, "end")]
    target = x(workload["target"])
    parts.append(line(target, at_y - 9, target, at_y + 9, "#d62728", 1, 'stroke-dasharray="2 2"'))
    # The server comes last, so that nothing covers it.
    names = sorted(workload["candidates"], key=lambda name: name == "enchufe")
    for name in names:
        found = workload["candidates"][name]
        if name != "limit" and found["ratio"]:
            parts += mark(name, found, at_y)
    return parts


def page(results):
    bottom = TOP + ROW * len(results["workloads"])
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom + 60}" '
             f'font-family="sans-serif"><rect width="100%" height="100%" fill="white"/>',
             text(20, 26, "Processor time per request against a bare loop", size=18),
             text(20, 44, f"{results['machine']}, server and load on one core, "
                  f"{results['rounds']} rounds: median, and minimum to maximum; dashed: the target",
                  size=11, more='fill="#555555"'), *legend(results), *axis(bottom)]
    for number, workload in enumerate(results["workloads"]):
        parts += row(workload, TOP + ROW * (number + 0.5))
    parts.append("</svg>")
    return "\n".join(parts) + "\n"
