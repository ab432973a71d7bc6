"""Light notices whatever differs from the contract in what was staged, and in what is said of it."""

import os
import tempfile
import unittest

import h5py
import numpy as np
from light import contract, staged
from light.contract import EXTERNALS, PREVIOUS, PRODUCTS, Source

from . import reading

STAR = "PLATO_379e7a63-1a8d-5d47-a64d-f58653b6734e"
DEFINITION = {
    "params": {"min_modes": 3},
    "aliases": {"NEED [old]": "NEED"},
    "externals": {"star": ["FLAG", "KIT", "PLAIN [FE_H] "], "shared": ["GRID"]},
    "modules": {
        "M": {
            "inputs": {
                "mandatory": ["NEED [old]", "FLAG", "GRID"],
                "optional": ["MAY", "LAST@previous", "PLAIN [FE_H] "],
                "one_of": [["BEST@previous", "GOOD", "FAIR"], ["GOOD", "FAIR"]],
                "conditional": [{"product": "KIT", "when": "P.FLAG.flag"}],
            },
            "outputs": {"mandatory": ["OUT"]},
        },
        "MAKER": {"outputs": {"mandatory": ["NEED [old]", "GOOD"], "optional": ["MAY", "LAST"]}},
    },
}
NEED, FLAG, GRID, GOOD = Source("NEED", PRODUCTS), Source("FLAG", EXTERNALS), Source("GRID", EXTERNALS), Source("GOOD", PRODUCTS)
BEST, FAIR, KIT = Source("BEST", PREVIOUS), Source("FAIR", PRODUCTS), Source("KIT", EXTERNALS)
MAY, LAST, PLAIN = Source("MAY", PRODUCTS), Source("LAST", PREVIOUS), Source("PLAIN [FE_H] ", EXTERNALS)


class Input(unittest.TestCase):
    """Each test stages a right input but for one thing. What is staged is announced in the order of this list."""

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = directory.name
        self.known = contract.Contract(DEFINITION, "M")
        self.staged, self.chosen = [NEED, FLAG, GRID, GOOD], [GOOD, GOOD]
        self.flag = False
        self.change = lambda file: None

    def define(self, inputs, staged, chosen=(), externals=("FLAG", "KIT"), **module):
        """Another contract, with what was staged for it."""
        module = {"inputs": inputs, **module}
        self.known = contract.Contract({"externals": {"star": externals}, "modules": {"M": module}}, "M")
        self.staged, self.chosen = list(staged), list(chosen)

    def violations(self):
        with h5py.File(os.path.join(self.directory, "input.h5"), "w") as file:
            file.attrs["PLATO_ID"], file.attrs["QUARTER_NUMBER"] = STAR, 4
            file.attrs["STAGED"] = reading.announce(self.staged, self.chosen)
            for source in self.staged:
                file.require_group(f"{source.root}/{source.product}")["value"] = 1.0
            if FLAG in self.staged:
                file["EXTERNALS/FLAG/flag"] = self.flag
            self.change(file)
            return staged.violations(file, self.known, STAR, "4")

    def check(self, *expected):
        lines = self.violations()
        self.assertEqual(len(lines), len(expected), lines)
        for line, words in zip(lines, expected):
            self.assertIn(words, line)


class Staged(Input):
    def test_nothing_is_wrong_with_what_the_contract_promises(self):
        self.check()
        self.staged += [MAY, LAST, PLAIN]
        self.check()

    def test_a_missing_mandatory_input(self):
        self.staged.remove(GRID)
        self.check("missing mandatory input /EXTERNALS/GRID")

    def test_a_trigger_rule_gives_nobody_less(self):
        inputs = {"mandatory": ["NEED"], "one_of": [["GOOD", "FAIR"]]}
        self.define(inputs, [], trigger_rule="all_done")
        self.check("missing mandatory input /PRODUCTS/NEED", "no alternative of one_of /PRODUCTS/GOOD | /PRODUCTS/FAIR")

    def test_an_undeclared_input(self):
        self.staged.append(Source("OTHER", PRODUCTS))
        self.check("undeclared input /PRODUCTS/OTHER")

    def test_a_declared_product_in_the_wrong_place(self):
        self.staged.append(Source("MAY", PREVIOUS))
        self.check("undeclared input /PREVIOUS/PRODUCTS/MAY")

    def test_two_alternatives_of_one_list(self):
        self.staged.append(FAIR)
        self.check("/PRODUCTS/FAIR is an alternative that was not chosen")

    def test_a_later_alternative_may_serve_another_list(self):
        self.staged, self.chosen = [NEED, FLAG, GRID, BEST, GOOD], [BEST, GOOD]
        self.check()

    def test_no_alternative(self):
        self.staged.remove(GOOD)
        self.chosen = []
        self.check("no alternative of one_of /PREVIOUS/PRODUCTS/BEST", "no alternative of one_of /PRODUCTS/GOOD")

    def test_another_star(self):
        self.change = lambda file: file.attrs.modify("PLATO_ID", "PLATO_0")
        self.check("root attribute PLATO_ID is PLATO_0, expected PLATO_379e")

    def test_the_dates_of_the_observations_are_both_there_or_none(self):
        self.change = lambda file: file.attrs.update(OBS_START_DATE=[1.0], OBS_END_DATE=[2.0])
        self.check()
        self.change = lambda file: file.attrs.update(OBS_START_DATE=[1.0])
        self.check("root attribute OBS_END_DATE is missing, though")

    def test_objects_beside_products(self):
        self.change = lambda file: (file.create_group("LOG"), file.create_group("PREVIOUS/EXTERNALS"))
        self.check("undeclared object /LOG", "undeclared object /PREVIOUS/EXTERNALS")

    def test_a_group_of_products_that_is_something_else(self):
        self.define({"optional": ["MAY", "LAST@previous", "FLAG"]}, [])
        for path in ("/EXTERNALS", "/PRODUCTS", "/PREVIOUS", "/PREVIOUS/PRODUCTS"):
            self.change = lambda file, path=path: file.create_dataset(path, data=1.0)
            self.check(f"{path} is not a group")

        def change(file):
            file["PREVIOUS"] = h5py.SoftLink("/")
            file["PRODUCTS"] = h5py.ExternalLink("files/0.h5", "/PRODUCTS")

        self.change = change
        self.check("/PREVIOUS is not a group", "/PRODUCTS is not a group")

    def test_names_may_be_messy(self):
        # A slash in a product's name cannot be a group's name; brackets and a blank at the end can.
        self.define({"mandatory": ["IDP [FE_H] "]}, [Source("IDP [FE_H] ", EXTERNALS)], externals=["IDP [FE_H] "])
        self.check()

    def test_an_environment_that_lacks_something(self):
        given = {
            "SAS_STAR": STAR, "SAS_QUARTER": "4", "SAS_RUN": "r", "SAS_MODULE": "M", "SAS_ATTEMPT": "1", "SAS_SEED": "7",
            "SAS_CPUS": "1", "SAS_MEMORY_BYTES": "1000", "HOME": "/tmp", "HDF5_USE_FILE_LOCKING": "FALSE",
            "TRACEPARENT": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        }  # fmt: skip
        self.assertEqual(staged.missing_environment(given), [])
        for name in given:
            lines = staged.missing_environment({**given, name: ""})
            self.assertEqual(lines, [f"environment lacks {name}"])
        for name, value in (("SAS_SEED", str(1 << 64)), ("HOME", "/root"), ("TRACEPARENT", "1"), ("HDF5_USE_FILE_LOCKING", "1")):
            self.assertEqual(len(staged.missing_environment({**given, name: value})), 1, name)


class Announced(Input):
    """The root attribute STAGED."""

    def announce(self, staged, chosen):
        self.change = lambda file: file.attrs.modify("STAGED", reading.announce(staged, chosen))

    def test_an_alternative_that_is_not_the_first(self):
        self.staged = [NEED, FLAG, GRID, BEST, GOOD]
        self.check("STAGED says alternatives ['/PRODUCTS/GOOD', '/PRODUCTS/GOOD'], expected ['/PREVIOUS")

    def test_alternatives_in_another_order(self):
        self.staged, self.chosen = [NEED, FLAG, GRID, BEST, GOOD], [GOOD, BEST]
        self.check("STAGED says alternatives ['/PRODUCTS/GOOD', '/PREVIOUS/PRODUCTS/BEST'], expected ['/PREVIOUS")

    def test_something_else_than_what_is_there(self):
        self.staged.append(LAST)
        self.announce([NEED, FLAG, GRID, GOOD, MAY], self.chosen)
        self.check("STAGED lists /PRODUCTS/MAY", "STAGED does not list /PREVIOUS/PRODUCTS/LAST")

    def test_a_path_that_is_there_twice(self):
        self.announce([NEED, FLAG, GRID, GOOD, GOOD], self.chosen)
        self.check("STAGED lists /PRODUCTS/GOOD 2 times")

    def test_another_order_than_that_of_the_contract(self):
        self.flag = True
        self.staged = [NEED, FLAG, GRID, KIT, BEST, GOOD, MAY, LAST]
        self.chosen = [BEST, GOOD]
        self.check()
        for at in range(len(self.staged) - 1):
            order = [*self.staged]
            order[at : at + 2] = reversed(order[at : at + 2])
            self.announce(order, self.chosen)
            self.check("expected the order ['/PRODUCTS/NEED', '/EXTERNALS/FLAG'")

    def test_the_first_role_of_a_product_decides_its_place(self):
        inputs = {"mandatory": ["GOOD"], "optional": ["KIT", "FAIR"], "one_of": [["KIT", "GOOD"], ["FAIR"]]}
        self.define(inputs, [GOOD, KIT, FAIR], [KIT, FAIR])
        self.check()
        self.announce([GOOD, FAIR, KIT], self.chosen)
        self.check("expected the order ['/PRODUCTS/GOOD', '/EXTERNALS/KIT', '/PRODUCTS/FAIR']")

    def test_a_condition_that_cannot_be_seen_leaves_the_place_open(self):
        inputs = {"optional": ["GOOD"], "one_of": [["KIT"]], "conditional": [{"product": "KIT", "when": "P.OTHER.flag"}]}
        inputs["one_of"].append(["FAIR"])
        self.define(inputs, [KIT, FAIR, GOOD], [KIT, FAIR])
        self.check()
        self.announce([FAIR, KIT, GOOD], self.chosen)
        self.check()
        self.announce([KIT, GOOD, FAIR], self.chosen)
        self.check("expected the order ['/PRODUCTS/FAIR', '/PRODUCTS/GOOD']")

    def test_what_cannot_be_read(self):
        for text in ("{", "[]", '{"staged": []}', '{"staged": [1], "one_of": []}'):
            self.change = lambda file, text=text: file.attrs.modify("STAGED", text)
            self.check("root attribute STAGED cannot be read")

    def test_other_keys_mean_nothing(self):
        text = reading.announce(self.staged, self.chosen).replace("{", '{"absent": 3, ')
        self.change = lambda file: file.attrs.modify("STAGED", text)
        self.check()


class Conditions(Input):
    FLAGS = {"mandatory": ["FLAG"]}

    def test_a_conditional_input_is_there_exactly_when_its_condition_holds(self):
        self.staged.insert(3, KIT)
        self.check("conditional input /EXTERNALS/KIT was staged")
        self.flag = True
        self.check()
        self.staged.remove(KIT)
        self.check("missing conditional input /EXTERNALS/KIT")

    def test_an_alternative_that_was_not_chosen_cannot_be_seen(self):
        a, b, when = Source("A", PRODUCTS), Source("B", PRODUCTS), [{"product": "KIT", "when": 'made("B")'}]
        for there in ([a], [KIT, a]):
            self.define({"one_of": [["A", "B"]], "conditional": when}, there, [a])
            self.check()
        # One before it would have been.
        self.define({"one_of": [["B", "A"]], "conditional": when}, [KIT, a], [a])
        self.check("conditional input /EXTERNALS/KIT was staged")
        self.define({"one_of": [["B", "A"]], "conditional": when}, [b], [b])
        self.check("missing conditional input /EXTERNALS/KIT")

    def test_an_input_with_a_condition_of_its_own_cannot_be_seen(self):
        conditional = [{"product": "KIT", "when": "P.FLAG.flag"}, {"product": "MAY", "when": 'made("KIT")'}]
        self.define({"mandatory": ["FLAG"], "conditional": conditional}, [FLAG, MAY])
        self.check()

    def test_a_module_whose_run_if_does_not_hold(self):
        self.define(self.FLAGS, [FLAG], run_if='any("FLAG")')
        self.check("it must not run: any(\"FLAG\") does not hold")
        self.flag = True
        self.check()

    def test_a_run_if_that_cannot_be_seen_is_left_to_others(self):
        for text in ("P.OTHER.flag", "PREV.FLAG.flag", "P.FLAG.flag || P.OTHER.flag"):
            self.define(self.FLAGS, [FLAG], run_if=text)
            self.check()
        self.define(self.FLAGS, [FLAG], run_if="P.FLAG.flag && P.OTHER.flag")
        self.check("it must not run")
        self.define({**self.FLAGS, "optional": ["MAY"]}, [FLAG], run_if='made("MAY")')
        self.check("it must not run")

    def test_a_run_if_that_cannot_be_answered(self):
        self.define(self.FLAGS, [FLAG], run_if="P.FLAG.gone")
        self.check("run_if: no scalar column `gone`")

    def test_a_product_that_is_not_whole_cannot_be_seen(self):
        self.define(self.FLAGS, [FLAG], run_if="P.FLAG.flag")
        self.change = lambda file: file["EXTERNALS/FLAG"].update(more=h5py.SoftLink("nowhere"))
        self.check("/EXTERNALS/FLAG/more cannot be opened")

    def test_a_module_that_is_switched_off(self):
        self.define(self.FLAGS, [FLAG], enabled=False)
        self.check("the module is switched off")

    def test_a_flag_may_be_stored_as_an_integer(self):
        self.define(self.FLAGS, [FLAG], run_if="P.FLAG.flag")
        self.flag = np.int8(1)
        self.check()
        self.flag = np.int8(0)
        self.check("it must not run")
        self.flag = np.int8(7)
        self.check("run_if: 'P.FLAG.flag' gives 7")

    def test_a_dataset_has_the_column_value(self):
        self.define(self.FLAGS, [FLAG], run_if='valid("FLAG") && P.FLAG.value > 2.0')

        def change(file):
            del file["EXTERNALS/FLAG"]
            file["EXTERNALS/FLAG"] = 3.0

        self.change = change
        self.check()


if __name__ == "__main__":
    unittest.main()
