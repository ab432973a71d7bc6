"""Conditions of a pipeline file, read a second time.

Independent of the project's own evaluator, so that each can be held against the other. Knows no files: products come
from a function. A term (what stands between `&&`, `||`, `!` and `?:`) that names a product which was not made is false; one
whose product cannot be seen, or was lost, is undecided, and the operators go on as Kleene has it.
"""

import json
import math
import sys

from .syntax import ExpressionError, named, parse, products

__all__ = ["UNDECIDED", "Absent", "ExpressionError", "Unseen", "evaluate", "parse", "products"]

UNDECIDED = "undecided"


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


def _logic(tree, product, params):
    """The value of a tree whose terms may be absent or undecided."""
    if tree[0] == "!":
        value = _logic(tree[1], product, params)
        return value if value is UNDECIDED else not _boolean(value)
    if tree[0] in ("&&", "||"):
        sides = [_side(side, product, params) for side in tree[1:]]
        decisive = tree[0] == "||"
        if decisive in sides:
            return decisive
        if UNDECIDED in sides:
            return UNDECIDED
        for side in sides:
            if isinstance(side, ExpressionError):
                raise side
        return not decisive
    if tree[0] == "if":
        _, condition, then, other = tree
        return _logic(("||", ("&&", condition, then), ("&&", ("!", condition), other)), product, params)
    known = [_is_known(product, *name) for name in sorted(named(tree))]
    if UNDECIDED in known:
        return UNDECIDED
    return _flag(tree, _term(tree, product, params)) if all(known) else False


def _side(tree, product, params):
    """The value of one side of `&&` or `||`. An error is one too, since the other side may decide."""
    try:
        value = _logic(tree, product, params)
        return value if value is UNDECIDED else _boolean(value)
    except ExpressionError as error:
        return error


def _flag(tree, value):
    """A column that stands alone is a flag, though it may be stored as an integer."""
    is_column = tree[0] in ("member", "index") and named(tree)
    return bool(value) if is_column and isinstance(value, int) and value in (0, 1) else value


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
    if kind == "value":
        return tree[1]
    if kind == "list":
        return [_term(item, product, params) for item in tree[1:]]
    if kind == "call":
        return _call(tree[1], tree[2], product)
    if kind in ("member", "index"):
        return _member(tree[1], tree[2], product, params)
    if kind == "negative":
        return _compute("-", 0, _term(tree[1], product, params))
    if kind == "name":
        raise ExpressionError(f"`{tree[1]}` is not P, PREV or params")
    return _compute(kind, _term(tree[1], product, params), _term(tree[2], product, params))


def _call(name, argument, product):
    columns = product("P", argument)
    if name == "made":
        return True
    if name == "valid":
        value = columns.get("value")
        return _kind(value) == "number" and math.isfinite(value) and value != -1
    flags = [value for value in columns.values() if isinstance(value, bool)]
    if not flags:
        raise ExpressionError(f"{argument} has no boolean columns")
    return any(flags) if name == "any" else all(flags)


def _member(owner, name, product, params):
    if owner == ("name", "params"):
        if name not in params:
            raise ExpressionError(f"params has no `{name}`")
        return params[name]
    if owner in (("name", "P"), ("name", "PREV")):
        return product(owner[1], name)
    columns = _term(owner, product, params)
    if isinstance(columns, dict):
        if name in columns:
            return columns[name]
        below = {path[len(name) + 1 :]: value for path, value in columns.items() if path.startswith(name + "/")}
        if below:
            return below
    raise ExpressionError(f"no scalar column `{name}`")


def _compute(sign, a, b):
    kinds = {_kind(a), _kind(b)}
    if sign in ("==", "!=") and len(kinds) == 1:
        return (a == b) == (sign == "==")
    if sign == "in" and isinstance(b, list) and (not b or any(_kind(item) == _kind(a) for item in b)):
        return any(_kind(item) == _kind(a) and item == a for item in b)
    computes = kinds == {"number"} or kinds == {"text"} and sign in ("<", "<=", ">", ">=", "+")
    if sign in ("==", "!=", "in") or not computes:
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


def _kind(value):
    """Values of two kinds are never equal."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float)):
        return "number"
    return "text" if isinstance(value, str) else type(value).__name__


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
