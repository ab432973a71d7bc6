"""Recomputes digests of products, independently of the store: h5py, numpy and the definition in `store/digest.rs`.

Big-endian lists are beyond it: h5py 3.7 reads them with the wrong byte order.

Usage: digest.py FILE PATH...   prints one line `<digest> <path>` for each path.
"""

import hashlib
import struct
import sys

import h5py
import numpy as np
from h5py import h5t


def digest(obj):
    sha = hashlib.sha256(b"sas-digest-1\n")
    add_object(sha, obj)
    return sha.hexdigest()


def add_object(sha, obj):
    if isinstance(obj, h5py.Group):
        sha.update(b"G")
        add_attributes(sha, obj)
        names = sorted(obj, key=lambda name: name.encode())
        sha.update(count(len(names)))
        for name in names:
            sha.update(text(name.encode()))
            add_object(sha, obj[name])
    else:
        sha.update(b"D")
        add_attributes(sha, obj)
        kind = obj.id.get_type()
        add_value(sha, kind, obj.id.get_space(), read_dataset(obj, kind))


def add_attributes(sha, obj):
    names = sorted(obj.attrs, key=lambda name: name.encode())
    sha.update(count(len(names)))
    for name in names:
        sha.update(text(name.encode()))
        attribute = h5py.h5a.open(obj.id, name.encode())
        kind = attribute.get_type()
        add_value(sha, kind, attribute.get_space(), read_attribute(attribute, kind))


def add_value(sha, kind, space, values):
    sha.update(type_of(kind))
    extent = space.get_simple_extent_type()
    if extent == h5py.h5s.NULL:
        sha.update(b"N")
    elif extent == h5py.h5s.SCALAR:
        sha.update(b"S")
        sha.update(element(kind, values[()]))
    else:
        sha.update(b"A" + count(space.get_simple_extent_ndims()))
        for size in space.get_simple_extent_dims():
            sha.update(count(size))
        sha.update(elements(kind, values))


def read_dataset(dataset, kind):
    if dataset.shape is None:
        return None
    values = np.empty(dataset.shape, dtype=memory_type(kind))
    if dataset.size:
        dataset.id.read(h5py.h5s.ALL, h5py.h5s.ALL, values, mtype=memory_id(kind))
    return values


def read_attribute(attribute, kind):
    if attribute.get_space().get_simple_extent_type() == h5py.h5s.NULL:
        return None
    values = np.empty(attribute.shape, dtype=memory_type(kind))
    if values.size:
        attribute.read(values, mtype=memory_id(kind))
    return values


def memory_type(kind):
    """Texts of fixed length are read with their padding."""
    if is_fixed_text(kind):
        return np.dtype((np.void, kind.get_size()))
    if isinstance(kind, h5t.TypeBitfieldID):
        return np.dtype(f"{'>' if kind.get_order() == h5t.ORDER_BE else '<'}u{kind.get_size()}")
    return kind.dtype


def memory_id(kind):
    if is_fixed_text(kind) or isinstance(kind, h5t.TypeBitfieldID):
        return kind
    return None


def is_fixed_text(kind):
    return isinstance(kind, h5t.TypeStringID) and not kind.is_variable_str()


def type_of(kind):
    if isinstance(kind, h5t.TypeEnumID):
        members = sorted(
            (kind.get_member_name(index), int(kind.get_member_value(index))) for index in range(kind.get_nmembers())
        )
        if members == [(b"FALSE", 0), (b"TRUE", 1)]:
            return b"b"
        out = b"e" + type_of(kind.get_super()) + count(len(members))
        return out + b"".join(text(name) + value.to_bytes(16, "little", signed=True) for name, value in members)
    if isinstance(kind, h5t.TypeIntegerID):
        letter = b"i" if kind.get_sign() == h5t.SGN_2 else b"u"
        return letter + bytes([kind.get_size()])
    if isinstance(kind, h5t.TypeFloatID):
        return b"f" + bytes([kind.get_size()])
    if isinstance(kind, h5t.TypeBitfieldID):
        return b"t" + bytes([kind.get_size()])
    if isinstance(kind, h5t.TypeStringID):
        return b"s"
    if isinstance(kind, h5t.TypeCompoundID):
        out = b"c" + count(kind.get_nmembers())
        for index in range(kind.get_nmembers()):
            out += text(kind.get_member_name(index)) + type_of(kind.get_member_type(index))
        return out
    if isinstance(kind, h5t.TypeArrayID):
        dims = kind.get_array_dims()
        return b"a" + count(len(dims)) + b"".join(map(count, dims)) + type_of(kind.get_super())
    if isinstance(kind, h5t.TypeVlenID):
        return b"l" + type_of(kind.get_super())
    raise TypeError(f"no digest for {kind}")


def elements(kind, values):
    if isinstance(kind, (h5t.TypeIntegerID, h5t.TypeFloatID, h5t.TypeBitfieldID)) and not isinstance(
        kind, h5t.TypeEnumID
    ):
        return numbers(values)
    return b"".join(element(kind, value) for value in values.reshape(-1))


def numbers(values):
    values = np.asarray(values)
    values = values.astype(values.dtype.newbyteorder("<"))
    if values.dtype.kind == "f":
        bits = values.view(f"<u{values.dtype.itemsize}").copy()
        bits[np.isnan(values)] = {4: 0x7FC00000, 8: 0x7FF8000000000000}[values.dtype.itemsize]
        return bits.tobytes()
    return values.tobytes()


def element(kind, value):
    if isinstance(kind, h5t.TypeEnumID):
        if type_of(kind) == b"b":
            return bytes([1 if value else 0])
        return numbers(np.array([value], dtype=kind.get_super().dtype))
    if isinstance(kind, h5t.TypeStringID):
        if kind.is_variable_str():
            return text(value.encode() if isinstance(value, str) else bytes(value or b""))
        raw = bytes(value)
        pad = kind.get_strpad()
        if pad == h5t.STR_NULLTERM:
            return text(raw.split(b"\0")[0])
        return text(raw.rstrip(b"\0" if pad == h5t.STR_NULLPAD else b" "))
    if isinstance(kind, h5t.TypeCompoundID):
        return b"".join(
            element(kind.get_member_type(index), value[kind.get_member_name(index).decode()])
            for index in range(kind.get_nmembers())
        )
    if isinstance(kind, h5t.TypeArrayID):
        return elements(kind.get_super(), np.asarray(value))
    if isinstance(kind, h5t.TypeVlenID):
        return count(len(value)) + elements(kind.get_super(), np.asarray(value))
    return numbers(np.array([value]))


def count(number):
    return struct.pack("<Q", number)


def text(raw):
    return count(len(raw)) + raw


if __name__ == "__main__":
    with h5py.File(sys.argv[1], "r") as file:
        for path in sys.argv[2:]:
            print(digest(file[path]), path)
