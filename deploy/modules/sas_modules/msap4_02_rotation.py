"""MSAP4_02, rotation period from the autocorrelation of the light curve.

The autocorrelation r(lag) of the binned curve, over pairs of points that are there, is smoothed in proportion to the lag.
A rotation makes maxima at P, 2 P, 3 P with minima between (McQuillan, Aigrain & Mazeh 2013, MNRAS 432, 1203; 2014, ApJS 211,
24). For each maximum: H = r(P), and G = H minus the mean of the minima on either side ("local peak height"). Two spots make a
lower maximum at P / 2 first, so the higher one of P / 2 and P is taken. A period is claimed when
  - H exceeds 0.1 + 1.1 / cycles and G exceeds 0.2 + 1.2 / sqrt(cycles): few cycles prove little, red noise makes some;
  - the maximum is broad, as a sinusoid's: at 0.12 P from it r is still 0.45 of the way up. Transits make narrow ones;
  - the maximum at 2 P is there too and at least 0.35 times as high, or the star varies much less or more than a giant that
    oscillates with that period: oscillations forget their phase, but so do spots that live for one rotation or two;
  - at least three cycles were seen.
Period and error: fit of the lags of up to five maxima against their number.
"""

from dataclasses import dataclass

import numpy as np

from . import lightcurve
from .excess import envelope_fwhm, envelope_height
from .lightcurve import SECONDS_PER_DAY, Grid

SHORTEST = 0.2  # days
CYCLES = 3.0
GIANT = 3.0  # within this factor of the usual amplitude a variation may be the oscillation of a giant


@dataclass
class Rotation:
    period: float  # days
    error: float
    height: float
    contrast: float
    number: int  # of maxima that were used


def run(inputs, outputs):
    """Writes the autocorrelations always, and in IDP_SAS_PROT_TIMESERIES the period, or NaN where there is none."""
    step = inputs.number("IDP_SAS_VARLC_BINNED_METADATA", "cadence")
    plain = _grid(inputs, "IDP_SAS_VARLC_BINNED", "bins", "med_flux", step)
    filtered = _grid(inputs, "IDP_SAS_VARLC_FILT_BINNED", "time", "flux", step)
    for product, grid in (("IDP_SAS_ACF_TIMESERIES", plain), ("IDP_SAS_ACF_FILT_TIMESERIES", filtered)):
        lag, acf = autocorrelation(grid)
        outputs.put(product, "time_lag", lag * SECONDS_PER_DAY, "s")
        outputs.put(product, "acf", acf)
    # Without the white noise, which answers at no other lag than 0.
    signal = float(np.nanstd(filtered.flux) * np.sqrt(max(acf[1], 0.0))) if acf.size > 1 else 0.0
    found = find(lag, acf, filtered.span, signal)
    product = "IDP_SAS_PROT_TIMESERIES"
    value, error = (np.nan, np.nan) if found is None else (found.period, found.error)
    outputs.put(product, "values", np.array([value * SECONDS_PER_DAY]), "s")
    outputs.put(product, "lower_uncertainty", np.array([error * SECONDS_PER_DAY]), "s")
    outputs.put(product, "upper_uncertainty", np.array([error * SECONDS_PER_DAY]), "s")
    outputs.put(product, "H_ACF", np.array([np.nan if found is None else found.height]))
    outputs.put(product, "G_ACF", np.array([np.nan if found is None else found.contrast]))
    outputs.put(product, "peak_sequential_number", np.array([0.0 if found is None else float(found.number)]))
    print("no rotation" if found is None else
          f"rotation {found.period:.3f} ± {found.error:.3f} d, H {found.height:.2f}, G {found.contrast:.2f}")


def autocorrelation(grid):
    """(lag in days, r) for lags up to 0.7 of the span: sum over pairs that are there, over their number, over r(0)."""
    there = grid.there
    flux = np.where(there, grid.flux - np.mean(grid.flux[there]), 0.0)
    limit = 5.0 * lightcurve.spread(grid.flux)
    flux = np.clip(flux, -limit, limit) if limit > 0 else flux
    size = lightcurve.fft_size(2 * flux.size)
    total = np.fft.irfft(np.abs(np.fft.rfft(flux, size)) ** 2, size)
    pairs = np.fft.irfft(np.abs(np.fft.rfft(there.astype(float), size)) ** 2, size)
    count = max(int(0.7 * flux.size), 1)
    mean = np.where(pairs[:count] > 0.5, total[:count] / np.maximum(pairs[:count], 1.0), 0.0)
    return np.arange(count) * grid.step, mean / mean[0] if mean[0] > 0 else np.zeros(count)


def find(lag, acf, span, signal):
    """The rotation in the autocorrelation of a curve with the standard deviation `signal` in ppm, or None."""
    if lag.size < 16:
        return None
    step = lag[1]
    shortest = max(SHORTEST, 4 * step)
    candidates = []
    period = shortest
    while period <= span / CYCLES:
        octave = _maxima(lag, smoothed(acf, 0.06 * period / step), period, min(2 * period, span / CYCLES))
        candidates += [found for found in octave if _is_rotation(found, span, signal)]
        period *= 2.0
    if not candidates:
        return None
    best = _fundamental(candidates)
    return _refined(lag, acf, best, span)


def smoothed(values, width):
    """Gaussian smoothing with standard deviation `width` in points; the autocorrelation is even around lag 0."""
    if width < 0.5:
        return values
    reach = int(4 * width) + 1
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
    even = np.concatenate((values[1 : reach + 1][::-1], values, np.full(reach, values[-1])))
    size = lightcurve.fft_size(even.size + kernel.size)
    full = np.fft.irfft(np.fft.rfft(even, size) * np.fft.rfft(kernel / kernel.sum(), size), size)
    start = even.size - values.size - reach + reach
    return full[start : start + values.size]


@dataclass
class _Maximum:
    lag: float
    height: float
    contrast: float
    shoulder: float  # mean height at 0.88 and 1.12 of the lag, between minima (0) and maximum (1)
    second: float | None  # height of the maximum at twice the lag, None where the curve does not reach


def _maxima(lag, acf, low, high):
    """Maxima of a smoothed autocorrelation between two lags."""
    step = lag[1]
    index = np.flatnonzero((acf[1:-1] > acf[:-2]) & (acf[1:-1] >= acf[2:])) + 1
    found = []
    for i in index[(lag[index] >= low) & (lag[index] < high)]:
        before = acf[max(int(0.3 * i), 1) : int(0.8 * i) + 1]
        after = acf[int(1.2 * i) : int(1.7 * i) + 1]
        if before.size == 0 or int(1.7 * i) >= acf.size and after.size < 3:
            continue
        trough = 0.5 * (before.min() + after.min()) if after.size else before.min()
        again = acf[int(1.85 * i) : int(2.15 * i) + 1]
        second = float(again.max()) if again.size > 2 and int(2.15 * i) < acf.size else None
        beside = 0.5 * (acf[int(round(0.88 * i))] + acf[min(int(round(1.12 * i)), acf.size - 1)])
        contrast = float(acf[i] - trough)
        shoulder = float((beside - trough) / contrast) if contrast > 0 else 0.0
        found.append(_Maximum(float(i * step), float(acf[i]), contrast, shoulder, second))
    return found


def _is_rotation(found, span, signal):
    """The thresholds of the file's head, set on simulated rotators, giants, transits, drifts, and red and white noise."""
    cycles = span / found.lag
    if found.height < 0.1 + 1.1 / cycles or found.contrast < 0.2 + 1.2 / np.sqrt(cycles):
        return False
    if found.shoulder < 0.45:
        return False
    keeps_phase = found.second is not None and found.second > 0.35 * found.height
    usual = giant_amplitude(found.lag)
    return keeps_phase or not usual / GIANT < signal < usual * GIANT


def giant_amplitude(period):
    """Standard deviation in ppm of a giant whose ν_max is 1 / `period` (days): envelope of oscillations and granulation.

    Granulation: two components of 3382 ν_max^-0.609 ppm (Kallinger et al. 2014, A&A 570, A41, table 2).
    """
    numax = 1e6 / (period * SECONDS_PER_DAY)
    envelope = 1.064 * envelope_height(numax) * envelope_fwhm(numax)  # area of a Gaussian
    return float(np.sqrt(envelope + 2.0 * (3382.0 * numax**-0.609) ** 2))


def _fundamental(candidates):
    """The shortest maximum that is not clearly topped by the one at twice its lag."""
    highest = max(found.height for found in candidates)
    strong = sorted((f for f in candidates if f.height > 0.5 * highest), key=lambda found: found.lag)
    best = strong[0]
    for other in strong[1:]:
        if abs(other.lag / best.lag - 2.0) < 0.2 and other.height > 1.1 * best.height:
            return other
    return best


def _refined(lag, acf, best, span):
    """Fits lag = n P through the maxima near n P, n up to five; the error is their scatter, at least half a bin."""
    step = lag[1]
    curve = smoothed(acf, 0.06 * best.lag / step)
    numbers, places = [], []
    for n in range(1, 6):
        middle = n * best.lag if not places else n * places[-1] / numbers[-1]
        reach = (0.1 if n == 1 else 0.2) * best.lag
        low, high = int((middle - reach) / step), int((middle + reach) / step)
        if high + 2 >= curve.size or middle > 0.67 * span:
            break
        top = low + int(np.argmax(curve[low : high + 1]))
        if curve[top] < 0.3 * best.height or top in (low, high):
            break
        numbers.append(n)
        places.append(top * step)
    n, place = np.array(numbers or [1], float), np.array(places or [best.lag])
    period = float(np.sum(n * place) / np.sum(n * n))
    scatter = float(np.sqrt(np.mean((place - n * period) ** 2) / np.sum(n * n))) if n.size > 1 else 0.0
    # One maximum alone says little: spots on other latitudes, with another period, come and go.
    error = float(np.hypot(max(scatter, 0.5 * step), (0.02 if n.size > 1 else 0.1) * period))
    return Rotation(period, error, best.height, best.contrast, int(n.size))


def _grid(inputs, product, time, flux, step):
    time = np.ravel(inputs.require(product, time))
    flux = (np.ravel(inputs.require(product, flux)) - 1.0) * 1e6
    step = lightcurve.cadence(time) if step is None else step / SECONDS_PER_DAY
    grid = lightcurve.to_grid(time, flux, step)
    return Grid(grid.start, grid.step, grid.flux)
