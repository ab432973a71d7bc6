"""MSAP3_04, peak-bagging of a few modes: frequencies, heights and widths with their covariance.

Each mode is a Lorentzian H / (1 + 4 (nu - nu_0)² / Gamma²) on the background of MSAP3_03; modes without splitting, for this is
a reference module. Maximum likelihood for exponential statistics, -ln L = sum ln M + D / M (Anderson, Duvall & Jefferies 1990,
ApJ 364, 699), by scoring with the Fisher matrix, sum dM_i dM_j / M² (Toutain & Appourchaux 1994, A&A 289, 649), whose inverse
is the covariance of all parameters. Splittings and inclination are not fitted: NaN, which stands for absent.
"""

import numpy as np

from . import harvey
from .excess import envelope_fwhm
from .kit import Refused

ROUNDS = 30
# Prior widths of ln H, ln Gamma and, in first-guess widths, of nu_0: noise peaks must not run away.
PRIOR_HEIGHT, PRIOR_WIDTH, PRIOR_PLACE = 1.5, 0.7, 1.0


def run(inputs, outputs):
    """Reads spectrum, background and first guesses; writes DP3_SAS_OSC_FREQ and its companions."""
    guess = np.ravel(inputs.require("IDP_SAS_FREQUENCIES_FIRST_GUESS", "mode frequency"))
    width = np.ravel(inputs.require("IDP_SAS_OSC_MODE_WIDTHS_FIRST_GUESS", "mode width"))
    height = np.ravel(inputs.require("IDP_SAS_OSC_MODE_HEIGHTS_FIRST_GUESS", "mode height"))
    degree = np.ravel(inputs.require("IDP_SAS_FREQUENCIES_FIRST_GUESS_METADATA", "angular degree"))
    dnu = inputs.number("DP3_SAS_DELTA_NU_AV")
    numax = inputs.number("DP3_SAS_NU_MAX")
    if guess.size == 0 or dnu is None or numax is None:
        raise Refused("no first guesses, Δν or ν_max to start from")
    frequency = np.ravel(inputs.require("IDP_SAS_AARPSD", "frequency"))
    power = np.ravel(inputs.require("IDP_SAS_AARPSD", "power"))
    margin = 0.5 * dnu
    inside = (frequency > guess.min() - margin) & (frequency < guess.max() + margin)
    frequency, power = frequency[inside], power[inside]
    background = harvey.density(frequency, harvey.read(inputs, "IDP_SAS_BACKGROUND_FIT"))

    first_width = width
    place, height, width, covariance = fit(frequency, power, background, guess, height, width)
    # A fit that has become ten times as wide as its guess describes the background, not a mode.
    good = np.flatnonzero((width < 10.0 * first_width) & (np.abs(place - guess) < 0.25 * dnu))
    if good.size == 0:
        raise Refused(f"none of {guess.size} modes could be fitted")
    every = np.concatenate([good + block * guess.size for block in range(3)])
    place, height, width, degree = place[good], height[good], width[good], degree[good]
    covariance = covariance[np.ix_(every, every)]
    count = place.size
    sigma = np.sqrt(np.diag(covariance))
    order = np.argsort(place)
    print(f"{count} modes from {place.min():.1f} to {place.max():.1f} µHz, median error {np.median(sigma[:count]):.3f} µHz")

    place_error, relative_height, relative_width = sigma[:count], sigma[count : 2 * count], sigma[2 * count :]
    _median(outputs, "DP3_SAS_OSC_FREQ", place[order], place_error[order], "uHz")
    block = covariance[:count, :count][np.ix_(order, order)]
    outputs.put("DP3_SAS_OSC_FREQ_COVMAT", "DP3_SAS_OSC_FREQ_COVMAT", block, "uHz2")
    outputs.put("DP3_SAS_OSC_FREQ_METADATA", "angular degrees", degree[order].astype(np.int64))
    every = np.concatenate((order, order + count, order + 2 * count))
    outputs.put("IDP_SAS_COVMAT_ALL_PARAMETERS", "IDP_SAS_COVMAT_ALL_PARAMETERS", covariance[np.ix_(every, every)])
    _median(outputs, "ADP_SAS_MODE_HEIGHTS", height[order], (height * relative_height)[order], "ppm2 / uHz")
    _median(outputs, "ADP_SAS_MODE_WIDTHS", width[order], (width * relative_width)[order], "uHz")
    for product, unit in (("IDP_SAS_SPLITTINGS", "uHz"), ("IDP_SAS_INCLINATION_ANGLE_PEAKBAGGING", "rad")):
        outputs.put(product, "median", np.nan, unit)
        outputs.put(product, "uncertainty", np.full(2, np.nan), unit)
    quality = "IDP_SAS_SEISMIC_QUALITY_METADATA"
    outputs.put(quality, "nmodes", int(count))
    outputs.put(quality, "mixed_modes", _mixed(place, degree, dnu, numax))
    outputs.put(quality, "Total steps", ROUNDS)
    outputs.put(quality, "fit PSD range", np.array([power.min(), power.max()]))
    outputs.put(quality, "fit frequency range", frequency[[0, -1]])


def fit(frequency, power, background, place, height, width):
    """Joint fit of all modes: (frequencies, heights, widths, covariance of [nu, ln H, ln Gamma])."""
    count = place.size
    start = np.concatenate((place, np.log(height), np.log(width)))
    tightness = np.concatenate((1.0 / (PRIOR_PLACE * width) ** 2, np.full(count, PRIOR_HEIGHT**-2.0), np.full(count, PRIOR_WIDTH**-2.0)))
    parameters = start.copy()
    best = _loss(frequency, power, background, parameters, start, tightness)
    damping = 1e-2
    for _ in range(ROUNDS):
        gradient, fisher = _slopes(frequency, power, background, parameters, start, tightness)
        step = np.linalg.solve(fisher + damping * np.diag(np.diag(fisher)), -gradient)
        trial = parameters + np.clip(step, -0.5, 0.5)
        loss = _loss(frequency, power, background, trial, start, tightness)
        if loss < best:
            done = best - loss < 1e-4
            parameters, best, damping = trial, loss, damping / 5.0
            if done:
                break
        else:
            damping *= 10.0
            if damping > 1e6:
                break
    _, fisher = _slopes(frequency, power, background, parameters, start, tightness)
    return parameters[:count], np.exp(parameters[count : 2 * count]), np.exp(parameters[2 * count :]), np.linalg.inv(fisher)


def _lorentzians(frequency, parameters):
    """(value, shape, offset in widths) of each mode at each frequency."""
    count = parameters.size // 3
    place, height, width = parameters[:count], np.exp(parameters[count : 2 * count]), np.exp(parameters[2 * count :])
    offset = 2.0 * (frequency[None, :] - place[:, None]) / width[:, None]
    shape = 1.0 / (1.0 + offset**2)
    return height[:, None] * shape, shape, offset, width


def _loss(frequency, power, background, parameters, start, tightness):
    value, _, _, _ = _lorentzians(frequency, parameters)
    model = background + value.sum(0)
    return float(np.sum(np.log(model) + power / model) + 0.5 * np.sum(tightness * (parameters - start) ** 2))


def _slopes(frequency, power, background, parameters, start, tightness):
    """Gradient of the loss and the Fisher matrix, priors included."""
    value, shape, offset, width = _lorentzians(frequency, parameters)
    model = background + value.sum(0)
    by_place = value * shape * 4.0 * offset / width[:, None]
    by_width = value * shape * 2.0 * offset**2
    slopes = np.vstack((by_place, value, by_width)) / model
    gradient = slopes @ (1.0 - power / model) + tightness * (parameters - start)
    return gradient, slopes @ slopes.T + np.diag(tightness)


def _mixed(place, degree, dnu, numax):
    """Whether some order within one envelope width holds more than one dipole mode: mixed modes of an evolved star."""
    dipole = place[(degree == 1) & (np.abs(place - numax) < envelope_fwhm(numax))]
    orders = np.floor(dipole / dnu)
    return bool(dipole.size and dnu < 70.0 and np.max(np.unique(orders, return_counts=True)[1]) > 1)


def _median(outputs, product, value, error, unit):
    outputs.put(product, "median", value, unit)
    outputs.put(product, "uncertainty", np.stack((error, error), axis=1), unit)
