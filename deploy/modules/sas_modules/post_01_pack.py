"""POST_01, pack: what is delivered of a star, in one archive with a manifest of sizes and digests.

The archive is a tar of `<product>/<column>.npy` (text: `.txt`) and `index.json`, which has units and what was absent. It is
the same for the same products: no times, no owners, names in order.
"""

import hashlib
import io
import json
import tarfile

import numpy as np

DELIVERY, MANIFEST = "IDP_POST_DELIVERY", "IDP_POST_MANIFEST"


def run(inputs, outputs):
    """Reads whatever products are there; writes IDP_POST_DELIVERY and IDP_POST_MANIFEST."""
    wanted = sorted(inputs.parameters.get("products", inputs.products()))
    members, index = {}, {"products": {}, "absent": []}
    for product in wanted:
        if not inputs.has(product):
            index["absent"].append(product)
            continue
        columns = index["products"][product] = {}
        for column in inputs.columns(product):
            data = inputs.column(product, column)
            name, body = packed(f"{product}/{column}", data)
            members[name] = body
            columns[column] = {"file": name, "unit": inputs.unit(product, column)}
    members["index.json"] = json.dumps(index, indent=1, sort_keys=True).encode()
    archive = tar(members)
    outputs.put(DELIVERY, "archive", np.frombuffer(archive, np.uint8))
    outputs.put(DELIVERY, "bytes", len(archive))
    outputs.put(DELIVERY, "sha256", hashlib.sha256(archive).hexdigest())
    names = sorted(members)
    outputs.put(MANIFEST, "path", names)
    outputs.put(MANIFEST, "bytes", [len(members[name]) for name in names])
    outputs.put(MANIFEST, "sha256", [hashlib.sha256(members[name]).hexdigest() for name in names])
    print(f"{len(index['products'])} products in {len(archive)} bytes, {len(index['absent'])} absent")


def packed(name, data):
    """(name, bytes) of one column: an .npy file of native numbers, or lines of text."""
    array = np.asarray(data)
    if array.dtype.kind in "OSU":
        lines = [item.decode("utf-8") if isinstance(item, bytes) else str(item) for item in np.atleast_1d(array).ravel()]
        return name + ".txt", "\n".join(lines).encode()
    body = io.BytesIO()
    # Not compressed, little-endian whatever the host: equal values are equal bytes.
    np.save(body, array.astype(array.dtype.newbyteorder("<")), allow_pickle=False)
    return name + ".npy", body.getvalue()


def tar(members):
    """An archive of {name: bytes}."""
    body = io.BytesIO()
    with tarfile.open(fileobj=body, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in sorted(members):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(members[name]), 0o644
            archive.addfile(entry, io.BytesIO(members[name]))
    return body.getvalue()
