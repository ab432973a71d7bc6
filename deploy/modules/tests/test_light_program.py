"""The program as runners start it: what it writes, how it fails when the script says so, and serving many stars."""

import json
import os
import signal
import subprocess
import tempfile
import unittest

import h5py
import numpy as np
from light import toml
from light.contract import EXTERNALS, Source

from . import reading

HERE = os.path.dirname(os.path.abspath(__file__))
STAR = "PLATO_379e7a63-1a8d-5d47-a64d-f58653b6734e"
MODEL = {
    "OUT": {
        "columns": {
            "value": {"type": "float", "ndim": 0, "unit": "µHz"},
            "info/number of modes ": {"type": "int", "ndim": 0},
            "matrix": {"type": "float", "ndim": 2},
            "flag": {"type": "bool", "ndim": 0},
            "flags": {"type": "bool", "ndim": 1},
            "text": {"type": "string", "ndim": 0},
        }
    },
}
MODULE = {
    "inputs": {"mandatory": ["IN"]},
    "outputs": {
        "mandatory": ["OUT"],
        "optional": ["MAYBE [a]"],
        "nullable": ["ANSWER"],
        "conditional": [{"product": "WHEN", "when": "P.OUT.flag"}],
    },
}


class Program(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = directory.name
        off = {"inputs": MODULE["inputs"], "enabled": False}
        definition = {"data_model": "model.toml", "externals": {"star": ["IN"]}, "modules": {"M": MODULE, "OFF": off}}
        for name, content in (("pipeline.toml", definition), ("model.toml", {"products": MODEL})):
            with open(self.path(name), "w", encoding="utf-8") as file:
                file.write(toml.dumps(content))
        self.stage()

    def path(self, name):
        return os.path.join(self.directory, name)

    def stage(self, value=1.0, name="input.h5"):
        with h5py.File(self.path(name), "w") as file:
            file.attrs["PLATO_ID"], file.attrs["QUARTER_NUMBER"] = STAR, 3
            file.attrs["STAGED"] = reading.announce([Source("IN", EXTERNALS)], [])
            file["EXTERNALS/IN/value"] = value

    def environment(self, **more):
        known = {
            "LIGHT_PIPELINE": self.path("pipeline.toml"), "PYTHONPATH": os.path.dirname(HERE), "SAS_MODULE": "M",
            "SAS_STAR": STAR, "SAS_QUARTER": "3", "SAS_RUN": "r", "SAS_ATTEMPT": "1", "SAS_SEED": "7", "SAS_CPUS": "1",
            "SAS_MEMORY_BYTES": str(64 << 20), "SAS_INPUT": self.path("input.h5"), "SAS_OUTPUT": self.path("output.h5"),
            "SAS_PARAMETERS": self.path("parameters.json"), "HDF5_USE_FILE_LOCKING": "FALSE", "HOME": "/tmp",
            "TRACEPARENT": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        }  # fmt: skip
        return {**known, **more}

    def run_light(self, script=None, timeout=60, parameters=None, **environment):
        with open(self.path("parameters.json"), "w", encoding="utf-8") as file:
            json.dump({**(parameters or {}), **({"script": {"default": script}} if script else {})}, file)
        command = ["/usr/bin/python3", "-m", "light"]
        return subprocess.run(
            command, env=self.environment(**environment), timeout=timeout, capture_output=True, text=True, check=False
        )

    def fail(self, words, **act):
        return self.run_light({"modules": {"M": {"fail": words, **act}}})

    def output(self):
        """Everything in the output: {path: (kind, shape, value as list)}, and attributes."""
        found = {}
        with h5py.File(self.path("output.h5"), "r") as file:
            file.visititems(lambda name, node: found.update({name: (dict(node.attrs), _value(node))}))
        os.remove(self.path("output.h5"))
        return found

    def test_it_writes_what_contract_and_data_model_say(self):
        done = self.run_light()
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn(f"light: M: {STAR}: 3 products", done.stdout)
        out = self.output()
        self.assertEqual(set(name for name in out if name.count("/") == 1), {f"PRODUCTS/{p}" for p in ("OUT", "MAYBE [a]", "ANSWER")})
        self.assertEqual(out["PRODUCTS/OUT/value"][0], {"unit": "µHz"})
        self.assertTrue(1 <= out["PRODUCTS/OUT/value"][1] < 2)
        self.assertIsInstance(out["PRODUCTS/OUT/info/number of modes "][1], int)
        self.assertEqual(np.shape(out["PRODUCTS/OUT/matrix"][1]), (3, 3))
        self.assertEqual(out["PRODUCTS/OUT/flags"][1], [False] * 3)
        self.assertIn("light µ", out["PRODUCTS/OUT/text"][1])

    def test_values_follow_from_inputs_and_parameters_alone(self):
        self.run_light()
        first = self.output()
        self.run_light(SAS_SEED="8", SAS_ATTEMPT="2", SAS_RUN="other", SAS_CPUS="4")
        self.assertEqual(self.output(), first)
        self.run_light({"make": {"NOT_OF_THIS_MODULE": False}})
        self.assertEqual(self.output(), first)
        self.run_light(parameters={"steps": 2})
        self.assertNotEqual(self.output(), first)
        self.stage(np.nextafter(1.0, 2.0))
        self.run_light()
        self.assertNotEqual(self.output(), first)

    def test_flags_optional_products_and_answers_come_from_the_script(self):
        make = {"MAYBE*": False, "ANSWER": False}
        self.run_light({"values": {"OUT": {"flag": True, "value": "nan", "info/number of modes ": 12, "more": -1}}, "make": make})
        out = self.output()
        self.assertTrue(out["PRODUCTS/OUT/flag"][1])
        self.assertTrue(np.isnan(out["PRODUCTS/OUT/value"][1]))
        self.assertEqual(out["PRODUCTS/OUT/info/number of modes "][1], 12)
        self.assertEqual(out["PRODUCTS/OUT/more"][1], -1)
        self.assertNotIn("PRODUCTS/MAYBE [a]", out)
        self.assertIn("NOT_PRODUCED", out["PRODUCTS/ANSWER"][0])
        self.assertIn("PRODUCTS/WHEN/value", out, "its condition holds")

    def test_a_violation_ends_with_64_and_a_line_each(self):
        with h5py.File(self.path("input.h5"), "r+") as file:
            file["PRODUCTS/X/value"] = 1.0
            del file.attrs["STAGED"]
        done = self.run_light(SAS_RUN="")
        self.assertEqual(done.returncode, 64)
        self.assertEqual(done.stderr.count("violation: "), 3, done.stderr)
        self.assertFalse(os.path.exists(self.path("output.h5")))

    def test_parameters_that_are_not_there_or_no_object_are_a_violation(self):
        for text in (None, "{", "[]"):
            with open(self.path("broken.json"), "w", encoding="utf-8") as file:
                file.write(text or "")
            name = "gone.json" if text is None else "broken.json"
            done = self.run_light(SAS_PARAMETERS=self.path(name))
            self.assertEqual(done.returncode, 64, done.stderr)
            self.assertIn("violation: parameters.json", done.stderr)

    def test_a_module_that_is_switched_off_is_not_played(self):
        done = self.run_light(SAS_MODULE="OFF")
        self.assertEqual(done.returncode, 64)
        self.assertIn("violation: the module is switched off", done.stderr)

    def test_every_product_says_where_it_comes_from(self):
        self.run_light({"values": {"OUT": {"flag": True}}, "make": {"ANSWER": False}})
        out = self.output()
        marks = {"LIGHT_STAR": STAR, "LIGHT_QUARTER": 3, "LIGHT_MODULE": "M"}
        for product in ("OUT", "MAYBE [a]", "ANSWER", "WHEN"):
            found = {name: value for name, value in out[f"PRODUCTS/{product}"][0].items() if name.startswith("LIGHT_")}
            self.assertEqual(found, {"LIGHT_PRODUCT": product, **marks})

    def test_exit_codes_and_signals(self):
        self.assertEqual(self.fail("exit 3").returncode, 3)
        self.assertEqual(self.fail("exit 75").returncode, 75)
        self.assertIn("no convergence", self.fail("exit 3 no convergence").stderr)
        for name in ("SEGV", "KILL", "ABRT", "TERM"):
            self.assertEqual(self.fail(f"signal {name}").returncode, -signal.Signals[f"SIG{name}"])

    def test_only_the_first_attempts_fail(self):
        self.assertEqual(self.fail("exit 75", attempts=1).returncode, 75)
        script = {"modules": {"*": {"fail": "exit 75", "attempts": 1}}}
        self.assertEqual(self.run_light(script, SAS_ATTEMPT="2").returncode, 0)

    def test_a_hang_ends_with_the_signal_and_a_stubborn_one_does_not(self):
        for words, ends in (("hang", True), ("stubborn", False)):
            with open(self.path("parameters.json"), "w", encoding="utf-8") as file:
                json.dump({"script": {"default": {"modules": {"M": {"fail": words}}}}}, file)
            process = subprocess.Popen(["/usr/bin/python3", "-m", "light"], env=self.environment())
            self.addCleanup(process.kill)
            with self.assertRaises(subprocess.TimeoutExpired):
                process.wait(1.5)
            process.terminate()
            try:
                self.assertEqual((process.wait(1), ends), (-signal.SIGTERM, True))
            except subprocess.TimeoutExpired:
                self.assertFalse(ends)
                process.kill()
                process.wait()

    def test_memory_is_taken_but_not_without_end(self):
        self.assertEqual(self.fail("memory").returncode, 1)

    def test_durations(self):
        done = self.run_light({"modules": {"M": {"seconds": 0.1, "cpu_seconds": 0.1}}})
        self.assertEqual(done.returncode, 0)

    def test_much_is_shouted(self):
        self.assertGreater(len(self.fail("shout 2MB").stdout), 2_000_000)

    def test_outputs_that_break_the_contract(self):
        out = lambda: self.output()
        self.assertEqual(self.fail("no_output").returncode, 0)
        self.assertFalse(os.path.exists(self.path("output.h5")))
        self.fail("missing")
        self.assertNotIn("PRODUCTS/OUT", out())
        self.fail("undeclared")
        self.assertIn("PRODUCTS/LIGHT_UNDECLARED/value", out())
        self.fail("outside")
        self.assertIn("EXTERNALS/LIGHT_OUTSIDE/value", out())
        self.fail("no_column")
        self.assertNotIn("PRODUCTS/OUT/value", out())
        self.fail("kind")
        self.assertEqual(out()["PRODUCTS/OUT/value"][1], "text")
        self.fail("rank")
        self.assertEqual(np.shape(out()["PRODUCTS/OUT/value"][1]), (1,))
        self.fail("big 3MB")
        self.assertGreater(os.path.getsize(self.path("output.h5")), 3_000_000)
        for words in ("corrupt", "truncated"):
            self.assertEqual(self.fail(words).returncode, 0)
            with self.assertRaises(OSError):
                h5py.File(self.path("output.h5"), "r")
        self.fail("link")
        with h5py.File(self.path("output.h5"), "r") as file:
            links = [file["PRODUCTS"].get(name, getlink=True) for name in file["PRODUCTS"]]
            self.assertTrue(any(isinstance(link, h5py.ExternalLink) for link in links))

    def test_another_value_every_time(self):
        self.fail("nondeterministic")
        first = self.output()
        self.fail("nondeterministic")
        self.assertNotEqual(self.output(), first)

    def test_an_unreadable_script_is_said(self):
        for script in ("sleepy", {"modes": {}}, {"modules": {"M": {"fail": "explode"}}}, {"values": 3}):
            done = self.run_light(script)
            self.assertEqual(done.returncode, 70)
            self.assertIn("unreadable script", done.stderr)

    def test_a_module_that_the_pipeline_does_not_have(self):
        done = self.run_light(SAS_MODULE="N")
        self.assertEqual(done.returncode, 70)
        self.assertIn("no contract of 'N'", done.stderr)

    def test_a_server_takes_one_star_after_the_other(self):
        self.stage(2.0, "second.h5")
        requests = []
        for number, name in enumerate(("input.h5", "second.h5", "gone.h5", "input.h5", "input.h5")):
            request = {"id": number, "star": STAR, "quarter": 3, "seed": 1, "attempt": 1, "parameters": {}}
            requests.append({**request, "input": self.path(name), "output": self.path(f"output{number}.h5")})
        requests[3]["parameters"] = {"script": {"default": {"modules": {"M": {"fail": "exit 9"}}}}}
        del requests[4]["parameters"]
        done = subprocess.run(
            ["/usr/bin/python3", "-m", "light"], env=self.environment(SAS_SERVE="1"), text=True, capture_output=True,
            input="".join(json.dumps(request) + "\n" for request in requests), timeout=60, check=True,
        )  # fmt: skip
        ready, *answers = map(json.loads, done.stdout.splitlines())
        self.assertEqual(ready, {"ready": 1})
        exits = [(answer["id"], answer["exit"]) for answer in answers]
        self.assertEqual(exits, [(0, 0), (1, 0), (2, 70), (3, 9), (4, 64)])
        os.rename(self.path("output0.h5"), self.path("output.h5"))
        first = self.output()
        os.rename(self.path("output1.h5"), self.path("output.h5"))
        self.assertNotEqual(self.output(), first)


def _value(node):
    if isinstance(node, h5py.Group):
        return None
    value = node[()]
    value = value.tolist() if hasattr(value, "tolist") else value
    return value.decode() if isinstance(value, bytes) else value


if __name__ == "__main__":
    unittest.main()
