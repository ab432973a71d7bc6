"""EXAMPLE_01, scatter of a light curve: the robust standard deviation 1.4826 MAD in ppm (Hampel 1974, JASA 69, 383).

Replace by your computation; say the formula and its source here.
"""

import json
import os
import sys

import h5py
import numpy as np

INPUT = os.environ.get("SAS_INPUT", "/sas/in/input.h5")
OUTPUT = os.environ.get("SAS_OUTPUT", "/sas/out/output.h5")
PARAMETERS = os.environ.get("SAS_PARAMETERS", "/sas/in/parameters.json")


def run(source, target, parameters_file):
    """One star: (exit code, the one line that operators read first). Nothing of it may be kept for the next one."""
    parameters = {}
    if os.path.exists(parameters_file):
        with open(parameters_file, encoding="utf-8") as file:
            parameters = json.load(file)
    fewest = parameters.get("fewest_points", 256)

    with h5py.File(source, "r") as file:
        flux = 1e6 * (file["PRODUCTS/IDP_SAS_AARLC/flux"][()] - 1.0)
    flux = flux[np.isfinite(flux)]
    if flux.size < fewest:
        # Failed: the data allow no answer. 75 would mean: try again later.
        return 1, f"EXAMPLE_01: {flux.size} points are too few, at least {fewest} are needed"

    scatter = 1.4826 * np.median(np.abs(flux - np.median(flux)))
    with h5py.File(target, "w") as file:
        file["PRODUCTS/ADP_SAS_EXAMPLE_SCATTER/value"] = scatter
        file["PRODUCTS/ADP_SAS_EXAMPLE_SCATTER/value"].attrs["unit"] = "ppm"
    return 0, ""


def serve():
    """Star after star, where the pipeline file says `mode = "serve"`: a request and its answer are one line each."""
    answers, sys.stdout = sys.stdout, sys.stderr  # whatever is printed belongs to the log
    print(json.dumps({"ready": 1}), file=answers, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            code, message = run(request["input"], request["output"], request["parameters"])
        except Exception as error:  # a defect concerns this star alone
            code, message = 70, f"EXAMPLE_01: {type(error).__name__}: {error}"
        print(json.dumps({"id": request["id"], "exit": code, "message": message}), file=answers, flush=True)
    return 0


def main():
    if os.environ.get("SAS_SERVE") == "1":
        return serve()
    code, message = run(INPUT, OUTPUT, PARAMETERS)
    if message:
        print(message, file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
