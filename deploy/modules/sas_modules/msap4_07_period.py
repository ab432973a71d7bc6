"""MSAP4_07, final rotation period, reduced to one method: the period of the time series becomes the star's.

DP4_SAS_PROT is written in days, and only for a valid period: finite, positive, with an error below a third of it. A star
without a measurable rotation has no DP4_SAS_PROT at all.
"""

import numpy as np

from .lightcurve import SECONDS_PER_DAY


def run(inputs, outputs):
    """Reads IDP_SAS_PROT_TIMESERIES (seconds); writes DP4_SAS_PROT (days) or nothing."""
    product = "IDP_SAS_PROT_TIMESERIES"
    values = np.ravel(inputs.require(product, "values")) / SECONDS_PER_DAY
    valid = np.flatnonzero(np.isfinite(values) & (values > 0))
    if valid.size == 0:
        print("no valid period")
        return
    period = float(values[valid[0]])
    error = float(np.max([np.abs(np.ravel(inputs.require(product, side))[valid[0]])
                          for side in ("lower_uncertainty", "upper_uncertainty")])) / SECONDS_PER_DAY
    if not np.isfinite(error) or error > period / 3.0:
        print(f"period of {period:.2f} d has an error of {error:.2f} d: not claimed")
        return
    outputs.put("DP4_SAS_PROT", "value", period, "d")
    outputs.put("DP4_SAS_PROT", "error", error, "d")
    outputs.put("DP4_SAS_PROT_METADATA", "method", "time series")
    for column in ("H_ACF", "G_ACF"):
        outputs.put("DP4_SAS_PROT_METADATA", column, float(np.ravel(inputs.require(product, column))[valid[0]]))
    print(f"rotation {period:.3f} ± {error:.3f} d")
