"""A campaign on a real cluster: stars of the full pipeline with light modules, some in containers, while everything around them
goes wrong; then the oracle judges what is left.

    python3 -m chaos BIN [--seconds 300] [--seed N] [--stars 200] [--only KIND,…] [--keep] [--report FILE]

BIN holds `sas`, `sas-coordinator` and `sas-worker`. Faults begin one after the other, sometimes two at once, for as long as
--seconds says; then all must end by itself. Needs RabbitMQ, Redis and h5py; Docker for containers, root for a store that is
full or read-only: what cannot be brought about here is left out, and said.
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

from . import oracle, tamper
from .cluster import LEASE, Cluster, wait
from .engine import find_engine
from .scene import Scene
from .stars import IMAGE, PROGRAMS, QUARTER, definitions, make_stars

# Stars of an event, how many may be on their way, and how many go into containers as well.
BATCH, ON_THE_WAY, BOXES = 4, 24, 20
# The part of the time over which deliveries are spread.
PACED = 0.85
# Faults that go on at the same time at most, besides those that wait for something to strike.
AT_ONCE = 3
# A campaign of so many seconds is a whole one: so many faults of so many kinds, and none that could strike did not.
WHOLE, FAULTS, KINDS = 300, 100, 20


def deliver(scene, stars, events):
    """Stars into the store with the event that says so, however often that takes."""
    files = [os.path.join(scene.directory, "delivery", f"{star}_Q{QUARTER}.h5") for star in stars]

    def taken():
        return scene.cluster.sas("ingest", "--publish", *files)[0] == 0

    if wait(240, "stars are taken in", taken):
        scene.delivered.append(files)
        events.extend(stars)


def settled(scene, stars):
    """How many of these stars have a star file."""
    there = (os.path.join(oracle.folder(scene.cluster.store, star, QUARTER), f"{star}.h5") for star in stars)
    return sum(os.path.exists(path) for path in there)


def campaign(scene, options, kinds, stars, boxed):
    """Delivers and strikes until the time is over; the stars that were delivered."""
    entered, in_boxes = [], []
    end = time.monotonic() + options.seconds
    delivering = threading.Thread(target=keep_delivering, args=(scene, list(stars), entered, in_boxes if boxed else None, end))
    delivering.start()
    bag, strikes = [], []
    while time.monotonic() < end:
        scene.cluster.tend()
        strikes = [strike for strike in strikes if strike.is_alive()]
        if sum(strike.name not in scene.waiting for strike in strikes) < AT_ONCE:
            bag = bag or scene.random.sample(scene.wanted, len(scene.wanted))
            name = bag.pop()
            if name not in scene.skipped and all(strike.name != name for strike in strikes):
                strikes.append(threading.Thread(target=scene.strike, args=(name,), name=name))
                strikes[-1].start()
        time.sleep(scene.random.uniform(0.1, options.pause))
    scene.over.set()
    while any(strike.is_alive() for strike in strikes):
        scene.cluster.tend()
        time.sleep(0.2)
    delivering.join()
    return entered, in_boxes


def keep_delivering(scene, left, entered, in_boxes, end):
    """Delivers stars for as long as there is time, never too many at once, so that there is work until the end; some of them go
    into containers as well."""
    began = time.monotonic()
    pace = PACED * (end - began) * BATCH / len(left)
    batches = 0
    while left and time.monotonic() < end:
        too_early = time.monotonic() < began + batches * pace
        if too_early or len(entered) - settled(scene, entered) >= ON_THE_WAY:
            time.sleep(0.5)
            continue
        some, left, batches = left[:BATCH], left[BATCH:], batches + 1
        deliver(scene, some, entered)
        if in_boxes is not None and len(in_boxes) < BOXES and some[0] in entered:
            if scene.cluster.sas("run", "start", "--pipeline", "BOXED", "--stars", some[0])[0] == 0:
                in_boxes.append(some[0])


def ends(scene):
    """Whether every run on record has an end, and none is in the state."""
    scene.cluster.tend()
    runs = scene.cluster.runs()
    return bool(runs) and all(run["phase"] == "ended" for run in runs)


def too_little(scene, options):
    """What a whole campaign must have had and this one had not."""
    if options.only or options.seconds < WHOLE:
        return []
    lacks = [f"{name} never struck: {why}" for name, why in sorted(scene.unstruck.items()) if name not in scene.skipped]
    if (faults := sum(scene.struck.values())) < FAULTS:
        lacks.append(f"{faults} faults, less than {FAULTS}")
    if (kinds := len(scene.struck)) < KINDS:
        lacks.append(f"{kinds} kinds, less than {KINDS}")
    return lacks


def report(scene, verdict, options, began):
    """The numbers of a campaign."""
    recovery = {}
    for name, times in sorted(scene.recovery.items()):
        recovery[name] = {"median": round(statistics.median(times), 2), "p99": round(max(times), 2), "n": len(times)}
    growth = {
        program.name: {"at_first": round(program.first_memory, 1), "most": round(program.most_memory, 1)}
        for program in scene.cluster.programs
    }
    keys = ("executions", "expected", "duplicates", "lost", "wrong", "wrong_unlocks", "without_data", "over_budget", "counts")
    return {
        "seed": options.seed,
        "seconds": round(time.monotonic() - began),
        "settling_seconds": round(scene.settled_after, 1),
        "stars": len(scene.entered),
        "containers": 3 * len(scene.in_boxes),
        "faults": sum(scene.struck.values()),
        "kinds": len(scene.struck),
        "by_kind": dict(sorted(scene.struck.items())),
        "skipped": dict(sorted(scene.skipped.items())),
        "too_little": too_little(scene, options),
        **{key: verdict.numbers[key] for key in (*keys, "after_commit", "leftovers")},
        "recovery_seconds": recovery,
        "memory_mb": growth,
        "what": verdict.wrong[:50],
    }


def main(arguments):
    """Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python3 -m chaos", description=__doc__.splitlines()[0])
    parser.add_argument("bin")
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--stars", type=int, default=200)
    parser.add_argument("--pause", type=float, default=2.0, help="longest pause between faults")
    parser.add_argument("--patience", type=float, default=900, help="how long all may take to end after the last fault")
    parser.add_argument("--only", help="kinds of faults, with commas")
    parser.add_argument("--without-containers", action="store_true")
    parser.add_argument("--keep", action="store_true", help="leave store and logs behind")
    parser.add_argument("--report", default="target/chaos/report.json")
    options = parser.parse_args(arguments)
    print(f"chaos: seed {options.seed}", flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    directory = os.path.realpath(tempfile.mkdtemp(prefix="chaos-"))
    scene = Scene(options, directory)
    began = time.monotonic()
    try:
        return run(scene, options, began)
    finally:
        if scene.cluster:
            scene.cluster.end()
        if scene.engine:
            scene.engine.remove()
        if options.keep:
            print(f"chaos: everything is in {directory}; unmount {scene.store} and {scene.disk} before you remove it")
        else:
            scene.clean()
            shutil.rmtree(directory, ignore_errors=True)


def run(scene, options, began):
    """The campaign from its cluster to its report."""
    kinds, stars = make_stars(scene, options)
    scene.engine, without = find_engine(os.path.join(scene.directory, "engine"), None if options.without_containers else IMAGE)
    boxed = "containers" not in without
    scene.cluster = Cluster(scene.directory, os.path.abspath(options.bin), scene.store, definitions(scene, kinds, boxed))
    scene.cluster.engine, scene.cluster.boxed = scene.engine, boxed
    scene.cluster.without.update(without)
    scene.cluster.start()
    shared = os.path.join(scene.directory, "delivery/shared.h5")
    scene.cluster.sas("ingest", "--shared", "--dataset", "models/grids", shared, check=True)
    scene.entered, scene.in_boxes = campaign(scene, options, kinds, stars, boxed)
    print(f"chaos: {sum(scene.struck.values())} faults; now everything must end", flush=True)
    faults_over = time.monotonic()
    # A broker that is wiped takes with it what no coordinator has accepted yet: ingestion does then what operators are told to do.
    for files in scene.delivered:
        wait(120, "what no event announced is announced", lambda files=files: not scene.cluster.sas("ingest", "--publish", *files)[0])
    all_end = wait(options.patience, "all runs end", lambda: ends(scene))
    scene.settled_after = time.monotonic() - faults_over
    scene.stopping.set()
    # What dead workers left is gone with the next sweep of one that lives; a host that has none has nobody to sweep.
    wait(LEASE * 10, "nothing is left behind", lambda: not any(
        name.startswith("host-") and not any(name.startswith(f"host-{n}") for n in range(1, 5))
        for name in os.listdir(os.path.join(scene.cluster.store, "scratch"))
    ))
    scene.cluster.end()
    expected = {
        "pipeline": "SAS-PIP",
        "quarter": QUARTER,
        "stars": {star: kinds[star] for star in scene.entered},
        "modules": scene.modules,
        "boxed": {"pipeline": "BOXED", "stars": scene.in_boxes, "modules": list(PROGRAMS)},
    }
    with open(os.path.join(scene.directory, "expected.json"), "w", encoding="utf-8") as file:
        json.dump(expected, file)
    verdict = oracle.judge(scene.cluster.store, expected, scene.log)
    for name in scene.strayed():
        verdict.bad("leftovers", f"`{name}` was written where the store was not mounted")
    if not all_end:
        verdict.bad("lost", "not all runs ended")
    numbers = report(scene, verdict, options, began)
    numbers["oracle_missed"] = tamper.notices(scene.directory, scene.cluster.store, expected, scene.log)
    os.makedirs(os.path.dirname(os.path.abspath(options.report)), exist_ok=True)
    with open(options.report, "w", encoding="utf-8") as file:
        json.dump(numbers, file, indent=1)
    print(json.dumps(numbers, indent=1))
    bad = ("lost", "wrong", "wrong_unlocks", "without_data", "over_budget", "counts", "after_commit", "leftovers")
    return int(any(numbers[key] for key in (*bad, "oracle_missed", "too_little")))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
