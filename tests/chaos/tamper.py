"""Whether the oracle would notice: it judges a copy of a few stars of a finished campaign, each time with something wrong in it.

An oracle that cannot fail is no evidence.
"""

import glob
import json
import os
import shutil

import h5py

from . import oracle


class Place:
    """A copy of the stars of one run."""

    def __init__(self, directory, store, expected, log):
        self.store = os.path.join(directory, "tampered")
        self.log = os.path.join(directory, "tampered.log")
        by_run = {}
        for star in expected["stars"]:
            path = oracle.newest_of(store, expected["pipeline"], star, expected["quarter"])
            if path:
                with h5py.File(path, "r") as file:
                    by_run.setdefault(oracle.manifest(file)["generation"]["run"], []).append(star)
        run, stars = max(by_run.items(), key=lambda held: len(held[1]))
        plain = [star for star in stars if isinstance(expected["stars"][star], str)]
        self.star = (plain or stars)[0]
        shutil.copytree(os.path.join(store, "runs", run), os.path.join(self.store, "runs", run))
        os.makedirs(os.path.join(self.store, "scratch"))
        for star in stars:
            here = os.path.join("stars", star.removeprefix("PLATO_")[:2], star)
            shutil.copytree(os.path.join(store, here), os.path.join(self.store, here), symlinks=True)
        self.expected = {**expected, "stars": {star: expected["stars"][star] for star in stars}}
        self.expected.pop("boxed", None)
        with open(self.log, "w", encoding="utf-8") as file:
            for line in oracle.read_log(log):
                if line["star"] in stars:
                    file.write(json.dumps(line) + "\n")
        self.folder = oracle.folder(self.store, self.star, expected["quarter"])
        self.run = run

    def judge(self):
        """The oracle's numbers."""
        return oracle.judge(self.store, self.expected, self.log).numbers

    def products(self):
        """Results of the star."""
        return sorted(glob.glob(os.path.join(self.folder, "products", "MSAP*.h5")))


def result_lost(place):
    """A result that succeeded is not there."""
    os.remove(place.products()[0])
    return "without_data"


def result_corrupt(place):
    """A result that succeeded cannot be read."""
    os.truncate(place.products()[0], 100)
    return "without_data"


def star_lost(place):
    """A star has no file at all."""
    shutil.rmtree(os.path.join(place.folder, "generations"))
    os.remove(os.path.join(place.folder, f"{place.star}.h5"))
    return "lost"


def read_something_else(place):
    """A result says that it read other data than its producer committed."""
    for path in place.products():
        with h5py.File(path, "r+") as file:
            provenance = json.loads(oracle.text(file["PROVENANCE"][()]))
            read = [one for one in provenance["inputs"] if isinstance(one["source"], dict) and one.get("digest")]
            if not read:
                continue
            read[0]["digest"] = "00" * 32
            del file["PROVENANCE"]
            file["PROVENANCE"] = json.dumps(provenance)
            return "wrong_unlocks"
    return None


def counts_wrong(place):
    """A run's end says other counts than its stars' files."""
    end = glob.glob(os.path.join(place.store, "runs", place.run, "end", "*.json"))[-1]
    with open(end, encoding="utf-8") as file:
        held = json.load(file)
    module = next(iter(held["counts"]))
    held["counts"][module]["succeeded"] = held["counts"][module].get("succeeded", 0) + 1
    os.chmod(end, 0o644)
    with open(end, "w", encoding="utf-8") as file:
        json.dump(held, file)
    return "counts"


def ran_after_its_commit(place):
    """A task ran again though its result was there."""
    line = next(line for line in oracle.read_log(place.log) if line["what"] == "ends" and line["code"] == 0)
    with open(place.log, "a", encoding="utf-8") as file:
        for what in ("begins", "ends"):
            file.write(json.dumps({**line, "what": what, "at": line["at"] + 10**6}) + "\n")
    return "after_commit"


def left_behind(place):
    """A dead worker's directory."""
    os.makedirs(os.path.join(place.store, "scratch", "host-9-1"))
    return "leftovers"


ALL = (result_lost, result_corrupt, star_lost, read_something_else, counts_wrong, ran_after_its_commit, left_behind)


def notices(directory, store, expected, log):
    """The tampers that the oracle did not notice, by name."""
    missed = []
    for tamper in ALL:
        place = Place(directory, store, expected, log)
        before = place.judge()
        what = tamper(place)
        after = place.judge() if what else before
        if not what or after[what] <= before[what]:
            missed.append(tamper.__name__)
        shutil.rmtree(place.store)
        os.remove(place.log)
    return missed
