"""A fingerprint of what an input holds: names, kinds, shapes, values and attributes, never file bytes or layout.

It only has to be stable and to change whenever a value changes; the store's own digests are defined elsewhere.
"""

import hashlib

import h5py
import numpy as np

# Larger arrays are read in slabs of about this many bytes.
SLAB = 16 << 20


def fingerprint(file, salt):
    """SHA-256 of everything below the groups of an open input.h5, and of `salt`."""
    digest = hashlib.sha256(salt)
    for name in sorted(file):
        _node(digest, name, file[name])
    return digest.digest()


def _node(digest, name, node):
    _text(digest, name)
    for attribute in sorted(node.attrs):
        _text(digest, attribute)
        _value(digest, np.asarray(node.attrs[attribute]))
    if isinstance(node, h5py.Group):
        digest.update(b"group%d" % len(node))
        for member in sorted(node):
            _node(digest, member, node[member])
    elif node.shape is None:
        digest.update(b"empty")
    elif node.ndim and node.nbytes > SLAB:
        digest.update(repr(node.shape).encode())
        rows = max(1, SLAB * node.shape[0] // node.nbytes)
        for start in range(0, node.shape[0], rows):
            _value(digest, node[start : start + rows])
    else:
        _value(digest, np.asarray(node[()]))


def _value(digest, array):
    """Kind, shape and values, numbers in little-endian order."""
    digest.update(f"{array.dtype.kind}{array.shape}".encode())
    if array.dtype.kind in "OSU":
        for item in array.ravel().tolist():
            _text(digest, item if isinstance(item, str) else bytes(item).decode("utf-8", "surrogateescape"))
    else:
        digest.update(np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes())


def _text(digest, text):
    encoded = text.encode("utf-8", "surrogateescape")
    digest.update(b"%d:" % len(encoded) + encoded)
