"""Synthetic stars: light curves with known oscillations, granulation, spots, transits and noise.

Oscillations and granulation are drawn in the Fourier domain: a stochastic process with the spectral density P(nu) is the
inverse transform of complex Gaussian numbers scaled by sqrt(P) (Timmer & König 1995, A&A 300, 707; Anderson, Duvall &
Jefferies 1990, ApJ 364, 699). Used by `simulate` and by the tests; no science module imports it.
"""

from dataclasses import dataclass, field

import numpy as np

NUMAX_SUN, DNU_SUN, TEFF_SUN = 3090.0, 135.1, 5777.0  # Huber et al. 2011, ApJ 743, 143
SECONDS_PER_DAY = 86400.0


@dataclass
class Star:
    """What is true of a star. Periods in days, frequencies in µHz, amplitudes in ppm, mass and radius of the Sun's."""

    teff: float
    mass: float
    radius: float
    oscillates: bool = True
    amplitude: float = 1.0  # of the oscillations, relative to the usual one
    granulates: bool = True
    rotation: float | None = None
    spots: float = 0.0  # depth in ppm
    planet: dict | None = field(default=None)  # period, epoch, duration, depth

    @property
    def numax(self):
        return NUMAX_SUN * self.mass / self.radius**2 * (self.teff / TEFF_SUN) ** -0.5

    @property
    def dnu(self):
        return DNU_SUN * np.sqrt(self.mass / self.radius**3)

    @property
    def logg(self):
        return 4.438 + np.log10(self.mass / self.radius**2)


def star_with_numax(numax, teff, mass=1.0, **rest):
    """A star whose radius follows from ν_max by the scaling relation."""
    radius = np.sqrt(mass * NUMAX_SUN / numax * (teff / TEFF_SUN) ** -0.5)
    return Star(teff=teff, mass=mass, radius=radius, **rest)


def observe(rng, star, days, cadence, noise, start=0.0):
    """(time in days, flux normalised to 1, transit model) at an even cadence in seconds; `noise` in ppm per point."""
    count = int(round(days * SECONDS_PER_DAY / cadence))
    time = start + np.arange(count) * cadence / SECONDS_PER_DAY
    ppm = stochastic(rng, star, count, cadence) + rng.normal(0.0, noise, count)
    if star.rotation:
        ppm = ppm + spotted(rng, time, star.rotation, star.spots)
    model = transits(time, star.planet)
    return time, (1.0 + 1e-6 * ppm) * model, model


def stochastic(rng, star, count, cadence):
    """Granulation and oscillations in ppm."""
    size = 1 << (count + count // 8).bit_length()
    frequency = np.fft.rfftfreq(size, cadence) * 1e6
    step = frequency[1]
    density = np.zeros(frequency.size)
    if star.granulates:
        density += granulation(frequency, star.numax)
    if star.oscillates:
        density += oscillations(frequency, step, star)
    scale = np.sqrt(density * step / 2.0) * size / np.sqrt(2.0)
    noise = rng.normal(size=frequency.size) + 1j * rng.normal(size=frequency.size)
    noise[0] = 0.0
    return np.fft.irfft(noise * scale, size)[:count]


def granulation(frequency, numax):
    """Two super-Lorentzians with the amplitudes and frequencies of Kallinger et al. (2014, A&A 570, A41, table 2)."""
    amplitude = 3382.0 * numax**-0.609
    total = np.zeros(frequency.size)
    for corner in (0.317 * numax**0.970, 0.948 * numax**0.992):
        total += 2.0 * np.sqrt(2.0) / np.pi * amplitude**2 / corner / (1.0 + (frequency / corner) ** 4)
    return total


def modes(star):
    """Modes as rows (n, l, frequency, power in ppm², width): asymptotic relation (Tassoul 1980) with a Gaussian envelope.

    Envelope: height 2.03e7 ν_max^-2.38 ppm²/µHz and width 0.66 ν_max^0.88 (Mosser et al. 2012, A&A 537, A30), visibilities
    1, 1.5, 0.58. Widths grow with temperature on the main sequence (Appourchaux et al. 2012), 0.1 µHz for giants.
    """
    numax, dnu = star.numax, star.dnu
    envelope = 0.66 * numax**0.88 / 2.355
    height = 2.03e7 * numax**-2.38 * star.amplitude**2
    epsilon = 0.634 + 0.546 * np.log10(dnu) if dnu < 30 else 1.4
    width = 0.1 if numax < 300 else float(np.clip(np.exp((star.teff - TEFF_SUN) / 450.0), 0.3, 8.0))
    small = 0.065 * dnu if dnu > 30 else 0.125 * dnu  # between l = 0 and 2
    rows = []
    for n in range(max(1, int((numax - 3 * envelope) / dnu) - 2), int((numax + 3 * envelope) / dnu) + 2):
        for degree, visibility, shift in ((0, 1.0, 0.0), (1, 1.5, -small / 3), (2, 0.58, -small)):
            order = n - 1 if degree == 2 else n
            nu = dnu * (order + degree / 2 + epsilon) + shift
            power = height * dnu * visibility / 3.08 * np.exp(-0.5 * ((nu - numax) / envelope) ** 2)
            rows.append((order, degree, nu, power, width))
    return np.array(rows)


def oscillations(frequency, step, star):
    """Density of all modes: Lorentzians integrated over each frequency cell, so that narrow modes keep their power."""
    density = np.zeros(frequency.size)
    for _, _, nu, power, width in modes(star):
        low, high = np.searchsorted(frequency, (nu - 40 * width - 2 * step, nu + 40 * width + 2 * step))
        edges = np.append(frequency[low:high], frequency[min(high, frequency.size - 1)]) - 0.5 * step
        share = np.arctan(2.0 * (edges - nu) / width) / np.pi
        density[low:high] += power * np.diff(share) / step
    return density


def spotted(rng, time, period, depth):
    """Six spots that come and go over some rotations, each dark while it faces us; ppm, not above zero."""
    span = time[-1] - time[0]
    total = np.zeros(time.size)
    lives = max(6, int(np.ceil(3 * span / (6 * period))))
    for _ in range(lives):
        middle = time[0] + rng.uniform(-0.1, 1.1) * span
        life = period * rng.uniform(2.5, 5.0)
        own = period * (1.0 + rng.uniform(-0.01, 0.01))
        phase = rng.normal(0.0, 0.35)  # active longitudes
        facing = np.maximum(0.0, np.cos(2 * np.pi * time / own + phase))
        total -= depth * rng.uniform(0.4, 1.0) * facing * np.exp(-0.5 * ((time - middle) / life) ** 2)
    return total


def transits(time, planet):
    """Relative flux of a planet's transits: a trapezoid whose bottom is rounded by linear limb darkening; 1 outside."""
    if not planet:
        return np.ones(time.size)
    from_middle = np.mod(time - planet["epoch"] + 0.5 * planet["period"], planet["period"]) - 0.5 * planet["period"]
    place = np.abs(from_middle) / (0.5 * planet["duration"])
    edge = np.clip((1.0 - place) / 0.15, 0.0, 1.0)
    bottom = 1.0 - 0.3 * (1.0 - np.sqrt(np.clip(1.0 - place**2, 0.0, 1.0)))
    return 1.0 - 1e-6 * planet["depth"] * edge * bottom
