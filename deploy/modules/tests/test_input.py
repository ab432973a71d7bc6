"""What light curves look like in the field: units, order, NaNs, quality bits, too few points; and the container contract."""

import hashlib
import os
import tempfile
import unittest

import h5py
import numpy as np

from sas_modules import kit, lightcurve, msap4_02_rotation, starmodel, units

from . import harness
from .harness import Player, load, run_once, stage

FLARES = ["python3", "-m", "sas_modules", "flares"]


def star_file(path, time, flux, flags=None, time_unit="d", flux_unit="normalized", teff=5700.0, radius=1.1,
              quarter=None):
    """A minimal star file."""
    with h5py.File(path, "w") as file:
        put = file.create_group("EXTERNALS").create_dataset
        put("DP1_LC_MERGED/time", data=time).attrs["unit"] = time_unit
        put("DP1_LC_MERGED/flux", data=flux).attrs["unit"] = flux_unit
        if quarter is not None:
            put("DP1_LC_MERGED/quarter", data=quarter)
        put("DP1_LC_MERGED_FLAGS/flag", data=np.zeros(len(time), np.int32) if flags is None else flags)
        put("IDP_EAS_QC_TARGET_TCE_DETECTION/flag", data=np.bool_(False))
        put("IDP_PFU_TEFF_SAPP/value", data=teff)
        put("IDP_PFU_RADIUS_CLASSICAL/value", data=radius)
        put("IDP_PFU_COVMAT_SAPP/covmat", data=np.eye(3))
    return path


def solar(days=30, noise=35.0, seed=3, **rest):
    star = starmodel.star_with_numax(2200.0, 5650.0, **rest)
    time, flux, _ = starmodel.observe(np.random.default_rng(seed), star, days, 100.0, noise)
    return time, flux


class Scratch(unittest.TestCase):
    def setUp(self):
        self.scratch = tempfile.TemporaryDirectory()
        self.addCleanup(self.scratch.cleanup)

    def path(self, name):
        return os.path.join(self.scratch.name, name)


class Field(Scratch):
    def numax(self, **star):
        with Player(self.scratch.name) as player:
            outcomes, whole = player.play(star_file(self.path("star.h5"), **star))
        self.assertFalse([f"{m}: {o.reason}" for m, o in outcomes.items() if o.state == "failed"])
        with h5py.File(whole, "r") as file:
            return float(file["PRODUCTS/DP3_SAS_NU_MAX/value"][()]) if "DP3_SAS_NU_MAX" in file["PRODUCTS"] else None

    def test_units_order_and_damage_do_not_matter(self):
        time, flux = solar()
        mixed = np.random.default_rng(1).permutation(time.size)
        damaged = flux.copy()
        damaged[::97] = np.nan
        bits = np.where(np.arange(time.size) % 53 == 0, 8192, 0).astype(np.int32)
        spiked = np.where(bits > 0, flux + 0.05, flux)
        blank, stray = flux.copy(), time.copy()
        blank[6000:12000], stray[5::500], stray[77] = 0.0, -1.0, 1e12
        variants = {
            "days, normalised": dict(time=time, flux=flux),
            "seconds, ppm": dict(time=time * 86400, flux=(flux - 1) * 1e6, time_unit="s", flux_unit="ppm"),
            "no units, electrons": dict(time=time, flux=flux * 3.2e5, time_unit="", flux_unit=""),
            "relative to zero": dict(time=time, flux=flux - 1, flux_unit=""),
            "ppm without a unit": dict(time=time, flux=(flux - 1) * 1e6, flux_unit=""),
            "minutes, magnitudes": dict(time=time * 1440, flux=12.0 - 2.5 * np.log10(flux), time_unit="min", flux_unit="mag"),
            "unsorted": dict(time=time[mixed], flux=flux[mixed]),
            "NaNs": dict(time=time, flux=damaged),
            "big-endian, quality bits": dict(time=time.astype(">f8"), flux=spiked.astype(">f8"), flags=bits),
            "zeros for what is missing, strays among the stamps": dict(time=stray, flux=blank),
            "temperature and radius absent": dict(time=time, flux=flux, teff=np.nan, radius=-1.0),
        }
        for name, star in variants.items():
            with self.subTest(name):
                found = self.numax(**star)
                self.assertIsNotNone(found)
                self.assertLess(abs(found / 2200.0 - 1), 0.1)

    def numax_of_noise(self, flux, cadence=100.0):
        time = np.arange(flux.size) * cadence / 86400
        return self.numax(time=time, flux=flux)

    def test_stars_without_oscillations_have_no_numax(self):
        random = np.random.default_rng(11)
        white = random.normal(1.0, 1e-4, 26000)
        red = 1.0 + np.cumsum(random.normal(0.0, 2e-6, 26000)) + random.normal(0.0, 1e-4, 26000)
        quiet = starmodel.star_with_numax(1500.0, 5800.0, oscillates=False)
        _, granulation, _ = starmodel.observe(random, quiet, 30, 100.0, 50.0)
        fast = starmodel.Star(5500, 0.9, 0.9, oscillates=False, rotation=0.7, spots=8000.0)
        _, rotation, _ = starmodel.observe(random, fast, 60, 900.0, 100.0)
        # A hump with a regular pattern as high as the noise, but a hundred times too low for a star with this ν_max.
        frequency = np.fft.rfftfreq(200000, 600.0) * 1e6
        hump = np.exp(-0.5 * ((frequency - 250.0) / 35.0) ** 2) * (1.0 + np.cos(2.0 * np.pi * frequency / 9.2))
        bumpy = 1.0 + np.fft.irfft(np.fft.rfft(random.normal(0.0, 2e-5, 200000)) * np.sqrt(1.0 + 0.5 * hump))
        phase = np.arange(26000) / 864.0 / 0.55 % 1.0
        sawtooth = 1.0 + 0.3 * np.where(phase < 0.15, phase / 0.15, (1.0 - phase) / 0.85) + random.normal(0.0, 3e-4, 26000)
        for name, flux, cadence in (("white", white, 100.0), ("red", red, 100.0), ("granulation", granulation, 100.0),
                                    ("fast rotation", rotation, 900.0), ("bump of an instrument", bumpy, 600.0),
                                    ("pulsation with a corner", sawtooth, 100.0)):
            with self.subTest(name):
                self.assertIsNone(self.numax_of_noise(flux, cadence))

    def test_few_bins_are_no_failure_of_rotation(self):
        self.assertIsNone(self.numax_of_noise(np.random.default_rng(5).normal(1.0, 1e-4, 300), 1800.0))


class Refusals(Scratch):
    def refusal(self, **star):
        pipeline, _ = load()
        with h5py.File(star_file(self.path("star.h5"), **star), "r") as file:
            self.assertEqual(stage(pipeline["modules"]["MSAP1_02"], file, self.path("in.h5")), [])
        done = run_once(FLARES, self.path("in.h5"), self.path("out.h5"))
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertFalse(os.path.exists(self.path("out.h5")))
        self.assertEqual(len(done.stderr.strip().splitlines()), 1)
        return done.stderr.strip()

    def test_seven_points_are_too_few(self):
        said = self.refusal(time=np.arange(7) / 48, flux=np.ones(7))
        self.assertEqual(said, "MSAP1_02: 7 points are too few, at least 256 are needed")

    def test_a_curve_of_nans_is_refused(self):
        said = self.refusal(time=np.arange(5000) / 48, flux=np.full(5000, np.nan))
        self.assertIn("0 points usable (of 5000) are too few", said)

    def test_columns_of_different_length_are_refused(self):
        self.assertIn("5000 times and 4999 fluxes", self.refusal(time=np.arange(5000) / 48, flux=np.ones(4999)))

    def test_a_flux_that_never_changes_is_refused(self):
        self.assertIn("same flux", self.refusal(time=np.arange(5000) / 48, flux=np.zeros(5000)))

    def test_flags_that_do_not_belong_to_the_points_are_refused(self):
        time, flux = solar(days=10)
        bits = np.zeros(time.size, np.uint64)
        self.assertIn("flags for", self.refusal(time=time, flux=flux, flags=bits[:-1]))
        self.assertIn("`flag` of this delivery holds text", self.refusal(time=time, flux=flux, flags=np.full(time.size, b"G", "S1")))
        self.assertIn("holds fractions", self.refusal(time=time, flux=flux, flags=np.full(time.size, 0.5)))

    def test_columns_that_are_no_numbers_are_refused_by_name(self):
        time, flux = solar(days=10)
        lists = np.empty(time.size, h5py.vlen_dtype(np.int32))
        lists[:] = [np.zeros(1, np.int32)] * time.size
        records = np.zeros(time.size, [("value", "f8"), ("error", "f8")])
        self.assertIn("`flag` of this delivery holds lists", self.refusal(time=time, flux=flux, flags=lists))
        self.assertIn("`time` of this delivery holds text", self.refusal(time=time.astype("S8"), flux=flux))
        self.assertIn("`flux` of this delivery holds records of value, error", self.refusal(time=time, flux=records))
        self.assertIn("`flux` of this delivery holds complex numbers", self.refusal(time=time, flux=flux + 0j))
        self.assertIn("`quarter` of this delivery holds text", self.refusal(time=time, flux=flux, quarter=np.full(time.size, b"Q1")))

    def test_flags_are_honoured_or_refused_but_never_ignored(self):
        time, flux = solar(days=10)
        random = np.random.default_rng(8).random(time.size)
        for flags, words in (
            (np.full(time.size, 8192), "0 points usable and not flagged (of 8640)"),
            (np.full(time.size, np.nan), "0 points usable and with a flag (of 8640)"),
            (np.where(random < 0.4, 1, 0), "% of the points are flagged, with values up to 1: too many for quality"),
            (np.where(random < 0.005, 2, 1), "100% of the points are flagged, with values up to 2"),
        ):
            self.assertIn(words, self.refusal(time=time, flux=flux, flags=flags))
        with h5py.File(star_file(self.path("star.h5"), time, flux), "r+") as file:
            file.move("EXTERNALS/DP1_LC_MERGED_FLAGS/flag", "EXTERNALS/DP1_LC_MERGED_FLAGS/flags")
            with self.assertRaisesRegex(kit.Refused, "DP1_LC_MERGED_FLAGS has no column `flag`"):
                lightcurve.read(kit.Inputs(file, {}, 0))

    def test_counts_without_a_level_are_refused(self):
        time, flux = solar(days=10)
        for counts in ((flux - np.median(flux)) * 187654.3, (flux - 1.0) * 1e5 - 250.0):
            self.assertIn("not clearly positive", self.refusal(time=time, flux=counts, flux_unit="e-/s"))

    def test_unknown_units_are_refused_by_name(self):
        time, flux = solar(days=10)
        self.assertIn("the flux is in 'Jy', which is not known", self.refusal(time=time, flux=flux, flux_unit="Jy"))
        self.assertIn("the time is in 'fortnight', which is not known", self.refusal(time=time, flux=flux, time_unit="fortnight"))

    def test_one_time_for_all_is_refused(self):
        self.assertIn("same time", self.refusal(time=np.ones(5000), flux=np.random.default_rng(1).normal(1, 1e-4, 5000)))


class Contract(Scratch):
    def test_a_missing_input_file_is_a_failure_with_one_line(self):
        done = run_once(FLARES, self.path("none.h5"), self.path("out.h5"))
        self.assertEqual((done.returncode, len(done.stderr.strip().splitlines())), (1, 1))

    def test_an_unknown_module_is_a_wrong_call(self):
        self.assertEqual(run_once(["python3", "-m", "sas_modules", "nothing"], "", "").returncode, 2)

    def test_equal_inputs_give_equal_outputs(self):
        time, flux = solar()
        star = star_file(self.path("star.h5"), time, flux)
        digests = []
        for _ in range(2):
            with Player(self.scratch.name) as player:
                _, whole = player.play(star)
            digests.append(digest(whole))
        self.assertEqual(*digests)

    def test_the_template_runs(self):
        with h5py.File(self.path("in.h5"), "w") as file:
            file["PRODUCTS/IDP_SAS_AARLC/flux"] = 1.0 + 1e-4 * np.sin(np.arange(1000))
        template = os.path.join(harness.MODULES_DIR, "TEMPLATE", "module.py")
        done = run_once(["python3", template], self.path("in.h5"), self.path("out.h5"))
        self.assertEqual(done.returncode, 0, done.stderr)
        with h5py.File(self.path("out.h5"), "r") as file:
            self.assertAlmostEqual(float(file["PRODUCTS/ADP_SAS_EXAMPLE_SCATTER/value"][()]), 104.8, delta=1.0)


class Definition(unittest.TestCase):
    def test_every_product_has_one_producer_or_is_an_external(self):
        pipeline, model = load()
        made = [product for module in pipeline["modules"].values() for product in harness.outputs(module)]
        self.assertEqual(len(made), len(set(made)))
        known = set(made) | set(pipeline["externals"]["star"])
        for name, module in pipeline["modules"].items():
            inputs = module["inputs"]
            older = [p.partition("@")[0] for p in inputs.get("optional", [])]
            self.assertLessEqual(set(harness.needs(module)) | set(older), known, name)
            self.assertIn(module["class"], pipeline["classes"])
        self.assertLessEqual(set(made), set(model))

    def test_columns_of_the_data_model_are_well_formed(self):
        _, model = load()
        for product, rules in model.items():
            for column, rule in rules.get("columns", {}).items():
                self.assertLessEqual(set(rule), {"type", "ndim", "unit", "optional", "doc"}, f"{product}.{column}")
                self.assertIn(rule["type"], {"float", "int", "bool", "string"}, f"{product}.{column}")


class Rotation(unittest.TestCase):
    def found(self, ppm):
        grid = lightcurve.Grid(0.0, 1.0 / 24.0, ppm)
        lag, acf = msap4_02_rotation.autocorrelation(grid)
        return msap4_02_rotation.find(lag, acf, grid.span, float(np.std(ppm)))

    def test_spots_that_live_for_one_rotation_tell_the_period(self):
        random, time = np.random.default_rng(4), np.arange(720 * 24) / 24.0
        ppm = random.normal(0.0, 30.0, time.size)
        for middle in np.arange(0.0, 720.0, 8.0):
            facing = np.maximum(0.0, np.cos(2.0 * np.pi * time / 12.0 + random.uniform(0.0, 2.0 * np.pi)))
            ppm -= 400.0 * facing * np.exp(-0.5 * ((time - middle) / 9.0) ** 2)
        found = self.found(ppm)
        self.assertIsNotNone(found)
        self.assertLess(abs(found.period / 12.0 - 1), 0.1)

    def test_oscillations_of_a_giant_are_no_rotation(self):
        for seed in range(4):
            giant = starmodel.star_with_numax(8.0, 4500.0, mass=1.2)
            self.assertIsNone(self.found(starmodel.stochastic(np.random.default_rng(seed), giant, 720 * 24, 3600.0)))


class Units(unittest.TestCase):
    def test_a_flux_becomes_ppm_of_its_median(self):
        ppm = np.random.default_rng(2).normal(0.0, 300.0, 5000)
        ppm -= np.median(ppm)
        one = 1.0 + 1e-6 * ppm
        counts = ("e-/s", "e- s-1", "electron / s", "electrons/s", "electron s^-1", "e-", "DN", "ADU", "adu/s", "counts", "Counts/sec", "")
        cases = [(one * 187654.3, unit) for unit in counts] + [(one * 0.05, "e-/s")]
        cases += [(one, unit) for unit in ("normalized", "relative", "")] + [(one - 1.0, "normalized"), (one - 1.0, "")]
        cases += [(ppm, "ppm"), (ppm + 40.0, ""), (ppm * 1e-3, "ppt"), (ppm * 1e-4, "%"), (one * 1e6, "ppm")]
        cases += [(11.0 - 2.5 * np.log10(one), "mag"), (-2500.0 * np.log10(one), "mmag")]
        for flux, unit in cases:
            with self.subTest(unit, median=np.median(flux)):
                found = units.ppm(flux, float(np.median(flux)), lightcurve.spread(flux), unit)
                np.testing.assert_allclose(found, ppm, rtol=1e-3, atol=1e-3)

    def test_a_flux_that_nobody_can_tell_is_refused(self):
        for level, scatter, unit, words in (
            (0.0, 50.0, "e- s-1", "the median flux is 0 e- s-1, not clearly positive"),
            (120.0, 50.0, "DN", "more than 3 times its scatter of 50"),
            (0.2, 0.001, "normalized", "normalized is expected around 1 or 0"),
            (3.0, 0.001, "relative", "relative is expected around 1 or 0"),
            (4e5, 50.0, "ppm", "ppm is expected around 1e.06 or 0"),
            (1.0, 0.6, "relative", "not clearly positive"),
            (0.0, 0.4, "", "without a unit"),
            (0.05, 0.001, "", "without a unit"),
            (500.0, 100.0, "", "without a unit"),
            (-500.0, 1.0, "", "without a unit"),
            (1.0, 0.001, "ppm/s", "'ppm/s', which is not known"),
        ):
            with self.subTest(unit, level=level), self.assertRaisesRegex(kit.Refused, words):
                units.ppm(np.full(3, level), level, scatter, unit)

    def test_times_become_days(self):
        time = 100.0 + np.arange(300) / 144.0
        for factor, names in ((1.0, ("", "d", "days", "BJD", "TBJD", "BJD - 2454833", "BJD-2457000, days")), (24.0, ("h", "hours")),
                              (1440.0, ("min", "minutes")), (86400.0, ("s", "seconds", "", "d")), (8.64e7, ("ms",))):
            for unit in names:
                with self.subTest(unit, factor=factor):
                    np.testing.assert_allclose(units.days(time * factor, unit), time, rtol=1e-12)
        for unit in ("Ms", "m", "year", "1 / d", "dex"):
            with self.subTest(unit), self.assertRaisesRegex(kit.Refused, f"the time is in '{unit}', which is not known here"):
                units.days(time, unit)


class Flags(unittest.TestCase):
    def read(self, flags):
        """(usable points, points that the flags leave) of a curve whose even points are high, as of another camera group."""
        time = np.arange(4000) / 144.0
        flux = 1.0 + 1e-4 * np.random.default_rng(6).normal(size=time.size) + 1e-3 * (np.arange(4000) % 2 == 0)
        with tempfile.TemporaryDirectory() as directory:
            with h5py.File(star_file(os.path.join(directory, "star.h5"), time, flux, flags), "r") as file:
                raw = lightcurve.read(kit.Inputs(file, {}, 0))
        return raw.usable, float(np.median(raw.flux[::2][raw.usable[::2]]) - np.median(raw.flux[1::2][raw.usable[1::2]]))

    def test_groups_are_levelled_and_a_flag_that_is_nan_is_no_group(self):
        groups = np.where(np.arange(4000) % 2 == 0, 1.0, 2.0)
        groups[::50] = np.nan
        usable, offset = self.read(groups)
        np.testing.assert_array_equal(usable, np.isfinite(groups))
        self.assertAlmostEqual(offset, 0.0, places=6)

    def test_bits_on_many_points_are_honoured_where_they_are_no_cameras(self):
        flagged = np.random.default_rng(7).random(4000) < 0.4
        for flags in (np.where(flagged, 8192, 0), np.where(flagged, 1 << 63, 0).astype(np.uint64), flagged):
            usable, offset = self.read(flags)
            np.testing.assert_array_equal(usable, ~flagged)
            self.assertGreater(offset, 900.0)


class Columns(unittest.TestCase):
    def setUp(self):
        file = h5py.File("columns", "w", driver="core", backing_store=False)
        self.addCleanup(file.close)
        file["EXTERNALS/ALONE"] = np.arange(3.0)
        file["EXTERNALS/ALONE"].attrs["unit"] = np.array(["K"], h5py.string_dtype())
        file["EXTERNALS/WAVE/value"] = np.complex128(1.0 + 2.0j)
        file["EXTERNALS/WAVE/value"].attrs["unit"] = h5py.Empty("S1")
        self.inputs = kit.Inputs(file, {}, 0)

    def test_a_product_that_is_a_dataset_has_the_column_value_alone(self):
        self.assertEqual(list(self.inputs.numbers("ALONE", "value")), [0.0, 1.0, 2.0])
        self.assertIsNone(self.inputs.column("ALONE", "flux"))
        with self.assertRaisesRegex(kit.Refused, "ALONE has no column `flux`"):
            self.inputs.require("ALONE", "flux")

    def test_complex_numbers_are_refused(self):
        for ask in (self.inputs.number, self.inputs.numbers):
            with self.assertRaisesRegex(kit.Refused, "WAVE: the column `value` .*holds complex numbers"):
                ask("WAVE", "value")

    def test_a_unit_of_one_element_is_its_text(self):
        self.assertEqual([self.inputs.unit(product, "value") for product in ("ALONE", "WAVE", "NONE")], ["K", "", ""])


class Grid(unittest.TestCase):
    def test_more_cells_than_memory_are_refused(self):
        with self.assertRaisesRegex(kit.Refused, "more than 4000000 cells"):
            lightcurve.to_grid(np.array([0.0, 1e6]), np.ones(2), 1e-3)


class Cadence(unittest.TestCase):
    def test_camera_groups_count_as_one_exposure(self):
        base = np.arange(3000) * 25.0
        for groups, cycle, expected in ((1, 25.0, 25.0), (2, 25.0, 25.0), (4, 25.0, 6.25), (4, 600.0, 600.0)):
            stamps = np.sort(np.concatenate([base / 25.0 * cycle + 6.25 * g for g in range(groups)])) / 86400
            self.assertAlmostEqual(lightcurve.cadence(stamps) * 86400, expected, places=3)


def digest(path):
    """A hash over names and values of all datasets."""
    total = hashlib.sha256()
    with h5py.File(path, "r") as file:
        names = []
        file.visititems(lambda name, node: names.append(name) if isinstance(node, h5py.Dataset) else None)
        for name in sorted(names):
            total.update(name.encode() + np.asarray(file[name][()]).tobytes() if file[name].dtype.kind != "O" else name.encode())
    return total.hexdigest()


if __name__ == "__main__":
    unittest.main()
