"""Before and after the science: a delivery is fetched as its manifest says, and packed with one."""

import hashlib
import io
import json
import os
import tarfile
import tempfile
import unittest

import h5py
import numpy as np
from sas_modules import kit, manifest, pdx_01_fetch, post_01_pack

STAR = "PLATO_00000000-0000-5000-8000-000000000001"


class Delivery(unittest.TestCase):
    """A delivery of two files of one star, and what its manifest says."""

    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.directory, self.out = os.path.join(scratch.name, "in"), os.path.join(scratch.name, "out")
        os.mkdir(self.directory)
        for name, product in (("curve.h5", "DP1_LC_MERGED"), ("kit.h5", "KIT")):
            with h5py.File(os.path.join(self.directory, name), "w") as file:
                file.attrs["PLATO_ID"], file.attrs["QUARTER_NUMBER"] = STAR, 3
                group = file.create_group(f"EXTERNALS/{product}")
                group.create_dataset("time", data=np.arange(3.0)).attrs["unit"] = "d"
                group.create_dataset("nested/names", data=["a", "b"], dtype=h5py.string_dtype())

    def inputs(self):
        """The inputs of PDX_01 after the manifest was made and ingested."""
        self.assertEqual(manifest.main([self.directory, "--stars", self.out]), 0)
        [name] = os.listdir(self.out)
        file = h5py.File(os.path.join(self.out, name), "r")
        self.addCleanup(file.close)
        self.assertEqual(file.attrs["PLATO_ID"], STAR)
        return kit.Inputs(file, {"directory": self.directory, "products": ["DP1_LC_MERGED", "KIT", "OTHER"]}, 0)

    def test_what_the_manifest_lists_is_frozen_as_it_is(self):
        inputs, outputs = self.inputs(), kit.Outputs()
        pdx_01_fetch.run(inputs, outputs)
        path = os.path.join(self.out, "frozen.h5")
        outputs.write(path)
        with h5py.File(path, "r") as frozen:
            self.assertEqual(sorted(frozen["PRODUCTS"]), ["DP1_LC_MERGED", "KIT"])
            time = frozen["PRODUCTS/KIT/time"]
            self.assertEqual((list(time[()]), time.attrs["unit"]), ([0.0, 1.0, 2.0], "d"))
            self.assertEqual(list(frozen["PRODUCTS/KIT/nested/names"].asstr()[()]), ["a", "b"])

    def test_other_bytes_are_refused_and_all_of_them_named(self):
        inputs = self.inputs()
        for name in ("curve.h5", "kit.h5"):
            with open(os.path.join(self.directory, name), "ab") as file:
                file.write(b"x")
        with self.assertRaisesRegex(kit.Refused, "curve.h5: .* bytes, the manifest says .*; kit.h5: "):
            pdx_01_fetch.run(inputs, kit.Outputs())

    def test_what_is_not_there_yet_is_tried_again(self):
        inputs = self.inputs()
        os.remove(os.path.join(self.directory, "kit.h5"))
        with self.assertRaisesRegex(kit.TryAgain, "not delivered yet: kit.h5"):
            pdx_01_fetch.run(inputs, kit.Outputs())
        for directory, error, words in (
            ("/nowhere", kit.TryAgain, "is not there"),
            ("here", kit.Refused, "no absolute path"),
        ):
            inputs.parameters["directory"] = directory
            with self.assertRaisesRegex(error, words):
                pdx_01_fetch.run(inputs, kit.Outputs())

    def test_links_out_of_the_delivery_are_refused(self):
        inputs = self.inputs()
        os.rename(os.path.join(self.directory, "kit.h5"), os.path.join(self.out, "kit.h5"))
        os.symlink(os.path.join(self.out, "kit.h5"), os.path.join(self.directory, "kit.h5"))
        with self.assertRaisesRegex(kit.Refused, "kit.h5: leads out of the delivery"):
            pdx_01_fetch.run(inputs, kit.Outputs())

    def test_a_manifest_of_a_delivery_lists_all_but_itself(self):
        self.assertEqual(manifest.main([self.directory]), 0)
        self.assertEqual(manifest.main([self.directory]), 0)
        with open(os.path.join(self.directory, "manifest.json"), encoding="utf-8") as file:
            files = json.load(file)["files"]
        self.assertEqual([entry["path"] for entry in files], ["curve.h5", "kit.h5"])
        with open(os.path.join(self.directory, "kit.h5"), "rb") as file:
            self.assertEqual(files[1]["sha256"], hashlib.sha256(file.read()).hexdigest())


class Packing(unittest.TestCase):
    def pack(self, path):
        """What POST_01 makes of a file: {product: {column: data}}."""
        with h5py.File(path, "r") as file:
            outputs = kit.Outputs()
            post_01_pack.run(kit.Inputs(file, {"products": ["MASS", "NAMES", "NONE", "GONE"]}, 0), outputs)
        made = {}
        for (product, column), (data, _) in outputs._columns.items():
            made.setdefault(product, {})[column] = data
        return made

    def test_an_archive_says_what_is_in_it_and_is_the_same_for_the_same_products(self):
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "in.h5")
            with h5py.File(path, "w") as file:
                value = file.create_dataset("EXTERNALS/MASS/value", data=np.array(1.5, ">f8"))
                value.attrs["unit"] = "Msun"
                file.create_dataset("EXTERNALS/NAMES/text", data=["a", "é"], dtype=h5py.string_dtype())
                file.create_group("EXTERNALS/NONE").attrs["NOT_PRODUCED"] = "no modes"
            made, again = self.pack(path), self.pack(path)
        archive = bytes(made["IDP_POST_DELIVERY"]["archive"])
        self.assertEqual(archive, bytes(again["IDP_POST_DELIVERY"]["archive"]))
        self.assertEqual(made["IDP_POST_DELIVERY"]["sha256"], hashlib.sha256(archive).hexdigest())
        listed = made["IDP_POST_MANIFEST"]
        self.assertEqual(listed["path"], ["MASS/value.npy", "NAMES/text.txt", "index.json"])
        with tarfile.open(fileobj=io.BytesIO(archive)) as packed:
            bodies = {name: packed.extractfile(name).read() for name in packed.getnames()}
        for name, size, digest in zip(listed["path"], listed["bytes"], listed["sha256"], strict=True):
            self.assertEqual((len(bodies[name]), hashlib.sha256(bodies[name]).hexdigest()), (size, digest))
        self.assertEqual(np.load(io.BytesIO(bodies["MASS/value.npy"])), 1.5)
        self.assertEqual(bodies["NAMES/text.txt"].decode(), "a\né")
        index = json.loads(bodies["index.json"])
        self.assertEqual(index["absent"], ["GONE", "NONE"])
        self.assertEqual(index["products"]["MASS"]["value"]["unit"], "Msun")


if __name__ == "__main__":
    unittest.main()
