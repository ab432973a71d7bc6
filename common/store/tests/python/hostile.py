"""Writes outputs that no module should: each must be refused, or cost no more than the agent that looked at it.

Usage: hostile.py KIND PATH; for the list of kinds: hostile.py list; for files with bytes changed: hostile.py mutated PATH SEED COUNT
"""

import os
import sys
import zlib

import h5py
import numpy as np
from h5py import h5d, h5p, h5s, h5t


# An output has PRODUCTS, a delivery EXTERNALS.
TOP = os.environ.get("TOP", "PRODUCTS")


def product(file, name="X"):
    return file.require_group(TOP).require_group(name)


def external_link(file, path):
    product(file)["value"] = h5py.ExternalLink("/etc/passwd", "/")


def external_link_as_product(file, path):
    file.create_group(TOP)["X"] = h5py.ExternalLink("other.h5", "/PRODUCTS/X")


def external_link_as_products(file, path):
    file[TOP] = h5py.ExternalLink("other.h5", "/PRODUCTS")


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


def half(file, path):
    product(file)["value"] = np.arange(10, dtype="f2")


def bomb(file, path):
    """A chunk of 8 KB that unpacks to a gigabyte."""
    data = product(file).create_dataset("value", (1000,), "f8", chunks=(1000,), compression="gzip")
    data.id.write_direct_chunk((0,), zlib.compress(b"\0" * (1 << 30), 9))


def large_chunk(file, path):
    product(file).create_dataset("value", (80_000_000,), "f8", chunks=(80_000_000,), compression="gzip")


def large_chunk_of_little(file, path):
    """Ten values in a chunk for a billion."""
    product(file).create_dataset("value", (10,), "f4", maxshape=(None,), chunks=(1_000_000_000,))


def columns_of_chunks(file, path):
    """Chunks that are a column each, so that every row is in all of them."""
    product(file).create_dataset("value", (100_000, 2_000), "f8", chunks=(100_000, 1))


def shared_text(file, path):
    """A text of a megabyte that ten thousand values refer to."""
    data = product(file).create_dataset("value", (10_000,), h5py.string_dtype(), chunks=(10_000,))
    data[0] = "x" * (1 << 20)
    file.flush()
    [reference] = [data.id.read_direct_chunk((0,))[1][:16]]
    data.id.write_direct_chunk((0,), reference * 10_000)


def long_text(file, path):
    product(file).create_dataset("value", data="x" * (70 << 20), dtype=h5py.string_dtype())


def long_list(file, path):
    data = product(file).create_dataset("value", (1,), h5py.vlen_dtype("f8"))
    data[0] = np.zeros(10_000_000)


def large_attribute(file, path):
    product(file, "X").create_group("deep", track_order=True).attrs["a"] = np.zeros(3_000_000)


def endless_heap(file, path):
    """A text whose heap object has 2^64-16 bytes."""
    product(file).create_dataset("value", data="a text", dtype=h5py.string_dtype())
    file.close()
    whole = bytearray(open(path, "rb").read())
    heap = whole.index(b"GCOL")
    whole[heap + 24 : heap + 32] = (2**64 - 16).to_bytes(8, "little")
    open(path, "wb").write(whole)


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


def mutated(path, seed, count):
    """Files with a few bytes of a good one changed, in PATH.d: of layouts that take other ways through the library."""
    rng = np.random.default_rng(seed)
    os.mkdir(path + ".d")
    good = []
    for index, version in enumerate(("earliest", "v110", "latest")):
        name = f"{path}.{index}"
        with h5py.File(name, "w", libver=version, track_order=index == 1) as file:
            group = product(file)
            group["value"] = np.arange(64.0)
            group.create_dataset("packed", data=np.arange(500.0), chunks=(50,), compression="gzip", shuffle=True)
            group.create_dataset("texts", data=["a", "bc", "µ"], dtype=h5py.string_dtype())
            group.create_dataset("lists", (2,), h5py.vlen_dtype("i4"))[0] = [1, 2, 3]
            group.create_dataset("table", data=np.zeros(3, [("time", "f8"), ("name", "S8"), ("pair", "i2", (2,))]))
            group.create_dataset("growing", data=np.arange(9), maxshape=(None,), chunks=(2,))
            group["flag"] = np.bool_(True)
            below = group.create_group("below")
            below.attrs["unit"] = "Hz"
            below.attrs["list"] = ["a", "b"]
            for number in range(12):
                below[f"n{number}"] = number
        good.append(np.fromfile(name, "u1"))
    for index in range(count):
        bad = good[index % len(good)].copy()
        at = rng.integers(0, len(bad), size=rng.integers(1, 9))
        bad[at] = rng.choice(np.array([0, 1, 0x7F, 0x80, 0xFE, 0xFF], "u1"), size=len(at)) if index % 2 else rng.integers(0, 256, len(at))
        bad.tofile(f"{path}.d/{index}.h5")


NOT_KINDS = {"product", "mutated"}

if __name__ == "__main__":
    functions = {name: value for name, value in globals().items() if callable(value) and name not in NOT_KINDS}
    kinds = {name: value for name, value in functions.items() if getattr(value, "__module__", "") == "__main__"}
    if sys.argv[1] == "list":
        print("\n".join(kinds))
    elif sys.argv[1] == "mutated":
        mutated(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    else:
        with h5py.File(sys.argv[2], "w") as made:
            if TOP == "EXTERNALS":
                made.attrs.update(PLATO_ID="PLATO_c4b4688e-4165-592a-9c05-f0e7a6f839c7", QUARTER_NUMBER=1)
            kinds[sys.argv[1]](made, sys.argv[2])
