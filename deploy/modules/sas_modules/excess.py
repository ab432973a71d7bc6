"""Is there a hump of power on top of a background that only falls? The statistics behind MSAP3_01 and MSAP3_03.

H0: the density is a sum of super-Lorentzians a_k / (1 + (nu / nu_k)^4) on a fixed grid of corners, a red power law and
white noise, all amplitudes non-negative: granulation and activity in the form of Kallinger et al. (2014, A&A 570, A41) without
the choice of how many, and by construction without a maximum. H1 adds a Gaussian envelope at ν_max with the width 0.66
ν_max^0.88 µHz of Mosser et al. (2012, A&A 537, A30).
Averages of n densities follow a gamma distribution, ln L = -sum n (ln M + D / M) (Anderson, Duvall & Jefferies 1990, ApJ
364, 699). Amplitudes that maximise it come from the multiplicative updates of Févotte, Bertin & Durrieu (2009, Neural
Computation 21, 793), for all trial ν_max at once.
"""

from dataclasses import dataclass

import numpy as np

from . import spectrum

BINS_PER_DECADE = 40
CORNERS_PER_DECADE = 6
# Relative error that no average gets below: the background of a real instrument is not exactly of this form.
MODEL_ERROR = 0.01
TRIAL_STEP = 0.05  # in ln ν_max


def envelope_fwhm(numax):
    """Full width at half maximum of the envelope of oscillations in µHz (Mosser et al. 2012)."""
    return 0.66 * numax**0.88


def envelope_height(numax):
    """Usual height of the envelope of oscillations in ppm²/µHz: 2.03e7 ν_max^-2.38 (Mosser et al. 2012)."""
    return 2.03e7 * numax**-2.38


@dataclass
class Bins:
    """The density averaged in bins of log frequency, with the weight (number of densities) of each bin."""

    frequency: np.ndarray
    power: np.ndarray
    weight: np.ndarray
    basis: np.ndarray  # background components x bins

    def at(self, frequency, values):
        """Values of the bins at other frequencies, interpolated in log-log."""
        return np.exp(np.interp(np.log(frequency), np.log(self.frequency), np.log(values)))


@dataclass
class Scan:
    """Hypothesis tests at trial frequencies: 2 ln(L1 / L0) is `gain`, `height` is the hump relative to the background."""

    trial: np.ndarray
    gain: np.ndarray
    height: np.ndarray
    density: np.ndarray  # height of the hump in ppm²/µHz
    log_likelihood: np.ndarray


def bins(frequency, power, lowest):
    """Averages the spectrum above `lowest` µHz."""
    centre, mean, count = spectrum.log_bins(frequency, power, BINS_PER_DECADE, lowest)
    positive = mean > 0
    centre, mean, count = centre[positive], mean[positive], count[positive]
    corners = np.exp(np.arange(np.log(lowest / 3.0), np.log(frequency[-1]), np.log(10.0) / CORNERS_PER_DECADE))
    basis = np.vstack([1.0 / (1.0 + (centre / corner) ** 4) for corner in corners]
                      + [(centre / lowest) ** -2.0, np.ones(centre.size)])
    return Bins(centre, mean, count / (1.0 + count * MODEL_ERROR**2), basis)


def background(bins_, rounds=600):
    """H0: (amplitudes, density of the background in each bin, ln L)."""
    data, weight, basis = bins_.power, bins_.weight, bins_.basis
    amplitude = np.full(basis.shape[0], data.mean() / basis.shape[0])
    for _ in range(rounds):
        model = amplitude @ basis
        amplitude = amplitude * ((weight * data / model**2) @ basis.T) / ((weight / model) @ basis.T)
    model = amplitude @ basis
    return amplitude, model, log_likelihood(bins_, model)


def scan(bins_, null, trial, rounds=150):
    """H1 at each trial ν_max, started from the result of `background`."""
    amplitude, model, reference = null
    data, weight, basis = bins_.power, bins_.weight, bins_.basis
    sigma = envelope_fwhm(trial) / 2.355
    hump = np.exp(-0.5 * ((bins_.frequency - trial[:, None]) / sigma[:, None]) ** 2)
    level = bins_.at(trial, model)
    low = np.tile(amplitude, (trial.size, 1))
    high = 0.1 * level[:, None]
    for _ in range(rounds):
        total = low @ basis + high * hump
        up, down = weight * data / total**2, weight / total
        low = low * (up @ basis.T) / (down @ basis.T)
        high = high * np.sum(up * hump, 1, keepdims=True) / np.maximum(np.sum(down * hump, 1, keepdims=True), 1e-300)
    total = low @ basis + high * hump
    value = log_likelihood(bins_, total)
    below = np.array([bins_.at(nu, row) for nu, row in zip(trial, low @ basis)])
    return Scan(trial, 2.0 * (value - reference), high[:, 0] / below, high[:, 0], value)


def with_hump(bins_, null, numax, rounds=400):
    """H1 at one ν_max: (amplitudes of the background, background in each bin, height of the envelope)."""
    data, weight, basis = bins_.power, bins_.weight, bins_.basis
    hump = np.exp(-0.5 * ((bins_.frequency - numax) / (envelope_fwhm(numax) / 2.355)) ** 2)
    full = np.vstack([basis, hump])
    amplitude = np.append(null[0], 0.1 * bins_.at(numax, null[1]))
    for _ in range(rounds):
        model = amplitude @ full
        amplitude = amplitude * ((weight * data / model**2) @ full.T) / np.maximum((weight / model) @ full.T, 1e-300)
    return amplitude[:-1], amplitude[:-1] @ basis, float(amplitude[-1])


def log_likelihood(bins_, model):
    """ln L up to a constant; models along the last axis."""
    return -np.sum(bins_.weight * (np.log(model) + bins_.power / model), axis=-1)


def trials(lowest, highest):
    """Trial values of ν_max, 5 % apart."""
    if highest <= lowest:
        return np.array([lowest])
    return np.exp(np.arange(np.log(lowest), np.log(highest), TRIAL_STEP))
