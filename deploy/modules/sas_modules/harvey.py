"""The background of a star with oscillations in the parameters that the data model asks for.

    B(nu) = W + I / (1 + (nu / nu_I)²) + H [1 / (1 + (nu / nu_1)^4) + 1 / (1 + (nu / nu_2)^4)]
white noise, slow variability, and granulation on two scales (Harvey 1985; exponents of Kallinger et al. 2014, A&A 570, A41).
Fitted with the envelope by maximum likelihood to the binned spectrum; errors from the curvature of the likelihood.
"""

from dataclasses import dataclass

import numpy as np

from .excess import envelope_fwhm

EXPONENT = 4.0


@dataclass
class Background:
    """Best parameters by name (column in the data model) and their errors."""

    value: dict
    error: dict
    unit: dict


NAMES = (("White noise level", "ppm2 / uHz"), ("Instrumental amplitude", "ppm2 / uHz"), ("Instrumental frequency", "uHz"),
         ("Harvey amplitude", "ppm2 / uHz"), ("Harvey frequency 1", "uHz"), ("Harvey frequency 2", "uHz"))


def density(frequency, parameters):
    """B(nu) from the logarithms of the parameters in the order of NAMES."""
    white, slow, slow_corner, height, first, second = np.exp(parameters[:6])
    return (white + slow / (1.0 + (frequency / slow_corner) ** 2)
            + height / (1.0 + (frequency / first) ** EXPONENT) + height / (1.0 + (frequency / second) ** EXPONENT))


def fit(bins, numax):
    """Fits background and envelope to the averages of `excess.bins`."""
    from scipy.optimize import minimize  # only stars with oscillations pay for this import

    hump = np.exp(-0.5 * ((bins.frequency - numax) / (envelope_fwhm(numax) / 2.355)) ** 2)
    level = bins.at(np.array([bins.frequency[0], 0.5 * numax, numax, bins.frequency[-1]]), bins.power)
    start = np.log([level[3], level[0], 2.0 * bins.frequency[0], max(level[1] - level[3], 0.1 * level[1]),
                    0.317 * numax**0.970, 0.948 * numax**0.992, 0.3 * level[2]])
    wide = np.array([12.0, 12.0, 2.0, 12.0, 0.5, 0.5, 12.0])
    bounds = list(zip(start - wide, start + np.array([3.0, 6.0, 2.5, 6.0, 0.5, 0.5, 4.0])))

    def loss(parameters):
        model = density(bins.frequency, parameters) + np.exp(parameters[6]) * hump
        return float(np.sum(bins.weight * (np.log(model) + bins.power / model)))

    best = minimize(loss, start, method="L-BFGS-B", bounds=bounds, options={"maxiter": 200}).x
    spread = _errors(loss, best)
    value = {name: float(np.exp(best[i])) for i, (name, _) in enumerate(NAMES)}
    error = {name: float(np.exp(best[i]) * spread[i]) for i, (name, _) in enumerate(NAMES)}
    return Background(value, error, dict(NAMES))


def put(outputs, product, background):
    """Writes the columns `<name>/median` and `<name>/uncertainty` (down, up); exponents are fixed, so without error."""
    for name, value in background.value.items():
        outputs.put(product, f"{name}/median", value, background.unit[name])
        outputs.put(product, f"{name}/uncertainty", np.full(2, background.error[name]), background.unit[name])
    for number in (1, 2):
        outputs.put(product, f"Harvey exponent {number}/median", EXPONENT)
        outputs.put(product, f"Harvey exponent {number}/uncertainty", np.zeros(2))


def read(inputs, product):
    """The logarithms of the parameters as written by `put`."""
    values = [float(np.ravel(inputs.require(product, f"{name}/median"))[0]) for name, _ in NAMES]
    return np.log(np.maximum(values, 1e-30))


def _errors(loss, best, step=0.02):
    """Errors of the logarithms from the diagonal of the curvature; a parameter that does not matter gets 1."""
    centre = loss(best)
    errors = np.ones(best.size)
    for i in range(best.size):
        shift = np.zeros(best.size)
        shift[i] = step
        curvature = (loss(best + shift) - 2.0 * centre + loss(best - shift)) / step**2
        if curvature > 1.0:
            errors[i] = 1.0 / np.sqrt(curvature)
    return errors
