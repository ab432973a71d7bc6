"""Simulated proto-SAS star files: `python3 -m sas_modules.simulate OUT_DIR --stars 12 --seed 1`.

One HDF5 file per star in the layout that ingestion accepts (`/EXTERNALS`, `/METADATA`, root attributes), and `truth.json`
beside them with what each star really is. Same seed, same stars: names are UUIDv5 of seed and number.
"""

import argparse
import json
import os
import sys
import uuid
from dataclasses import dataclass

import h5py
import numpy as np

from .starmodel import Star, observe, star_with_numax

NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://github.com/sas/simulated-stars")
GROUP_OFFSET = 6.25 / 86400.0  # days between camera groups


@dataclass
class Case:
    """One kind of star: how it is drawn and observed, and which branch the pipeline must take (None: either)."""

    name: str
    draw: object  # random generator -> Star
    days: float
    cadence: float  # seconds
    noise: float  # ppm in one hour
    seen: bool  # whether the oscillations can be detected
    bagging: bool | None
    groups: int = 1
    gap: float = 0.0  # days without data in the middle, as between quarters


def _planet(rng, days, depth):
    period = rng.uniform(0.12, 0.22) * days
    return {"period": period, "epoch": rng.uniform(0.3, 0.9) * period, "duration": rng.uniform(0.15, 0.3), "depth": depth}


def _solar(rng, numax, teff, **rest):
    return star_with_numax(rng.uniform(*numax), teff, mass=rng.uniform(0.95, 1.15), **rest)


CASES = (
    Case("solar-like, rotating", lambda r: _solar(r, (1800, 2600), 5650, rotation=r.uniform(6, 11), spots=900.0),
         40, 100.0, 6.0, True, True),
    Case("red giant", lambda r: star_with_numax(r.uniform(60, 150), 4850, mass=r.uniform(1.0, 1.6)),
         180, 1200.0, 60.0, True, True),
    Case("solar-like, transits, rotating", lambda r: _solar(r, (2000, 2900), 5700, rotation=r.uniform(5, 9), spots=700.0,
                                                            planet=_planet(r, 40, 2600.0)),
         40, 100.0, 6.0, True, True, gap=2.0),
    Case("active dwarf, no oscillations seen", lambda r: Star(5300, 0.85, 0.8, oscillates=False, rotation=r.uniform(3, 8), spots=4000.0),
         60, 150.0, 60.0, False, False, groups=2),
    Case("subgiant", lambda r: star_with_numax(r.uniform(500, 900), 5400, mass=r.uniform(1.0, 1.3)),
         40, 150.0, 8.0, True, True),
    Case("quiet dwarf, no oscillations seen", lambda r: Star(5777, 1.0, 1.0, oscillates=False), 60, 150.0, 120.0, False, False),
    Case("hot dwarf, faint oscillations", lambda r: _solar(r, (1250, 1650), 6250, amplitude=0.85), 40, 100.0, 13.0, True, False),
    Case("red giant, low", lambda r: star_with_numax(r.uniform(28, 50), 4700, mass=r.uniform(1.0, 1.5)),
         180, 1200.0, 80.0, True, None, gap=3.0),
    Case("fast rotator with transits", lambda r: Star(5900, 1.05, 1.0, oscillates=False, rotation=r.uniform(1.2, 3), spots=6000.0,
                                                      planet=_planet(r, 40, 9000.0)),
         40, 150.0, 80.0, False, False),
    Case("solar-like, camera groups", lambda r: _solar(r, (2300, 3100), 5600), 40, 100.0, 5.0, True, True, groups=2),
    Case("hot dwarf, faint, rotating", lambda r: _solar(r, (1300, 1700), 6200, amplitude=0.85, rotation=r.uniform(3, 6), spots=600.0),
         40, 100.0, 13.0, True, False),
    Case("long cadence dwarf, rotating", lambda r: Star(5000, 0.8, 0.78, oscillates=False, rotation=r.uniform(10, 20), spots=5000.0),
         90, 900.0, 100.0, False, False, gap=3.0),
)


def main(arguments=None):
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python3 -m sas_modules.simulate", description="Writes simulated star files.")
    parser.add_argument("out_dir")
    parser.add_argument("--stars", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quarter", type=int, default=1)
    options = parser.parse_args(arguments)
    if options.stars < 1 or options.quarter < 0 or options.seed < 0:
        parser.error("--stars must be at least 1, --seed and --quarter not negative")
    try:
        os.makedirs(options.out_dir, exist_ok=True)
        truth = [simulate(options.out_dir, options.seed, number, options.quarter) for number in range(options.stars)]
        with open(os.path.join(options.out_dir, "truth.json"), "w", encoding="utf-8") as file:
            json.dump({"seed": options.seed, "quarter": options.quarter, "stars": truth}, file, indent=1)
            file.write("\n")
    except OSError as error:
        print(f"simulate: cannot write to {options.out_dir}: {error}", file=sys.stderr)
        return 1
    print(f"{options.stars} stars and truth.json in {options.out_dir}")
    return 0


def simulate(out_dir, seed, number, quarter):
    """Writes one star and returns its truth."""
    rng = np.random.default_rng([seed, number, quarter])
    # What a star is does not change from quarter to quarter, only what is seen of it.
    case = CASES[number % len(CASES)]
    star = case.draw(np.random.default_rng([seed, number]))
    star_id = f"PLATO_{uuid.uuid5(NAMESPACE, f'{seed}/{number}')}"
    start = 90.0 * quarter
    noise = case.noise * np.sqrt(3600.0 / case.cadence) * np.sqrt(case.groups)
    planet = star.planet and dict(star.planet, epoch=start + star.planet["epoch"])
    seen_star = Star(**{**star.__dict__, "planet": planet})
    time, flux, model, group = _observed(rng, seen_star, case, start, noise)
    path = os.path.join(out_dir, f"{star_id}.h5")
    _write(path, star_id, quarter, seen_star, case, (time, flux, model, group))
    return {
        "star": star_id,
        "file": os.path.basename(path),
        "kind": case.name,
        "oscillates": case.seen,
        "numax": round(star.numax, 3) if case.seen else None,
        "dnu": round(float(star.dnu), 4) if case.seen else None,
        "peakbagging": case.bagging,
        "rotation": star.rotation,
        "transits": star.planet and {"period": planet["period"], "depth": planet["depth"]},
        "mass": star.mass,
        "radius": float(star.radius),
        "teff": star.teff,
    }


def _observed(rng, star, case, start, noise):
    """(time, flux, transit model, camera group), with gaps and the offset of the second camera group."""
    time, flux, model = observe(rng, star, case.days, case.cadence, noise, start)
    group = np.zeros(time.size, np.int32)
    if case.groups > 1:
        group = 1 + rng.integers(0, case.groups, time.size, dtype=np.int32)
        time = time + (group - 1) * GROUP_OFFSET
    keep = rng.random(time.size) > 0.01  # single points are lost here and there
    if case.gap:
        middle = start + 0.5 * case.days
        keep &= np.abs(time - middle) > 0.5 * case.gap
    return time[keep], flux[keep], model[keep], group[keep]


def _write(path, star_id, quarter, star, case, data):
    time, flux, model, group = data
    with h5py.File(path, "w") as file:
        file.attrs["PLATO_ID"] = star_id
        file.attrs["QUARTER_NUMBER"] = quarter
        file.attrs["OBS_START_DATE"] = time[:1]
        file.attrs["OBS_END_DATE"] = time[-1:]
        metadata = file.create_group("METADATA")
        for name, value in (("star_id", star_id), ("description", f"Simulated: {case.name}"),
                            ("cadence", str(case.cadence)), ("LC_len", str(case.days))):
            metadata.attrs[name] = value
        file.create_group("PRODUCTS")
        put = file.create_group("EXTERNALS").create_dataset
        _column(put, "DP1_LC_MERGED/time", time, "d")
        _column(put, "DP1_LC_MERGED/flux", flux, "")
        _column(put, "DP1_LC_MERGED/quarter", np.full(time.size, quarter, np.int32))
        _column(put, "DP1_LC_MERGED_FLAGS/flag", group)
        _column(put, "IDP_EAS_QC_TARGET_TCE_DETECTION/flag", np.bool_(star.planet is not None))
        if star.planet:
            kit, planet = "IDP_EAS_TRANSIT_REMOVAL_KIT", star.planet
            _column(put, f"{kit}/TCE/Period", np.array([planet["period"]]))
            for name, side in (("t0", -0.5), ("t1", 0.0), ("t2", 0.5)):
                _column(put, f"{kit}/Eclipse/{name}", np.array([planet["epoch"] + side * planet["duration"]]))
            _column(put, f"{kit}/Relative_flux_curve/flux", model)
        for product, value, error, unit in (
            ("IDP_PFU_TEFF_SAPP", float(star.teff), 80.0, "K"),
            ("IDP_PFU_LOGG_SAPP", float(star.logg), 0.2, "dex(cm / s2)"),
            ("IDP_PFU_FE_H_SAPP", 0.0, 0.1, "dex"),
            ("IDP_PFU_RADIUS_CLASSICAL", float(star.radius), 0.1 * float(star.radius), "Rsun"),
        ):
            _column(put, f"{product}/value", np.float64(value), unit)
            _column(put, f"{product}/error", np.float64(error), unit)
        _column(put, "IDP_PFU_COVMAT_SAPP/covmat", np.diag([80.0**2, 0.2**2, 0.1**2]), "")


def _column(put, path, data, unit=None):
    dataset = put(path, data=data)
    if unit is not None:
        dataset.attrs["unit"] = unit


if __name__ == "__main__":
    sys.exit(main())
