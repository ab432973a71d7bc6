"""MSAP5_12, mass and radius from the scaling relations, with the Sun as reference.

    M = (ν_max / 3090)^3 (Δν / 135.1)^-4 (Teff / 5777)^1.5
    R = (ν_max / 3090) (Δν / 135.1)^-2 (Teff / 5777)^0.5       in solar units, µHz and K
(Kjeldsen & Bedding 1995, A&A 293, 87; solar values of Huber et al. 2011, ApJ 743, 143). Uncertainties by Monte Carlo from
those of the three inputs, taken as Gaussian and independent; random numbers from the task's seed. Without a valid
temperature the results are NaN and `errors/missing_input` is true.
"""

import numpy as np

from .kit import Refused

NUMAX_SUN, DNU_SUN, TEFF_SUN = 3090.0, 135.1, 5777.0
SAMPLES = 2000


def run(inputs, outputs):
    """Reads DP3_SAS_NU_MAX, DP3_SAS_DELTA_NU_AV and a temperature; writes mass and radius."""
    numax, numax_error = _value_and_error(inputs, "DP3_SAS_NU_MAX", 0.05)
    dnu, dnu_error = _value_and_error(inputs, "DP3_SAS_DELTA_NU_AV", 0.02)
    teff, teff_error = _temperature(inputs)
    random = inputs.random()
    draws = [np.abs(random.normal(value, error, SAMPLES)) for value, error in ((numax, numax_error), (dnu, dnu_error), (teff, teff_error))]
    mass, radius = mass_and_radius(*draws)
    exact = mass_and_radius(numax, dnu, teff)
    bad = False
    for product, samples, value, name, symbol in (
        ("IDP_SAS_MASS_SCALING_ONLY", mass, exact[0], "Mass", "M"),
        ("IDP_SAS_RADIUS_SCALING_ONLY", radius, exact[1], "Radius", "R"),
    ):
        _put(outputs, product, samples, value, name, symbol)
        bad |= not np.all(np.isfinite(samples))
    outputs.put("IDP_SAS_METADATA_SCALING_ONLY", "errors/missing_input", bool(np.isnan(teff)))
    outputs.put("IDP_SAS_METADATA_SCALING_ONLY", "warnings/has_nans_or_inf", np.array([[bad]]))
    print(f"mass {exact[0]:.3f} ± {mass.std():.3f}, radius {exact[1]:.3f} ± {radius.std():.3f} solar")


def mass_and_radius(numax, dnu, teff):
    """The scaling relations in solar units."""
    n, d, t = numax / NUMAX_SUN, dnu / DNU_SUN, teff / TEFF_SUN
    return n**3 * d**-4.0 * t**1.5, n * d**-2.0 * np.sqrt(t)


def _put(outputs, product, samples, value, name, symbol):
    low, median, high = np.percentile(samples, (16, 50, 84))
    unit = f"{symbol}sun"
    outputs.put(product, "data/median", median, unit)
    outputs.put(product, "data/mean", samples.mean(), unit)
    outputs.put(product, "data/std", samples.std(), unit)
    outputs.put(product, "data/err_minus", median - low, unit)
    outputs.put(product, "data/err_plus", high - median, unit)
    outputs.put(product, "data/quant_16", low, unit)
    outputs.put(product, "data/quant_84", high, unit)
    outputs.put(product, "data/samples", samples, unit)
    outputs.put(product, "value", value, unit)
    outputs.put(product, "info/description", f"{name} from the scaling relations")
    outputs.put(product, "info/latex_name", f"${symbol}$")
    outputs.put(product, "info/latex_unit", f"${symbol}_\\odot$")


def _value_and_error(inputs, product, relative):
    value = inputs.number(product)
    if value is None or value <= 0:
        raise Refused(f"{product} has no valid value")
    return value, inputs.number(product, "error") or relative * value


def _temperature(inputs):
    for product in ("IDP_SAS_TEFF_SAPP", "IDP_PFU_TEFF_SAPP"):
        teff = inputs.number(product)
        if teff is not None and teff > 0:
            return teff, inputs.number(product, "error") or 100.0
    return np.nan, np.nan
