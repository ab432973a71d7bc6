"""The rewriting of definitions keeps contracts; scripts reach the modules that they concern; star files are whole."""

import json
import os
import tempfile
import tomllib
import unittest

import h5py
from light import contract, pipeline, script, starfile, stars, toml

HERE = os.path.dirname(os.path.abspath(__file__))
PIPELINES = os.path.join(HERE, "..", "..", "pipelines")
KEPT = ("group", "doc", "inputs", "outputs", "run_if", "after", "enabled", "class", "trigger_rule")


class Definitions(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = directory.name

    def rewrite(self, name, scripts, *options):
        target, given = os.path.join(self.directory, name), os.path.join(self.directory, "stars.json")
        with open(given, "w", encoding="utf-8") as file:
            json.dump(scripts, file)
        source = os.path.join(PIPELINES, name)
        self.assertEqual(pipeline.main([source, target, "--stars", given, *options]), 0)
        return contract.read_toml(source), contract.read_toml(target)

    def test_contracts_and_conditions_stay_as_they_are(self):
        for name in ("sas-pip.toml", "seismic.toml"):
            before, after = self.rewrite(name, {"default": "seismic"})
            for part in ("name", "version", "trigger", "params", "externals", "aliases"):
                self.assertEqual(before.get(part), after.get(part))
            self.assertEqual(list(before["modules"]), list(after["modules"]))
            for module, known in before["modules"].items():
                played = after["modules"][module]
                self.assertEqual({k: known.get(k) for k in KEPT}, {k: played.get(k) for k in KEPT})
                self.assertEqual(played["command"][1:], ["-m", "light"])
            self.assertTrue(os.path.exists(os.path.join(self.directory, after["data_model"])))

    def test_in_an_image_the_paths_are_those_of_the_image(self):
        _, after = self.rewrite("sas-pip.toml", {}, "--image", "registry/light:2", "--mode", "serve")
        module = after["modules"]["MSAP1_01"]
        self.assertEqual(module["image"], "registry/light:2")
        self.assertEqual(module["environment"], {"LIGHT_PIPELINE": "/opt/pipelines/sas-pip.toml"})
        self.assertEqual((module["command"], module["mode"]), (["python3", "-m", "light"], "serve"))

    def test_a_module_gets_only_the_scripts_that_concern_it(self):
        fails = {"like": "quiet", "modules": {"MSAP4_02": {"fail": "exit 1"}}}
        later = {"like": "quiet", "quarters": {"5": "rotating"}}
        _, after = self.rewrite("sas-pip.toml", {"default": "quiet", "a": "quiet", "b": "mixed", "c": fails, "d": later})
        scripts = {name: module["parameters"].get("script", {}) for name, module in after["modules"].items()}
        self.assertEqual(scripts["MSAP1_01"], {})
        self.assertEqual(scripts["MSAP4_02"], {"default": "quiet", "c": fails})
        self.assertEqual(set(scripts["MSAP3_03"]), {"default", "b"})
        self.assertEqual(set(scripts["MSAP4_07"]), {"default", "b", "d"})

    def test_a_default_by_weights_draws_by_star(self):
        scripts = {"default": {"weights": {"quiet": 3, "mixed": 1}}}
        _, after = self.rewrite("sas-pip.toml", scripts)
        self.assertEqual(after["modules"]["MSAP3_03"]["parameters"]["script"], scripts)
        self.assertNotIn("script", after["modules"]["MSAP1_08"]["parameters"])
        mixed = 0
        for star in range(1000):
            behaviour = script.behaviour(scripts, f"star {star}", 0, "MSAP3_03")
            mixed += behaviour.values["IDP_SAS_SEISMIC_DETECTION_FLAG"]["peakbagging_flag"]
        self.assertTrue(200 < mixed < 300, mixed)

    def test_toml_survives_a_round_trip(self):
        data = {
            "text": 'quotes " \\ \x7f \t µ\nline', "number": -1.5, "big": 1e300, "list": [["a"], []], "yes": True,
            "empty": {}, "table": {"a b [c] ": {"x/y": [1, {"z": "µ"}]}, "": 1}, "deep": {"a.b": {"c": {"d": 1}}},
        }  # fmt: skip
        self.assertEqual(tomllib.loads(toml.dumps(data)), data)

    def test_star_files_hold_every_external_of_the_pipeline(self):
        stars.main([self.directory, "--quarter", "2", "--stars", "quiet=2,mixed=1", "--points", "40"])
        externals = contract.read_toml(os.path.join(PIPELINES, "sas-pip.toml"))["externals"]
        with open(os.path.join(self.directory, "stars.json"), encoding="utf-8") as file:
            kinds = json.load(file)
        self.assertEqual(sorted(kinds.values()), ["mixed", "quiet", "quiet"])
        detections = []
        for star in kinds:
            with h5py.File(os.path.join(self.directory, f"{star}_Q2.h5"), "r") as file:
                self.assertEqual((file.attrs["PLATO_ID"], file.attrs["QUARTER_NUMBER"]), (star, 2))
                found, transit = set(file["EXTERNALS"]), file["EXTERNALS/IDP_EAS_QC_TARGET_TCE_DETECTION/flag"][()]
                self.assertEqual(set(externals["star"]) - found, set() if transit else {"DP2_RHO_TRANSIT"})
                self.assertEqual(file["EXTERNALS/DP1_LC_MERGED/flux"].shape, (40,))
                marks = {"LIGHT_STAR": star, "LIGHT_QUARTER": 2}
                for name, group in file["EXTERNALS"].items():
                    self.assertEqual(dict(group.attrs), {"LIGHT_PRODUCT": name, **marks})
                detections.append(bool(transit))
        self.assertEqual(detections, [False, True, False])
        with h5py.File(os.path.join(self.directory, "shared.h5"), "r") as file:
            self.assertEqual(set(file["EXTERNALS"]), set(externals["shared"]))
            for name, group in file["EXTERNALS"].items():
                self.assertEqual(dict(group.attrs), {"LIGHT_PRODUCT": name})

    def test_another_quarter_is_of_the_same_stars_with_other_values(self):
        values = []
        for quarter in ("1", "2"):
            stars.main([self.directory, "--quarter", quarter, "--stars", "seismic=1"])
            (star,) = stars.named("seismic=1", 1)
            with h5py.File(os.path.join(self.directory, f"{star}_Q{quarter}.h5"), "r") as file:
                values.append(file["EXTERNALS/IDP_PFU_TEFF_SAPP/value"][()])
        self.assertNotEqual(*values)

    def test_a_star_file_is_read_back_with_its_links(self):
        with h5py.File(os.path.join(self.directory, "large.h5"), "w") as file:
            file["PRODUCTS/IDP [X] /values"] = [1.0, 2.0]
        path = os.path.join(self.directory, "star.h5")
        with h5py.File(path, "w") as file:
            file.attrs["PLATO_ID"], file.attrs["QUARTER_NUMBER"] = "PLATO_1", 4
            file["EXTERNALS/E/value"] = 1.0
            file.create_group("PRODUCTS")["IDP [X] "] = h5py.ExternalLink("large.h5", "/PRODUCTS/IDP [X] ")
            run = file.create_group("SAS-PIP-M_3")
            run.attrs["state"], run.attrs["attempt"], run.attrs["outputs"] = "succeeded", 2, ["IDP [X] "]
            run.create_group("inputs").attrs["EXTERNALS"] = ["E"]
        expected = {"state": "succeeded", "attempt": 2, "outputs": ["IDP [X] "], "inputs": {"EXTERNALS": ["E"]}}
        found = starfile.read(path)
        self.assertEqual(found["modules"], {"M": expected})
        self.assertEqual((found["generation"], found["products"], found["externals"]), (3, ["IDP [X] "], ["E"]))
        os.remove(os.path.join(self.directory, "large.h5"))
        with self.assertRaises(KeyError, msg="a product whose data is gone is noticed"):
            starfile.read(path)


if __name__ == "__main__":
    unittest.main()
