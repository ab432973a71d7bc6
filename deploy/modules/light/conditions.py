"""What the conditions of a contract say of what was staged, as far as it can be seen from there.

A condition may name a product that the module does not read, or one that is there but was not staged because its own
condition does not hold or an alternative before it was chosen: such a product cannot be seen. Every other declared input
is there whenever it was made. One that was lost looks as if it had not been made, which changes nothing: where its loss
is not absorbed the module does not run.
"""

import itertools
from collections import namedtuple

import h5py

from . import cel

# What is wrong, a line each, and the values of the conditions of inputs, by their source.
Judged = namedtuple("Judged", "lines holds")


def judge(contract, found, chosen):
    """Evaluates all conditions; `found` are the products that were staged, `chosen` the alternatives of each one_of."""
    lines, holds = [], {}
    if not contract.enabled:
        lines.append("the module is switched off, it must not run")
    if contract.run_if is None and not contract.conditional_inputs:
        return Judged(lines, holds)
    product = _view(contract, found, chosen)
    if contract.run_if is not None and _value("run_if", contract.run_if, product, contract, lines) is False:
        lines.append(f"it must not run: {contract.run_if} does not hold")
    for source, when in contract.conditional_inputs:
        holds[source] = _value(f"condition of {source.root}/{source.product}", when, product, contract, lines)
    return Judged(lines, holds)


def scalars(node, columns=None):
    """Scalar columns of a product by path; a dataset has the path `value`.

    Where the data model has `columns` of the product, it has no others, and its flags are bool however they are stored.
    """
    values = {}

    def visit(path, item):
        if isinstance(item, h5py.Dataset) and item.shape == () and (not columns or path in columns):
            value = item[()]
            value = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
            value = value.item() if hasattr(value, "item") else value
            is_flag = (columns or {}).get(path, {}).get("type") == "bool"
            values[path] = bool(value) if is_flag and value in (0, 1) else value

    if isinstance(node, h5py.Dataset):
        visit("value", node)
    else:
        node.visititems(visit)
    return values


def _value(what, text, product, contract, lines):
    """True, False or UNDECIDED; an error goes to `lines`."""
    try:
        return cel.evaluate(text, product, contract.params)
    except cel.ExpressionError as error:
        lines.append(f"{what}: {error}")
        return cel.UNDECIDED


def _view(contract, found, chosen):
    """What conditions see of a product, as `cel.evaluate` asks for it."""
    columns, visible = contract.columns(), _visible(contract, chosen)

    def product(root, name):
        source = contract.source(f"{name}@previous" if root == "PREV" else name)
        if found.get(source) is not None:
            return scalars(found[source], columns.get(source.product))
        raise cel.Absent if source in visible and source not in found else cel.Unseen

    return product


def _visible(contract, chosen):
    """The inputs that are staged whenever they are there."""
    visible = {*contract.mandatory, *contract.optional}
    for alternatives, first in zip(contract.one_of, chosen):
        visible.update(itertools.takewhile(lambda source, first=first: source != first, alternatives))
    return visible
