"""MSAP3_01, power excess: at each trial ν_max, how much better a hump explains the spectrum than a falling background.

The likelihoods are those of `excess.py`; the merit is 2 ln(L1 / L0). It is set to zero where most of the excess is one narrow
line, which no pattern of modes is, and where the hump is far lower or higher than oscillations are at this ν_max (height of
Mosser et al. 2012, A&A 537, A30): in years of data every bump of an instrument is significant, but it stays low.
The prior on ν_max comes from radius and temperature, ν_max = 3090 µHz (M / R²) sqrt(5777 K / Teff) with M = 1.1 and 40 % for
the unknown mass (Kjeldsen & Bedding 1995, A&A 293, 87; Huber et al. 2011, ApJ 743, 143), mixed with a flat one, for a
radius can be wrong.
"""

import numpy as np

from . import comb, excess
from .kit import Refused

NUMAX_SUN, TEFF_SUN = 3090.0, 5777.0
TRUST = 0.8  # share of the prior that radius and temperature get
LOWEST_CUTOFF, HIGHEST_NUMAX = 3.6, 5000.0  # µHz
ODD_HEIGHT = 20.0  # a factor in power; stars scatter by 2 or 3, activity or the light of a companion takes up to 10


def run(inputs, outputs):
    """Reads IDP_SAS_AARPSD; writes IDP_SAS_POWER_EXCESS_PROBABILITY and IDP_SAS_POWER_EXCESS_METRICS."""
    frequency = np.ravel(inputs.require("IDP_SAS_AARPSD", "frequency"))
    power = np.ravel(inputs.require("IDP_SAS_AARPSD", "power"))
    cutoff = max(inputs.number("IDP_SAS_AARPSD_METADATA", "cutoff") or LOWEST_CUTOFF, 3.0 * frequency[0])
    if cutoff * 3.0 > frequency[-1]:
        raise Refused(f"the spectrum from {frequency[0]:.3g} to {frequency[-1]:.3g} µHz is too narrow")

    bins = excess.bins(frequency, power, cutoff)
    null = excess.background(bins)
    trial = excess.trials(2.5 * cutoff, min(0.97 * frequency[-1], HIGHEST_NUMAX))
    scan = excess.scan(bins, null, trial)
    above = frequency >= cutoff
    ratio = power[above] / bins.at(frequency[above], null[1])
    share = np.array([comb.concentration(frequency[above], ratio, numax) for numax in trial])
    odd = np.abs(np.log(np.maximum(scan.density, 1e-300) / excess.envelope_height(trial))) > np.log(ODD_HEIGHT)
    merit = np.where((share < 0.6) & ~odd, np.maximum(scan.gain, 0.0), 0.0)
    prior = numax_prior(trial, *_radius_and_teff(inputs))

    posterior = prior * np.exp(0.5 * (merit - merit.max()))
    probability, metrics = "IDP_SAS_POWER_EXCESS_PROBABILITY", "IDP_SAS_POWER_EXCESS_METRICS"
    outputs.put(probability, "Test frequency", trial, "uHz")
    outputs.put(probability, "MSAP3_01 merit", merit)
    outputs.put(probability, "MSAP3_01 numaxpdf", posterior / posterior.sum())
    outputs.put(metrics, "Test frequency", trial, "uHz")
    outputs.put(metrics, "Binned frequency", bins.frequency, "uHz")
    outputs.put(metrics, "Binned power", bins.power, "ppm2 / uHz")
    outputs.put(metrics, "Binned background", null[1], "ppm2 / uHz")
    outputs.put(metrics, "H0 likelihood", np.full((1, trial.size), null[2]))
    outputs.put(metrics, "H1 likelihood", scan.log_likelihood[None, :])
    outputs.put(metrics, "H1 posterior", (posterior / posterior.sum())[None, :])
    outputs.put(metrics, "Observed SNR", scan.height[None, :])
    outputs.put(metrics, "numax prior", prior[None, :])
    outputs.put(metrics, "cutoff", cutoff, "uHz")
    best = int(np.argmax(merit))
    print(f"best excess at {trial[best]:.1f} µHz: 2 ln(L1/L0) = {merit[best]:.1f}, height {scan.height[best]:.2f} of the background")


def numax_prior(trial, radius, teff):
    """Prior of ν_max on an even grid of ln ν_max, relative to a flat one."""
    if radius is None or teff is None or radius <= 0 or teff <= 0:
        return np.ones(trial.size)
    centre = NUMAX_SUN * 1.1 / radius**2 * np.sqrt(TEFF_SUN / teff)
    width = 0.4
    span = np.log(trial[-1] / trial[0])
    bell = np.exp(-0.5 * (np.log(trial / centre) / width) ** 2) / (width * np.sqrt(2.0 * np.pi))
    return TRUST * bell * span + 1.0 - TRUST


def _radius_and_teff(inputs):
    teff = inputs.first_number([("IDP_SAS_TEFF_SAPP", True), ("IDP_PFU_TEFF_SAPP", False)])
    return inputs.number("IDP_PFU_RADIUS_CLASSICAL"), teff
