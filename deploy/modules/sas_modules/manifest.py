"""Manifests of deliveries: every file with its size and SHA-256.

    python3 -m sas_modules.manifest DIR                  writes DIR/manifest.json, for `sas ingest --watch`
    python3 -m sas_modules.manifest DIR --stars OUT_DIR  writes OUT_DIR/PLATO_<uuid>.manifest.h5 for each star of DIR

The second form is for sas-pdx: the manifest of a star's files is ingested instead of the files, and PDX_01 fetches exactly
these bytes from the delivery directory. Write a manifest when everything else is there: it says that a delivery is whole.
"""

import argparse
import hashlib
import json
import os
import sys

import h5py

MANIFEST = "manifest.json"
PRODUCT = "IDP_PDX_MANIFEST"


def main(arguments):
    """Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python3 -m sas_modules.manifest", description=__doc__.splitlines()[0])
    parser.add_argument("directory", metavar="DIR")
    parser.add_argument("--stars", metavar="OUT_DIR", help="manifests of single stars, as star files")
    options = parser.parse_args(arguments)
    files = listed(options.directory)
    if not files:
        print(f"{options.directory} has no files", file=sys.stderr)
        return 1
    if options.stars:
        return _stars(options.directory, files, options.stars)
    path = os.path.join(options.directory, MANIFEST)
    with open(path + ".part", "w", encoding="utf-8") as file:
        json.dump({"files": files}, file, indent=1)
    os.replace(path + ".part", path)
    return 0


def listed(directory):
    """[{path, bytes, sha256}] of all files below a directory, sorted; manifests are not part of what they list."""
    found = []
    for folder, _, names in os.walk(directory):
        for name in names:
            path = os.path.relpath(os.path.join(folder, name), directory)
            if path not in (MANIFEST, MANIFEST + ".part"):
                size, digest = measure(os.path.join(directory, path))
                found.append({"path": path, "bytes": size, "sha256": digest})
    return sorted(found, key=lambda entry: entry["path"])


def measure(path):
    """(size, SHA-256 in hexadecimal digits) of a file."""
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return file.tell(), digest


def _stars(directory, files, target):
    """Writes a star file with the manifest of each star and quarter; files that name no star are an error."""
    stars = {}
    for entry in files:
        try:
            with h5py.File(os.path.join(directory, entry["path"]), "r") as file:
                star, quarter = file.attrs["PLATO_ID"], int(file.attrs["QUARTER_NUMBER"])
        except (OSError, KeyError, ValueError) as error:
            print(f"{entry['path']}: no star file that names PLATO_ID and QUARTER_NUMBER: {error}", file=sys.stderr)
            return 1
        star = star.decode() if isinstance(star, bytes) else str(star)
        stars.setdefault((star, quarter), []).append(entry)
    os.makedirs(target, exist_ok=True)
    for (star, quarter), entries in stars.items():
        with h5py.File(os.path.join(target, f"{star}_Q{quarter}.manifest.h5"), "w") as file:
            file.attrs["PLATO_ID"], file.attrs["QUARTER_NUMBER"] = star, quarter
            group = file.create_group(f"EXTERNALS/{PRODUCT}")
            for column in ("path", "sha256"):
                group.create_dataset(column, data=[entry[column] for entry in entries], dtype=h5py.string_dtype())
            group.create_dataset("bytes", data=[entry["bytes"] for entry in entries], dtype="<i8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
