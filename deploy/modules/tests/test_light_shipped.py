"""The shipped definitions fit their data model, and the seismic pipeline is a part of the whole one."""

import os
import re
import unittest

from light import contract, produce, script

PIPELINES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "pipelines")


def load(name):
    return contract.read_toml(os.path.join(PIPELINES, name))


class DataModel(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.definition = load("sas-pip.toml")
        cls.model = contract.read(os.path.join(PIPELINES, "sas-pip.toml"), "MSAP1_01").columns()

    def required(self, product):
        return {name for name, column in self.model[product].items() if not column.get("optional")}

    def test_the_number_that_a_product_stands_for_is_required(self):
        products = [name for name, columns in self.model.items() if columns.get("value", {}).get("ndim") == 0]
        self.assertIn("DP4_SAS_SPH", products)
        self.assertEqual([name for name in products if "value" not in self.required(name)], [])

    def test_what_conditions_read_is_required(self):
        for module in self.definition["modules"].values():
            conditions = [module.get("run_if", ""), *(item["when"] for item in module["inputs"].get("conditional", []))]
            text = " ".join(conditions)
            for product, column in re.findall(r"P\.(\w+)\.(\w+)", text):
                self.assertIn(column, self.required(product))
            for product in re.findall(r'valid\("(\w+)"\)', text):
                self.assertIn("value", self.required(product))
            for product in re.findall(r'(?:any|all)\("(\w+)"\)', text):
                flags = {name for name, column in self.model[product].items() if column["type"] == "bool"}
                self.assertTrue(flags and flags <= self.required(product), product)

    def test_light_writes_every_column_that_is_required(self):
        for kind in script.KINDS:
            behaviour = script.resolve(kind, "0", "M")
            for product in self.model:
                written = set(produce.columns(product, behaviour, b"", self.model))
                self.assertEqual(self.required(product) - written, set(), product)


class Seismic(unittest.TestCase):
    """What its header names as reduced is left out of the whole pipeline; the rest must be equal."""

    @classmethod
    def setUpClass(cls):
        cls.whole, cls.seismic = load("sas-pip.toml")["modules"], load("seismic.toml")["modules"]
        cls.made = {product for module in cls.seismic.values() for names in module["outputs"].values() for product in names}

    def kept(self, names):
        """Of products those that do not come from a module that is not part; externals are all part."""
        makers = {product for module in self.whole.values() for made in module["outputs"].values() for product in made}
        gone = makers - self.made
        return [name for name in names if name.removesuffix("@previous") not in gone]

    def test_a_module_reads_and_makes_the_same(self):
        for name, module in self.seismic.items():
            if name == "MSAP4_07":
                continue
            inputs, reference = module["inputs"], self.whole[name]["inputs"]
            self.assertEqual(module["outputs"], self.whole[name]["outputs"], name)
            self.assertEqual(inputs.get("mandatory"), reference.get("mandatory"), name)
            self.assertEqual(inputs.get("conditional"), reference.get("conditional"), name)
            self.assertEqual(inputs.get("optional", []), self.kept(reference.get("optional", [])), name)
            self.assertEqual(inputs.get("one_of", []), [*map(self.kept, reference.get("one_of", []))], name)

    def test_a_module_runs_when_it_does_in_the_whole_pipeline(self):
        for name, module in self.seismic.items():
            reference = self.whole[name]
            after = [other for other in reference.get("after", []) if other in self.seismic]
            self.assertEqual((module.get("run_if"), module.get("after", [])), (reference.get("run_if"), after), name)


if __name__ == "__main__":
    unittest.main()
