"""The independent reading of the contract, on modules with one clause or two: it must say what the platform says.

`A` and `B` are made by modules of that name, `X`, `Y` and `S` are externals, and `T` is the module in question.
"""

import os
import tempfile
import unittest

import h5py

from . import reading

PRODUCTS = {"A": "A", "B": "B"}
EXTERNALS = ("X", "Y", "S")


class Decisions(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = os.path.join(directory.name, "all.h5")
        with h5py.File(self.path, "w") as file:
            for name in EXTERNALS:
                file[f"EXTERNALS/{name}/flag"] = True
            for name in PRODUCTS:
                file[f"PRODUCTS/{name}/flag"] = True

    def decide(self, module, there):
        """How T ends, as text; `there` lists what is there, and what was lost as `lost=B`."""
        there = there.split()
        modules = {name: {"outputs": {"optional": [name]}} for name in PRODUCTS}
        definition = {"externals": {"star": EXTERNALS}, "modules": {**modules, "T": module}}
        externals = {name: self.path for name in EXTERNALS if name in there}
        star = reading.Star(definition, "", "star", 3, externals, {})
        for name in PRODUCTS:
            state = "failed" if f"lost={name}" in there else "succeeded"
            star.ends[name] = reading.End(state, "", {name: self.path} if name in there else {})
        end = star._decide("T")
        return "runs" if end is None else f"{end.state} ({end.reason})" if end.state == "skipped" else end.state

    def check(self, inputs, there, expected, **more):
        self.assertEqual(self.decide({"inputs": inputs, **more}, there), expected, there)

    def test_in_a_clause_a_loss_comes_before_what_was_not_made_and_that_before_what_was_not_delivered(self):
        inputs = {"mandatory": ["X", "A", "B"]}
        self.check(inputs, "X A B", "runs")
        self.check(inputs, "A B", "skipped (missing_external)")
        self.check(inputs, "B", "skipped (not_made)")
        self.check(inputs, "lost=B", "upstream_failed")
        lists = {"one_of": [["X"], ["A"], ["B"]]}
        self.check(lists, "A B", "skipped (missing_external)")
        self.check(lists, "B", "skipped (not_made)")
        self.check(lists, "lost=B", "upstream_failed")

    def test_among_alternatives_what_was_not_delivered_comes_before_what_was_not_made(self):
        inputs = {"one_of": [["A", "X"], ["B@previous", "Y"]]}
        self.check(inputs, "A Y", "runs")
        self.check(inputs, "Y", "skipped (missing_external)")
        self.check(inputs, "X", "skipped (missing_external)")
        self.check(inputs, "lost=A Y", "upstream_failed")
        self.check({"one_of": [["A", "B"], ["B@previous", "Y"]]}, "", "skipped (not_made)")

    def test_the_first_clause_that_misses_something_decides(self):
        inputs = {"mandatory": ["X"], "conditional": [{"product": "B", "when": "P.S.flag"}], "one_of": [["A"]]}
        self.check(inputs, "S lost=A lost=B", "skipped (missing_external)")
        self.check(inputs, "S X lost=A", "skipped (not_made)")
        self.check(inputs, "S X lost=A lost=B", "upstream_failed")
        self.check(inputs, "X lost=A lost=B", "upstream_failed")
        self.check(inputs, "X A", "runs")

    def test_the_condition_comes_first(self):
        inputs = {"mandatory": ["X"]}
        self.check(inputs, "lost=A", "skipped (condition)", run_if="P.S.flag")
        self.check(inputs, "lost=A", "upstream_failed", run_if="P.A.flag")
        self.check(inputs, "S", "skipped (missing_external)", run_if="P.S.flag")

    def test_a_condition_of_an_input_that_was_lost(self):
        inputs = {"mandatory": ["X"], "conditional": [{"product": "Y", "when": "P.A.flag"}]}
        self.check(inputs, "lost=A", "skipped (missing_external)")
        self.check(inputs, "X lost=A", "upstream_failed")


if __name__ == "__main__":
    unittest.main()
