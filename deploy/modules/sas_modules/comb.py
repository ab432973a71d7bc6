"""Are the peaks of a spectrum evenly spaced near a frequency? The statistics behind MSAP3_02 and MSAP3_03.

The spectrum, divided by its background, is cut out around a trial ν_max with a Hann window and Fourier transformed: the
envelope autocorrelation function of Roxburgh & Vorontsov (2006, MNRAS 369, 1491) and Mosser & Appourchaux (2009, A&A
508, 877). Modes spaced by Δν/2 (l = 0 and 1 in turn) answer at the lag 2/Δν, and weaker at 4/Δν and 1/Δν. Normalised to the
sum of squares of the window's content, or to its own median over many lags, each response follows exp(-x) for noise of any
colour, and stays small for a few strong lines: they enlarge the norm as much as the response. Two sums of responses serve wide and narrow modes; the
merit is -ln of the probability that noise gives so large a sum, of the better of the two.
"""

from dataclasses import dataclass

import numpy as np

from . import lightcurve
from .excess import envelope_fwhm

# Ratios above this count as this: the pattern matters, not the height of single peaks.
CAP = 8.0
WINDOW = 2.4  # full width of the Hann window in widths of the envelope
SPREAD = 1.18  # how far Δν may be from the scaling relation, as a factor
BROAD = ((1.0, 0.5), (2.0, 1.0), (4.0, 0.5))  # (lag in 1/Δν, weight) for modes so wide that long lags are damped
SHARP = (2.0, 4.0, 6.0, 8.0)  # lags for narrow modes, with equal weights
BETWEEN = np.concatenate((np.linspace(0.3, 0.8, 41), np.linspace(1.2, 1.75, 41)))  # lags at which modes do not answer
FEWEST = 30  # points in a window


@dataclass
class Response:
    """At one trial ν_max: the grid of Δν with the merit of each, and the evidence that the best is something else."""

    dnu: np.ndarray
    merit: np.ndarray
    between: float  # largest response at lags between 0.3 / Δν, 1 / Δν and 2 / Δν: lines with another spacing
    outside: float  # response far from ν_max, where no mode is: harmonics of a rotation, eclipses, transits, gaps

    @property
    def best(self):
        return int(np.argmax(self.merit))

    @property
    def foreign(self):
        """Whether the pattern is not that of modes but of rotation, eclipses, transits or gaps."""
        top = float(self.merit.max())
        by_chance = 6.0 if self.dnu[0] < 25.0 else 8.0  # few things but modes make patterns at high frequencies
        return self.between > max(by_chance, 0.15 * top) or self.outside > max(9.0, 0.15 * top)


def scaling(numax):
    """Δν in µHz expected at ν_max: 0.263 ν_max^0.772 (Stello et al. 2009, MNRAS 400, L80)."""
    return 0.263 * numax**0.772


def numax_of(dnu):
    """The inverse of `scaling`."""
    return (dnu / 0.263) ** (1.0 / 0.772)


def response(frequency, ratio, numax, centre=None, spread=SPREAD, points=161):
    """The response around one trial ν_max; None when the window holds too few points. `ratio`: spectrum / background.

    Δν is searched within the factor `spread` of `centre`, by default of the scaling relation.
    """
    fwhm = envelope_fwhm(numax)
    typical = np.linspace(0.5, 6.0, 331) / scaling(numax)
    inside = _transform(frequency, ratio, numax - 0.5 * WINDOW * fwhm, numax + 0.5 * WINDOW * fwhm, typical, taper=True)
    if inside is None:
        return None
    dnu = (centre or scaling(numax)) * np.exp(np.linspace(-np.log(spread), np.log(spread), points))
    merit = np.maximum(_merit_broad(inside, dnu), _merit_sharp(inside, dnu)) - np.log(2.0)
    best = dnu[np.argmax(merit)]
    far = [_transform(frequency, ratio, frequency[0], numax - 1.5 * fwhm, typical, taper=False),
           _transform(frequency, ratio, numax + 2.0 * fwhm, frequency[-1], typical, taper=False)]
    outside = max((float(part(1.0 / best) + part(2.0 / best)) for part in far if part is not None), default=0.0)
    return Response(dnu, merit, float(np.max(inside(BETWEEN / best))), outside)


def concentration(frequency, ratio, numax):
    """Largest share of the excess around ν_max that lies within 0.4 Δν: near 1 for a single line, below 0.6 for modes."""
    half = 0.5 * envelope_fwhm(numax)
    low, high = np.searchsorted(frequency, (numax - half, numax + half))
    excess = np.maximum(ratio[low:high] - 1.0, 0.0)
    if excess.sum() <= 0:
        return 1.0
    width = max(1, int(0.4 * scaling(numax) / (frequency[1] - frequency[0])))
    total = np.concatenate(([0.0], np.cumsum(excess)))
    width = min(width, excess.size)
    return float(np.max(total[width:] - total[:-width]) / total[-1])


def dominant_line(frequency, power):
    """(frequency, share of the variance) of the strongest line, within 3 % or two points of its maximum."""
    total = np.concatenate(([0.0], np.cumsum(power)))
    top = int(np.argmax(power))
    low = min(int(np.searchsorted(frequency, 0.97 * frequency[top])), max(top - 2, 0))
    high = max(int(np.searchsorted(frequency, 1.03 * frequency[top])), min(top + 3, power.size))
    line, share = slice(low, high), (total[high] - total[low]) / total[-1]
    return float(np.average(frequency[line], weights=power[line])), float(share)


def _merit_broad(inside, dnu):
    """-ln P(x1/2 + x2 + x3/2 > total) for exponential x: P tends to 4 exp(-total)."""
    total = sum(weight * inside(lag / dnu) for lag, weight in BROAD)
    return total - np.log(4.0)


def _merit_sharp(inside, dnu):
    """-ln P(x1 + x2 + x3 + x4 > t) for exponential x: P = exp(-t) (1 + t + t²/2 + t³/6)."""
    total = sum(inside(lag / dnu) for lag in SHARP)
    return total - np.log(1.0 + total + total**2 / 2.0 + total**3 / 6.0)


def _transform(frequency, ratio, low, high, typical, taper):
    """The normalised |Fourier transform|² of a stretch of the spectrum as a function of lag in 1/µHz.

    Independent points would give the sum of squares on average. Points that hang together, as in strong lines, give more at
    all lags up to their inverse width: then the median over the lags `typical` is the norm (an exponential's is ln 2).
    """
    first, last = np.searchsorted(frequency, (low, high))
    count = int(last - first)
    if count < FEWEST:
        return None
    window = np.hanning(count) if taper else np.ones(count)
    content = np.minimum(ratio[first:last], CAP)
    content = window * (content - np.sum(window * content) / window.sum())
    size = lightcurve.fft_size(4 * count)
    power = np.abs(np.fft.rfft(content, size)) ** 2
    step = frequency[1] - frequency[0]
    index = np.arange(power.size)
    level = np.median(np.interp(typical * size * step, index, power)) / np.log(2.0)
    power /= max(np.sum(content**2), level / 1.5)  # the median itself scatters: only a clear excess counts
    return lambda lag: np.interp(np.asarray(lag) * size * step, index, power)
