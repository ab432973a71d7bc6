"""Makes star files for light modules: all externals of a pipeline, small, with values that follow from star and quarter.

    python3 -m light.stars OUT_DIR --quarter N --stars quiet=2,rotating=2,seismic=1 [--pipeline FILE]

Writes OUT_DIR/PLATO_<uuid>_Q<n>.h5 per star in the layout of PLATO's prototype files, OUT_DIR/shared.h5 with the
externals that are the same for all stars, and OUT_DIR/stars.json, the scripts of these stars by kind. Products are marked
with their origin (see `origin.py`). The ids are the same in every call with the same --seed, so that further quarters are
of the same stars. Odd stars have a transit: the flag of its detection is true, and the density from it is there; the kit to
remove it is delivered for all.
"""

import argparse
import hashlib
import json
import os
import sys
import uuid

import h5py
import numpy as np

from . import contract, origin, produce, script

NAMESPACE = uuid.UUID("5f0c6d3e-30f4-5a43-9a3c-6d1b8f5b7c11")
DETECTION, DENSITY = "IDP_EAS_QC_TARGET_TCE_DETECTION", "DP2_RHO_TRANSIT"
# Days of a quarter, and the day on which quarter 0 begins.
QUARTER_DAYS, FIRST_DAY = 90.0, 2000.0


def main(arguments):
    """Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python3 -m light.stars", description=__doc__.splitlines()[0])
    parser.add_argument("directory", metavar="OUT_DIR")
    parser.add_argument("--quarter", type=int, default=0)
    parser.add_argument("--stars", default="quiet=1,rotating=1,seismic=1,mixed=1", help="how many of each kind")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--points", type=int, default=64, help="length of the light curves (64)")
    parser.add_argument("--without", action="append", default=[], metavar="PRODUCT", help="an external not to deliver")
    parser.add_argument("--pipeline", metavar="FILE", default=_shipped(), help="definition (the real pipeline)")
    options = parser.parse_args(arguments)
    make(options)
    return 0


def make(options):
    """Writes all files; returns {star: kind}."""
    os.makedirs(options.directory, exist_ok=True)
    definition = contract.read_toml(options.pipeline)
    model = _model(definition, options.pipeline)
    externals = definition["externals"]
    kinds = named(options.stars, options.seed)
    for at, star in enumerate(kinds):
        products = _externals(externals["star"], f"{star}/{options.quarter}", at % 2 == 1, options, model)
        write_star(os.path.join(options.directory, f"{star}_Q{options.quarter}.h5"), star, options.quarter, products)
    with h5py.File(os.path.join(options.directory, "shared.h5"), "w") as file:
        _put_all(file, _externals(externals.get("shared", []), "shared", False, options, model), {})
    with open(os.path.join(options.directory, "stars.json"), "w", encoding="utf-8") as file:
        json.dump(kinds, file, indent=1)
    return kinds


def named(counts, seed):
    """{star: kind} for counts like `quiet=2,seismic=1`."""
    kinds = {}
    for item in counts.split(","):
        kind, _, count = item.partition("=")
        if kind not in script.KINDS:
            raise SystemExit(f"no kind `{kind}`; there are {', '.join(script.KINDS)}")
        for number in range(int(count or 1)):
            kinds[f"PLATO_{uuid.uuid5(NAMESPACE, f'{seed}/{kind}/{number}')}"] = kind
    return kinds


def write_star(path, star, quarter, products):
    """One star's file, with {product: {column: (array, unit)}}."""
    start = FIRST_DAY + quarter * QUARTER_DAYS
    with h5py.File(path, "w") as file:
        file.attrs["PLATO_ID"] = star
        file.attrs["QUARTER_NUMBER"] = quarter
        file.attrs["OBS_START_DATE"] = np.array([start])
        file.attrs["OBS_END_DATE"] = np.array([start + QUARTER_DAYS])
        file.create_group("METADATA").attrs["description"] = "a light star, of no astronomical meaning"
        file.create_group("PRODUCTS")
        _put_all(file, products, origin.of(star, quarter))


def _put_all(file, products, marks):
    group = file.create_group("EXTERNALS")
    for product, made in products.items():
        produce.put(group, product, made, marks)


def _externals(names, salt, transit, options, model):
    """Columns of every external; the values follow from `salt`."""
    fingerprint = hashlib.sha256(f"{options.seed}/{salt}".encode()).digest()
    plain = script.Behaviour({DETECTION: {"flag": transit}}, {}, {})
    products = {}
    for name in names:
        if name in options.without or (name == DENSITY and not transit):
            continue
        products[name] = produce.columns(name, plain, fingerprint, model)
    if "DP1_LC_MERGED" in products:
        products["DP1_LC_MERGED"] = _light_curve(fingerprint, options)
    return products


def _light_curve(fingerprint, options):
    count = options.points
    raw = b"".join(hashlib.sha256(fingerprint + n.to_bytes(4, "big")).digest() for n in range(count // 16 + 1))
    noise = np.frombuffer(raw, "<u2", count) / 65535 - 0.5
    time = FIRST_DAY + (options.quarter + np.arange(count) / count) * QUARTER_DAYS
    return {
        "time": (time, "d"),
        "flux": (1 + 1e-3 * noise, "normalized"),
        "quarter": (np.full(count, options.quarter, "<i4"), None),
    }


def _model(definition, path):
    if "data_model" not in definition:
        return {}
    products = contract.read_toml(os.path.join(os.path.dirname(path), definition["data_model"]))["products"]
    return {product: known.get("columns", {}) for product, known in products.items()}


def _shipped():
    """The real pipeline's definition, beside this program's source."""
    here = os.path.dirname(os.path.abspath(__file__))
    return os.path.normpath(os.path.join(here, "..", "..", "pipelines", "sas-pip.toml"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
