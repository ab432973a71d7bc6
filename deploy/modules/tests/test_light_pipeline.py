"""The real pipeline with four kinds of star, decided by a reading of the contract that is independent of the project's."""

import os
import tempfile
import unittest
from argparse import Namespace

from light import contract, stars

from . import reading

HERE = os.path.dirname(os.path.abspath(__file__))
PIPELINE = os.path.join(HERE, "..", "..", "pipelines", "sas-pip.toml")
OFF = {"MSAP1_04", "MSAP4_05", "MSAP5_25", "MSAP5_26"}
QUIET = {
    *("MSAP1_01", "MSAP1_02", "MSAP1_07", "MSAP1_08", "MSAP3_01", "MSAP3_02", "MSAP3_03"),
    *("MSAP4_01", "MSAP4_02", "MSAP4_03", "MSAP4_04", "MSAP4_06", "MSAP4_07", "MSAP5_31", "MSAP5_33"),
}


class RealPipeline(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.definition = contract.read_toml(PIPELINE)
        cls.baseline = set(cls.definition["modules"]) - OFF
        cls.expected = {
            "quiet": QUIET,
            "rotating": QUIET - {"MSAP5_33"} | {"MSAP5_21", "MSAP5_22", "MSAP5_32", "MSAP5_34"},
            "seismic": cls.baseline - {"MSAP5_13", "MSAP5_33"},
            "mixed": cls.baseline - {"MSAP5_14", "MSAP5_15", "MSAP5_33"},
        }

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = directory.name

    def deliver(self, quarter, counts="quiet=1,rotating=1,seismic=1,mixed=1", without=()):
        """Star files of a quarter: {star: kind}."""
        options = Namespace(
            directory=os.path.join(self.directory, "delivered"), quarter=quarter, stars=counts, seed=1, points=16,
            without=without, pipeline=PIPELINE,
        )  # fmt: skip
        return stars.make(options)

    def run_star(self, star, quarter, script, previous=None):
        delivered = os.path.join(self.directory, "delivered")
        paths = [os.path.join(delivered, name) for name in (f"{star}_Q{quarter}.h5", "shared.h5")]
        subject = reading.Star(
            self.definition, os.path.dirname(PIPELINE), star, quarter, reading.externals(paths), {star: script}, previous
        )
        return subject.run(os.path.join(self.directory, f"{star}.{quarter}"))

    def assert_honoured(self, subject):
        """No module complained about what was staged."""
        broken = {name: subject.log[name] for name, end in subject.ends.items() if end.reason == "exit 64"}
        self.assertEqual(broken, {})

    def test_the_definition_has_34_modules_of_which_four_are_off(self):
        off = {name for name, module in self.definition["modules"].items() if not module.get("enabled", True)}
        self.assertEqual(len(self.definition["modules"]), 34)
        self.assertEqual(off, OFF)

    def test_each_kind_runs_its_modules_in_the_first_and_in_later_quarters(self):
        self.assertEqual([len(self.expected[kind]) for kind in reading.KINDS], [15, 18, 28, 27])
        before = {}
        for quarter in (3, 4, 5):
            for star, kind in self.deliver(quarter).items():
                with self.subTest(kind=kind, quarter=quarter):
                    subject = self.run_star(star, quarter, kind, before.get(star))
                    self.assert_honoured(subject)
                    self.assertEqual(subject.ran(), self.expected[kind])
                    skipped = {name: end.state for name, end in subject.ends.items() if name not in subject.ran()}
                    self.assertEqual(set(skipped.values()), {"skipped"})
                    before[star] = subject

    def test_skips_have_the_reasons_that_the_contract_gives(self):
        (star,) = self.deliver(0, "quiet=1")
        ends = self.run_star(star, 0, "quiet").ends
        for name in ("MSAP2_01", "MSAP3_04", "MSAP5_11", "MSAP5_14", "MSAP5_21", "MSAP5_24", "MSAP5_32"):
            self.assertEqual(ends[name].reason, "condition", name)
        self.assertEqual(ends["MSAP5_34"].reason, "not_made")
        self.assertEqual(ends["MSAP4_05"].reason, "disabled")

    def test_a_failed_module_blocks_what_needs_it_and_nothing_else(self):
        (star,) = self.deliver(0, "seismic=1")
        cases = {
            # Peak-bagging: the modules that use individual frequencies.
            "MSAP3_04": {"MSAP5_14", "MSAP5_15", "MSAP5_13"},
            # Spectroscopy: the last step of it; everybody else has the catalogue's values.
            "MSAP2_02": {"MSAP2_03"},
            # An order without data.
            "MSAP4_06": set(),
            "MSAP5_31": {"MSAP5_32", "MSAP5_33", "MSAP5_34"},
        }
        for failing, blocked in cases.items():
            with self.subTest(failing=failing):
                script = {"like": "seismic", "modules": {failing: {"fail": "exit 3"}}}
                subject = self.run_star(star, 0, script)
                self.assert_honoured(subject)
                self.assertEqual(subject.ends[failing].state, "failed")
                lost = {name for name, end in subject.ends.items() if end.state == "upstream_failed"}
                self.assertEqual(lost, blocked)
                self.assertEqual(subject.ran(), self.expected["seismic"] - {failing} - blocked)
                self.directory = tempfile.mkdtemp(dir=self.directory)
                self.deliver(0, "seismic=1")

    def test_failures_are_absorbed_where_the_contract_allows_it(self):
        (star,) = self.deliver(0, "seismic=1")
        cases = {
            # Three at once: frequencies and spectroscopy are lost, an order without data goes on.
            ("MSAP3_04", "MSAP2_02", "MSAP4_06"): {"MSAP2_03", "MSAP5_13", "MSAP5_14", "MSAP5_15"},
            # No flags of oscillations: log g from granulation keeps spectroscopy going.
            ("MSAP3_03",): {"MSAP3_04", "MSAP5_11", "MSAP5_12", "MSAP5_13", "MSAP5_14", "MSAP5_15"},
        }
        for number, (failing, blocked) in enumerate(cases.items()):
            script = {"like": "seismic", "modules": {name: {"fail": "exit 3"} for name in failing}}
            self.directory = os.path.join(self.directory, str(number))
            self.deliver(0, "seismic=1")
            subject = self.run_star(star, 0, script)
            self.assert_honoured(subject)
            lost = {name for name, end in subject.ends.items() if end.state == "upstream_failed"}
            self.assertEqual(lost, blocked)
            self.assertEqual(subject.ran(), self.expected["seismic"] - set(failing) - blocked)

    def test_a_missing_external_skips_what_needs_it(self):
        (star,) = self.deliver(0, "rotating=1", without=["IDP_PFU_L_IRFM"])
        subject = self.run_star(star, 0, "rotating")
        self.assert_honoured(subject)
        self.assertEqual(subject.ends["MSAP5_22"][:2], ("skipped", "missing_external"))
        self.assertEqual(subject.ran(), self.expected["rotating"] - {"MSAP5_22"})

    def test_what_belongs_to_another_star_or_quarter_is_noticed(self):
        right, other = self.deliver(1, "quiet=2")
        self.deliver(2, "quiet=2")
        delivered = os.path.join(self.directory, "delivered")
        for number, (name, words) in enumerate(((f"{other}_Q1.h5", f"is of {other}"), (f"{right}_Q2.h5", "is of quarter 2"))):
            paths = [os.path.join(delivered, name), os.path.join(delivered, "shared.h5")]
            externals, directory = reading.externals(paths), os.path.dirname(PIPELINE)
            subject = reading.Star(self.definition, directory, right, 1, externals, {right: "quiet"})
            subject.run(os.path.join(self.directory, str(number)))
            self.assertEqual(subject.ends["MSAP1_02"].reason, "exit 64")
            self.assertIn(words, subject.log["MSAP1_02"])

    def test_a_rotation_period_of_minus_one_is_no_period(self):
        (star,) = self.deliver(0, "rotating=1")
        script = {"like": "rotating", "values": {"DP4_SAS_PROT": {"value": -1}}}
        ran = self.run_star(star, 0, script).ran()
        self.assertEqual(ran, self.expected["rotating"] - {"MSAP5_21", "MSAP5_22"})


if __name__ == "__main__":
    unittest.main()
