"""./dev bench flood: what a well-behaved client's whole create takes alone, and beside a client of
its own /64 that asks as fast as it can, by TCP and by UDP, in one run of the real daemons."""

import json
import os
import sys
import time

from common import ROOT, say

sys.path.insert(0, os.path.join(ROOT, "tests", "integration"))

import campus as c  # noqa: E402
import flood  # noqa: E402

DIALOGUES = 200
PAUSE = 0.03


def report(metric, value, unit, **detail):
    print(json.dumps({"bench": "flood", "metric": metric, "value": round(value, 3), "unit": unit,
                      "tunnels": 1, "detail": detail}), flush=True)


def measure(campus, beside, **detail):
    taken = []
    for _ in range(DIALOGUES):
        taken += flood.creates(campus, c.BROKER, 1)
        time.sleep(PAUSE)  # well-behaved: four tries each, of 1000 a second
    result = {name: 1000 * flood.percentile(taken, part)
              for name, part in (("p50", 0.5), ("p99", 0.99))}
    for name, value in result.items():
        report(f"create {name} {beside}", value, "ms", dialogues=DIALOGUES, **detail)
    return result


def main():
    if (reason := c.why_not()) is not None:
        say(f"bench: {reason}")
        return 1
    with c.Campus() as campus:
        campus.start_daemons()
        flood.creates(campus, c.BROKER, 20)
        alone = measure(campus, "alone")
        for transport in ("tcp", "udp"):
            with flood.Flooder(campus, transport, c.BROKER) as flooder:
                beside = measure(campus, f"beside {transport}")
            report(f"asked by {transport}", flooder.per_second, "1/s", in_all=flooder.asked)
            for name, value in beside.items():
                report(f"ratio {name} {transport}", value / alone[name], "1")
    return 0
