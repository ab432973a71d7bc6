#!/usr/bin/env python3
"""Runs the seismic pipeline over real and simulated light curves that are known in the literature, and compares.

usage: deploy/real_stars.py SAS DATA STORE

SAS is the program `sas`; DATA a directory with `stars/PLATO_*.h5` (Kepler and K2, as proto-SAS files) and `psls/*.hdf5`
(PLATO's simulator, which gives no stellar parameters: they come in a second file each); STORE a directory to be made.
Ends with 1 when a star is not as expected, and says which.
"""

import glob
import os
import subprocess
import sys

import h5py
import numpy

NU_MAX, DELTA_NU, PERIOD, MODES = "DP3_SAS_NU_MAX", "DP3_SAS_DELTA_NU_AV", "DP4_SAS_PROT", "DP3_SAS_OSC_FREQ"

# Star, what it is, product, value, tolerance in parts of it; None: there must be none. Chaplin et al. 2014 (ApJS 210, 1),
# Santos et al. 2021 (ApJS 255, 17); the simulator's own truth.
EXPECTED = [
    ("c4b4688e", "KIC 11618103", NU_MAX, 100.0, 0.10),
    ("da408c33", "KIC 9787965", NU_MAX, 912.0, 0.10),
    ("701bc3be", "KIC 6603624", NU_MAX, 2402.0, 0.10),
    ("9c27a093", "KIC 3733735", PERIOD, 2.57, 0.10),
    ("09cc4316", "PSLS 0012069449", NU_MAX, 2556.5, 0.10),
    ("09cc4316", "PSLS 0012069449", DELTA_NU, 116.85, 0.03),
    ("9bc4142e", "PSLS 0004200001", MODES, None, 0.0),
    ("379e7a63", "K2-3, 7 points", NU_MAX, None, 0.0),
]

# Temperature in K, log g in dex, radius in radii of the Sun.
PARAMETERS = {12069449: (5750.0, 4.353, 1.116), 4200001: (5750.0, 4.353, 1.116)}


def write_parameters(path, number, temperature, gravity, radius):
    """What PLATO's follow-up would deliver, with plausible errors."""
    with h5py.File(path, "w") as file:
        file.create_group("METADATA").attrs["star_id"] = number
        values = {"TEFF_SAPP": (temperature, 60.0), "LOGG_SAPP": (gravity, 0.05), "FE_H_SAPP": (0.0, 0.05),
                  "RADIUS_CLASSICAL": (radius, 0.03)}
        for name, (value, error) in values.items():
            file[f"EXTERNALS/IDP_PFU_{name}/value"] = value
            file[f"EXTERNALS/IDP_PFU_{name}/error"] = error
        file["EXTERNALS/IDP_PFU_COVMAT_SAPP/covmat"] = numpy.diag([3600.0, 0.0025, 0.0025])


def read(store, star, product):
    """The value of a product in a star's file; None where it was not made."""
    [path] = glob.glob(f"{store}/stars/*/PLATO_{star}*/Q*/PLATO_*.h5")
    with h5py.File(path, "r") as file:
        if f"PRODUCTS/{product}" not in file:
            return None
        value = file[f"PRODUCTS/{product}"]
        return float(value["value"][()]) if "value" in value else True


def main(sas, data, store):
    os.makedirs(store)
    more = []
    for number, parameters in PARAMETERS.items():
        more.append(os.path.join(store, f"{number}.h5"))
        write_parameters(more[-1], number, *parameters)
    files = sorted(glob.glob(f"{data}/stars/PLATO_*.h5") + glob.glob(f"{data}/psls/*.hdf5"))
    pipeline = os.path.join(os.path.dirname(__file__), "pipelines", "seismic.toml")
    ended = subprocess.run([sas, "local", "--pipeline", pipeline, "--store", f"{store}/store", *files, *more])
    if ended.returncode != 8:
        sys.exit(f"sas local ended with {ended.returncode}; expected 8, since one star has too few points")
    wrong = 0
    print(f"\n{'star':18}{'product':22}{'result':>10}{'expected':>10}")
    for star, name, product, expected, tolerance in EXPECTED:
        value = read(f"{store}/store", star, product)
        if expected is None or value is None:
            is_right = value is expected
        else:
            is_right = abs(value - expected) <= tolerance * expected
        wrong += not is_right
        text = ["-" if number is None else f"{number:.2f}" for number in (value, expected)]
        print(f"{name:18}{product:22}{text[0]:>10}{text[1]:>10}  {'ok' if is_right else 'WRONG'}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
