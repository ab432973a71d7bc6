"""Units of a light curve as they come: times into days, a flux into ppm of its median. Other units are refused by name.

A flux whose level is known is divided by it. What stands for a level says the unit, and where there is none the numbers:

- counts, of any kind and per any time: the median, if it is clearly positive, that is more than `CLEAR` times the scatter;
- `normalized`, `relative`, and parts (`ppm`, `ppt`, `%`) of a level: the median where it is within `NEAR_ONE` of 1. Around 0
  they are differences from 1. Parts are around 0 up to `NEAR_ZERO`, the others up to `CLEAR` times the scatter;
- magnitudes have no level: 10^(-0.4 (m - median));
- without a unit: a median of 1 is relative. One around 0, within `CLEAR` times the scatter, is relative where the scatter is
  below `NEAR_ZERO`, and ppm where it is 1 or more. One of more than `GUESSED` times the scatter is counts. Nobody can tell
  the rest.
"""

import re

import numpy as np

from .kit import Refused

# Noise of a third of the level leaves no doubt that there is one; without a unit it could be an offset of a curve in ppm.
CLEAR, GUESSED = 3.0, 10.0
NEAR_ONE, NEAR_ZERO = 0.5, 0.1
SECONDS_PER_DAY = 86400.0

# Spellings of a unit of time, and how many there are in a day. Which day is zero does not matter here.
TIMES = (
    ("ms|milliseconds?", 1e3 * SECONDS_PER_DAY),
    ("s|secs?|seconds?", SECONDS_PER_DAY),
    ("mins?|minutes?", 1440.0),
    ("h|hrs?|hours?", 24.0),
    ("|d|days?|.*jd.*|julian", 1.0),
)
RELATIVE = {"normalized": 1.0, "normalised": 1.0, "relative": 1.0, "dimensionless": 1.0, "1": 1.0,
            "%": 1e-2, "percent": 1e-2, "ppt": 1e-3, "ppm": 1e-6}
MAGNITUDES = {"mag": 1.0, "mmag": 1e-3}
COUNTS = re.compile(r"(e\^?-?|electrons?|photo(-?electro)?ns?|ph|dn|adus?|counts?|cts?|cps)"
                    r"( ?/ ?\w+| per \w+|[ .*]?\w+(\^|\*\*)?-1)?")


def days(time, unit):
    """Days from a time in `unit`; no unit, or days, are seconds where the spacing says so: no survey takes less than one point a day."""
    word = unit.split()[0].rstrip(",;:") if unit.strip() else ""
    word = word if word == "Ms" else word.lower()  # a megasecond is no millisecond
    per_day = next((number for spelled, number in TIMES if re.fullmatch(spelled, word)), None)
    if per_day is None:
        raise Refused(f"the time is in {unit[:60]!r}, which is not known here: expected d, h, min, s, ms, or a Julian date as BJD")
    if per_day == 1.0:
        gaps = np.diff(np.sort(time[np.isfinite(time)]))
        gaps = gaps[gaps > 0]
        per_day = SECONDS_PER_DAY if gaps.size and np.median(gaps) > 1.0 else 1.0
    return time / per_day


def ppm(flux, level, scatter, unit):
    """ppm of the median from a flux in `unit`, whose good points have the median `level` and the robust deviation `scatter`."""
    name = unit.strip().lower() or _guessed(level, scatter)
    if name in MAGNITUDES:
        with np.errstate(over="ignore"):  # points that are not good
            return (10.0 ** (-0.4 * MAGNITUDES[name] * (flux - level)) - 1.0) * 1e6
    if name in RELATIVE:
        part = RELATIVE[name]
        flux, level, scatter = flux * part, level * part, scatter * part
        if abs(level - 1.0) > NEAR_ONE:
            if abs(level) > (NEAR_ZERO if part < 1.0 else min(NEAR_ZERO, CLEAR * scatter)):
                raise Refused(f"the median flux is {level / part:.6g} {name}, its scatter {scatter / part:.3g}: "
                              f"{name} is expected around {1.0 / part:g} or 0")
            flux, level = 1.0 + flux, 1.0 + level
        name = "relative"
    elif not COUNTS.fullmatch(name):
        raise Refused(f"the flux is in {unit[:60]!r}, which is not known here: expected {', '.join((*RELATIVE, *MAGNITUDES))}, "
                      "or electrons, photons, DN, ADU or counts, as e-/s or electron / s")
    if not level > CLEAR * scatter:
        raise Refused(f"the median flux is {level:.6g} {name}, not clearly positive: "
                      f"more than {CLEAR:g} times its scatter of {scatter:.3g} is needed to tell the relative flux")
    return (flux / level - 1.0) * 1e6


def _guessed(level, scatter):
    """The unit of a flux that says none."""
    if abs(level) <= CLEAR * scatter:
        if scatter < NEAR_ZERO or scatter >= 1.0:
            return "relative" if scatter < NEAR_ZERO else "ppm"
    elif abs(level - 1.0) <= NEAR_ONE:
        return "relative"
    elif level > max(GUESSED * scatter, 1.0 + NEAR_ONE):
        return "counts"
    raise Refused(f"the median flux is {level:.6g} without a unit, its scatter {scatter:.3g}: "
                  "nobody can tell whether it is relative, in ppm or in counts; give the column its unit")
