"""Light notices a product that leads elsewhere, that is empty, or that belongs to another place."""

import os
import unittest

import h5py
import numpy as np
from light import origin

from .test_light_contract import FLAG, GOOD, GRID, LAST, MAY, NEED, STAR, Input

OTHER = "PLATO_00000000-1a8d-5d47-a64d-f58653b6734e"


class Links(Input):
    def setUp(self):
        super().setUp()
        os.mkdir(os.path.join(self.directory, "files"))
        for name in ("files/0.h5", "beside.h5"):
            with h5py.File(os.path.join(self.directory, name), "w") as file:
                file["PRODUCTS/NEED/value"] = 1.0
                file["PRODUCTS/NEED/in/column"] = [1.0]

    def link(self, path, link):
        """Puts a link in the place of what is at a path of the input."""

        def change(file):
            if path in file:
                del file[path]
            file[path] = link

        self.change = change

    def inside(self, path, link):
        """A link in a file below `files`, which NEED leads to."""
        with h5py.File(os.path.join(self.directory, "files/0.h5"), "r+") as file:
            file[f"PRODUCTS/NEED/{path}"] = link
        self.link("PRODUCTS/NEED", h5py.ExternalLink("files/0.h5", "/PRODUCTS/NEED"))

    def test_links_that_lead_below_files(self):
        self.link("PRODUCTS/NEED", h5py.ExternalLink("files/0.h5", "/PRODUCTS/NEED"))
        self.check()
        self.link("PRODUCTS/NEED/column", h5py.ExternalLink("files/0.h5", "/PRODUCTS/NEED/value"))
        self.check()
        self.inside("another", h5py.ExternalLink("0.h5", "/PRODUCTS/NEED/value"))
        self.check()

    def test_a_product_that_leads_elsewhere(self):
        for file in ("/etc/passwd", "beside.h5", "files/../beside.h5", "./files/x/../../beside.h5", "filesystem.h5"):
            self.link("PRODUCTS/NEED", h5py.ExternalLink(file, "/PRODUCTS/NEED"))
            self.check(f"/PRODUCTS/NEED leads to {file!r}, expected a path below files/")
        for path in ("/PRODUCTS/GOOD", "GOOD"):
            self.link("PRODUCTS/NEED", h5py.SoftLink(path))
            self.check(f"/PRODUCTS/NEED leads to {path!r}, expected the product itself")

    def test_a_column_that_leads_elsewhere(self):
        self.link("PRODUCTS/NEED/column", h5py.ExternalLink("beside.h5", "/PRODUCTS/NEED/value"))
        self.check("/PRODUCTS/NEED/column leads to 'beside.h5'")
        self.link("PRODUCTS/NEED/in/column", h5py.SoftLink("/PRODUCTS/GOOD/value"))
        self.check("/PRODUCTS/NEED/in/column leads to '/PRODUCTS/GOOD/value'")
        self.inside("in/outside", h5py.ExternalLink("../beside.h5", "/PRODUCTS/NEED/value"))
        self.check("/PRODUCTS/NEED/in/outside leads to '../beside.h5'")

    def test_a_column_may_stand_for_another_of_its_product(self):
        self.link("PRODUCTS/NEED/column", h5py.SoftLink("value"))
        self.check()

    def test_links_that_lead_nowhere(self):
        self.link("PRODUCTS/NEED", h5py.ExternalLink("files/9.h5", "/PRODUCTS/NEED"))
        self.check("/PRODUCTS/NEED cannot be opened")
        self.link("PRODUCTS/NEED", h5py.ExternalLink("files/0.h5", "/PRODUCTS/GONE"))
        self.check("/PRODUCTS/NEED cannot be opened")
        self.link("PRODUCTS/NEED/column", h5py.ExternalLink("files/9.h5", "/"))
        self.check("/PRODUCTS/NEED/column cannot be opened")

    def test_a_group_that_contains_itself(self):
        self.change = lambda file: file["PRODUCTS/NEED"].update(again=file["PRODUCTS/NEED"])
        self.check("is nested deeper than 32 groups")

    def test_columns_in_other_files(self):
        def virtual(file):
            layout = h5py.VirtualLayout((1,), "f8")
            layout[:] = h5py.VirtualSource("beside.h5", "PRODUCTS/NEED/in/column", (1,))
            file["PRODUCTS/NEED"].create_virtual_dataset("column", layout)

        raw = os.path.join(self.directory, "raw")
        np.ones(1).tofile(raw)
        external = lambda file: file["PRODUCTS/NEED"].create_dataset("column", (1,), "f8", external=[(raw, 0, 8)])
        for self.change in (virtual, external):
            self.check("/PRODUCTS/NEED/column is stored in other files")

    def test_what_is_neither_a_group_nor_a_dataset(self):
        self.change = lambda file: file["PRODUCTS/NEED"].update(kind=np.dtype("f8"))
        self.check("/PRODUCTS/NEED/kind is neither a group nor a dataset")


class Emptiness(Input):
    def test_a_product_that_its_module_answered_to_be_none(self):
        self.staged.append(MAY)
        self.change = lambda file: file["PRODUCTS/MAY"].attrs.create("NOT_PRODUCED", "no")
        self.check("/PRODUCTS/MAY was staged, but its module answered")

    def test_an_empty_group(self):
        def change(file):
            del file["PRODUCTS/NEED/value"], file["EXTERNALS/GRID/value"]
            file["EXTERNALS/GRID"].create_group("in")

        self.change = change
        self.check("/EXTERNALS/GRID was staged, but it is an empty group", "/PRODUCTS/NEED was staged, but it is an empty group")


class Origin(Input):
    def setUp(self):
        super().setUp()
        self.staged.append(LAST)

    def mark(self, source, product=None, star=STAR, quarter=4, module=None):
        """Marks a product as light does; by default as it should be."""

        def change(file):
            common = {} if star is None else origin.of(star, quarter, module)
            origin.mark(file[f"{source.root}/{source.product}"], product or source.product, common)

        self.change = change

    def test_right_marks(self):
        for marks in (
            (NEED, None, STAR, 4, "MAKER"), (NEED, "NEED [old]", STAR, 4, "MAKER"), (LAST, None, STAR, 3, "MAKER"),
            (FLAG, None, STAR, 4), (GRID, None, None),
        ):  # fmt: skip
            self.mark(*marks)
            self.check()

    def test_another_star(self):
        for source in (NEED, FLAG):
            self.mark(source, star=OTHER)
            self.check(f"{source.product} is of {OTHER}, expected {STAR}")

    def test_another_quarter(self):
        for source, quarter, expected in ((NEED, 3, 4), (FLAG, 5, 4), (LAST, 4, 3), (LAST, 2, 3)):
            self.mark(source, quarter=quarter)
            self.check(f"{source.product} is of quarter {quarter}, expected {expected}")

    def test_another_product(self):
        self.mark(NEED, product="GOOD", module="MAKER")
        self.check("/PRODUCTS/NEED holds GOOD")
        self.mark(GRID, product="FLAG", star=None)
        self.check("/EXTERNALS/GRID holds FLAG")

    def test_a_module_that_does_not_make_it(self):
        for module in ("M", "GONE"):
            self.mark(GOOD, module=module)
            self.check(f"/PRODUCTS/GOOD was made by {module}, which does not declare it")


if __name__ == "__main__":
    unittest.main()
