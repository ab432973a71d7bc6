"""Judges a campaign by what it left: the store, read with h5py, and the execution log. Shares no code with the product, and
asks none of its programs.

    python3 -m chaos.oracle STORE EXPECTED.json EXECUTIONS.log

EXPECTED.json: {"pipeline", "quarter", "stars": {star: kind}, "modules": [names], "boxed": {"pipeline", "stars", "modules"}}.
"""

import collections
import glob
import json
import os
import re
import subprocess
import sys

import h5py

FINAL = {"succeeded", "skipped", "failed", "upstream_failed", "errored", "cancelled", "superseded"}
# Tries of a module, and of the platform on top of them.
MODULE_BUDGET, PLATFORM_BUDGET = 3, 12
OFF = {"MSAP1_04", "MSAP4_05", "MSAP5_25", "MSAP5_26"}
COMMON = {f"MSAP1_{n}" for n in ("01", "02", "07", "08")} | {f"MSAP3_{n}" for n in ("01", "02", "03")}
COMMON |= {f"MSAP4_{n}" for n in ("01", "02", "03", "04", "06", "07")}
# What stars of a kind run; None where all but these.
RUN = {
    "quiet": (COMMON | {"MSAP5_31", "MSAP5_33"}, None),
    "rotating": (COMMON | {f"MSAP5_{n}" for n in (21, 22, 31, 32, 34)}, None),
    "seismic": (None, OFF | {"MSAP5_13", "MSAP5_33"}),
    "mixed": (None, OFF | {"MSAP5_14", "MSAP5_15", "MSAP5_33"}),
}
RUN_GROUP = re.compile(r"(?P<pipeline>.+)-(?P<module>[^-]+)_(?P<generation>\d+)\Z")


def text(value):
    """An attribute as text."""
    return value.decode() if isinstance(value, bytes) else str(value)


class Verdict:
    """What was counted, and what is wrong, in words."""

    def __init__(self):
        self.numbers = collections.Counter()
        self.wrong = []

    def bad(self, what, words):
        """Counts something that must not be."""
        self.numbers[what] += 1
        self.wrong.append(f"{what}: {words}")


def judge(store, expected, log):
    """The verdict."""
    verdict = Verdict()
    executions = read_log(log)
    verdict.numbers["executions"] = sum(1 for line in executions if line["what"] == "begins")
    committed = results(store, verdict)
    rows = collections.defaultdict(collections.Counter)
    for star, kind in expected["stars"].items():
        states = judge_star(store, expected["pipeline"], star, expected["quarter"], verdict, committed, rows)
        judge_states(star, kind, expected["modules"], states, verdict)
    for star in expected.get("boxed", {}).get("stars", []):
        boxed = expected["boxed"]
        found = newest_of(store, boxed["pipeline"], star, expected["quarter"])
        states = states_of(found, boxed["pipeline"], verdict, star, committed, rows) if found else {}
        for module in boxed["modules"]:
            verdict.numbers["expected"] += 1
            if states.get(module) != "succeeded":
                verdict.bad("lost", f"{module} of {star} in a container is {states.get(module)}")
    judge_executions(executions, committed, expected, verdict)
    judge_counts(store, verdict)
    judge_leftovers(store, verdict)
    return verdict


def read_log(path):
    """The execution log, as far as its lines are whole."""
    lines = []
    with open(path, encoding="utf-8") as file:
        for line in file:
            try:
                lines.append(json.loads(line))
            except ValueError:
                continue
    return lines


def folder(store, star, quarter):
    """Where a star's files of a quarter are."""
    return os.path.join(store, "stars", star.removeprefix("PLATO_")[:2], star, f"Q{quarter:03}")


def manifest(file):
    """`/MANIFEST` of one of the store's files."""
    return json.loads(text(file["MANIFEST"][()]))


def results(store, verdict):
    """All committed results: {(star, module, key): (path, manifest)}; data that cannot be read is no data."""
    found = {}
    for path in glob.glob(os.path.join(store, "stars", "*", "*", "Q*", "products", "*.h5")):
        try:
            with h5py.File(path, "r") as file:
                held = manifest(file)
                held["provenance"] = json.loads(text(file["PROVENANCE"][()]))
                read_all(file["PRODUCTS"])
        except (OSError, KeyError, ValueError) as error:
            verdict.bad("without_data", f"`{path}`: {error}")
            continue
        provenance = held["provenance"]
        name = f"{provenance['module']}-{provenance['key']}.h5"
        if os.path.basename(path) != name:
            verdict.bad("without_data", f"`{path}` holds {name}")
        found[held["star"], provenance["module"], provenance["key"]] = (path, held)
    return found


def read_all(group):
    """Reads every dataset."""

    def visit(_, node):
        if isinstance(node, h5py.Dataset):
            node[()]

    group.visititems(visit)


def newest_of(store, pipeline, star, quarter):
    """The newest generation of a star that a pipeline made."""
    paths = glob.glob(os.path.join(folder(store, star, quarter), "generations", "*.h5"))
    for path in sorted(paths, key=lambda path: int(os.path.basename(path).removesuffix(".h5")), reverse=True):
        with h5py.File(path, "r") as file:
            if any((match := RUN_GROUP.match(name)) and match["pipeline"] == pipeline for name in file):
                return path
    return None


def judge_star(store, pipeline, star, quarter, verdict, committed, rows):
    """The final states of a star's modules, after its star file was read whole."""
    path = newest_of(store, pipeline, star, quarter)
    shown = os.path.join(folder(store, star, quarter), f"{star}.h5")
    if path is None or not os.path.exists(shown):
        return {}
    return states_of(path, pipeline, verdict, star, committed, rows)


def states_of(path, pipeline, verdict, star, committed, rows):
    """The states in a generation; what succeeded has data, read what is committed, and came after what it read."""
    states = {}
    with h5py.File(path, "r") as file:
        run = manifest(file)["generation"]["run"]
        made = {}
        for entry in manifest(file)["modules"]:
            outcome = entry.get("outcome") or {}
            if outcome.get("outcome") == "succeeded":
                made[entry["module"]] = outcome["key"]
        try:
            read_all(file["PRODUCTS"])
        except (OSError, KeyError) as error:
            verdict.bad("without_data", f"`{path}`: {error}")
        for name in file:
            match = RUN_GROUP.match(name)
            if not match or match["pipeline"] != pipeline:
                continue
            module, state = match["module"], text(file[name].attrs["state"])
            states[module] = state
            rows[run][module, state] += 1
            attempts = int(file[name].attrs["attempt"]) if "attempt" in file[name].attrs else 0
            if attempts > 200:
                verdict.bad("over_budget", f"{module} of {star} took {attempts} attempts")
            if state == "succeeded":
                judge_success(star, module, made, verdict, committed)
    verdict.rows = rows
    return states


def judge_success(star, module, made, verdict, committed):
    """A success has data; its inputs are what their producers committed, with equal digests, and were there before."""
    held = committed.get((star, module, made.get(module)))
    if held is None:
        return verdict.bad("without_data", f"{module} of {star} succeeded, and {made.get(module)} is not in the store")
    provenance = held[1]["provenance"]
    for read in provenance["inputs"]:
        source = read["source"]
        producer = source.get("module") if isinstance(source, dict) else None
        if producer is None or read.get("digest") is None:
            continue
        name = producer["module"] if isinstance(producer, dict) else producer
        input_of = committed.get((star, name, made.get(name)))
        if input_of is None:
            verdict.bad("wrong_unlocks", f"{module} of {star} read {read['product']}, which {name} has not committed")
        elif input_of[1]["products"][read["product"]]["digest"] != read["digest"]:
            verdict.bad("wrong_unlocks", f"{module} of {star} read another {read['product']} than {name} committed")
    return None


def judge_states(star, kind, modules, states, verdict):
    """Every task ended, and as it must."""
    wanted, without = RUN[kind if isinstance(kind, str) else kind["like"]]
    wanted = wanted if wanted is not None else set(modules) - without
    fails = set() if isinstance(kind, str) else {name for name, act in kind["modules"].items() if "attempts" not in act}
    for module in modules:
        state = states.get(module)
        verdict.numbers["expected"] += 1
        if state not in FINAL:
            verdict.bad("lost", f"{module} of {star} has no final state ({state})")
        elif fails:
            must = "failed" if module in fails else None
            if must and state != must:
                verdict.bad("wrong", f"{module} of {star} is {state}, not {must}")
        elif (state == "succeeded") != (module in wanted) or state not in ("succeeded", "skipped"):
            verdict.bad("lost" if module in wanted else "wrong_unlocks", f"{module} of {star} ({kind}) is {state}")


def judge_executions(executions, committed, expected, verdict):
    """Nothing runs once it is committed, and nothing more often than its budget."""
    when = {}
    for (star, module, _), (path, _) in committed.items():
        when.setdefault((star, module), []).append(os.stat(path).st_mtime)
    begun = collections.Counter()
    ended = collections.Counter()
    for line in executions:
        task = (line["star"], line["module"])
        begun[task] += line["what"] == "begins"
        ended[task] += line["what"] == "ends" and line["code"] == 0
        keys = when.get(task, [])
        if line["what"] == "begins" and len(keys) == 1 and line["at"] > keys[0] + 1:
            verdict.numbers["after_commit"] += 1
            verdict.wrong.append(f"after_commit: {task[1]} of {task[0]} ran {line['at'] - keys[0]:.1f} s after its commit")
    verdict.numbers["duplicates"] = sum(max(0, count - max(1, len(when.get(task, [])))) for task, count in ended.items())
    for task, count in begun.items():
        if count > (MODULE_BUDGET + PLATFORM_BUDGET) * max(1, len(when.get(task, []))):
            verdict.bad("over_budget", f"{task[1]} of {task[0]} ran {count} times")
    if executions and not any(star in expected["stars"] for star, _ in begun):
        verdict.bad("lost", "the execution log is of other stars")


def judge_counts(store, verdict):
    """The counts of every run that ended are those of its stars' files."""
    rows = getattr(verdict, "rows", {})
    for run in os.listdir(os.path.join(store, "runs")):
        ends = glob.glob(os.path.join(store, "runs", run, "end", "*.json"))
        if not ends:
            verdict.bad("lost", f"run {run} has no end")
            continue
        newest = max(ends, key=lambda path: int(os.path.basename(path).removesuffix(".json")))
        with open(newest, encoding="utf-8") as file:
            counts = json.load(file)["counts"]
        told = {(module, state): n for module, states in counts.items() for state, n in states.items() if n}
        if run not in rows:
            continue
        # Stars that another run took over have no file of this one: what they had done counts all the same.
        taken_over = any(state == "superseded" for _, state in told)
        more = sum(told.values()) - sum(rows[run].values())
        whole_stars = taken_over and more > 0 and more % len({module for module, _ in told}) == 0
        if any(n > told.get(task, 0) for task, n in rows[run].items()) or not whole_stars and told != dict(rows[run]):
            verdict.bad("counts", f"run {run}: {told} is on record, its star files say {dict(rows[run])}")


def judge_leftovers(store, verdict):
    """Nothing of anybody is left behind."""
    scratch = os.path.join(store, "scratch")
    for name in os.listdir(scratch) if os.path.isdir(scratch) else []:
        # What the store is asked with whether it can be written to.
        if name == "probe":
            continue
        verdict.bad("leftovers", f"`scratch/{name}`")
    for path in glob.glob(os.path.join(store, "**", "*.new"), recursive=True):
        verdict.bad("leftovers", f"`{path}`")
    listed = subprocess.run(
        ["docker", "ps", "--all", "--quiet", "--filter", f"label=sas.store={store}"],
        capture_output=True,
        text=True,
        check=False,
    )
    for container in listed.stdout.split():
        verdict.bad("leftovers", f"container {container}")


def main(arguments):
    """Prints the verdict; returns the exit code."""
    store, expected, log = arguments
    with open(expected, encoding="utf-8") as file:
        verdict = judge(store, json.load(file), log)
    print(json.dumps(verdict.numbers, indent=1))
    for line in verdict.wrong[:50]:
        print(line)
    bad = [what for what in ("lost", "wrong", "wrong_unlocks", "without_data", "leftovers", "over_budget", "counts")]
    return int(any(verdict.numbers[what] for what in bad))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
