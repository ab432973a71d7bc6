"""A campaign on a real cluster: stars of the full pipeline with light modules, some in containers, while everything around them
goes wrong; then the oracle judges what is left.

    python3 -m chaos BIN [--seconds 300] [--seed N] [--stars 200] [--only KIND,…] [--keep] [--report FILE]

BIN holds `sas`, `sas-coordinator` and `sas-worker`. Faults begin one after the other, sometimes two at once, for as long as
--seconds says; then all must end by itself. Needs RabbitMQ, Redis and h5py; Docker for containers, root for a store that is
full or read-only: what cannot be brought about here is left out, and said.
"""

import argparse
import json
import math
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

# Stars of an event, how many may be on their way, and how many go into containers as well: the first ones, half of them at most.
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
    """How many of these stars the real pipeline is done with."""

    def is_settled(star):
        try:
            return oracle.newest_of(scene.cluster.store, "SAS-PIP", star, QUARTER) is not None
        except OSError:
            # The store is away.
            return False

    return sum(map(is_settled, stars))


def boxes(options):
    """How many stars go into containers."""
    return min(BOXES, options.stars // 2)


def campaign(scene, options, kinds, stars, boxed):
    """Delivers and strikes until the time is over; the stars that were delivered."""
    entered, in_boxes = [], []
    end = time.monotonic() + options.seconds
    wanted = boxes(options) if boxed else 0
    delivering = threading.Thread(target=keep_delivering, args=(scene, list(stars), entered, end))
    boxing = threading.Thread(target=keep_boxing, args=(scene, entered, in_boxes, wanted, end))
    delivering.start()
    boxing.start()
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
    boxing.join()
    return entered, in_boxes


def keep_delivering(scene, left, entered, end):
    """Delivers stars for as long as there is time, never too many at once, so that there is work until the end."""
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


def keep_boxing(scene, entered, in_boxes, wanted, end):
    """Starts runs in containers over stars that were delivered, spread over the whole time: what strikes containers finds some
    whenever its turn comes."""
    began = time.monotonic()
    while len(in_boxes) < wanted and time.monotonic() < end:
        due = math.ceil(wanted * min(1, (time.monotonic() - began) / (PACED * (end - began))))
        box(scene, [star for star in entered if star not in in_boxes][: due - len(in_boxes)], in_boxes)
        time.sleep(0.5)


def box(scene, stars, in_boxes):
    """Starts a run in containers over each of these stars; where nothing answers it is tried again. One that was started and whose
    answer was lost is refused then, for it goes on."""
    for star in stars:
        try:
            code, said = scene.cluster.sas("run", "start", "--pipeline", "BOXED", "--stars", star)
        except subprocess.TimeoutExpired:
            continue
        if code == 0 or f"goes on and has {star}" in said:
            in_boxes.append(star)


def ends(scene):
    """Whether every run on record has an end, and none is in the state."""
    scene.cluster.tend()
    runs = scene.cluster.runs()
    return bool(runs) and all(run["phase"] == "ended" for run in runs)


def too_little(scene, options):
    """What a whole campaign must have had and this one had not."""
    if options.only or options.seconds < WHOLE:
        return []
    never = {name: why for name, why in scene.unstruck.items() if name not in scene.skipped and not scene.struck[name]}
    lacks = [f"{name} never struck: {why}" for name, why in sorted(never.items())]
    if (faults := sum(scene.struck.values())) < FAULTS:
        lacks.append(f"{faults} faults, less than {FAULTS}")
    if (kinds := len(scene.struck)) < KINDS:
        lacks.append(f"{kinds} kinds, less than {KINDS}")
    if (stars := len(scene.entered)) < min(ON_THE_WAY, options.stars):
        lacks.append(f"{stars} stars were delivered, less than may be on their way at once")
    if scene.cluster.boxed and (boxed := len(scene.in_boxes)) < boxes(options):
        lacks.append(f"{boxed} stars in containers, less than {boxes(options)}")
    return lacks


def times(values):
    """What is told of times that were measured."""
    values = sorted(values)
    told = {"median": statistics.median(values), "p99": values[math.ceil(0.99 * len(values)) - 1], "longest": values[-1]}
    return {**{name: round(value, 2) for name, value in told.items()}, "n": len(values)}


def report(scene, verdict, options, began):
    """The numbers of a campaign."""
    recovered = {name: values for name, values in sorted(scene.recovery.items()) if values}
    recovery = {name: times(values) for name, values in recovered.items()}
    if recovered:
        recovery["all"] = times(value for values in recovered.values() for value in values)
    growth = {
        program.name: {"at_first": round(program.first_memory, 1), "most": round(program.most_memory, 1)}
        for program in scene.cluster.programs
    }
    keys = ("executions", "expected", "duplicates", "lost", "wrong", "wrong_unlocks", "without_data", "over_budget", "counts")
    return {
        "seed": options.seed,
        "seconds": round(time.monotonic() - began),
        "settling_seconds": round(scene.settled_after, 1),
        "stars_at_hand": options.stars,
        "stars_delivered": len(scene.entered),
        "stars_in_containers": len(scene.in_boxes),
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
    # A broker that is wiped takes with it what no coordinator has accepted yet; coordinators find it in the store.
    announced = os.path.join(scene.cluster.store, "control/announced")
    wait(180, "all events are accepted", lambda: not os.path.exists(announced) or not os.listdir(announced))
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
