"""A star file and tables as the programs write them, read with and without astropy."""

import json
import os
import tempfile
import unittest
from unittest import mock

import h5py
import numpy as np

import plato_star

STAR = "PLATO_c4b4688e-4165-592a-9c05-f0e7a6f839c7"
ECSV = """# %ECSV 1.0
# ---
# delimiter: ','
# datatype:
# - {name: "star", datatype: string, description: "The star"}
# - {name: "X.value", unit: "uHz", datatype: float64, description: "What \\"X\\" is"}
# - {name: "X.ok", datatype: bool, description: "A flag"}
# - {name: "X.why", datatype: string, description: "Why something of X is missing"}
# meta: !!omap
# - {description: "P 1 of run r"}
# schema: astropy-2.0
star,X.value,X.ok,X.why
s1,0.5,True,
s2,,False,"M skipped, as it said"
"""


def entry(module, declares, outcome):
    return {"module": module, "state": outcome["outcome"], "outcome": outcome, "declares": declares}


def star_file(folder):
    """A small star file: a light curve that is linked, a spectrum, a number, and three ways to be missing."""
    with h5py.File(os.path.join(folder, "large.h5"), "w") as file:
        file["EXTERNALS/DP1_LC_MERGED/time"] = np.arange(5.0)
        file["EXTERNALS/DP1_LC_MERGED/flux"] = np.ones(5, ">f4")
        file["EXTERNALS/DP1_LC_MERGED/time"].attrs["unit"] = "d"
    path = os.path.join(folder, "star.h5")
    with h5py.File(path, "w") as file:
        file.attrs["PLATO_ID"], file.attrs["QUARTER_NUMBER"], file.attrs["STATUS"] = STAR, 3, np.bytes_(b"complete")
        file.attrs["LOST_MODULES"] = ["M7", "M8"]
        file["EXTERNALS/DP1_LC_MERGED"] = h5py.ExternalLink("large.h5", "/EXTERNALS/DP1_LC_MERGED")
        file["PRODUCTS/IDP_SAS_AARPSD/frequency"] = np.arange(1.0, 4.0)
        file["PRODUCTS/IDP_SAS_AARPSD/power"] = np.arange(3.0)
        file["PRODUCTS/IDP_SAS_AARPSD/power"].attrs["unit"] = "ppm2 / uHz"
        file["PRODUCTS/DP3_SAS_NU_MAX/value"] = np.array(2402.5, ">f8")
        file["PRODUCTS/DP3_SAS_NU_MAX/value"].attrs["unit"] = np.bytes_(b"uHz")
        file["PRODUCTS/DP3_SAS_NU_MAX/info/label"] = "µ"
        file.create_group("PRODUCTS/AGE").attrs["NOT_PRODUCED"] = "too young"
        manifest = {
            "externals": {"DP1_LC_MERGED": {}},
            "products": {"IDP_SAS_AARPSD": {}, "DP3_SAS_NU_MAX": {}, "AGE": {"not_produced": "too young"}},
            "generation": {"number": 1, "run": "r"},
            "modules": [
                entry("M1", ["DP3_SAS_NU_MAX", "SPARE"], {"outcome": "succeeded"}),
                entry("M2", ["PROT"], {"outcome": "skipped", "reason": "condition", "detail": "flag = false"}),
            ],
        }
        file["MANIFEST"] = json.dumps(manifest)
    return path


class StarFile(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.star = plato_star.open(star_file(self.folder.name))
        self.addCleanup(self.star.close)

    def test_what_is_there_is_listed_with_columns_and_units(self):
        self.assertEqual((self.star.name, self.star.quarter, self.star.generation["number"]), (STAR, 3, 1))
        self.assertEqual(self.star.products, ["DP1_LC_MERGED", "DP3_SAS_NU_MAX", "IDP_SAS_AARPSD"])
        self.assertEqual((self.star.status, self.star.attributes["LOST_MODULES"]), ("complete", ["M7", "M8"]))
        unit, shape, kind = self.star.columns("IDP_SAS_AARPSD")["power"]
        self.assertEqual((unit, shape, kind), ("ppm2 / uHz", (3,), np.float64))
        self.assertEqual(list(self.star.columns("DP3_SAS_NU_MAX")), ["info/label", "value"])
        self.assertIn("complete, 3 products, 0 modules failed", repr(self.star))

    def test_values_come_in_their_unit_and_links_are_followed(self):
        value = self.star.get("DP3_SAS_NU_MAX")
        self.assertEqual(getattr(value, "value", value), 2402.5)
        self.assertEqual(self.star["DP3_SAS_NU_MAX"]["info/label"], "µ")
        self.assertEqual(len(self.star.table("DP1_LC_MERGED")["time"]), 5)
        self.assertEqual(self.star.get("DP3_SAS_NU_MAX", "error", default=0.0), 0.0)

    def test_what_is_missing_has_its_reason(self):
        reasons = {"AGE": "too young", "PROT": "M2 skipped: condition: flag = false", "SPARE": "M1 made none",
                   "OTHER": "nobody delivered it, and no module of this run makes it", "DP3_SAS_NU_MAX": None}
        self.assertEqual({product: self.star.why(product) for product in reasons}, reasons)
        self.assertIsNone(self.star.get("PROT"))
        with self.assertRaisesRegex(plato_star.Missing, "PROT of PLATO_.*condition"):
            self.star["PROT"]
        os.remove(os.path.join(self.folder.name, "large.h5"))
        with self.assertRaisesRegex(plato_star.Missing, "sas star export"):
            self.star["DP1_LC_MERGED"]

    def test_another_file_is_told_apart(self):
        path = os.path.join(self.folder.name, "large.h5")
        with self.assertRaisesRegex(plato_star.Missing, "is no star file"):
            plato_star.open(path)

    @unittest.skipIf(plato_star._units is None, "astropy is not installed")
    def test_units_are_those_of_astropy(self):
        from astropy import units
        self.assertAlmostEqual(self.star.get("DP3_SAS_NU_MAX").to_value(units.Hz), 2402.5e-6)
        power = self.star.table("IDP_SAS_AARPSD")["power"]
        self.assertAlmostEqual(power[2].to_value(1 / units.Hz), 2e-12 / 1e-6)

    def test_a_star_is_plotted(self):
        try:
            import matplotlib
        except ImportError:
            self.skipTest("matplotlib is not installed")
        matplotlib.use("Agg")
        curve, spectrum = self.star.plot()
        self.assertIn("DP1_LC_MERGED", curve.get_ylabel())
        self.assertIn("ppm2 / uHz", spectrum.get_ylabel())


class Tables(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def write(self, name, text):
        path = os.path.join(self.folder.name, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def plain(self, name, text):
        with mock.patch.object(plato_star, "_table", None):
            return plato_star.read_table(self.write(name, text))

    def test_without_astropy_numbers_are_arrays_and_missing_ones_nan(self):
        csv = "star,X.value [uHz],X.ok,X.why\ns1,0.5,true,\ns2,,false,\"M skipped, as it said\"\n"
        for name, text in (("t.csv", csv), ("t.ecsv", ECSV)):
            table = self.plain(name, text)
            self.assertEqual(list(table), ["star", "X.value", "X.ok", "X.why"])
            self.assertEqual(table.units, {"X.value": "uHz"})
            self.assertEqual((table["X.value"][0], np.isnan(table["X.value"][1])), (0.5, True))
            self.assertEqual((table["X.ok"].tolist(), table["X.why"][1]), ([True, False], "M skipped, as it said"))
        with mock.patch.object(plato_star, "_table", None), self.assertRaisesRegex(ImportError, "astropy"):
            plato_star.read_table("t.parquet")

    @unittest.skipIf(plato_star._units is None, "astropy is not installed")
    def test_with_astropy_it_is_a_table_with_units(self):
        table = plato_star.read_table(self.write("t.ecsv", ECSV))
        self.assertEqual(str(table["X.value"].unit), "uHz")
        self.assertEqual(table["X.value"].mask.tolist(), [False, True])
        self.assertEqual(table["X.value"].info.description, 'What "X" is')


class Units(unittest.TestCase):
    @unittest.skipIf(plato_star._units is None, "astropy is not installed")
    def test_astropy_reads_every_unit_of_the_data_model(self):
        import tomllib
        from astropy import units
        path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "pipelines", "products.toml")
        with open(path, "rb") as file:
            products = tomllib.load(file)["products"]
        written = {column["unit"] for product in products.values() for column in product.get("columns", {}).values() if "unit" in column}
        self.assertEqual({unit: units.Unit(unit).to_string() for unit in written if unit not in ("Rsun", "Msun", "Lsun")},
                         {unit: unit for unit in written if unit not in ("Rsun", "Msun", "Lsun")})
        self.assertEqual(units.Unit("Rsun"), units.R_sun)


if __name__ == "__main__":
    unittest.main()
