"""Light's reading of conditions is that of the contract."""

import unittest

from light import cel


class Expressions(unittest.TestCase):
    PRODUCTS = {
        "X": {"flag": True, "no": False, "n": 3, "a b/c ": 2.5, "value": 4.0, "text": "µ"},
        "MINUS": {"value": -1.0},
        "NAN": {"value": float("nan")},
        "FLAG": {"value": True, "one": 1, "zero": 0},
        "IDP [FE_H]": {"value": 1},
    }
    PARAMS = {"min": 3, "allowed": [3, 5], "deep": {"prefix": "µ"}, "one": 1}

    def value(self, text):
        def product(root, name):
            if root == "PREV" or name == "LOST":
                raise cel.Unseen
            if name not in self.PRODUCTS:
                raise cel.Absent
            return self.PRODUCTS[name]

        return cel.evaluate(text, product, self.PARAMS)

    def check(self, expected, *texts):
        for text in texts:
            self.assertIs(self.value(text), expected, text)

    def refuse(self, reason, *texts):
        for text in texts:
            with self.assertRaisesRegex(cel.ExpressionError, reason, msg=text):
                self.value(text)

    def test_what_holds(self):
        self.check(
            True,
            *("P.X.flag", "!P.X.no", "P.X.n >= params.min", 'P.X["a b"]["c "] > 2.4', 'P["X"]["a b/c "] == 2.5'),
            *('P["IDP [FE_H]"].value == 1', "P.X.n + 1 == 4 && P.X.n * 2 - 1 == 5", "-P.X.n / 2 == -1", "P.X.n % 2 == 1"),
            *('made("X")', 'valid("X")', 'any("X")', "P.X.text == 'µ'", "P.X.flag ? P.X.n > 2 : P.X.no", "1 < 2 || P.X.no"),
            *("P.X.n != 4.0", "!(P.X.flag && P.X.no)", "P.X.flag == true", "P.X.text == params.deep.prefix"),
            *("P.X.n in params.allowed", 'P.X.n in params["allowed"]', "P.X.n in [1, 3.0]", "P.X.n in ['a', 3]"),
        )

    def test_what_does_not(self):
        self.check(False, "P.X.no", 'valid("MINUS")', 'valid("NAN")', 'valid("FLAG")', 'all("X")', "P.X.n < 3")
        self.check(False, "P.X.n in [1, 2]", "P.X.n in []", "P.X.n in ['a', 2]", "P.X.flag in [false, 1]")

    def test_a_column_that_stands_alone_may_be_a_flag_stored_as_an_integer(self):
        self.check(True, "P.FLAG.one", "!P.FLAG.zero", 'P["FLAG"]["one"] && P.X.flag')
        self.check(False, "P.FLAG.zero", "P.X.no || P.FLAG.zero")
        self.refuse("is not true or false|expected true or false", "P.X.n", "!P.X.n", "P.X.flag && P.X.n", "params.one", "1")

    def test_a_term_with_a_product_that_was_not_made_is_false(self):
        self.check(False, "P.NONE.flag", "P.NONE.n >= 0", 'made("NONE")', 'valid("NONE")', "P.X.flag && P.NONE.flag")
        self.check(True, "!P.NONE.flag", '!all("NONE")', "P.NONE.flag || P.X.flag")

    def test_what_cannot_be_seen_is_absorbed_or_leaves_it_open(self):
        self.check(cel.UNDECIDED, "P.LOST.flag", "!P.LOST.flag", "P.X.flag && P.LOST.n > 1", "PREV.X.flag", "P.X.no || P.LOST.f")
        self.check(False, "P.LOST.flag && P.X.no", "P.X.no && P.LOST.flag")
        self.check(True, "P.LOST.flag || P.X.flag", "P.X.flag || P.LOST.flag")
        self.check(cel.UNDECIDED, "P.NONE.n < P.LOST.n", "P.X.flag ? P.LOST.flag : P.X.no")
        self.check(False, "P.X.no ? P.LOST.flag : P.X.no", "P.X.n < P.NONE.n")

    def test_an_error_is_absorbed_as_well(self):
        self.check(True, "P.X.gone || P.X.flag", "P.X.flag || P.X.n")
        self.check(False, "P.X.no && P.X.gone > 1")
        self.check(cel.UNDECIDED, "P.X.gone || P.LOST.flag")
        self.refuse("no scalar column `gone`", "P.X.gone || P.X.no", "P.X.flag && P.X.gone", "!P.X.gone")

    def test_what_cannot_be_answered_is_an_error(self):
        for text in ("P.X.gone", "P.X.text > 1", "params.none > 1", "1 / 0 == 1", "Q.X.flag", "-P.X.text == 1", "P.X"):
            self.refuse("", text)
        self.refuse("has no boolean columns", 'any("MINUS")', 'all("MINUS")')

    def test_equality_is_asked_of_values_that_can_be_equal(self):
        texts = ("P.X.flag == 1", "P.X.n == true", "P.X.text != 3", "P.FLAG.one == true", "P.X.text == P.X.n")
        self.refuse("cannot compute", *texts)
        texts = ("P.X.n in ['a', true]", "P.X.n in params.deep.prefix", "P.X.flag in params.allowed")
        self.refuse("cannot compute", *texts)

    def test_a_condition_is_no_operand(self):
        # What was not made would make all of it false, whatever it says.
        texts = (
            "made('X') == false", "(P.X.flag || P.X.no) == true", "(made('X') ? P.X.n : P.X.n) == 3", "(P.X.n > 1) == false",
            "P.X.n + (made('X') ? 1 : 2) > 3", "[P.X.n > 1] == [true]", "true in [any('X')]", "1 in [valid('X')]",
            "-(1 == 1) > 2", "(P.X.n in [3]) == true", "(!P.X.flag) == P.X.no", "all('X').value", "made('X')['value']",
        )  # fmt: skip
        self.refuse("cannot take a condition", *texts)
        cel.parse("P.X.flag == P.X.no && !(P.X.flag ? P.X.no : made('X')) && (P.X.n) in [(1), 2 + 1]")

    def test_what_cannot_be_read_is_an_error(self):
        texts = ("P.X.flag &&", "P.X.flag)", "f('X')", "P.X flag", "P[X]", "made(X)", "#", "1 in [1", "[1 2] == []", "in == 1")
        for text in texts:
            with self.assertRaises(cel.ExpressionError, msg=text):
                cel.parse(text)

    def test_the_products_of_an_expression_come_from_its_syntax(self):
        text = """P.A.x > 1 && made('B') || !P["C D"].y && PREV.E.z == "P.F.x" && P.G.info in ['a', P.H.inside]"""
        named = {("P", "A"), ("P", "B"), ("P", "C D"), ("PREV", "E"), ("P", "G"), ("P", "H")}
        self.assertEqual(cel.products(text), named)


if __name__ == "__main__":
    unittest.main()
