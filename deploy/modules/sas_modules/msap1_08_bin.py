"""MSAP1_08, binning and power spectrum: the light curve that is ready for rotation and activity.

Medians in bins of one hour, or of the cadence where that is longer; the error of a median is 1.2533 sigma / sqrt(n)
(Kendall & Stuart 1977, The Advanced Theory of Statistics, 10.10). The filtered curve is the same without what varies
more slowly than half the time span or 90 days, for periods to be found above it.
"""

import numpy as np

from . import lightcurve, spectrum
from .lightcurve import SECONDS_PER_DAY, Grid

BIN = 1.0 / 24.0  # days
SLOWEST = 90.0  # days


def run(inputs, outputs):
    """Reads IDP_SAS_VARLC; writes IDP_SAS_VARLC_BINNED, IDP_SAS_VARPSD_BINNED and IDP_SAS_VARLC_FILT_BINNED."""
    time = np.ravel(inputs.require("IDP_SAS_VARLC", "time"))
    flux = (np.ravel(inputs.require("IDP_SAS_VARLC", "flux")) - 1.0) * 1e6
    lightcurve.enough(time.size)
    cadence = inputs.number("IDP_SAS_VARLC_METADATA", "cadence")
    cadence = lightcurve.cadence(time) if cadence is None else cadence / SECONDS_PER_DAY
    step = max(1, round(float(inputs.parameters.get("bin", BIN)) / cadence))

    grid, error = binned(time, flux, step * cadence)
    there = grid.there
    outputs.put("IDP_SAS_VARLC_BINNED", "bins", grid.time[there], "d")
    outputs.put("IDP_SAS_VARLC_BINNED", "med_flux", 1.0 + 1e-6 * grid.flux[there], "")
    outputs.put("IDP_SAS_VARLC_BINNED", "err_flux", 1e-6 * error[there])
    outputs.put("IDP_SAS_VARLC_BINNED_METADATA", "cadence", grid.step * SECONDS_PER_DAY)
    outputs.put("IDP_SAS_VARLC_BINNED_METADATA", "step", int(step))

    slowest = min(0.5 * grid.span, SLOWEST)
    # A Gaussian mean with this width has lost half of its amplitude at the period `slowest`.
    trend = lightcurve.smooth(grid, slowest * np.sqrt(np.log(2.0) / 2.0) / np.pi)
    outputs.put("IDP_SAS_VARLC_FILT_BINNED", "time", grid.time[there], "d")
    outputs.put("IDP_SAS_VARLC_FILT_BINNED", "flux", 1.0 + 1e-6 * (grid.flux - trend)[there], "")

    frequency, power = spectrum.density(grid)
    outputs.put("IDP_SAS_VARPSD_BINNED", "frequency", frequency, "uHz")
    outputs.put("IDP_SAS_VARPSD_BINNED", "powerdensity", power, "ppm2 / uHz")
    metadata = "IDP_SAS_VARPSD_BINNED_METADATA"
    outputs.put(metadata, "NT", int(there.sum()))
    outputs.put(metadata, "Nyquist", frequency[-1])
    outputs.put(metadata, "dT", grid.span * SECONDS_PER_DAY)
    outputs.put(metadata, "df", frequency[0])
    outputs.put(metadata, "dt", grid.step * SECONDS_PER_DAY)
    outputs.put(metadata, "dutyCycle", grid.duty_cycle)
    print(f"{int(there.sum())} bins of {grid.step * 24:.2f} h over {grid.span:.1f} d")


def binned(time, flux, width):
    """Medians of a sorted light curve on an even grid, and the errors of the medians (NaN where no point is)."""
    cell = np.floor((time - time[0]) / width + 1e-6).astype(np.int64)
    edges = np.concatenate((np.flatnonzero(np.diff(cell, prepend=-1)), [time.size]))
    count = np.diff(edges)
    ordered = flux[np.lexsort((flux, cell))]
    median, error = np.full(cell[-1] + 1, np.nan), np.full(cell[-1] + 1, np.nan)
    used = cell[edges[:-1]]
    median[used] = 0.5 * (ordered[edges[:-1] + (count - 1) // 2] + ordered[edges[:-1] + count // 2])
    mean = np.add.reduceat(flux, edges[:-1]) / count
    square = np.add.reduceat((flux - np.repeat(mean, count)) ** 2, edges[:-1])
    error[used] = 1.2533 * np.sqrt(square) / count
    return Grid(float(time[0] + 0.5 * width), width, median), error
