"""MSAP1_01, transit and flare removal, gaps, power spectrum: from the merged light curve to the variability curve.

Transits are divided out with the removal kit's model, flux / model, where it fits the stamps; where it does not, the
windows between first and last contact are cut. Flares and unusable points are dropped. Quarters are levelled by their
medians. Gaps of up to three cells are interpolated linearly, longer ones stay gaps; the spectrum allows for them.
"""

import numpy as np

from . import lightcurve, spectrum
from .kit import Refused

KIT = "IDP_EAS_TRANSIT_REMOVAL_KIT"
LONGEST_FILLED_GAP = 3  # cells
FINEST_STEP = 45.0 / 86400.0  # days: a Nyquist frequency of 11 mHz is above every solar-like oscillation


def run(inputs, outputs):
    """Writes IDP_SAS_VARLC and IDP_SAS_VARPSD with metadata, and ADP_SAS_LC_NT when transits were removed."""
    raw = lightcurve.read(inputs)
    flag = np.ravel(inputs.require("IDP_SAS_FLARES_FLAG", "merged_flag"))
    if flag.shape != raw.time.shape:
        raise Refused(f"IDP_SAS_FLARES_FLAG has {flag.size} flags for {raw.time.size} times")
    keep = raw.usable & (flag == 0)
    flux, in_transit, periods = _without_transits(inputs, raw)
    keep &= np.isfinite(flux)
    lightcurve.enough(int(keep.sum()), keep.size)

    order = np.flatnonzero(keep)
    order = order[np.argsort(raw.time[order], kind="stable")]
    time, flux, segment = raw.time[order], flux[order], raw.segment[order]
    if periods is not None:
        outputs.put("ADP_SAS_LC_NT", "time", time, "d")
        outputs.put("ADP_SAS_LC_NT", "flux", 1.0 + 1e-6 * flux, "")
        outputs.put("ADP_SAS_LC_NT_METADATA", "adjustable_parameters/Plist used", periods)
        outputs.put("ADP_SAS_LC_NT_METADATA", "xtransit", in_transit[order].astype(float))

    step = lightcurve.cadence(time)
    step *= max(1, round(FINEST_STEP / step)) if step < FINEST_STEP else 1
    grid = lightcurve.to_grid(time, _levelled(flux, segment), step)
    lightcurve.enough(int(grid.there.sum()))
    filled, was_gap = lightcurve.fill_short_gaps(grid, LONGEST_FILLED_GAP)
    frequency, power = spectrum.density(filled)

    there = filled.there
    outputs.put("IDP_SAS_VARLC", "time", filled.time[there], "d")
    outputs.put("IDP_SAS_VARLC", "flux", 1.0 + 1e-6 * filled.flux[there], "")
    metadata = "IDP_SAS_VARLC_METADATA"
    outputs.put(metadata, "Kadacs flags", np.stack([was_gap[there]], axis=1).astype(float))
    outputs.put(metadata, "cadence", step * lightcurve.SECONDS_PER_DAY, "s")
    outputs.put(metadata, "dutyCycle", filled.duty_cycle)
    outputs.put(metadata, "ntransit", int(in_transit[keep].sum()))
    outputs.put(metadata, "nflare", int(np.sum(flag & 1)))
    outputs.put("IDP_SAS_VARPSD", "frequency", frequency, "uHz")
    outputs.put("IDP_SAS_VARPSD", "power", power, "ppm2 / uHz")
    outputs.put("IDP_SAS_VARPSD_METADATA", "Nyquist", frequency[-1], "uHz")
    outputs.put("IDP_SAS_VARPSD_METADATA", "df", frequency[0], "uHz")
    outputs.put("IDP_SAS_VARPSD_METADATA", "dutyCycle", filled.duty_cycle)
    print(f"{grid.there.sum()} cells of {step * 86400:.2f} s over {filled.span:.1f} d, duty cycle {filled.duty_cycle:.3f}, "
          f"{int(in_transit[keep].sum())} points in transit")


def _without_transits(inputs, raw):
    """(flux, points in transit, periods or None): flux in ppm without transits, NaN where it had to be cut."""
    in_transit = np.zeros(raw.time.size, bool)
    if not inputs.has(KIT):
        return raw.flux, in_transit, None
    periods, first, last = (_or(inputs.numbers(KIT, column, optional=True), np.zeros(0)).astype(float)
                            for column in ("TCE/Period", "Eclipse/t0", "Eclipse/t2"))
    model = inputs.numbers(KIT, "Relative_flux_curve/flux", optional=True)
    if model is not None and model.shape == raw.time.shape:
        model = np.where(np.isfinite(model) & (model > 0), model, 1.0)
        in_transit = model < 1.0
        return ((1.0 + 1e-6 * raw.flux) / model - 1.0) * 1e6, in_transit, periods
    for begin, end, period in zip(first, last, periods):
        if np.isfinite(begin) and np.isfinite(end) and period > 0:
            in_transit |= np.mod(raw.time - begin, period) <= end - begin
    return np.where(in_transit, np.nan, raw.flux), in_transit, periods


def _levelled(flux, segment):
    """Each quarter relative to its own median: PLATO turns by 90 degrees between quarters and the level jumps."""
    flux = flux.copy()
    for number in np.unique(segment):
        own = segment == number
        flux[own] -= np.median(flux[own])
    return flux


def _or(value, default):
    return default if value is None else value
