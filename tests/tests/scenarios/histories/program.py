"""What histories are made of: every module of their pipeline, and the files that are delivered to it.

    program.py MODULE             an attempt, or with SAS_SERVE=1 one after the other
    program.py deliver FILE.json  writes star files: a list of [path, star, quarter, product, column, number]
"""

import json
import os
import sys

import h5py

FAULTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "faults")


def number(file, root, product):
    """The value of a product that was staged; none where it is absent."""
    value = file.get(f"{root}/{product}/value")
    return None if value is None else float(value[()])


def run(module, star, source, target, parameters):
    """One attempt: exit code, and the line that operators read."""
    with open(parameters, encoding="utf-8") as file:
        parameters = json.load(file)
    with h5py.File(source, "r") as file:
        external = {name: number(file, "EXTERNALS", name) for name in ("CURVE", "KIT")}
        made = {name: number(file, "PRODUCTS", name) for name in ("NU", "PROT", "FREQ", "BEST")}
        previous = number(file, "PREVIOUS/PRODUCTS", "NU")
    if module == "NOISE":
        if external["CURVE"] < 0:
            return 3, "no flux"
        # Corrections of less than ten change nothing below.
        out = {"NU": external["CURVE"] // 10 * parameters["factor"]}
    elif module == "CLEAN":
        out = {"PROT": made["NU"] + (external["KIT"] or 0)}
    elif module == "MODES":
        if os.path.exists(os.path.join(FAULTS, star)):
            return 4, "a library is missing"
        out = {"FREQ": made["NU"] * 2, "WIDTH": None if made["NU"] % 3 == 0 else 1.0}
    elif module in ("BEST", "BETTER"):
        out = {"BEST": made["FREQ"] if made["FREQ"] is not None else -made["PROT"]}
        if module == "BETTER":
            out["BEST"] += 0.5
    else:
        out = {"AGE": made["BEST"] + 100 * (made["FREQ"] or 0) + 10000 * (previous or 0)}
        if previous is not None and previous > 3:
            out["TREND"] = previous
    with h5py.File(target, "w") as file:
        for product, value in out.items():
            group = file.create_group(f"PRODUCTS/{product}")
            if value is None:
                group.attrs["NOT_PRODUCED"] = "a multiple of three"
            else:
                group.create_dataset("value", data=value)
    return 0, ""


def serve(module):
    answers, sys.stdout = sys.stdout, sys.stderr
    print(json.dumps({"ready": 1}), file=answers, flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        code, message = run(module, asked["star"], asked["input"], asked["output"], asked["parameters"])
        print(json.dumps({"id": asked["id"], "exit": code, "message": message}), file=answers, flush=True)


def deliver(plan):
    with open(plan, encoding="utf-8") as file:
        files = json.load(file)
    for path, star, quarter, product, column, value in files:
        with h5py.File(path, "w") as file:
            file.attrs["PLATO_ID"] = star
            file.attrs["QUARTER_NUMBER"] = quarter
            file[f"EXTERNALS/{product}/{column}"] = bool(value) if column == "flag" else float(value)


if __name__ == "__main__":
    if sys.argv[1] == "deliver":
        deliver(sys.argv[2])
    elif os.environ.get("SAS_SERVE") == "1":
        serve(sys.argv[1])
    else:
        names = ("SAS_STAR", "SAS_INPUT", "SAS_OUTPUT", "SAS_PARAMETERS")
        code, message = run(sys.argv[1], *(os.environ[name] for name in names))
        print(message)
        sys.exit(code)
