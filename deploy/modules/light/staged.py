"""Holds what was staged against the contract. Finds everything that is wrong, not only the first."""

import json
import os

import h5py

from . import cel
from .contract import EXTERNALS, PREVIOUS, PRODUCTS, Source

# What every attempt finds in its environment, or a served one in its request.
ENVIRONMENT = ("SAS_STAR", "SAS_QUARTER", "SAS_RUN", "SAS_MODULE", "SAS_ATTEMPT", "SAS_SEED", "SAS_CPUS", "SAS_MEMORY_BYTES")

# Why STAGED says an alternative is absent that is there for others: one before it was chosen.
OUTRANKED = "outranked"


def violations(file, contract, star, quarter):
    """Everything in which an open input.h5 differs from what the contract promises, a line each."""
    found, lines = _found(file)
    lines += _identity(file, star, quarter)
    declared = contract.declared_inputs()
    lines += [f"undeclared input {_path(source)}" for source in sorted(found - declared)]
    if not contract.may_lack:
        lines += [f"missing mandatory input {_path(source)}" for source in contract.mandatory if source not in found]
    explained = {*contract.mandatory, *contract.optional}
    lines += _conditional(file, contract, found, explained)
    chosen, more = _alternatives(contract, found)
    lines += more
    explained |= set(chosen)
    for source in sorted((found & declared) - explained):
        if source not in [item.what for item in contract.conditional_inputs]:
            lines.append(f"{_path(source)} is an alternative that was not chosen")
    lines += _announced(file, found, contract, chosen)
    return lines


def missing_environment(environment):
    """The variables that the contract promises and that are not there, a line each."""
    lines = [f"environment lacks {name}" for name in ENVIRONMENT if not environment.get(name)]
    seed = environment.get("SAS_SEED", "")
    if seed and not (seed.isdigit() and int(seed) < 1 << 64):
        lines.append(f"SAS_SEED is {seed!r}, expected 64 bits in decimal")
    return lines


def scalars(node, columns=None):
    """Scalar columns of a product by path; a dataset has the path "". Numbers become bool where `columns` says so."""
    values = {}

    def visit(path, item):
        if isinstance(item, h5py.Dataset) and item.shape == ():
            value = item[()]
            value = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
            value = value.item() if hasattr(value, "item") else value
            is_flag = (columns or {}).get(path, {}).get("type") == "bool"
            values[path] = bool(value) if is_flag else value

    if isinstance(node, h5py.Dataset):
        visit("", node)
    else:
        node.visititems(visit)
    return values


def _found(file):
    """The products that are there, and a line for each object or link that must not be."""
    found, lines = set(), []
    for root in (EXTERNALS, PRODUCTS, PREVIOUS):
        group = file.get(root)
        for product in group if isinstance(group, h5py.Group) else ():
            found.add(Source(product, root))
            lines += _link(group, product, root)
    for name in sorted(set(file) - {"EXTERNALS", "PRODUCTS", "PREVIOUS"}):
        lines.append(f"undeclared object /{name}")
    if isinstance(file.get("PREVIOUS"), h5py.Group):
        lines += [f"undeclared object /PREVIOUS/{name}" for name in sorted(set(file["PREVIOUS"]) - {"PRODUCTS"})]
    return found, lines


def _link(group, product, root):
    """What is wrong with one staged product: where its link leads, whether it opens, whether it is one at all."""
    link = group.get(product, getlink=True)
    if isinstance(link, h5py.ExternalLink):
        parts = link.filename.split("/")
        if parts[0] != "files" or ".." in parts:
            return [f"{root}/{product} leads to {link.filename!r}, expected a path below files/"]
    try:
        node = group[product]
    except (KeyError, OSError) as error:
        return [f"{root}/{product} cannot be opened: {error}"]
    if "NOT_PRODUCED" in node.attrs:
        return [f"{root}/{product} was staged, but its module answered that there is none"]
    return []


def _identity(file, star, quarter):
    lines = []
    for name, expected in (("PLATO_ID", star), ("QUARTER_NUMBER", quarter)):
        value = file.attrs.get(name)
        value = value.decode() if isinstance(value, bytes) else value
        if value is None:
            lines.append(f"root attribute {name} is missing")
        elif expected and str(value) != str(expected):
            lines.append(f"root attribute {name} is {value}, expected {expected}")
    return lines


def _conditional(file, contract, found, explained):
    """Conditional inputs: there exactly when the condition holds, as far as it can be seen from here."""

    def product(root, name):
        roots = (PREVIOUS,) if root == "PREV" else (EXTERNALS, PRODUCTS)
        sources = [Source(contract.canonical(name), at) for at in roots]
        for source in sources:
            if source in found:
                return scalars(file[_path(source)], flags.get(source.product))
        if declared & set(sources):
            raise cel.Absent
        raise cel.Unseen

    declared, flags, lines = contract.declared_inputs(), {}, []
    if contract.conditional_inputs:
        flags = contract.columns()
    for source, when in contract.conditional_inputs:
        try:
            holds = cel.evaluate(when, product, contract.params)
        except cel.ExpressionError as error:
            lines.append(f"condition of {_path(source)}: {error}")
            continue
        if holds is True and source not in found:
            lines.append(f"missing conditional input {_path(source)}: {when} holds")
        if holds is False and source in found and source not in explained:
            lines.append(f"conditional input {_path(source)} was staged, but {when} does not hold")
    return lines


def _alternatives(contract, found):
    """The alternative of each one_of: the first that is there."""
    chosen, lines = [], []
    for alternatives in contract.one_of:
        there = [source for source in alternatives if source in found]
        chosen += there[:1]
        if not there and not contract.may_lack:
            lines.append("no alternative of one_of " + " | ".join(map(_path, alternatives)))
    return chosen, lines


def _announced(file, found, contract, chosen):
    """What the root attribute STAGED says, against what is there."""
    text = file.attrs.get("STAGED")
    if text is None:
        return ["root attribute STAGED is missing"]
    try:
        announced = json.loads(text)
        listed = {_source(path) for path in announced["staged"]}
        picked = [_source(path) for path in announced["one_of"]]
        absent = {_source(path): reason for path, reason in announced["absent"].items()}
    except (AttributeError, ValueError, KeyError, TypeError) as error:
        return [f"root attribute STAGED cannot be read: {error!r}"]
    lines = [f"STAGED lists {_path(source)}, which is not there" for source in sorted(listed - found)]
    lines += [f"STAGED does not list {_path(source)}" for source in sorted(found - listed)]
    if picked != chosen:
        lines.append(f"STAGED says alternatives {[*map(_path, picked)]}, expected {[*map(_path, chosen)]}")
    unexplained = contract.declared_inputs() - found - set(absent)
    lines += [f"STAGED does not say why {_path(source)} is absent" for source in sorted(unexplained)]
    return lines + _outranked(contract, chosen, absent)


def _outranked(contract, chosen, absent):
    """Alternatives that STAGED calls outranked, though nothing before them in their list was chosen."""
    lines = []
    for source, reason in sorted(absent.items()):
        if reason != OUTRANKED:
            continue
        lists = [alternatives for alternatives in contract.one_of if source in alternatives]
        if not any(set(alternatives[: alternatives.index(source)]) & set(chosen) for alternatives in lists):
            lines.append(f"STAGED says that {_path(source)} is outranked, but nothing before it was chosen")
    return lines


def _source(path):
    root, _, product = path.rpartition("/")
    return Source(product, root)


def _path(source):
    return f"{source.root}/{source.product}"


def paths(environment):
    """(input, output, parameters) of an attempt: the container's own, or where the environment puts them."""
    return (
        environment.get("SAS_INPUT", "/sas/in/input.h5"),
        environment.get("SAS_OUTPUT", "/sas/out/output.h5"),
        environment.get("SAS_PARAMETERS", "/sas/in/parameters.json"),
    )


def read_parameters(path):
    """The module's parameters; none when there is no such file."""
    if not os.path.exists(path):
        return {}
    with open(path, encoding="utf-8") as file:
        return json.load(file)
