"""Truth beside result: reads `truth.json` of the simulator and the star files of a store, prints a table.

usage: python3 -m sas_modules.compare TRUTH.json STORE

The exit code is 1 when a star has no star file, took the wrong branch, or its nu_max (10 %) or rotation (15 %) is off.
"""

import glob
import json
import os
import sys

import h5py

NUMAX_TOLERANCE, ROTATION_TOLERANCE = 0.10, 0.15
HEADINGS = ("star", "kind", "nu_max uHz", "(truth)", "P_rot d", "(truth)", "mass", "(truth)", "peak-bagging", "verdict")


def main(arguments=None):
    """Command line; returns the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if len(arguments) != 2:
        print("usage: python3 -m sas_modules.compare TRUTH.json STORE", file=sys.stderr)
        return 2
    truth_file, store = arguments
    with open(truth_file, encoding="utf-8") as file:
        truth = json.load(file)
    rows = [compare(star, star_file(store, star["star"], truth["quarter"])) for star in truth["stars"]]
    widths = [max(len(row[i]) for row in [HEADINGS, *rows]) for i in range(len(HEADINGS))]
    for row in [HEADINGS, *rows]:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
    wrong = sum(row[-1] != "ok" for row in rows)
    print(f"\n{len(rows) - wrong} of {len(rows)} stars as expected (nu_max within 10 %, rotation within 15 %, right branch)")
    return 1 if wrong else 0


def star_file(store, star, quarter):
    """The path of a star's newest star file, or None."""
    found = glob.glob(os.path.join(store, "stars", "*", star, f"Q{quarter:03d}", f"{star}.h5"))
    return found[0] if found else None


def compare(truth, path):
    """One row of the table."""
    if path is None:
        result, verdict = {}, "no star file"
    else:
        with h5py.File(path, "r") as file:
            result = {
                "numax": scalar(file, "DP3_SAS_NU_MAX"),
                "rotation": scalar(file, "DP4_SAS_PROT"),
                "mass": scalar(file, "IDP_SAS_MASS_SCALING_ONLY"),
                "bagged": "DP3_SAS_OSC_FREQ" in file["PRODUCTS"],
                "flag": scalar(file, "IDP_SAS_SEISMIC_DETECTION_FLAG", "peakbagging_flag"),
            }
        verdict = judge(truth, result)
    return (
        truth["star"][:14] + "…", truth["kind"],
        number(result.get("numax"), 1), number(truth["numax"], 1),
        number(result.get("rotation"), 2), number(truth["rotation"], 2),
        number(result.get("mass"), 2), number(truth["mass"], 2),
        "yes" if result.get("bagged") else "no", verdict,
    )


def judge(truth, result):
    """`ok`, or what is wrong."""
    wrong = []
    if truth["oscillates"] is not None:
        wrong += off("nu_max", truth["numax"], result["numax"], NUMAX_TOLERANCE)
    if truth["rotation"] is not None:
        wrong += off("rotation", truth["rotation"], result["rotation"], ROTATION_TOLERANCE)
    if bool(result["flag"]) != result["bagged"]:
        wrong.append("peak-bagging against its flag")
    if truth["peakbagging"] is not None and truth["peakbagging"] != result["bagged"]:
        wrong.append("wrong branch")
    return ", ".join(wrong) or "ok"


def off(name, truth, result, tolerance):
    """What is wrong with one number, as a list of at most one line."""
    if truth is None:
        return [] if result is None else [f"{name} claimed"]
    if result is None:
        return [f"{name} missed"]
    return [] if abs(result / truth - 1.0) <= tolerance else [f"{name} off"]


def scalar(file, product, column="value"):
    """A scalar of a product, None where it is absent."""
    node = file["PRODUCTS"].get(f"{product}/{column}")
    return None if node is None else float(node[()])


def number(value, digits):
    """A number for the table."""
    return "-" if value is None else f"{value:.{digits}f}"


if __name__ == "__main__":
    sys.exit(main())
