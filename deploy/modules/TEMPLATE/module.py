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


def main():
    parameters = {}
    if os.path.exists(PARAMETERS):
        with open(PARAMETERS, encoding="utf-8") as file:
            parameters = json.load(file)
    fewest = parameters.get("fewest_points", 256)

    with h5py.File(INPUT, "r") as file:
        flux = 1e6 * (file["PRODUCTS/IDP_SAS_AARLC/flux"][()] - 1.0)
    flux = flux[np.isfinite(flux)]
    if flux.size < fewest:
        print(f"EXAMPLE_01: {flux.size} points are too few, at least {fewest} are needed", file=sys.stderr)
        return 1  # failed: the data allow no answer. 75 would mean: try again later

    scatter = 1.4826 * np.median(np.abs(flux - np.median(flux)))
    with h5py.File(OUTPUT, "w") as file:
        file["PRODUCTS/ADP_SAS_EXAMPLE_SCATTER/value"] = scatter
        file["PRODUCTS/ADP_SAS_EXAMPLE_SCATTER/value"].attrs["unit"] = "ppm"
    return 0


if __name__ == "__main__":
    sys.exit(main())
