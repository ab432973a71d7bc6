"""Simulated stars through the whole pipeline: every star ends with the right branch and the right numbers."""

import json
import os
import tempfile
import unittest

import h5py

from sas_modules import simulate

from .harness import Player

NUMAX, DNU, ROTATION = 0.10, 0.03, 0.15  # relative tolerances
SEEDS = (1, 2)


def number(path, product):
    """The value of a scalar product, None when it was not made."""
    with h5py.File(path, "r") as file:
        return float(file[f"PRODUCTS/{product}/value"][()]) if product in file["PRODUCTS"] else None


def flag(path, name):
    with h5py.File(path, "r") as file:
        return bool(file[f"PRODUCTS/IDP_SAS_SEISMIC_DETECTION_FLAG/{name}"][()])


class SimulatedStars(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.TemporaryDirectory()
        cls.played = []
        with Player(cls.scratch.name) as player:
            for seed in SEEDS:
                directory = os.path.join(cls.scratch.name, str(seed))
                simulate.main([directory, "--seed", str(seed)])
                with open(os.path.join(directory, "truth.json"), encoding="utf-8") as file:
                    stars = json.load(file)["stars"]
                cls.played += [(truth, *player.play(os.path.join(directory, truth["file"]))) for truth in stars]

    @classmethod
    def tearDownClass(cls):
        cls.scratch.cleanup()

    def each(self):
        for truth, outcomes, path in self.played:
            with self.subTest(star=truth["star"], kind=truth["kind"]):
                yield truth, outcomes, path

    def test_no_module_fails_or_breaks_its_contract(self):
        for _, outcomes, _ in self.each():
            for module, outcome in outcomes.items():
                self.assertNotEqual(outcome.state, "failed", f"{module}: {outcome.reason}")
                self.assertEqual(outcome.violations, [], module)

    def test_oscillations_are_claimed_exactly_where_they_are(self):
        for truth, _, path in self.each():
            self.assertEqual(flag(path, "osc_detection_flag"), truth["oscillates"])
            self.assertEqual(number(path, "DP3_SAS_NU_MAX") is not None, truth["oscillates"])

    def test_numax_and_dnu_are_right(self):
        for truth, _, path in self.each():
            if truth["oscillates"] and number(path, "DP3_SAS_NU_MAX") is not None:
                self.assertLess(abs(number(path, "DP3_SAS_NU_MAX") / truth["numax"] - 1), NUMAX)
                self.assertLess(abs(number(path, "DP3_SAS_DELTA_NU_AV") / truth["dnu"] - 1), DNU)

    def test_peak_bagging_runs_only_where_the_flag_says_so(self):
        for truth, outcomes, path in self.each():
            self.assertEqual(outcomes["MSAP3_04"].state == "succeeded", flag(path, "peakbagging_flag"))
            if truth["peakbagging"] is not None:
                self.assertEqual(flag(path, "peakbagging_flag"), truth["peakbagging"])

    def test_rotation_is_claimed_exactly_where_it_is(self):
        for truth, _, path in self.each():
            period = number(path, "DP4_SAS_PROT")
            self.assertEqual(period is not None, truth["rotation"] is not None, f"found {period}, truth {truth['rotation']}")
            if period is not None and truth["rotation"]:
                self.assertLess(abs(period / truth["rotation"] - 1), ROTATION)

    def test_transits_are_removed(self):
        for truth, _, path in self.each():
            if truth["transits"]:
                with h5py.File(path, "r") as file:
                    self.assertIn("ADP_SAS_LC_NT", file["PRODUCTS"])
                    kit = file["EXTERNALS/IDP_EAS_TRANSIT_REMOVAL_KIT/Relative_flux_curve/flux"][()]
                    self.assertGreater(file["PRODUCTS/IDP_SAS_VARLC_METADATA/ntransit"][()], 0.9 * (kit < 1).sum())

    def test_mass_and_radius_follow_a_detection(self):
        for truth, outcomes, path in self.each():
            self.assertEqual(outcomes["MSAP5_12"].state == "succeeded", truth["oscillates"])
            if outcomes["MSAP5_12"].state == "succeeded":
                with h5py.File(path, "r") as file:
                    radius = float(file["PRODUCTS/IDP_SAS_RADIUS_SCALING_ONLY/data/median"][()])
                self.assertLess(abs(radius / truth["radius"] - 1), 0.25)


if __name__ == "__main__":
    unittest.main()
