"""`python3 -m light.starfile FILE…`: what star files say of their modules, as JSON, read with h5py and nothing of ours.

{file: {"star", "quarter", "generation", "modules": {name: {"state", "reason", "attempt", "warnings", "outputs", "inputs"}},
"products", "not_produced", "externals", "scalars"}}. A product counts only when its data can be read; `not_produced` are
those of which their module answered that there is none. `scalars` are finite scalar columns, {product: {column: value}}.
"""

import json
import math
import re
import sys

import h5py

from . import conditions

# The group of a module run: pipeline, module, generation.
RUN = re.compile(r"(?P<pipeline>.+)-(?P<module>[^-]+)_(?P<generation>\d+)\Z")
FIELDS = ("state", "reason", "attempt", "warnings")


def read(path):
    """What one star file says."""
    with h5py.File(path, "r") as file:
        modules, generation = {}, None
        for name in file:
            match = RUN.match(name)
            if match:
                generation = int(match["generation"])
                modules[match["module"]] = _module(file[name])
        return {
            "star": _plain(file.attrs["PLATO_ID"]),
            "quarter": _plain(file.attrs["QUARTER_NUMBER"]),
            "generation": generation,
            "modules": modules,
            "products": _readable(file["PRODUCTS"]),
            "not_produced": [name for name, node in file["PRODUCTS"].items() if "NOT_PRODUCED" in node.attrs],
            "externals": _readable(file["EXTERNALS"]),
            "scalars": {name: _scalars(file[root][name]) for root in ("EXTERNALS", "PRODUCTS") for name in file[root]},
        }


def _module(group):
    inputs = {source: _plain(products) for source, products in group["inputs"].attrs.items()}
    fields = {field: _plain(group.attrs[field]) for field in FIELDS if field in group.attrs}
    return {**fields, "outputs": _plain(group.attrs["outputs"]), "inputs": inputs}


def _readable(group):
    """The products in a group, after all their data were read. KeyError when a link leads nowhere."""

    def visit(_, node):
        if isinstance(node, h5py.Dataset):
            node[()]

    names = sorted(group)
    for name in names:
        node = group[name]
        node[()] if isinstance(node, h5py.Dataset) else node.visititems(visit)
    return names


def _scalars(product):
    """Its scalar columns but for those that JSON has no number for."""
    columns = conditions.scalars(product).items()
    return {name: value for name, value in columns if not isinstance(value, float) or math.isfinite(value)}


def _plain(value):
    """An attribute as JSON has it."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.decode() if isinstance(value, bytes) else value


if __name__ == "__main__":
    json.dump({path: read(path) for path in sys.argv[1:]}, sys.stdout, indent=1, ensure_ascii=False)
