"""A campaign on a real cluster: stars of the full pipeline with light modules, some in containers, while everything around them
goes wrong; then the oracle judges what is left.

    python3 -m chaos BIN [--seconds 300] [--seed N] [--stars 200] [--only KIND,…] [--keep] [--report FILE]

BIN holds `sas`, `sas-coordinator` and `sas-worker`. Faults begin one after the other, sometimes two at once, for as long as
--seconds says; then all must end by itself. Needs RabbitMQ, Redis and h5py; Docker for containers, root for a store that is
full or read-only: what cannot be brought about here is left out, and said.
"""

import argparse
import collections
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
DEPLOY = os.path.abspath(os.path.join(HERE, "../../deploy"))
sys.path.insert(0, os.path.join(DEPLOY, "modules"))

from light import contract, pipeline as light_pipeline, stars as light_stars, toml  # noqa: E402

from . import faults, oracle, tamper  # noqa: E402
from .cluster import LEASE, Cluster, wait  # noqa: E402

QUARTER = 3
# Stars of an event, and how many may be on their way.
BATCH, ON_THE_WAY = 3, 8
# Faults that go on at the same time at most.
AT_ONCE = 2
IMAGE = "sas/base:bookworm"
BOXED = """name = "BOXED"
version = "1"
trigger = "l1/never"
[externals]
star = ["DP1_LC_MERGED"]
[classes.boxed]
cpus = 0.5
memory = "512MB"
"""
# What runs in a container: the second takes more memory than it is given at first.
PROGRAMS = {
    "A": ("DP1_LC_MERGED", "X", ""),
    "B": ("X", "Y", "bytearray(120 << 20); "),
    "C": ("Y", "Z", ""),
}


class Scene:
    """What faults have to do with."""

    def __init__(self, options, directory):
        self.random = random.Random(options.seed)
        self.directory, self.size = directory, "3g"
        self.store = os.path.join(directory, "store")
        self.disk = self._disk(os.path.join(directory, "disk"))
        self.one_mounts = threading.Lock()
        self.log = os.path.join(directory, "executions.log")
        open(self.log, "w", encoding="utf-8").close()
        self.delivered, self.completions, self.amended = [], [], 1
        self.struck, self.recovery, self.impossible = collections.Counter(), collections.defaultdict(list), set()
        self.wanted = list(options.only.split(",")) if options.only else sorted(faults.KINDS)
        self.stopping = threading.Event()
        self.cluster = None
        self.modules = []

    def _disk(self, disk):
        """A file system for the store, which can be full, read-only and away; none where that is not allowed."""
        os.makedirs(self.store)
        os.makedirs(disk)
        made = ["mount", "-t", "tmpfs", "-o", f"size={self.size}", "chaos", disk]
        shown = ["mount", "--bind", disk, self.store]
        done = (subprocess.run(command, capture_output=True, check=False).returncode == 0 for command in (made, shown))
        return disk if all(done) else None

    def lasts(self, seconds):
        """The time that a fault lasts."""
        time.sleep(seconds)

    def ended(self):
        """When executions ended well."""
        return [line["at"] for line in oracle.read_log(self.log) if line["what"] == "ends" and line["code"] == 0]

    def strike(self, name):
        """One fault, and how long it takes until something is executed again."""
        try:
            faults.KINDS[name](self)
        except faults.Impossible:
            self.impossible.add(name)
            return
        except (OSError, KeyError, ValueError, subprocess.SubprocessError) as error:
            # What was to be struck is struck already.
            print(f"{name}: {error}", flush=True)
            return
        self.struck[name] += 1
        self.impossible.discard(name)
        over = time.time()
        threading.Thread(target=self._recovers, args=(name, over), daemon=True).start()

    def _recovers(self, name, over):
        while not self.stopping.is_set():
            later = [at for at in self.ended()[-200:] if at > over]
            if later:
                self.recovery[name].append(min(later) - over)
                return
            time.sleep(0.5)

    def strayed(self):
        """What somebody wrote where the store was not mounted."""
        if self.disk is None:
            return []
        subprocess.run(["umount", "-l", self.store], capture_output=True, check=False)
        strayed = os.listdir(self.store)
        subprocess.run(["mount", "--bind", self.disk, self.store], capture_output=True, check=False)
        return strayed

    def clean(self):
        """Unmounts the store."""
        for place in (self.store, self.disk):
            if self.disk:
                subprocess.run(["umount", "-l", place], capture_output=True, check=False)


def definitions(scene, kinds, boxed):
    """The real pipeline played by light, and the small one in containers; their paths."""
    scripts = os.path.join(scene.directory, "stars.json")
    with open(scripts, "w", encoding="utf-8") as file:
        json.dump(kinds, file)
    source = os.path.join(DEPLOY, "pipelines/sas-pip.toml")
    target = os.path.join(scene.directory, "light.toml")
    arguments = argparse.Namespace(image=None, mode="oneshot", time_limit="2m", backoff="1s", memory="256MB", cpus=0.5)
    arguments.source, arguments.target = source, target
    definition = light_pipeline.rewrite(contract.read_toml(source), kinds, arguments)
    for module in definition["modules"].values():
        module["command"] = ["/usr/bin/python3", os.path.join(HERE, "module.py")]
        module["environment"]["CHAOS_LOG"] = scene.log
    definition = light_pipeline.beside(definition, source, target)
    with open(target, "w", encoding="utf-8") as file:
        file.write(toml.dumps(definition))
    scene.modules = list(definition["modules"])
    if not boxed:
        return [target]
    text = BOXED
    for name, (reads, makes, more) in PROGRAMS.items():
        program = f"import h5py, os; {more}o = h5py.File(os.environ['SAS_OUTPUT'], 'w'); o['PRODUCTS/{makes}/n'] = 1.0"
        text += (
            f'[modules.{name}]\nimage = "{IMAGE}"\ncommand = ["python3", "-c", {json.dumps(program)}]\nclass = "boxed"\n'
            f'time_limit = "1m"\nmemory = "64MB"\ninputs.mandatory = ["{reads}"]\noutputs.mandatory = ["{makes}"]\n'
        )
    path = os.path.join(scene.directory, "boxed.toml")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return [target, path]


def make_stars(scene, options):
    """Files of all stars, with their kinds; two of them have modules that fail."""
    each = max(1, options.stars // 4)
    arguments = argparse.Namespace(
        directory=os.path.join(scene.directory, "delivery"),
        quarter=QUARTER,
        stars=f"quiet={each},rotating={each},seismic={each},mixed={each}",
        seed=options.seed % 2**31,
        points=64,
        without=[],
        pipeline=os.path.join(DEPLOY, "pipelines/sas-pip.toml"),
    )
    kinds = light_stars.make(arguments)
    stars = sorted(kinds)
    scene.random.shuffle(stars)
    kinds[stars[0]] = {"like": kinds[stars[0]], "modules": {"MSAP4_02": {"fail": "exit 3"}}}
    kinds[stars[-1]] = {"like": kinds[stars[-1]], "modules": {"MSAP3_01": {"fail": "exit 75", "attempts": 2}}}
    return kinds, stars


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
        if len(strikes) < AT_ONCE:
            bag = bag or scene.random.sample(scene.wanted, len(scene.wanted))
            strikes.append(threading.Thread(target=scene.strike, args=(bag.pop(),)))
            strikes[-1].start()
        time.sleep(scene.random.uniform(0.1, options.pause))
    while any(strike.is_alive() for strike in strikes):
        scene.cluster.tend()
        time.sleep(0.2)
    delivering.join()
    return entered, in_boxes


def keep_delivering(scene, left, entered, in_boxes, end):
    """Delivers stars as long as there is time, never too many at once; some of them go into containers as well."""
    while left and time.monotonic() < end:
        if len(entered) - settled(scene, entered) >= ON_THE_WAY:
            time.sleep(0.5)
            continue
        some, left = left[:BATCH], left[BATCH:]
        deliver(scene, some, entered)
        if in_boxes is not None and len(in_boxes) < 20 and some[0] in entered:
            if scene.cluster.sas("run", "start", "--pipeline", "BOXED", "--stars", some[0])[0] == 0:
                in_boxes.append(some[0])


def ends(scene):
    """Whether every run on record has an end, and none is in the state."""
    code, said = scene.cluster.sas("-o", "json", "run", "list", "--all")
    if code:
        return False
    scene.cluster.tend()
    runs = json.loads(said)
    runs = runs if isinstance(runs, list) else runs["runs"]
    return all(run["phase"] == "ended" for run in runs)


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
        "stars": len(scene.entered),
        "containers": 3 * len(scene.in_boxes),
        "faults": sum(scene.struck.values()),
        "kinds": len(scene.struck),
        "by_kind": dict(sorted(scene.struck.items())),
        "impossible": sorted(scene.impossible),
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
    directory = os.path.realpath(tempfile.mkdtemp(prefix="chaos-"))
    scene = Scene(options, directory)
    began = time.monotonic()
    try:
        return run(scene, options, began)
    finally:
        if scene.cluster:
            scene.cluster.end()
        if options.keep:
            print(f"chaos: everything is in {directory}; unmount {scene.store} and {scene.disk} before you remove it")
        else:
            scene.clean()
            shutil.rmtree(directory, ignore_errors=True)


def run(scene, options, began):
    """The campaign from its cluster to its report."""
    image = subprocess.run(["docker", "image", "inspect", IMAGE], capture_output=True, check=False).returncode == 0
    boxed = image and not options.without_containers
    kinds, stars = make_stars(scene, options)
    scene.cluster = Cluster(scene.directory, os.path.abspath(options.bin), scene.store, definitions(scene, kinds, boxed))
    scene.cluster.start(boxed)
    shared = os.path.join(scene.directory, "delivery/shared.h5")
    scene.cluster.sas("ingest", "--shared", "--dataset", "models/grids", shared, check=True)
    scene.entered, scene.in_boxes = campaign(scene, options, kinds, stars, boxed)
    print(f"chaos: {sum(scene.struck.values())} faults; now everything must end", flush=True)
    all_end = wait(options.patience, "all runs end", lambda: ends(scene))
    scene.stopping.set()
    # What dead workers left is gone with the next sweep of one that lives; a host that has none has nobody to sweep.
    wait(LEASE * 4, "nothing is left behind", lambda: not any(
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
    return int(any(numbers[key] for key in (*bad, "oracle_missed")))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
