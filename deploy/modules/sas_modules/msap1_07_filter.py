"""MSAP1_07, long-term filter and power spectrum: the light curve that is ready for asteroseismology.

Subtracts a Gaussian running line with a standard deviation of one day, a high-pass with amplitude response
1 - exp(-2 (pi nu sigma)²): 0.98 at 5 µHz, half at 2.2 µHz (the purpose of García et al. 2011, MNRAS 414, L6). With a ν_max
of the quarter before the filter is matched to it. Points beyond 5 sigma of what is left are dropped, twice: outliers
and unknown transits. Spectrum: `spectrum.density`.
"""

import numpy as np

from . import lightcurve, spectrum
from .lightcurve import SECONDS_PER_DAY, spread

WIDTH = 1.0  # days
MOST_OUTLIERS = 0.2  # share of the points


def run(inputs, outputs):
    """Reads IDP_SAS_VARLC; writes IDP_SAS_AARLC and IDP_SAS_AARPSD with metadata."""
    time = np.ravel(inputs.require("IDP_SAS_VARLC", "time"))
    flux = (np.ravel(inputs.require("IDP_SAS_VARLC", "flux")) - 1.0) * 1e6
    lightcurve.enough(time.size)
    step = inputs.number("IDP_SAS_VARLC_METADATA", "cadence")
    step = lightcurve.cadence(time) if step is None else step / SECONDS_PER_DAY
    width = float(inputs.parameters.get("width", WIDTH))
    numax = inputs.number("DP3_SAS_NU_MAX", previous=True)
    if numax is not None and numax > 0:
        # A tenth of ν_max must pass: sigma nu = 0.45 passes 98 %.
        width = float(np.clip(0.45 / (0.1 * numax * 1e-6 * SECONDS_PER_DAY), 0.2, 2.0))

    grid = lightcurve.to_grid(time, flux, step)
    for _ in range(2):
        residual = grid.flux - lightcurve.smooth(grid, width)
        residual -= np.median(residual[grid.there])
        outlier = np.abs(residual) > 5.0 * max(spread(residual), 1e-9)
        if outlier.sum() > MOST_OUTLIERS * grid.there.sum():
            break  # not outliers: the star does this
        grid = grid.with_flux(np.where(outlier, np.nan, grid.flux))
        lightcurve.enough(int(grid.there.sum()))
    trend = lightcurve.smooth(grid, width)
    filtered, _ = lightcurve.fill_short_gaps(grid.with_flux(grid.flux - trend), 3)
    frequency, power = spectrum.density(filtered)

    there = filtered.there
    outputs.put("IDP_SAS_AARLC", "time", filtered.time[there], "d")
    outputs.put("IDP_SAS_AARLC", "flux", 1.0 + 1e-6 * filtered.flux[there], "")
    outputs.put("IDP_SAS_AARLC_METADATA", "adjustable_t_long", width * SECONDS_PER_DAY, "s")
    outputs.put("IDP_SAS_AARLC_METADATA", "xlong", 1.0 + 1e-6 * trend[there], "")
    outputs.put("IDP_SAS_AARPSD", "frequency", frequency, "uHz")
    outputs.put("IDP_SAS_AARPSD", "power", power, "ppm2 / uHz")
    metadata = "IDP_SAS_AARPSD_METADATA"
    outputs.put(metadata, "NT", int(there.sum()))
    outputs.put(metadata, "Nyquist", frequency[-1])
    outputs.put(metadata, "dT", filtered.span * SECONDS_PER_DAY)
    outputs.put(metadata, "df", frequency[0])
    outputs.put(metadata, "dt", step * SECONDS_PER_DAY)
    outputs.put(metadata, "dutyCycle", filtered.duty_cycle)
    # Where the filter passes 85 % of the amplitude: below, the spectrum is the filter's.
    outputs.put(metadata, "cutoff", 0.31 / (width * SECONDS_PER_DAY) * 1e6)
    outputs.put(metadata, "normfactor", 2.0 * step * SECONDS_PER_DAY * 1e-6 / there.sum())
    print(f"high-pass of {width:.2f} d, {int(there.sum())} points, Nyquist {frequency[-1]:.1f} µHz")
