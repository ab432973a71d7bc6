"""Single modes in a spectrum: which peaks are significant, and of which degree they probably are.

Peaks are maxima of the smoothed spectrum. The mean of m densities of pure noise exceeds x with probability close to
exp(-m (x - 1 - ln x)) (Chernoff bound of the gamma distribution; the significance test of Appourchaux 2004, A&A 428, 1039).
Degrees follow from the phase in the échelle diagram, (nu / Δν - epsilon) mod 1: 0 for l = 0, one half for l = 1, a little
below 0 for l = 2, with epsilon near 0.634 + 0.546 lg Δν for giants (Corsaro et al. 2012, ApJ 757, 190) and 1.4 falling with
temperature for dwarfs (White et al. 2012, ApJL 751, L36).
"""

from dataclasses import dataclass

import numpy as np

from . import excess, spectrum

MOST_MODES = 24


@dataclass
class Peaks:
    """First guesses, sorted by frequency. Heights are in units of the background."""

    frequency: np.ndarray
    error: np.ndarray
    height: np.ndarray
    width: np.ndarray
    degree: np.ndarray
    order: np.ndarray


def first_guesses(frequency, ratio, numax, dnu, teff=None):
    """Significant peaks within 1.2 widths of the envelope around ν_max."""
    step = frequency[1] - frequency[0]
    width = guess_width(dnu, teff)
    reach = 1.2 * excess.envelope_fwhm(numax)
    low, high = np.searchsorted(frequency, (numax - reach, numax + reach))
    box = max(3, int(round(width / step)) | 1)
    smooth = spectrum.box_smooth(spectrum.box_smooth(ratio, box), max(1, box // 2))[low:high]
    inside = frequency[low:high]
    candidates = np.flatnonzero((smooth[1:-1] >= smooth[:-2]) & (smooth[1:-1] > smooth[2:])) + 1
    # Sure peaks only: fewer than 0.02 expected from noise in the whole window.
    threshold = np.log(max(inside.size / box, 1.0) / 0.02)
    surprise = np.where(smooth > 1.0, box * (smooth - 1.0 - np.log(np.maximum(smooth, 1e-9))), 0.0)
    strong = [i for i in candidates[np.argsort(-smooth[candidates])] if surprise[i] > threshold]
    chosen = []
    apart = max(0.03 * dnu, 1.5 * width)
    for index in strong:
        if all(abs(inside[index] - inside[other]) > apart for other in chosen):
            chosen.append(index)
        if len(chosen) == MOST_MODES:
            break
    chosen = np.sort(np.array(chosen, dtype=int))
    degree, order = identify(inside[chosen], smooth[chosen], dnu, teff)
    error = np.full(chosen.size, max(0.5 * width, step))
    return Peaks(inside[chosen], error, np.maximum(smooth[chosen] - 1.0, 0.1), np.full(chosen.size, width), degree, order)


def guess_width(dnu, teff):
    """Width of a mode in µHz: 0.1 for giants, from 1 at the Sun's temperature to some µHz for hot dwarfs (Appourchaux 2012)."""
    if dnu < 20.0:
        return 0.12
    return float(np.clip(1.0 * np.exp(((teff or 5777.0) - 5777.0) / 450.0), 0.5, 5.0))


def identify(frequency, weight, dnu, teff=None):
    """Degrees and radial orders of peaks from their phases, with epsilon searched within 0.2 of the expected one."""
    if frequency.size == 0:
        return np.zeros(0, np.int64), np.zeros(0)
    small = 0.125 if dnu < 20.0 else 0.065
    expected = 0.634 + 0.546 * np.log10(dnu) if dnu < 30.0 else 1.4 - 0.4 * np.clip(((teff or 5777.0) - 5800.0) / 700.0, -0.5, 1.2)
    places = ((0, 0.0), (2, -small), (1, 0.5))

    def distances(epsilon):
        phase = frequency / dnu - epsilon
        return np.array([np.abs((phase - place + 0.5) % 1.0 - 0.5) for _, place in places])

    trials = expected + np.linspace(-0.2, 0.2, 41)
    fitness = [np.sum(np.sqrt(weight) * np.exp(-0.5 * (distances(e).min(0) / 0.03) ** 2)) - 2.0 * abs(e - expected) for e in trials]
    epsilon = trials[int(np.argmax(fitness))]
    distance = distances(epsilon)
    if dnu < 20.0:
        # Giants: l = 1 modes are mixed and stand anywhere but on the ridges of l = 0 and 2.
        distance[2] = np.where(distance[:2].min(0) > 0.08, 0.0, 1.0)
    nearest = np.argmin(distance, axis=0)
    degree = np.array([places[i][0] for i in nearest], dtype=np.int64)
    place = np.array([places[i][1] for i in nearest])
    order = np.rint(frequency / dnu - epsilon - place) - (degree == 2)
    return degree, order


def put(outputs, peaks, level):
    """Writes the four products of first guesses; `level` is the background density at each peak."""
    outputs.put("IDP_SAS_FREQUENCIES_FIRST_GUESS", "mode frequency", peaks.frequency, "uHz")
    outputs.put("IDP_SAS_FREQUENCIES_FIRST_GUESS", "mode frequency uncertainty", peaks.error, "uHz")
    outputs.put("IDP_SAS_FREQUENCIES_FIRST_GUESS_METADATA", "angular degree", peaks.degree)
    outputs.put("IDP_SAS_FREQUENCIES_FIRST_GUESS_METADATA", "p mode radial order", peaks.order)
    outputs.put("IDP_SAS_OSC_MODE_HEIGHTS_FIRST_GUESS", "mode height", peaks.height * level, "ppm2 / uHz")
    outputs.put("IDP_SAS_OSC_MODE_HEIGHTS_FIRST_GUESS", "mode height uncertainty", 0.5 * peaks.height * level, "ppm2 / uHz")
    outputs.put("IDP_SAS_OSC_MODE_WIDTHS_FIRST_GUESS", "mode width", peaks.width, "uHz")
    outputs.put("IDP_SAS_OSC_MODE_WIDTHS_FIRST_GUESS", "mode width uncertainty", 0.5 * peaks.width, "uHz")
