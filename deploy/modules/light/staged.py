"""Holds what was staged against the contract. Finds everything that is wrong, not only the first."""

import collections
import json
import os
import re

import h5py

from . import cel, conditions, origin, walk
from .contract import EXTERNALS, PREVIOUS, PRODUCTS, Source

# What every attempt finds in its environment, each with the pattern of its value.
ENVIRONMENT = {
    **dict.fromkeys(("SAS_STAR", "SAS_QUARTER", "SAS_RUN", "SAS_MODULE", "SAS_ATTEMPT", "SAS_CPUS", "SAS_MEMORY_BYTES"), ".+"),
    "SAS_SEED": r"\d{1,20}",
    "TRACEPARENT": "00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}",
    "HOME": "/tmp",
    "HDF5_USE_FILE_LOCKING": "FALSE",
}


def violations(file, contract, star, quarter):
    """Everything in which an open input.h5 differs from what the contract promises, a line each."""
    found, lines = _found(file)
    lines += _identity(file, star, quarter)
    for source, node in sorted(found.items()):
        lines += origin.wrong(node, source, contract, star, quarter) if node is not None else []
    declared = contract.declared_inputs()
    lines += [f"undeclared input {_path(source)}" for source in sorted(found.keys() - declared)]
    lines += [f"missing mandatory input {_path(source)}" for source in contract.mandatory if source not in found]
    chosen = [next((source for source in group if source in found), None) for group in contract.one_of]
    judged = conditions.judge(contract, found, chosen)
    lines += judged.lines + _conditional(contract, found, chosen, judged.holds) + _alternatives(contract, found, chosen)
    return lines + _announced(file, found, chosen, _in_order(contract, chosen, judged.holds))


def missing_environment(environment):
    """The variables that the contract promises and that are not there or have no such value, a line each."""
    lines = [f"environment lacks {name}" for name in ENVIRONMENT if not environment.get(name)]
    for name, pattern in ENVIRONMENT.items():
        value = environment.get(name)
        if value and (not re.fullmatch(pattern, value) or name == "SAS_SEED" and int(value) >= 1 << 64):
            lines.append(f"{name} is {value!r}, which the contract does not allow")
    return lines


def _found(file):
    """The products that are there, None for those that are not whole, and a line for each object that must not be."""
    previous, lines = _group(file, "PREVIOUS", "/PREVIOUS")
    found = {}
    for root, parent in ((EXTERNALS, file), (PRODUCTS, file), (PREVIOUS, previous)):
        group, more = _group(parent, root.rpartition("/")[2], root)
        lines += more
        for product in group:
            more = walk.wrong(group, product, f"{root}/{product}")
            found[Source(product, root)] = None if more else group[product]
            lines += more
    lines += [f"undeclared object /{name}" for name in sorted(set(file) - {"EXTERNALS", "PRODUCTS", "PREVIOUS"})]
    return found, lines + [f"undeclared object /PREVIOUS/{name}" for name in sorted(set(previous) - {"PRODUCTS"})]


def _group(parent, name, path):
    """A group below which products are, and a line when it is something else; nothing is in one that is not there."""
    if name not in set(parent):
        return {}, []
    if parent.get(name, getclass=True, getlink=True) is h5py.HardLink and isinstance(parent[name], h5py.Group):
        return parent[name], []
    return {}, [f"{path} is not a group"]


def _identity(file, star, quarter):
    lines = []
    for name, expected in (("PLATO_ID", star), ("QUARTER_NUMBER", quarter)):
        value = file.attrs.get(name)
        value = value.decode() if isinstance(value, bytes) else value
        if value is None:
            lines.append(f"root attribute {name} is missing")
        elif expected != "" and str(value) != str(expected):
            lines.append(f"root attribute {name} is {value}, expected {expected}")
    dates = ("OBS_START_DATE", "OBS_END_DATE")
    missing = [name for name in dates if name not in file.attrs]
    if len(missing) == 1:
        lines.append(f"root attribute {missing[0]} is missing, though the other of {' and '.join(dates)} is there")
    return lines


def _conditional(contract, found, chosen, holds):
    """Conditional inputs: there exactly when the condition holds, as far as it can be seen from here."""
    explained, lines = {*contract.mandatory, *contract.optional, *chosen}, []
    for source, when in contract.conditional_inputs:
        if holds[source] is True and source not in found:
            lines.append(f"missing conditional input {_path(source)}: {when} holds")
        if holds[source] is False and source in found and source not in explained:
            lines.append(f"conditional input {_path(source)} was staged, but {when} does not hold")
    return lines


def _alternatives(contract, found, chosen):
    """Of each one_of the first that is there, and no other."""
    pairs = zip(contract.one_of, chosen)
    lines = ["no alternative of one_of " + " | ".join(map(_path, group)) for group, first in pairs if first is None]
    conditional = [source for source, _ in contract.conditional_inputs]
    explained = {*contract.mandatory, *contract.optional, *conditional, *chosen}
    others = (found.keys() & contract.declared_inputs()) - explained
    return lines + [f"{_path(source)} is an alternative that was not chosen" for source in sorted(others)]


def _in_order(contract, chosen, holds):
    """What may be staged, in the order of the contract. Left out is what has a condition that cannot be seen."""
    conditional = [source for source, _ in contract.conditional_inputs if holds[source] is True]
    order = [*contract.mandatory, *conditional, *filter(None, chosen), *contract.optional]
    return [source for source in dict.fromkeys(order) if holds.get(source) is not cel.UNDECIDED]


def _announced(file, found, chosen, order):
    """What the root attribute STAGED says, against what is there."""
    text = file.attrs.get("STAGED")
    if text is None:
        return ["root attribute STAGED is missing"]
    try:
        announced = json.loads(text)
        listed = [_source(path) for path in announced["staged"]]
        picked = [_source(path) for path in announced["one_of"]]
    except (AttributeError, ValueError, KeyError, TypeError) as error:
        return [f"root attribute STAGED cannot be read: {error!r}"]
    lines = [f"STAGED lists {_path(source)}, which is not there" for source in sorted(set(listed) - found.keys())]
    lines += [f"STAGED does not list {_path(source)}" for source in sorted(found.keys() - set(listed))]
    counts = collections.Counter(listed)
    lines += [f"STAGED lists {_path(source)} {count} times" for source, count in counts.items() if count > 1]
    expected = [source for source in order if source in counts]
    if [source for source in counts if source in expected] != expected:
        lines.append(f"STAGED lists {[*map(_path, counts)]}, expected the order {[*map(_path, expected)]}")
    if picked != [*filter(None, chosen)]:
        expected = [_path(source) for source in chosen if source]
        lines.append(f"STAGED says alternatives {[*map(_path, picked)]}, expected {expected}")
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
    """The module's parameters, and what is wrong with their file, a line each."""
    try:
        with open(path, encoding="utf-8") as file:
            parameters = json.load(file)
    except (OSError, TypeError, ValueError) as error:
        return {}, [f"parameters.json cannot be read: {error}"]
    return (parameters, []) if isinstance(parameters, dict) else ({}, ["parameters.json is not an object"])
