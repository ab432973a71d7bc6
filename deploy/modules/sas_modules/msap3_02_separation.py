"""MSAP3_02, large separation: how regularly the peaks around each trial ν_max are spaced, by autocorrelation.

The statistic is that of `comb.py`, near the Δν that scaling relations expect: -ln of the probability that noise does it. It
is set to zero where the pattern is something else: lines with another spacing (harmonics of a fast rotation), or the
same spacing far from ν_max, where no mode is (harmonics of rotation, transits, periodic gaps). And where one line holds
most of the variance, its first sixty harmonics are no place to look for modes, nor is a whole multiple of it a spacing of
modes: eclipses and pulsations with sharp corners have hundreds of harmonics.
"""

import numpy as np

from . import comb
from .lightcurve import SECONDS_PER_DAY

PDF_POINTS = 161
DOMINANT_SHARE, HARMONICS = 0.3, 60.0
WHOLE = 0.05  # this near to a whole number, Δν in units of the dominant line is a multiple of it


def run(inputs, outputs):
    """Reads the spectrum and MSAP3_01's metrics; writes IDP_SAS_ACF_PROBABILITY and IDP_SAS_ACF_METRICS."""
    frequency, ratio, background = whitened(inputs)
    trial = np.ravel(inputs.require("IDP_SAS_POWER_EXCESS_METRICS", "Test frequency"))
    responses = [comb.response(frequency, ratio, numax, points=PDF_POINTS) for numax in trial]
    merit = np.array([_merit(response) for response in responses])
    line, share = comb.dominant_line(np.ravel(inputs.require("IDP_SAS_AARPSD", "frequency")),
                                     np.ravel(inputs.require("IDP_SAS_AARPSD", "power")))
    dnu = np.array([comb.scaling(numax) if r is None else r.dnu[r.best] for r, numax in zip(responses, trial)])
    if share > DOMINANT_SHARE:
        merit[(trial > 1.5 * line) & (trial < HARMONICS * line)] = 0.0
        merit[np.abs(dnu / line - np.maximum(np.rint(dnu / line), 1.0)) < WHOLE] = 0.0
    best = int(np.argmax(merit))
    grid, pdf = _dnu_pdf(responses[best], trial[best])

    probability, metrics = "IDP_SAS_ACF_PROBABILITY", "IDP_SAS_ACF_METRICS"
    outputs.put(probability, "Test frequency", trial, "uHz")
    outputs.put(probability, "MSAP3_02 merit", merit)
    weight = np.exp(np.minimum(merit - merit.max(), 0.0))
    outputs.put(probability, "MSAP3_02 numaxpdf", weight / weight.sum())
    outputs.put(probability, "ACF dnu", grid, "uHz")
    outputs.put(probability, "MSAP3_02 dnupdf", pdf)
    outputs.put(metrics, "Test frequency", trial, "uHz")
    outputs.put(metrics, "ACF dnu", dnu, "uHz")
    outputs.put(metrics, "ACF lag", 2.0 / dnu * 1e6, "s")
    outputs.put(metrics, "Hanning bins", np.array([_window(frequency, numax) for numax in trial], dtype=np.int64))
    outputs.put(metrics, "PSD bin width", frequency[1] - frequency[0], "uHz")
    outputs.put(metrics, "PSD background", background, "ppm2 / uHz")
    outputs.put(metrics, "numax limits", trial[[0, -1]], "uHz")
    outputs.put(metrics, "between response", np.array([0.0 if r is None else r.between for r in responses]))
    outputs.put(metrics, "outside response", np.array([0.0 if r is None else r.outside for r in responses]))
    print(f"best spacing at ν_max {trial[best]:.1f} µHz: Δν {dnu[best]:.2f} µHz (lag {2e6 / dnu[best] / SECONDS_PER_DAY:.3f} d), "
          f"merit {merit[best]:.1f}")


def whitened(inputs):
    """(frequency, spectrum / background, background) above the cutoff of the filter, with MSAP3_01's background."""
    frequency = np.ravel(inputs.require("IDP_SAS_AARPSD", "frequency"))
    power = np.ravel(inputs.require("IDP_SAS_AARPSD", "power"))
    metrics = "IDP_SAS_POWER_EXCESS_METRICS"
    centre = np.ravel(inputs.require(metrics, "Binned frequency"))
    level = np.ravel(inputs.require(metrics, "Binned background"))
    above = frequency >= float(np.ravel(inputs.require(metrics, "cutoff"))[0])
    background = np.exp(np.interp(np.log(frequency[above]), np.log(centre), np.log(level)))
    return frequency[above], power[above] / background, background


def _merit(response):
    """The merit, zero where the spacing is not that of modes."""
    if response is None or response.foreign:
        return 0.0
    return max(float(response.merit.max()), 0.0)


def _dnu_pdf(response, numax):
    if response is None:
        grid = comb.scaling(numax) * np.exp(np.linspace(-0.15, 0.15, PDF_POINTS))
        return grid, np.full(PDF_POINTS, 1.0 / PDF_POINTS)
    weight = np.exp(response.merit - response.merit.max())
    return response.dnu, weight / weight.sum()


def _window(frequency, numax):
    half = 0.5 * comb.WINDOW * comb.envelope_fwhm(numax)
    return np.searchsorted(frequency, numax + half) - np.searchsorted(frequency, numax - half)
