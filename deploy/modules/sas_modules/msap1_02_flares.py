"""MSAP1_02, flare detection: marks the points of a light curve that belong to a flare, and those that are unusable.

A flare is a run of at least three consecutive points more than 3 sigma above the local baseline whose highest exceeds
6 sigma: the N-sigma rule of Chang, Byun & Hartman (2015, ApJ 814, 35, eq. 3), with a higher peak so that oscillations of
giants do not pass. Baseline: medians over six hours (eight points at least), joined linearly. Sigma: robust, of the
residuals over the whole curve.
"""

import numpy as np

from . import lightcurve
from .lightcurve import spread

FLARE, UNUSABLE = 1, 2  # bits of `merged_flag`


def run(inputs, outputs):
    """Reads DP1_LC_MERGED with its flags; writes IDP_SAS_FLARES_FLAG, and ADP_SAS_FLARES when there are flares."""
    raw = lightcurve.read(inputs)
    good = np.flatnonzero(raw.usable)
    good = good[np.argsort(raw.time[good], kind="stable")]
    time, flux = raw.time[good], raw.flux[good]
    flares = find(time, flux, float(inputs.parameters.get("peak_sigma", 6.0)))

    flag = np.where(raw.usable, 0, UNUSABLE).astype(np.int64)
    for first, last in flares:
        flag[good[first:last]] |= FLARE
    outputs.put("IDP_SAS_FLARES_FLAG", "merged_flag", flag)
    outputs.put("IDP_SAS_FLARES_FLAG", "time", raw.time, "d")
    if flares:
        outputs.put("ADP_SAS_FLARES", "start", np.array([time[first] for first, _ in flares]), "d")
        outputs.put("ADP_SAS_FLARES", "end", np.array([time[last - 1] for _, last in flares]), "d")
        outputs.put("ADP_SAS_FLARES", "peak", np.array([flux[first:last].max() for first, last in flares]), "ppm")
    print(f"{len(flares)} flares, {int(np.sum(~raw.usable))} unusable points of {flag.size}")


def find(time, flux, peak_sigma):
    """Flares as (first, one past last) in a sorted light curve."""
    residual = flux - _baseline(time, flux)
    sigma = spread(residual)
    if sigma == 0.0:
        return []
    high = np.concatenate(([False], residual > 3.0 * sigma, [False]))
    edges = np.flatnonzero(np.diff(high.astype(int)))
    runs = zip(edges[::2], edges[1::2])
    return [(first, last) for first, last in runs if last - first >= 3 and residual[first:last].max() > peak_sigma * sigma]


def _baseline(time, flux):
    """Medians over six hours, or eight points where that is longer, joined linearly."""
    width = max(0.25, 8 * lightcurve.cadence(time))
    cell = np.floor((time - time[0]) / width).astype(int)
    edges = np.concatenate((np.flatnonzero(np.diff(cell, prepend=-1)), [time.size]))
    centre = np.array([np.mean(time[a:b]) for a, b in zip(edges[:-1], edges[1:])])
    median = np.array([np.median(flux[a:b]) for a, b in zip(edges[:-1], edges[1:])])
    return np.interp(time, centre, median)
