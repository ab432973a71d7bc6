"""Light curves as they come, made comparable: days, parts per million, sorted, on an even grid.

Files name the same thing differently: units of time and flux (`units.py`), flags that are quality bits (Kepler) or
numbers of camera groups (PLATO), stamps of camera groups offset by 6.25 s. What nobody can tell is refused by name. Nothing
here decides about stars; that is for the modules.
"""

from dataclasses import dataclass

import numpy as np

from . import units
from .kit import Refused
from .units import SECONDS_PER_DAY

# Below this many usable points neither a spectrum nor an autocorrelation says anything.
MIN_POINTS = 256
# Stamps beyond a gap of this many days are strays (0, -1, garbage) when they are fewer than this share of all.
STRAY_GAP, STRAY_SHARE = 1000.0, 0.01
# Numbers of cameras, and so of their groups, begin at 1 and end here; each group that is seen has this share of the points.
CAMERAS, GROUP_SHARE = 26, 0.01
# Four years at the finest step are 2.8 million cells; more do not fit into the memory of a default slot.
MOST_CELLS = 4_000_000


@dataclass
class Raw:
    """A light curve in the order of the file; `usable` is false for NaNs and points with quality bits."""

    time: np.ndarray  # days
    flux: np.ndarray  # ppm, relative to the median
    usable: np.ndarray
    segment: np.ndarray  # number of the quarter that a point belongs to


@dataclass
class Grid:
    """A light curve on an even grid: point i was taken at `start + i * step` days, NaN where there is none."""

    start: float
    step: float
    flux: np.ndarray

    @property
    def time(self):
        return self.start + self.step * np.arange(self.flux.size)

    @property
    def there(self):
        return np.isfinite(self.flux)

    @property
    def duty_cycle(self):
        return float(np.mean(self.there))

    @property
    def span(self):
        return self.step * self.flux.size

    def with_flux(self, flux):
        return Grid(self.start, self.step, flux)


def read(inputs, product="DP1_LC_MERGED", flags="DP1_LC_MERGED_FLAGS"):
    """Reads the merged light curve. Raises `Refused` when its columns do not belong together or too few points are left."""
    time = inputs.numbers(product, "time").astype(float)
    flux = inputs.numbers(product, "flux").astype(float)
    if time.size != flux.size:
        raise Refused(f"{product} has {time.size} times and {flux.size} fluxes")
    enough(time.size)
    segment = _segments(inputs, product, time.size)
    time = units.days(time, inputs.unit(product, "time"))
    usable = np.isfinite(time) & np.isfinite(flux) & np.isfinite(segment)
    enough(usable.sum(), time.size)
    usable &= ~_blank(flux, usable) & ~_stray(time, usable)
    enough(usable.sum(), time.size)

    group = np.zeros(time.size, int)
    if inputs.has(flags):
        flag = _flags(inputs, flags, time.size)
        usable &= np.isfinite(flag)
        enough(usable.sum(), time.size, "usable and with a flag")
        group, bad = _groups_or_quality(flag, usable, flags)
        usable &= ~bad
        enough(usable.sum(), time.size, "usable and not flagged")
    if np.ptp(flux[usable]) == 0.0:
        raise Refused(f"all {int(usable.sum())} usable points have the same flux")
    flux = units.ppm(flux, float(np.median(flux[usable])), spread(flux[usable]), inputs.unit(product, "flux"))
    first, *others = (usable & (group == number) for number in np.unique(group[usable]))
    for own in others:
        # Camera groups differ by an offset; the first one is the reference.
        flux[own] += np.median(flux[first]) - np.median(flux[own])
    return Raw(time, flux, usable, segment)


def enough(points, of=None, what="usable"):
    """Refuses a light curve with too few usable points."""
    if points < MIN_POINTS:
        among = "" if of is None or of == points else f" {what} (of {of})"
        raise Refused(f"{points} points{among} are too few, at least {MIN_POINTS} are needed")


def cadence(time):
    """Length in days of the smallest pattern that the stamps repeat (`time` sorted, finite).

    For even stamps that is their spacing. Camera groups offset by 6.25 s give k stamps per exposure cycle; then
    t[i+k] - t[i] is constant, to a tenth of it and for four of five points, where t[i+1] - t[i] is not. The smallest such
    k up to 8 wins.
    """
    positive = np.diff(time)
    if not np.any(positive > 0):
        raise Refused("all points have the same time")
    for k in range(1, 9):
        lag = time[k:] - time[:-k]
        typical = np.median(lag)
        if typical > 0 and np.mean(np.abs(lag - typical) < 0.1 * typical) > 0.8:
            return float(typical)
    return float(np.median(positive[positive > 0]))


def to_grid(time, flux, step):
    """Averages points into cells of `step` days; cells without a point are NaN. Refuses more than `MOST_CELLS`."""
    start = float(time.min())
    span = float(time.max()) - start
    if span / step >= MOST_CELLS:
        raise Refused(f"{span:.0f} days in steps of {step * SECONDS_PER_DAY:.4g} s are more than {MOST_CELLS} cells")
    cell = np.rint((time - start) / step).astype(np.int64)
    count = np.bincount(cell)
    total = np.bincount(cell, weights=flux)
    with np.errstate(invalid="ignore"):
        return Grid(start, step, np.where(count > 0, total / np.maximum(count, 1), np.nan))


def fill_short_gaps(grid, longest):
    """Interpolates linearly over gaps of at most `longest` cells; returns the new grid and the mask of filled cells."""
    there = grid.there
    index = np.arange(there.size)
    before = np.maximum.accumulate(np.where(there, index, -1))
    after = np.minimum.accumulate(np.where(there, index, there.size)[::-1])[::-1]
    short = ~there & (after - before - 1 <= longest) & (before >= 0) & (after < there.size)
    flux = grid.flux.copy()
    flux[short] = np.interp(index[short], index[there], grid.flux[there])
    return grid.with_flux(flux), short


def smooth(grid, width):
    """Running local straight line with Gaussian weights of standard deviation `width` in days, on every cell.

    Local linear regression (Cleveland 1979, JASA 74, 829) instead of a running mean: at the edges of gaps a mean lags behind a
    slope, and the steps that it leaves there make fringes all over the spectrum. With the moments S_j = sum w u^j K(u) and
    T_j = sum w x u^j K(u) the line at the centre is (S_2 T_0 - S_1 T_1) / (S_0 S_2 - S_1²). Where hardly any point is
    within reach (five widths) it is the mean of all points.
    """
    there = grid.there
    mean = float(np.mean(grid.flux[there]))
    flux = np.where(there, grid.flux - mean, 0.0)
    reach = min(max(int(np.ceil(5.0 * width / grid.step)), 1), flux.size)
    offset = np.arange(-reach, reach + 1) * grid.step / width
    size = fft_size(flux.size + 2 * reach)
    weights, values = np.fft.rfft(there.astype(float), size), np.fft.rfft(flux, size)

    def moment(transform, power):
        # Correlation, not convolution: u = t_i - t.
        kernel = np.fft.rfft((offset**power * np.exp(-0.5 * offset**2))[::-1], size)
        return np.fft.irfft(transform * kernel, size)[reach : reach + flux.size]

    s0, s1, s2 = (moment(weights, power) for power in range(3))
    t0, t1 = (moment(values, power) for power in range(2))
    # At least a few points' weight, and points on more than one side or at more than one place.
    determinant = s0 * s2 - s1**2
    safe = (s0 > 0.5) & (determinant > 1e-3 * s0**2)
    line = np.where(safe, (s2 * t0 - s1 * t1) / np.where(safe, determinant, 1.0), 0.0)
    flat = np.where(s0 > 1e-6, t0 / np.maximum(s0, 1e-6), 0.0)
    return mean + np.where(safe, line, flat)


def spread(values):
    """Robust standard deviation: 1.4826 times the median absolute deviation."""
    values = values[np.isfinite(values)]
    return 1.4826 * float(np.median(np.abs(values - np.median(values)))) if values.size else 0.0


def fft_size(length):
    """The smallest number of the form 2^a 3^b 5^c that is at least `length`: fast, and never much longer."""
    best = 1 << (int(length) - 1).bit_length()
    five = 1
    while five < best:
        three = five
        while three < best:
            two = three
            while two < length:
                two *= 2
            best = min(best, two)
            three *= 3
        five *= 5
    return best


def _segments(inputs, product, points):
    """The quarter of each point, NaN where it has none; 0 for all where none is said, or one for all."""
    quarter = inputs.numbers(product, "quarter", optional=True)
    if quarter is not None and quarter.size not in (1, points):
        raise Refused(f"{product} has {points} times and {quarter.size} quarters")
    if quarter is None or quarter.size == 1 or not np.any(np.isfinite(quarter)):
        return np.zeros(points)
    return quarter.astype(float)


def _blank(flux, usable):
    """Points whose flux is 0 or -1, as some writers mark a missing one, where the star's own level is neither."""
    blank = np.isin(flux, (0.0, -1.0))
    rest = flux[usable & ~blank]
    return blank & (rest.size > 0 and abs(np.median(rest)) > 3.0 * spread(rest))


def _stray(time, usable):
    """Usable points whose stamps are far from nearly all others: one of them would stretch the grid over decades."""
    index = np.flatnonzero(usable)
    index = index[np.argsort(time[index], kind="stable")]
    piece = np.concatenate(([0], np.cumsum(np.diff(time[index]) > STRAY_GAP)))
    stray = np.zeros(time.size, bool)
    stray[index] = (np.bincount(piece) < STRAY_SHARE * index.size)[piece]
    return stray


def _flags(inputs, flags, points):
    """The flags, a whole number or NaN for each point: without them nobody can tell which points are good."""
    flag = inputs.numbers(flags, "flag")
    if np.any(np.isfinite(flag) & (flag != np.rint(flag))):
        raise Refused(f"{flags}: the column `flag` of this delivery holds fractions, expected integers")
    if flag.size != points:
        raise Refused(f"{flags} has {flag.size} flags for {points} times")
    return flag


def _groups_or_quality(flag, usable, flags):
    """Kepler's flags are bits, mostly zero; PLATO's simulator writes the number of the camera group, from 1.

    Returns (group of each point, points with quality bits). Flags are quality where they are zero for more than two thirds of the
    points, or some are no number of a camera. Others are groups where each point has one, and no group is rare. Where neither
    is so, nobody can tell: such flags are refused.
    """
    flagged = flag != 0
    share = np.mean(flagged[usable])
    values, counts = np.unique(flag[usable], return_counts=True)
    if flag.dtype.kind == "b" or share < 1 / 3 or values[0] < 0 or values[-1] > CAMERAS:
        return np.zeros(flag.size, int), flagged
    if values[0] == 0 or counts.min() <= GROUP_SHARE * usable.sum():
        raise Refused(f"{flags}: {share:.0%} of the points are flagged, with values up to {values[-1]:g}: too many for quality bits, and "
                      f"no camera groups, which count from 1 and have more than {GROUP_SHARE:.0%} of the points each")
    return np.where(usable, flag, 0).astype(int), np.zeros(flag.size, bool)
