"""MSAP3_03, global asteroseismic parameters: is there an oscillation, its ν_max and Δν, the background, first guesses of modes.

Detection needs two kinds of evidence at the same frequency: power (MSAP3_01) and pattern (MSAP3_02), each with a threshold
for both together and, for a pattern so regular that chance is out of the question, a lower one for power. The prior of
ν_max shifts the pattern's threshold, by at most a factor of six in probability.
ν_max: mean of the likelihood of `excess.py` on a fine grid, times a prior around the ν_max that Δν implies, of 7 %, and a little
weight for where the pattern is clearest. Δν: the maximum of the response of `comb.py`; its error is where the merit has fallen by one half.
"""

from dataclasses import dataclass

import numpy as np

from . import comb, excess, harvey, modes
from .msap3_02_separation import whitened

# Thresholds of the merits: power is 2 ln(L1 / L0), pattern is -ln(probability of noise), plus ln(prior / flat prior).
BOTH_POWER, BOTH_PATTERN, BOTH_SUM = 8.0, 7.0, 15.5
STRONG_POWER, STRONG_PATTERN = 25.0, 5.5
PATTERN_ALONE, PATTERN_ALONE_LOW = 10.5, 13.0
POWER_WITH_PATTERN, POWER_WITH_PATTERN_LOW = 1.0, 4.0
LOW = 400.0  # µHz; below, rotation and instruments make patterns too, so that more power is asked for
PEAKBAGGING_PATTERN, PEAKBAGGING_MODES = 20.0, 6
FEWEST_MODES_LOW, ORDER_PER_MODE = 2, 1.0
RELATION = 0.07  # scatter of ν_max at given Δν, for masses from 0.8 to 1.5


@dataclass
class Evidence:
    trial: np.ndarray
    power: np.ndarray
    pattern: np.ndarray
    log_prior: np.ndarray
    dnu: np.ndarray

    @property
    def detected(self):
        """Trial frequencies at which the two kinds of evidence agree."""
        total = self.pattern + self.log_prior
        low = self.trial < LOW
        strong = (self.power >= STRONG_POWER) & (self.log_prior >= 0.0)
        both = (self.power >= BOTH_POWER) & (self.pattern >= np.where(strong, STRONG_PATTERN, BOTH_PATTERN))
        both &= 0.5 * np.minimum(self.power, 30.0) + total >= BOTH_SUM
        alone = np.where(low, PATTERN_ALONE_LOW, PATTERN_ALONE) <= total
        alone &= np.where(low, POWER_WITH_PATTERN_LOW, POWER_WITH_PATTERN) <= self.power
        return both | alone

    @property
    def score(self):
        return 0.5 * self.power + self.pattern + self.log_prior


def run(inputs, outputs):
    """Writes flags and metrics always; DP3_SAS_NU_MAX and what follows from it only for a detection."""
    evidence = _evidence(inputs)
    measured = _measure(inputs, evidence) if evidence.detected.any() else None
    found = measured is not None and plausible(measured)
    bagging = found and measured.pattern >= PEAKBAGGING_PATTERN and measured.peaks.frequency.size >= PEAKBAGGING_MODES
    _report(outputs, evidence, found, bagging)
    if found:
        _put(outputs, evidence, measured)
    else:
        print(f"no oscillations: best power {evidence.power.max():.1f}, best pattern {evidence.pattern.max():.1f}"
              + ("" if measured is None else f"; {measured.peaks.frequency.size} lines at {measured.numax:.1f} µHz are not modes"))


@dataclass
class Measured:
    """What is known about a detection."""

    numax: float
    numax_error: float
    dnu: float
    dnu_error: float
    pattern: float  # merit of the pattern at ν_max
    foreign: bool  # the pattern there is not that of modes
    best: int  # index of the trial frequency
    bins: excess.Bins
    peaks: modes.Peaks
    level: np.ndarray  # background at the peaks


def plausible(measured):
    """Whether the claim stands at the final ν_max: its pattern is not of another origin, and the single peaks fit it.

    A giant shows some modes, and many strong peaks without order are no modes.
    """
    count = measured.peaks.frequency.size
    if measured.foreign:
        return False
    if measured.numax < LOW and count < FEWEST_MODES_LOW:
        return False
    return count <= 8 or measured.pattern >= ORDER_PER_MODE * count


def _measure(inputs, evidence):
    """ν_max, Δν and first guesses at the best trial frequency."""
    frequency = np.ravel(inputs.require("IDP_SAS_AARPSD", "frequency"))
    power = np.ravel(inputs.require("IDP_SAS_AARPSD", "power"))
    white_frequency, ratio, _ = whitened(inputs)
    best = int(np.argmax(np.where(evidence.detected, evidence.score, -np.inf)))
    dnu, _, _ = refine_dnu(white_frequency, ratio, evidence.trial[best], evidence.dnu[best])
    bins = excess.bins(frequency, power, white_frequency[0])
    null = excess.background(bins)
    numax, numax_error = refine_numax(bins, null, evidence, best, dnu, frequency[-1])
    dnu, dnu_error, response = refine_dnu(white_frequency, ratio, numax, dnu)
    pattern = max(float(evidence.pattern[best]), 0.0 if response is None else float(response.merit.max()))

    teff = inputs.first_number([("IDP_SAS_TEFF_SAPP", True), ("IDP_PFU_TEFF_SAPP", False)])
    _, background, _ = excess.with_hump(bins, null, numax)
    above = power[frequency >= white_frequency[0]]
    peaks = modes.first_guesses(white_frequency, above / bins.at(white_frequency, background), numax, dnu, teff)
    level = bins.at(peaks.frequency, background) if peaks.frequency.size else np.zeros(0)
    return Measured(numax, numax_error, dnu, dnu_error, pattern, response is None or response.foreign, best, bins, peaks, level)


def _put(outputs, evidence, measured):
    """The products of a detection."""
    put = outputs.put
    put("DP3_SAS_NU_MAX", "value", measured.numax, "uHz")
    put("DP3_SAS_NU_MAX", "error", measured.numax_error, "uHz")
    put("DP3_SAS_NU_MAX_METADATA", "MSAP3_01 numax", np.array([evidence.trial[np.argmax(evidence.power)]]), "uHz")
    put("DP3_SAS_NU_MAX_METADATA", "MSAP3_02 numax", np.array([evidence.trial[np.argmax(evidence.pattern)]]), "uHz")
    put("DP3_SAS_DELTA_NU_AV", "value", measured.dnu, "uHz")
    put("DP3_SAS_DELTA_NU_AV", "error", measured.dnu_error, "uHz")
    put("DP3_SAS_DELTA_NU_AV_METADATA", "MSAP3_02 dnu", np.array([evidence.dnu[measured.best]]), "uHz")
    harvey.put(outputs, "IDP_SAS_BACKGROUND_FIT", harvey.fit(measured.bins, measured.numax))
    if measured.peaks.frequency.size:
        modes.put(outputs, measured.peaks, measured.level)
    print(f"oscillations: ν_max {measured.numax:.1f} ± {measured.numax_error:.1f} µHz, Δν {measured.dnu:.2f} ± "
          f"{measured.dnu_error:.2f} µHz, pattern {measured.pattern:.1f}, {measured.peaks.frequency.size} modes")


def refine_numax(bins, null, evidence, best, dnu, nyquist):
    """(ν_max, error) on a grid of one percent around the detection."""
    trial = evidence.trial[best] * np.exp(np.arange(-0.25, 0.2501, 0.01))
    trial = trial[(trial < 0.99 * nyquist) & (trial > bins.frequency[1])]
    scan = excess.scan(bins, null, trial)
    # Dwarfs follow a slightly steeper relation, 0.22 ν_max^0.797 (Huber et al. 2010, ApJ 723, 1607).
    expected = comb.numax_of(dnu) if dnu < 25.0 else (dnu / 0.22) ** (1.0 / 0.797)
    log_weight = 0.5 * scan.gain - 0.5 * (np.log(trial / expected) / RELATION) ** 2
    # Where power is faint the pattern knows better where the modes are; it never counts for more than some units.
    pattern = np.interp(trial, evidence.trial, evidence.pattern)
    log_weight += 0.4 * pattern * min(1.0, 15.0 / max(pattern.max(), 1e-9))
    weight = np.exp(log_weight - log_weight.max())
    weight /= weight.sum()
    numax = float(np.sum(weight * trial))
    # Modes are few and random: their heights move the envelope by some percent beyond the formal error.
    error = float(np.hypot(np.sqrt(np.sum(weight * (trial - numax) ** 2)), 0.02 * numax))
    return numax, error


def refine_dnu(frequency, ratio, numax, dnu):
    """(Δν, error, response) within 6 % of a first value."""
    response = comb.response(frequency, ratio, numax, centre=dnu, spread=1.06, points=401)
    if response is None:
        return float(dnu), 0.05 * float(dnu), None
    grid, merit, best = response.dnu, response.merit, response.best
    high = grid[merit > merit[best] - 0.5]
    high = high[np.abs(high - grid[best]) < 0.03 * grid[best]]
    error = max(0.5 * (high.max() - high.min()), 0.25 * (frequency[1] - frequency[0]), 1e-3 * grid[best])
    return float(grid[best]), float(error), response


def _evidence(inputs):
    trial = np.ravel(inputs.require("IDP_SAS_POWER_EXCESS_PROBABILITY", "Test frequency"))
    power = np.ravel(inputs.require("IDP_SAS_POWER_EXCESS_PROBABILITY", "MSAP3_01 merit"))
    pattern = np.ravel(inputs.require("IDP_SAS_ACF_PROBABILITY", "MSAP3_02 merit"))
    prior = np.ravel(inputs.require("IDP_SAS_POWER_EXCESS_METRICS", "numax prior"))
    dnu = np.ravel(inputs.require("IDP_SAS_ACF_METRICS", "ACF dnu"))
    return Evidence(trial, power, pattern, np.clip(np.log(np.maximum(prior, 1e-3)), -1.8, 1.8), dnu)


def _report(outputs, evidence, found, bagging):
    flags, metrics = "IDP_SAS_SEISMIC_DETECTION_FLAG", "IDP_SAS_DETECTION_METRICS"
    outputs.put(flags, "MSAP3_01_flag", bool(np.any(evidence.power >= BOTH_POWER)))
    outputs.put(flags, "MSAP3_02_flag", bool(np.any(evidence.pattern + evidence.log_prior >= PATTERN_ALONE)))
    outputs.put(flags, "osc_detection_flag", found)
    outputs.put(flags, "peakbagging_flag", bool(bagging))
    outputs.put(metrics, "MSAP3_01 merit", evidence.power)
    outputs.put(metrics, "MSAP3_02 merit", evidence.pattern)
    outputs.put(metrics, "MSAP3_01 thresholds/double", BOTH_POWER)
    outputs.put(metrics, "MSAP3_01 thresholds/single", POWER_WITH_PATTERN)
    outputs.put(metrics, "MSAP3_02 thresholds/double", BOTH_PATTERN)
    outputs.put(metrics, "MSAP3_02 thresholds/single", PATTERN_ALONE)
    # All separate maxima of the joint evidence: more than one can be a second star in the mask.
    order = np.argsort(-evidence.score)
    separate = []
    for index in order:
        if all(abs(np.log(evidence.trial[index] / evidence.trial[other])) > 0.4 for other in separate):
            separate.append(index)
        if len(separate) == 3:
            break
    multi = "IDP_SAS_MULTIDETECTION_METRICS"
    outputs.put(multi, "numax", evidence.trial[separate], "uHz")
    outputs.put(multi, "dnu", evidence.dnu[separate], "uHz")
    outputs.put(multi, "score", evidence.score[separate])
    outputs.put(multi, "detected", evidence.detected[separate].astype(np.int64))
