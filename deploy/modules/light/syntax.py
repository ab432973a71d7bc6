"""The syntax of conditions, the part of CEL that definitions use: from text to nested tuples.

A tuple is an operator, `call`, `member`, `index`, `list`, `value` or `name`, and what it applies to. Conditions are operands
of `&&`, `||`, `!` and `?:` alone: others would lose what they say of a product that was not made.
"""

import re

TOKENS = re.compile(
    r"""\s*(?:(?P<number>\d+\.\d*(?:[eE][-+]?\d+)?|\d+(?:[eE][-+]?\d+)?)"""
    r"""|(?P<sign>in\b|&&|\|\||==|!=|<=|>=|[-+*/%<>!().,?:\[\]])|(?P<name>[A-Za-z_]\w*)"""
    r"""|(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'))"""
)
FUNCTIONS = ("made", "valid", "any", "all")
RELATIONS = ("==", "!=", "<", "<=", ">", ">=", "in")
BINARY = [RELATIONS, ("+", "-"), ("*", "/", "%")]
# What operators make of conditions, and everything whose value is one.
LOGIC = ("&&", "||", "!", "if")
CONDITIONS = (*LOGIC, *RELATIONS, "call")


class ExpressionError(Exception):
    """An expression that cannot be read, or cannot be answered although its products are there."""


def products(text):
    """The products that an expression names, as (root, name)."""
    return named(parse(text))


def named(tree):
    """The products that a tree names, as (root, name)."""
    if not isinstance(tree, tuple):
        return set()
    if tree[0] == "call":
        return {("P", tree[2])}
    if tree[0] in ("member", "index") and tree[1] in (("name", "P"), ("name", "PREV")):
        return {(tree[1][1], tree[2])}
    return set().union(*map(named, tree[1:]))


def parse(text):
    """The expression as nested tuples."""
    reader = _Reader(text)
    tree = reader.ternary()
    if reader.token is not None:
        raise ExpressionError(f"{text!r}: unexpected {reader.token[1]!r}")
    _refuse_operands(tree)
    return tree


def _refuse_operands(tree):
    """An error where a condition stands below an operator or function that is none of `&&`, `||`, `!` and `?:`."""
    for inner in tree[1:]:
        if isinstance(inner, tuple):
            if inner[0] in CONDITIONS and tree[0] not in LOGIC:
                raise ExpressionError(f"`{tree[0]}` cannot take a condition, such as `{inner[0]}` gives")
            _refuse_operands(inner)


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
        if self.take("["):
            return ("list", *self.items())
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

    def items(self):
        """What stands in a list, up to its end."""
        items = []
        while not self.take("]"):
            if items:
                self.expect(",")
            items.append(self.ternary())
        return items
