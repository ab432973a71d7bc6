"""PDX_01, fetch and freeze: the files of a star's manifest, exactly as it says, become products that never change.

The manifest is an input, so that its digests are part of the result's content address: the same manifest gives the same
result, and other bytes are another manifest. The directory that it leads to is read, never trusted: a file that is not there
yet is tried again later, one that is not what the manifest says is refused, and all of them are named.
"""

import os

import h5py

from . import manifest
from .kit import Refused, TryAgain

PRODUCT = manifest.PRODUCT


def run(inputs, outputs):
    """Reads IDP_PDX_MANIFEST; writes those of the parameter `products` that its files have below /EXTERNALS."""
    directory = inputs.parameters.get("directory", "")
    if not os.path.isabs(directory):
        raise Refused("the parameter `directory` is no absolute path: where are deliveries?")
    wanted = inputs.parameters.get("products", [])
    paths = checked(directory, inputs)
    origin = {}
    for path in paths:
        with h5py.File(os.path.join(directory, path), "r") as file:
            externals = file.get("EXTERNALS", {})
            for product in (name for name in wanted if name in externals):
                if product in origin:
                    raise Refused(f"{origin[product]} and {path} both have {product}")
                origin[product] = path
                outputs.take(product, externals[product])
    print(f"{len(origin)} products of {len(paths)} files are frozen")


def checked(directory, inputs):
    """The paths of a manifest whose files are what it says; refuses all that are not, at once."""
    columns = [inputs.require(PRODUCT, column) for column in ("path", "bytes", "sha256")]
    if not os.path.isdir(directory):
        raise TryAgain(f"{directory} is not there")
    paths, absent, bad = [], [], []
    for path, size, digest in zip(*columns, strict=True):
        path, digest = text(path), text(digest)
        whole = os.path.realpath(os.path.join(directory, path))
        if os.path.isabs(path) or not whole.startswith(os.path.realpath(directory) + os.sep):
            bad.append(f"{path}: leads out of the delivery")
        elif not os.path.isfile(whole):
            absent.append(path)
        else:
            found = manifest.measure(whole)
            if found[0] != int(size):
                bad.append(f"{path}: {found[0]} bytes, the manifest says {int(size)}")
            elif found[1] != digest:
                bad.append(f"{path}: SHA-256 {found[1]}, the manifest says {digest}")
            paths.append(path)
    if bad:
        raise Refused("; ".join(bad))
    if absent:
        raise TryAgain(f"not delivered yet: {', '.join(absent)}")
    if not paths:
        raise Refused("the manifest lists no file")
    return paths


def text(value):
    """Text as HDF5 gives it."""
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)
