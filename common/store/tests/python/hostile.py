"""Writes outputs that no module should: each must be refused, or cost no more than the agent that looked at it.

Usage: hostile.py KIND PATH    or, for the list of kinds: hostile.py list
"""

import os
import sys

import h5py
import numpy as np
from h5py import h5d, h5p, h5s, h5t


def product(file, name="X"):
    return file.require_group("PRODUCTS").require_group(name)


def external_link(file, path):
    product(file)["value"] = h5py.ExternalLink("/etc/passwd", "/")


def external_link_as_product(file, path):
    file.create_group("PRODUCTS")["X"] = h5py.ExternalLink("other.h5", "/PRODUCTS/X")


def external_link_as_products(file, path):
    file["PRODUCTS"] = h5py.ExternalLink("other.h5", "/PRODUCTS")


def soft_link(file, path):
    product(file)["value"] = h5py.SoftLink("/etc/passwd")


def soft_link_inside(file, path):
    product(file)["real"] = 1.0
    product(file)["value"] = h5py.SoftLink("/PRODUCTS/X/real")


def external_storage(file, path):
    product(file).create_dataset("value", (64,), "u1", external=[("/etc/passwd", 0, 64)])


def virtual(file, path):
    layout = h5py.VirtualLayout(shape=(4,), dtype="f8")
    layout[:] = h5py.VirtualSource("/etc/hosts", "data", shape=(4,))
    product(file).create_virtual_dataset("value", layout)


def sparse(file, path):
    product(file).create_dataset("value", (1_250_000_000_000,), "f8", chunks=(1024,))


def overflowing(file, path):
    product(file).create_dataset("value", (2**40, 2**40), "f8", chunks=(1, 1024))


def huge_chunk(file, path):
    product(file).create_dataset("value", (8, 60_000_000), "f8", chunks=(8, 60_000_000), compression="gzip")


def deep(file, path):
    group = product(file)
    for _ in range(3000):
        group = group.create_group("a")


def cycle(file, path):
    group = product(file)
    group.create_group("down")["up"] = group


def fan(file, path):
    """Hard links that make 2^40 paths out of 40 groups."""
    group = product(file)
    for _ in range(40):
        below = group.create_group("a")
        group["b"] = below
        group = below


def many(file, path):
    group = product(file)
    for index in range(5000):
        group.create_group(str(index))


def filter_unknown(file, path):
    product(file).create_dataset("value", data=np.arange(1000.0), chunks=(100,), compression="lzf")


def filter_scale(file, path):
    product(file).create_dataset("value", data=np.arange(1000.0), chunks=(100,), scaleoffset=2)


def named_type(file, path):
    product(file)["value"] = np.dtype("f8")


def reference(file, path):
    product(file).create_dataset("value", data=file.ref, dtype=h5py.ref_dtype)


def opaque(file, path):
    product(file)["value"] = np.void(b"\x01\x02\x03")


def complex_number(file, path):
    space, kind = h5s.create(h5s.SCALAR), h5t.NATIVE_LDOUBLE
    h5d.create(product(file).id, b"value", kind, space)


def odd_name(file, path):
    h5py.h5g.create(product(file).id, b"\xff\xfe")


def outside(file, path):
    product(file)["value"] = 1.0
    file["elsewhere"] = 1.0


def undeclared(file, path):
    product(file)["value"] = 1.0
    product(file, "Y")["value"] = 1.0


def truncated(file, path):
    product(file)["value"] = np.random.default_rng(1).normal(size=10_000)
    file.close()
    os.truncate(path, os.path.getsize(path) // 2)


def random_bytes(file, path):
    file.close()
    with open(path, "wb") as raw:
        raw.write(np.random.default_rng(2).bytes(100_000))


def random_tail(file, path):
    product(file)["value"] = np.arange(100.0)
    file.close()
    with open(path, "r+b") as raw:
        raw.seek(96)
        raw.write(np.random.default_rng(3).bytes(os.path.getsize(path) - 96))


def empty_file(file, path):
    file.close()
    os.truncate(path, 0)


def symlink(file, path):
    file.close()
    os.remove(path)
    os.symlink("/etc/passwd", path)


def fifo(file, path):
    file.close()
    os.remove(path)
    os.mkfifo(path)


def directory(file, path):
    file.close()
    os.remove(path)
    os.mkdir(path)


def flipped(file, path):
    """Many files, each with some bits of a good one flipped, in PATH.d."""
    product(file)["value"] = np.arange(64.0)
    product(file).create_dataset("text", data=["a", "bc"], dtype=h5py.string_dtype())
    product(file).attrs["unit"] = "µHz"
    product(file).create_dataset("packed", data=np.arange(500), chunks=(50,), compression="gzip", fletcher32=True)
    file.close()
    good = np.fromfile(path, "u1")
    os.mkdir(path + ".d")
    random = np.random.default_rng(4)
    for index in range(200):
        bad = good.copy()
        at = random.integers(8, len(bad), size=8)
        bad[at] ^= (1 << random.integers(0, 8, size=8)).astype("u1")
        bad.tofile(f"{path}.d/{index}.h5")


NOT_KINDS = {"product"}

if __name__ == "__main__":
    functions = {name: value for name, value in globals().items() if callable(value) and name not in NOT_KINDS}
    kinds = {name: value for name, value in functions.items() if getattr(value, "__module__", "") == "__main__"}
    if sys.argv[1] == "list":
        print("\n".join(kinds))
    else:
        kinds[sys.argv[1]](h5py.File(sys.argv[2], "w"), sys.argv[2])
