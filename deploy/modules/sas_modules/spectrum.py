"""Power spectral density of light curves, and what several modules do with it: binning, smoothing, whitening.

Frequencies are in µHz, densities in ppm²/µHz, one-sided: the integral over frequency is the variance (Parseval).
"""

import numpy as np

from .lightcurve import SECONDS_PER_DAY, fft_size


def density(grid):
    """PSD of an even grid with gaps, P = 2 dt |sum x exp(-2 pi i nu t)|² / N with N the number of points that are there.

    Gaps are zeros after subtraction of the mean: they blur, and the division by N instead of by the number of cells
    keeps the level of the noise (García et al. 2014, A&A 568, A10; Kallinger et al. 2014, A&A 570, A41).
    Returns (frequency, power) without the zero frequency.
    """
    there = grid.there
    flux = np.where(there, grid.flux - np.mean(grid.flux[there]), 0.0)
    size = fft_size(flux.size)
    step = grid.step * SECONDS_PER_DAY
    transform = np.fft.rfft(flux, size)
    power = 2.0 * step * np.abs(transform) ** 2 / there.sum() * 1e-6
    frequency = np.fft.rfftfreq(size, step) * 1e6
    return frequency[1:], power[1:]


def log_bins(frequency, power, per_decade, lowest):
    """Means of the density in bins of equal width in log frequency: (mean frequency, mean power, points per bin)."""
    inside = frequency >= lowest
    frequency, power = frequency[inside], power[inside]
    index = np.floor(np.log10(frequency / lowest) * per_decade).astype(int)
    count = np.bincount(index)
    used = count > 0
    mean_frequency = np.bincount(index, frequency)[used] / count[used]
    mean_power = np.bincount(index, power)[used] / count[used]
    return mean_frequency, mean_power, count[used].astype(float)


def box_smooth(values, width):
    """Running mean over `width` points (made odd), with shorter windows at the ends."""
    half = max(int(width) // 2, 0)
    total = np.concatenate(([0.0], np.cumsum(values)))
    index = np.arange(values.size)
    low, high = np.maximum(index - half, 0), np.minimum(index + half + 1, values.size)
    return (total[high] - total[low]) / (high - low)
