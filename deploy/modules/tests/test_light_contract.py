"""Light notices whatever differs from the contract, and its reading of expressions is that of the contract."""

import tempfile
import unittest

import h5py
from light import cel, contract, staged
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
        }
    },
}


class Staged(unittest.TestCase):
    """Each test stages a right input but for one thing."""

    def setUp(self):
        self.known = contract.Contract(DEFINITION, "M")
        self.staged = {
            Source("NEED", PRODUCTS), Source("FLAG", EXTERNALS), Source("GRID", EXTERNALS), Source("GOOD", PRODUCTS),
        }  # fmt: skip
        self.chosen = [Source("GOOD", PRODUCTS)] * 2
        self.flag, self.reasons = False, {}
        self.change = lambda file: None

    def absent(self):
        """What is declared and not staged, with the reasons that this test says."""
        declared = self.known.declared_inputs() - self.staged
        return {**dict.fromkeys(declared, "not_made"), **self.reasons}

    def violations(self):
        with h5py.File("input.h5", "w", driver="core", backing_store=False) as file:
            file.attrs["PLATO_ID"], file.attrs["QUARTER_NUMBER"] = STAR, 4
            file.attrs["STAGED"] = reading.announce(self.staged, self.chosen, self.absent())
            for source in self.staged:
                file[f"{source.root}/{source.product}/value"] = 1.0
            if Source("FLAG", EXTERNALS) in self.staged:
                file["EXTERNALS/FLAG/flag"] = self.flag
            self.change(file)
            return staged.violations(file, self.known, STAR, "4")

    def check(self, *expected):
        lines = self.violations()
        self.assertEqual(len(lines), len(expected), lines)
        for line, words in zip(lines, expected):
            self.assertIn(words, line)

    def test_nothing_is_wrong_with_what_the_contract_promises(self):
        self.check()
        self.staged |= {Source("MAY", PRODUCTS), Source("LAST", PREVIOUS)}
        self.check()

    def test_a_missing_mandatory_input(self):
        self.staged.remove(Source("GRID", EXTERNALS))
        self.check("missing mandatory input /EXTERNALS/GRID")

    def test_an_undeclared_input(self):
        self.staged.add(Source("OTHER", PRODUCTS))
        self.check("undeclared input /PRODUCTS/OTHER")

    def test_a_declared_product_in_the_wrong_place(self):
        self.staged.add(Source("MAY", PREVIOUS))
        self.check("undeclared input /PREVIOUS/PRODUCTS/MAY")

    def test_a_conditional_input_is_there_exactly_when_its_condition_holds(self):
        kit = Source("KIT", EXTERNALS)
        self.staged.add(kit)
        self.check("conditional input /EXTERNALS/KIT was staged")
        self.flag = True
        self.check()
        self.staged.remove(kit)
        self.check("missing conditional input /EXTERNALS/KIT")

    def test_two_alternatives_of_one_list(self):
        self.staged.add(Source("FAIR", PRODUCTS))
        self.check("/PRODUCTS/FAIR is an alternative that was not chosen")

    def test_a_later_alternative_may_serve_another_list(self):
        self.staged.add(Source("BEST", PREVIOUS))
        self.chosen[0] = Source("BEST", PREVIOUS)
        self.check()

    def test_no_alternative(self):
        self.staged.remove(Source("GOOD", PRODUCTS))
        self.chosen = []
        self.check("no alternative of one_of /PREVIOUS/PRODUCTS/BEST", "no alternative of one_of /PRODUCTS/GOOD")

    def test_an_alternative_that_is_not_the_first(self):
        self.staged.add(Source("BEST", PREVIOUS))
        self.check("STAGED says alternatives ['/PRODUCTS/GOOD', '/PRODUCTS/GOOD'], expected ['/PREVIOUS")

    def test_an_announcement_that_differs_from_what_is_there(self):
        def change(file):
            file.attrs["STAGED"] = reading.announce(self.staged | {Source("MAY", PRODUCTS)}, self.chosen, self.absent())
            file["PREVIOUS/PRODUCTS/LAST/value"] = 1.0

        self.change = change
        self.check("STAGED lists /PRODUCTS/MAY", "STAGED does not list /PREVIOUS/PRODUCTS/LAST")

    def test_an_absence_without_a_reason(self):
        self.absent = lambda: {Source("LAST", PREVIOUS): "not_made"}
        lines = self.violations()
        self.assertEqual(len(lines), 5, lines)
        self.assertIn("STAGED does not say why /EXTERNALS/KIT is absent", lines)

    def test_an_alternative_is_outranked_only_by_one_before_it(self):
        self.reasons = {Source("FAIR", PRODUCTS): "outranked"}
        self.check()
        self.reasons = {Source("BEST", PREVIOUS): "outranked"}
        self.check("/PREVIOUS/PRODUCTS/BEST is outranked, but nothing before it was chosen")

    def test_another_star(self):
        self.change = lambda file: file.attrs.modify("PLATO_ID", "PLATO_0")
        self.check("root attribute PLATO_ID is PLATO_0, expected PLATO_379e")

    def test_objects_beside_products(self):
        self.change = lambda file: (file.create_group("LOG"), file.create_group("PREVIOUS/EXTERNALS"))
        self.check("undeclared object /LOG", "undeclared object /PREVIOUS/EXTERNALS")

    def test_a_product_that_its_module_answered_to_be_none(self):
        self.staged.add(Source("MAY", PRODUCTS))
        self.change = lambda file: file["PRODUCTS/MAY"].attrs.create("NOT_PRODUCED", "no")
        self.check("/PRODUCTS/MAY was staged, but")

    def test_a_link_that_leads_out_of_the_input(self):
        def change(file):
            for name, target in (("NEED", "/etc/passwd"), ("GOOD", "files/../x.h5")):
                del file["PRODUCTS"][name]
                file["PRODUCTS"][name] = h5py.ExternalLink(target, "/")

        self.change = change
        self.check("/PRODUCTS/GOOD leads to 'files/../x.h5'", "/PRODUCTS/NEED leads to '/etc/passwd'")

    def test_a_link_whose_file_is_not_there(self):
        def change(file):
            del file["PRODUCTS/NEED"]
            file["PRODUCTS/NEED"] = h5py.ExternalLink("files/9.h5", "/PRODUCTS/NEED")

        self.change = change
        self.check("/PRODUCTS/NEED cannot be opened")

    def test_names_may_be_messy(self):
        # A slash in a product's name cannot be a group's name; brackets and a blank at the end can.
        definition = {"externals": {"star": ["IDP [FE_H] "]}, "modules": {"M": {"inputs": {"mandatory": ["IDP [FE_H] "]}}}}
        self.known = contract.Contract(definition, "M")
        self.staged, self.chosen = {Source("IDP [FE_H] ", EXTERNALS)}, []
        self.check()

    def test_an_environment_that_lacks_something(self):
        full = dict.fromkeys(staged.ENVIRONMENT, "1")
        self.assertEqual(staged.missing_environment(full), [])
        self.assertEqual(staged.missing_environment({**full, "SAS_RUN": ""}), ["environment lacks SAS_RUN"])
        self.assertEqual(len(staged.missing_environment({**full, "SAS_SEED": str(1 << 64)})), 1)


class Expressions(unittest.TestCase):
    PRODUCTS = {
        "X": {"flag": True, "no": False, "n": 3, "a b/c ": 2.5, "value": 4.0, "text": "µ"},
        "MINUS": {"value": -1.0},
        "NAN": {"value": float("nan")},
        "IDP [FE_H]": {"value": 1},
        "NUMBERS": {"value": 1.0},
    }

    def value(self, text):
        def product(root, name):
            if root == "PREV" or name == "LOST":
                raise cel.Unseen
            if name not in self.PRODUCTS:
                raise cel.Absent
            return self.PRODUCTS[name]

        return cel.evaluate(text, product, {"min": 3})

    def check(self, expected, *texts):
        for text in texts:
            self.assertIs(self.value(text), expected, text)

    def test_what_holds(self):
        self.check(
            True,
            *("P.X.flag", "!P.X.no", "P.X.n >= params.min", 'P.X["a b"]["c "] > 2.4', 'P["X"]["a b/c "] == 2.5'),
            *('P["IDP [FE_H]"].value == 1', "P.X.n + 1 == 4 && P.X.n * 2 - 1 == 5", "-P.X.n / 2 == -1", "P.X.n % 2 == 1"),
            *('made("X")', 'valid("X")', 'any("X")', "P.X.text == 'µ'", "(P.X.flag ? P.X.n : 9) == 3", "1 < 2 || P.X.no"),
            *('all("NUMBERS")', "P.X.n != 4.0", "!(P.X.flag && P.X.no)"),
        )

    def test_what_does_not(self):
        self.check(False, "P.X.no", 'valid("MINUS")', 'valid("NAN")', 'all("X")', 'any("NUMBERS")', "P.X.n < 3")

    def test_a_term_with_a_product_that_was_not_made_is_false(self):
        self.check(False, "P.NONE.flag", "P.NONE.n >= 0", 'made("NONE")', 'valid("NONE")', "P.X.flag && P.NONE.flag")
        self.check(True, "!P.NONE.flag", '!all("NONE")', "P.NONE.flag || P.X.flag")

    def test_what_cannot_be_seen_is_absorbed_or_leaves_it_open(self):
        self.check(cel.UNDECIDED, "P.LOST.flag", "!P.LOST.flag", "P.X.flag && P.LOST.n > 1", "PREV.X.flag", "P.X.no || P.LOST.f")
        self.check(False, "P.LOST.flag && P.X.no", "P.X.no && P.LOST.flag")
        self.check(True, "P.LOST.flag || P.X.flag", "P.X.flag || P.LOST.flag")
        self.check(cel.UNDECIDED, "P.NONE.n < P.LOST.n", "P.X.flag ? P.LOST.flag : P.X.no")
        self.check(False, "P.X.no ? P.LOST.flag : P.X.no", "P.X.n < P.NONE.n")

    def test_what_cannot_be_answered_is_an_error(self):
        for text in ("P.X.n", "P.X.gone", "P.X.flag && P.X.n", "P.X.text > 1", "params.none > 1", "1 / 0 == 1", "Q.X.flag"):
            with self.assertRaises(cel.ExpressionError, msg=text):
                self.value(text)

    def test_what_cannot_be_read_is_an_error(self):
        for text in ("P.X.flag &&", "P.X.flag)", "f('X')", "P.X flag", "P[X]", "made(X)", "#"):
            with self.assertRaises(cel.ExpressionError, msg=text):
                cel.parse(text)

    def test_the_products_of_an_expression_come_from_its_syntax(self):
        text = """P.A.x > 1 && made('B') || !P["C D"].y && PREV.E.z == "P.F.x" """
        self.assertEqual(cel.products(text), {("P", "A"), ("P", "B"), ("P", "C D"), ("PREV", "E")})


if __name__ == "__main__":
    unittest.main()
