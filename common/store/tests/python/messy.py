"""Writes the same products twice, as messy as they are in real life: once plainly, once in another layout.

Usage: messy.py PLAIN OTHER
"""

import sys

import h5py
import numpy as np
from h5py import h5d, h5s, h5t


def low(group, name, kind, values):
    """A dataset of a type for which h5py has no word of its own."""
    space = h5s.create_simple(values.shape) if values.shape else h5s.create(h5s.SCALAR)
    dataset = h5d.create(group.id, name.encode(), kind, space)
    dataset.write(h5s.ALL, h5s.ALL, values, mtype=kind)


def fixed(size, pad):
    kind = h5t.C_S1.copy()
    kind.set_size(size)
    kind.set_strpad(pad)
    return kind


def numbers(top, other):
    group = top.create_group("IDP_SAS_[FE_H]_SAPP")
    order = ">" if other else "<"
    strange = np.array([0x7FF8000000000001, 0xFFF8000000000000, 0x7FF0000000000001], dtype="u8")
    plain = np.array([0x7FF8000000000000] * 3, dtype="u8")
    flux = np.concatenate([np.array([1.5, -0.0, 0.0, np.inf]), (strange if other else plain).view("f8")])
    names = ["trailing ", "a b", "64", "32", "i8", "u16", "i64", "matrix", "[x/y]"]
    values = {
        "trailing ": np.array(3.25, order + "f8"),
        "a b": np.array(-7, order + "i4"),
        "64": flux.astype(order + "f8"),
        "32": np.array([1.5, np.nan], order + "f4"),
        "i8": np.array([-128, 127], "i1"),
        "u16": np.array([0, 65535], order + "u2"),
        "i64": np.array([-(2**63), 2**63 - 1], order + "i8"),
        "matrix": np.arange(6, dtype=order + "f8").reshape(2, 3),
        "[x/y]": np.array([], order + "f8"),
    }
    for name in reversed(names) if other else names:
        group[name] = values[name]
    group["trailing "].attrs["unit"] = "ppm²/µHz"
    group["64"].attrs["*"] = np.array([1, 2], order + "i8")
    group["64"].attrs["list"] = ["one", "zwei", "três"]
    group.create_dataset("nothing", dtype=order + "f8", data=h5py.Empty(order + "f8"))
    group.create_group("empty")


def flags(top, other):
    group = top.create_group("flags")
    group["enum"] = True
    group["enums"] = np.array([True, False])
    group["int8"] = np.int8(1)
    low(group, "bits", h5t.STD_B8LE, np.array([0, 1, 255], "u1"))
    low(group, "wide bits", h5t.STD_B16BE if other else h5t.STD_B16LE, np.array([258], ">u2" if other else "<u2"))
    kind = h5py.enum_dtype({"RED": 1, "BLUE": 2, "DARK": -1}, basetype=">i2" if other else "<i2")
    group.create_dataset("colour", data=np.array([2, 1, -1], kind.newbyteorder(">" if other else "<")), dtype=kind)


def texts(top, other):
    group = top.create_group("texts")
    if other:
        low(group, "one", fixed(16, h5t.STR_SPACEPAD), np.frombuffer(b"same text       ", "V16").reshape(()))
        low(group, "two", fixed(6, h5t.STR_NULLPAD), np.frombuffer(b"ab\0\0\0\0\0\0\0\0\0\0", "V6"))
        low(group, "three", fixed(4, h5t.STR_NULLTERM), np.frombuffer(b"x\0zz", "V4").reshape(()))
        group.create_dataset("four", data="Größe".encode(), dtype=h5py.string_dtype("utf-8", 40))
    else:
        group["one"] = "same text"
        group.create_dataset("two", data=["ab", ""], dtype=h5py.string_dtype())
        group["three"] = "x"
        group["four"] = "Größe"


def records(top, other):
    order = ">" if other else "<"
    inner = np.dtype([("a", order + "i4"), ("pair", order + "f8", (2,))])
    record = np.dtype({"names": ["n", "inner", "ok"], "formats": [order + "u4", inner, "i1"]}, align=other)
    values = np.zeros(2, record)
    values["n"], values["inner"]["a"], values["ok"] = [1, 2], [-1, 5], [1, 0]
    values["inner"]["pair"] = [[1.0, 2.0], [np.nan, 4.0]]
    top["records"] = values
    lists = top.create_dataset("lists", (3,), dtype=h5py.vlen_dtype(np.dtype(order + "f8")))
    lists[0], lists[2] = [1.0, 2.0], [3.0]


def large(top, other):
    group = top.create_group("large")
    values = np.random.default_rng(7).normal(size=(300, 2500))
    options = {"chunks": (64, 100), "compression": "gzip", "shuffle": True, "fletcher32": True} if other else {}
    group.create_dataset("rows", data=values, **options)
    group.create_dataset("line", data=np.arange(700_000, dtype=">i4" if other else "<i4"), **({"chunks": (4096,)} if other else {}))


def nothing(top, other):
    top.create_group("nothing").attrs["NOT_PRODUCED"] = "no convergence"


def write(path, other):
    with h5py.File(path, "w", libver="latest" if other else "earliest") as file:
        makers = [numbers, flags, texts, records, large, nothing]
        for make in reversed(makers) if other else makers:
            make(file, other)


if __name__ == "__main__":
    write(sys.argv[1], False)
    write(sys.argv[2], True)
