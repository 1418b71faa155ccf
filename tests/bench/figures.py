"""What samples come to: median, best, minimum and maximum, and ratios within one round."""

import statistics

# The figures of a sample, and whether less is better.
FIGURES = {"cpu_ns": True, "per_second": False, "p50_us": True, "p99_us": True, "p999_us": True}


def spread(values, less_is_better=True):
    values = list(values)
    return {"median": statistics.median(values), "min": min(values), "max": max(values),
            "best": min(values) if less_is_better else max(values), "rounds": len(values)}


def cost(sample, by):
    """What a request costs: processor time, or where throughput is compared the time that it took."""
    return sample["cpu_ns"] if by == "cpu" else 1e9 / sample["per_second"]


def ratio(samples, limits, by):
    """Against the limit: in each round that both have, and the best of each. Both are by round."""
    pairs = [cost(samples[i], by) / cost(limits[i], by) for i in samples if i in limits]
    if not pairs:
        return None
    found = spread(pairs)
    found["best"] = (min(cost(each, by) for each in samples.values()) /
                     min(cost(each, by) for each in limits.values()))
    return found


def summary(samples, limits, by):
    """All that is told of one candidate in one workload; None without a sample."""
    if not samples:
        return None
    found = {name: spread((each[name] for each in samples.values()), less)
             for name, less in FIGURES.items()}
    found["requests"] = sum(each["requests"] for each in samples.values())
    found["lost"] = sum(each["lost"] for each in samples.values())
    found["ratio"] = ratio(samples, limits, by)
    return found


def gains(results):
    """How many times less a datagram of a burst costs than one by itself: (workload, candidate, times)."""
    costs = {workload["name"]: {name: found["cpu_ns"]["median"]
                                for name, found in workload["candidates"].items()}
             for workload in results["workloads"]}
    for size in ("64", "1200"):
        plain, burst = costs.get(f"udp-{size}-1", {}), costs.get(f"udp-{size}-gso", {})
        for name in ("limit", "enchufe"):
            if name in plain and name in burst:
                yield f"udp-{size}-gso", name, plain[name] / burst[name]


def meets(found, target):
    """Whether the best and the median of a ratio are within the target."""
    return found is not None and found["best"] <= target and found["median"] <= target
