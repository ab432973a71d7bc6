"""Writes the declared outputs: columns after the data model, values that follow from the fingerprint of the inputs.

Numbers and texts are drawn from SHA-256 streams; flags are false unless the script says otherwise. The same column is
stored in the same way in every file, but different columns in different ways (byte order, width, text of fixed or
variable length, flags as enum or int8), so that readers meet what they meet in real files.
"""

import hashlib
import math

import h5py
import numpy as np

from . import cel, origin

# Columns of a product that the data model leaves open.
OPEN = {"value": {"type": "float", "ndim": 0}}
# Length of every dimension of an array.
LENGTH = 3
STORED = {
    "float": ("<f8", ">f8", "<f8", "<f4"),
    "int": ("<i8", ">i4", "<i8", "<i2"),
    "bool": ("?", "i1"),
    "string": ("O", "S"),
}


def outputs(contract, behaviour, fingerprint, model):
    """The products to write, {product: {column: (array, unit)}}; a reason in place of the columns: there is none."""
    made = {}
    for product in contract.outputs:
        made[product] = columns(product, behaviour, fingerprint, model)
    for product in contract.optional_outputs:
        if behaviour.makes(product):
            made[product] = columns(product, behaviour, fingerprint, model)
    for product in contract.nullable_outputs:
        there = behaviour.makes(product)
        made[product] = columns(product, behaviour, fingerprint, model) if there else "the script makes none"
    for product, when in contract.conditional_outputs:
        if cel.evaluate(when, _own(made, contract, model), contract.params) is True:
            made[product] = columns(product, behaviour, fingerprint, model)
    return made


def columns(product, behaviour, fingerprint, model):
    """The columns of one product."""
    known, scripted = model.get(product) or OPEN, behaviour.values.get(product, {})
    made = {}
    for name, column in known.items():
        fixed = scripted.get(name)
        made[name] = (_column(product, name, column, fixed, fingerprint), column.get("unit"))
    for name in scripted.keys() - known.keys():
        made[name] = (np.asarray(_number(scripted[name])), None)
    return made


def write(path, products, marks):
    """A new output.h5 with these products, and the marks of their origin."""
    with h5py.File(path, "w") as file:
        root = file.create_group("PRODUCTS")
        for product, made in products.items():
            put(root, product, made, marks)


def put(root, product, made, marks):
    """Adds one product to a group of an open file."""
    group = root.create_group(product)
    origin.mark(group, product, marks)
    if isinstance(made, str):
        group.attrs["NOT_PRODUCED"] = made
        return
    for name, (data, unit) in made.items():
        kind = h5py.string_dtype() if data.dtype.kind == "O" else data.dtype
        dataset = group.create_dataset(name, data=data, dtype=kind)
        if unit is not None:
            dataset.attrs["unit"] = unit


def _column(product, name, column, fixed, fingerprint):
    kind, shape = column["type"], (LENGTH,) * column["ndim"]
    place = f"{product}/{name}".encode()
    stored = STORED[kind][hashlib.sha256(place).digest()[0] % len(STORED[kind])]
    if fixed is not None:
        values = np.full(shape, fixed if kind == "string" else _number(fixed))
        # -1 and NaN stand for "absent" and must survive every width.
        return values.astype(object if stored == "O" else stored)
    seed, count = hashlib.sha256(fingerprint + place).digest(), math.prod(shape)
    raw = b"".join(hashlib.sha256(seed + bytes([block])).digest() for block in range(count * 4 // 32 + 1))
    draws = np.frombuffer(raw, "<u4", count).reshape(shape)
    if kind == "float":
        return (1 + draws / 2**32).astype(stored)
    if kind == "int":
        return (1 + draws % 9973).astype(stored)
    if kind == "bool":
        return np.zeros(shape, stored)
    texts = np.array([f"light µ {draw:08x}" for draw in draws.ravel().tolist()], dtype=object).reshape(shape)
    return texts if stored == "O" else np.char.encode(texts.astype("U"), "utf-8")


def _number(value):
    return float(value) if isinstance(value, str) else value


def _own(made, contract, model):
    """The module's own outputs, as expressions over them see them."""

    def product(_, name):
        name = contract.canonical(name)
        if isinstance(made.get(name, ""), str):
            raise cel.Absent
        kinds = model.get(name, {})
        values = {path: data for path, (data, _) in made[name].items() if data.shape == ()}
        return {path: bool(data) if kinds.get(path, {}).get("type") == "bool" else data.item() for path, data in values.items()}

    return product
