"""Expressions of a pipeline file: the part of CEL that definitions use, read a second time.

Independent of the project's own evaluator, so that each can be held against the other. Knows no files: products come
from a function. A term (what stands between `&&`, `||` and `!`) that names a product which was not made is false; one
whose product cannot be seen, or was lost, is undecided, and the three operators go on as Kleene has it.
"""

import json
import math
import re
import sys

TOKENS = re.compile(
    r"""\s*(?:(?P<number>\d+\.\d*(?:[eE][-+]?\d+)?|\d+(?:[eE][-+]?\d+)?)|(?P<name>[A-Za-z_]\w*)"""
    r"""|(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(?P<sign>&&|\|\||==|!=|<=|>=|[-+*/%<>!().,?:\[\]]))"""
)
FUNCTIONS = ("made", "valid", "any", "all")
BINARY = [("==", "!=", "<", "<=", ">", ">="), ("+", "-"), ("*", "/", "%")]
UNDECIDED = "undecided"


class ExpressionError(Exception):
    """An expression that cannot be read, or cannot be answered although its products are there."""


class Absent(Exception):
    """A term names a product that was not made."""


class Unseen(Exception):
    """A term names a product that cannot be seen from here, or that was lost to a failure."""


def evaluate(text, product, params):
    """True, False or UNDECIDED.

    `product(root, name)` gives the scalar columns of a product by path, `root` being P or PREV; it raises Absent or Unseen.
    """
    value = _logic(parse(text), product, params)
    if value is UNDECIDED or isinstance(value, bool):
        return value
    raise ExpressionError(f"{text!r} gives {value!r}, expected true or false")


def products(text):
    """The products that an expression names, as (root, name)."""
    return _named(parse(text))


def _named(tree):
    """The products that a tree names."""
    if not isinstance(tree, tuple):
        return set()
    if tree[0] == "call":
        return {("P", tree[2])}
    if tree[0] in ("member", "index") and tree[1] in (("name", "P"), ("name", "PREV")):
        return {(tree[1][1], tree[2])}
    return set().union(*map(_named, tree[1:]))


def parse(text):
    """The expression as nested tuples."""
    reader = _Reader(text)
    tree = reader.ternary()
    if reader.token is not None:
        raise ExpressionError(f"{text!r}: unexpected {reader.token[1]!r}")
    return tree


class _Reader:
    """Recursive descent over the tokens of one expression."""

    def __init__(self, text):
        self.text = text
        self.tokens = self._split(text)
        self.token = next(self.tokens, None)

    def _split(self, text):
        at = 0
        while text[at:].strip():
            match = TOKENS.match(text, at)
            if match is None:
                raise ExpressionError(f"{text!r}: unreadable at {text[at:].strip()[:20]!r}")
            at = match.end()
            yield match.lastgroup, match[match.lastgroup]

    def take(self, *signs):
        """The sign that comes next, when it is one of these; else None."""
        if self.token is not None and self.token[0] == "sign" and self.token[1] in signs:
            sign = self.token[1]
            self.token = next(self.tokens, None)
            return sign
        return None

    def expect(self, sign):
        if not self.take(sign):
            raise ExpressionError(f"{self.text!r}: expected {sign!r}")

    def word(self, kind):
        if self.token is None or self.token[0] != kind:
            raise ExpressionError(f"{self.text!r}: expected a {kind}")
        word = self.token[1]
        self.token = next(self.tokens, None)
        return word

    def literal(self):
        return re.sub(r"\\(.)", r"\1", self.word("text")[1:-1])

    def ternary(self):
        tree = self.either()
        if not self.take("?"):
            return tree
        then = self.ternary()
        self.expect(":")
        return ("if", tree, then, self.ternary())

    def either(self):
        tree = self.both()
        while self.take("||"):
            tree = ("||", tree, self.both())
        return tree

    def both(self):
        tree = self.binary(0)
        while self.take("&&"):
            tree = ("&&", tree, self.binary(0))
        return tree

    def binary(self, level):
        if level == len(BINARY):
            return self.unary()
        tree = self.binary(level + 1)
        while sign := self.take(*BINARY[level]):
            tree = (sign, tree, self.binary(level + 1))
        return tree

    def unary(self):
        if self.take("!"):
            return ("!", self.unary())
        if self.take("-"):
            return ("negative", self.unary())
        tree = self.primary()
        while sign := self.take(".", "["):
            if sign == ".":
                tree = ("member", tree, self.word("name"))
            else:
                tree = ("index", tree, self.literal())
                self.expect("]")
        return tree

    def primary(self):
        if self.take("("):
            tree = self.ternary()
            self.expect(")")
            return tree
        if self.token is not None and self.token[0] == "text":
            return ("value", self.literal())
        if self.token is not None and self.token[0] == "number":
            number = self.word("number")
            return ("value", int(number) if number.isdigit() else float(number))
        name = self.word("name")
        if name in ("true", "false"):
            return ("value", name == "true")
        if not self.take("("):
            return ("name", name)
        if name not in FUNCTIONS:
            raise ExpressionError(f"{self.text!r}: unknown function `{name}`")
        argument = self.literal()
        self.expect(")")
        return ("call", name, argument)


def _logic(tree, product, params):
    """The value of a tree whose terms may be absent or undecided."""
    if tree[0] == "!":
        value = _logic(tree[1], product, params)
        return value if value is UNDECIDED else not _boolean(value)
    if tree[0] in ("&&", "||"):
        sides = [_logic(side, product, params) for side in tree[1:]]
        sides = [side if side is UNDECIDED else _boolean(side) for side in sides]
        decisive = tree[0] == "||"
        if decisive in sides:
            return decisive
        return UNDECIDED if UNDECIDED in sides else not decisive
    if tree[0] == "if":
        _, condition, then, other = tree
        return _logic(("||", ("&&", condition, then), ("&&", ("!", condition), other)), product, params)
    known = [_is_known(product, *name) for name in sorted(_named(tree))]
    if UNDECIDED in known:
        return UNDECIDED
    return _term(tree, product, params) if all(known) else False


def _is_known(product, root, name):
    """Whether a product is there; UNDECIDED when it cannot be seen."""
    try:
        product(root, name)
        return True
    except Absent:
        return False
    except Unseen:
        return UNDECIDED


def _term(tree, product, params):
    """The value of a tree whose products are all there."""
    kind = tree[0]
    if kind in ("&&", "||", "!"):
        return _logic(tree, product, params)
    if kind == "value":
        return tree[1]
    if kind == "if":
        return _term(tree[2] if _boolean(_term(tree[1], product, params)) else tree[3], product, params)
    if kind == "call":
        return _call(tree[1], tree[2], product)
    if kind in ("member", "index"):
        return _member(tree[1], tree[2], product, params)
    if kind == "negative":
        return -_term(tree[1], product, params)
    if kind == "name":
        raise ExpressionError(f"`{tree[1]}` is not P, PREV or params")
    return _compute(kind, _term(tree[1], product, params), _term(tree[2], product, params))


def _call(name, argument, product):
    columns = product("P", argument)
    if name == "made":
        return True
    if name == "valid":
        value = columns.get("value")
        return isinstance(value, (int, float)) and math.isfinite(value) and value != -1
    flags = [value for value in columns.values() if isinstance(value, bool)]
    return any(flags) if name == "any" else all(flags)


def _member(owner, name, product, params):
    if owner == ("name", "params"):
        if name not in params:
            raise ExpressionError(f"params has no `{name}`")
        return params[name]
    if owner in (("name", "P"), ("name", "PREV")):
        columns = product(owner[1], name)
        return columns[""] if "" in columns else columns
    columns = _term(owner, product, params)
    if isinstance(columns, dict):
        if name in columns:
            return columns[name]
        below = {path[len(name) + 1 :]: value for path, value in columns.items() if path.startswith(name + "/")}
        if below:
            return below
    raise ExpressionError(f"no scalar column `{name}`")


def _compute(sign, a, b):
    numbers = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in (a, b))
    if sign in ("==", "!="):
        return (a == b) == (sign == "==")
    if not numbers and not (sign in ("<", "<=", ">", ">=", "+") and isinstance(a, str) and isinstance(b, str)):
        raise ExpressionError(f"cannot compute {a!r} {sign} {b!r}")
    if sign in ("/", "%") and b == 0 and isinstance(a, int) and isinstance(b, int):
        raise ExpressionError(f"{a} {sign} 0")
    # CEL's whole numbers are divided toward zero.
    whole = isinstance(a, int) and isinstance(b, int)
    operations = {
        "<": lambda: a < b,
        "<=": lambda: a <= b,
        ">": lambda: a > b,
        ">=": lambda: a >= b,
        "+": lambda: a + b,
        "-": lambda: a - b,
        "*": lambda: a * b,
        "/": lambda: int(a / b) if whole else a / b,
        "%": lambda: int(math.fmod(a, b)),
    }
    return operations[sign]()


def _boolean(value):
    if isinstance(value, bool):
        return value
    raise ExpressionError(f"{value!r} is not true or false")


def main():
    """Answers on stdout a line of JSON for each on stdin: {"text", "products": {name: columns or "absent" or "lost"},
    "params"}; true, false, "undecided" or {"error"}."""
    for line in sys.stdin:
        case = json.loads(line)

        def product(_, name, known=case["products"]):
            if known.get(name, "absent") == "absent":
                raise Absent
            if known[name] == "lost":
                raise Unseen
            return known[name]

        try:
            answer = evaluate(case["text"], product, case["params"])
        except ExpressionError as error:
            answer = {"error": str(error)}
        print(json.dumps(answer))


if __name__ == "__main__":
    main()
