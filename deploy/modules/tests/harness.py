"""A small stand-in for the platform: plays a pipeline file on one star, module by module.

It stages exactly what the contract declares and nothing more, talks to modules as the worker does (serve mode, one
process per module), and checks outputs against contract and data model. It is no scheduler: modules run one by one
in an order that respects their inputs, and of expressions it knows only `P.<product>.<column>`.
"""

import json
import os
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass, field

import h5py
import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
MODULES_DIR = os.path.dirname(HERE)
PIPELINE = os.path.join(MODULES_DIR, "..", "pipelines", "seismic.toml")
KINDS = {"f": "float", "i": "int", "u": "int", "b": "bool", "S": "string", "O": "string"}


def load(path=PIPELINE):
    """(pipeline, data model) as dictionaries."""
    with open(path, "rb") as file:
        pipeline = tomllib.load(file)
    with open(os.path.join(os.path.dirname(path), pipeline["data_model"]), "rb") as file:
        return pipeline, tomllib.load(file)["products"]


@dataclass
class Outcome:
    """How a module ended: succeeded, failed or skipped, with the reason and broken rules of contract and data model."""

    state: str
    reason: str = ""
    violations: list = field(default_factory=list)


class Player:
    """Plays stars through a pipeline; keeps one serving process per module. Use it in a `with`."""

    def __init__(self, directory, path=PIPELINE):
        self.pipeline, self.model = load(path)
        self.directory = directory
        self._servers = {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for server in self._servers.values():
            server.stdin.close()
            server.wait(timeout=10)
            server.stdout.close()
        return False

    def play(self, star_file, previous=None):
        """Runs all modules on one star file: (outcomes by module, path of the file with everything that was made)."""
        whole = os.path.join(self.directory, os.path.basename(star_file) + ".all")
        with h5py.File(star_file, "r") as source, h5py.File(whole, "w") as target:
            for name, value in source.attrs.items():
                target.attrs[name] = value
            source.copy("EXTERNALS", target)
            target.create_group("PRODUCTS")
            if previous is not None:
                with h5py.File(previous, "r") as older:
                    older.copy("PRODUCTS", target.create_group("PREVIOUS"))
        outcomes = {}
        for name in self.order():
            outcomes[name] = self._run(name, whole)
        return outcomes, whole

    def order(self):
        """Modules so that producers come before consumers; equal ones as in the file."""
        modules = self.pipeline["modules"]
        producer = {product: name for name, module in modules.items() for product in outputs(module)}
        done = []
        while len(done) < len(modules):
            ready = [name for name, module in modules.items() if name not in done
                     and all(producer.get(product) in (None, *done) for product in needs(module))]
            assert ready, f"the pipeline has a cycle among {sorted(set(modules) - set(done))}"
            done.append(ready[0])
        return done

    def _run(self, name, whole):
        module = self.pipeline["modules"][name]
        staged = os.path.join(self.directory, "input.h5")
        written = os.path.join(self.directory, "output.h5")
        with h5py.File(whole, "r") as file:
            if "run_if" in module and not evaluate(module["run_if"], file):
                return Outcome("skipped", "condition")
            missing = stage(module, file, staged)
        if missing:
            return Outcome("skipped", f"no {', '.join(missing)}")
        if os.path.exists(written):
            os.remove(written)
        answer = self._ask(name, module, staged, written)
        if answer["exit"] != 0:
            return Outcome("failed", answer["message"])
        violations = check(module, self.model, written)
        with h5py.File(written, "r") as made, h5py.File(whole, "r+") as target:
            for product in made["PRODUCTS"]:
                made.copy(f"PRODUCTS/{product}", target["PRODUCTS"])
        return Outcome("succeeded", violations=violations)

    def _ask(self, name, module, staged, written):
        server = self._servers.get(name)
        if server is None:
            server = self._servers[name] = self._start(module["command"])
        request = {"id": name, "star": "PLATO_test", "quarter": 1, "input": staged, "output": written,
                   "parameters": module.get("parameters", {}), "seed": 42, "attempt": 1}
        server.stdin.write(json.dumps(request) + "\n")
        server.stdin.flush()
        answer = json.loads(server.stdout.readline())
        assert answer["id"] == name
        return answer

    @staticmethod
    def _start(command):
        server = subprocess.Popen(host_command(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                  stderr=subprocess.DEVNULL, env=dict(environment(), SAS_SERVE="1"))
        assert json.loads(server.stdout.readline()) == {"ready": 1}
        return server


def environment(**more):
    """The environment of a module on the host."""
    return {"PATH": os.environ["PATH"], "PYTHONPATH": MODULES_DIR, "HDF5_USE_FILE_LOCKING": "FALSE", **more}


def host_command(command):
    """The command of the pipeline file with this interpreter instead of the image's."""
    return [sys.executable, *command[1:]] if command[0] == "python3" else command


def run_once(command, staged, written, **more):
    """One oneshot run as the worker does it: the finished process with its exit code and stderr."""
    paths = {"SAS_INPUT": staged, "SAS_OUTPUT": written, "SAS_PARAMETERS": os.devnull + ".none", "SAS_SEED": "42"}
    return subprocess.run(host_command(command), env=environment(**paths, **more), capture_output=True, text=True, timeout=120)


def needs(module):
    """All products of this quarter that a module may read, in inputs and expressions."""
    inputs = module.get("inputs", {})
    names = [*inputs.get("mandatory", []), *inputs.get("optional", [])]
    names += [name for choice in inputs.get("one_of", []) for name in choice]
    for conditional in inputs.get("conditional", []):
        names += [conditional["product"], *re.findall(r"P\.(\w+)", conditional["when"])]
    names += re.findall(r"P\.(\w+)", module.get("run_if", ""))
    return [name for name in names if "@" not in name]


def outputs(module):
    """All products that a module may write."""
    given = module.get("outputs", {})
    return [*given.get("mandatory", []), *given.get("optional", [])]


def find(file, name):
    """The path of a product in a star file, or None. `X@previous` is looked for in the quarter before."""
    bare, _, which = name.partition("@")
    roots = ("PREVIOUS/PRODUCTS",) if which else ("PRODUCTS", "EXTERNALS")
    for root in roots:
        if f"{root}/{bare}" in file:
            return f"{root}/{bare}"
    return None


def stage(module, file, staged):
    """Writes the input file of a module; returns the mandatory products that are missing."""
    inputs = module.get("inputs", {})
    wanted, missing = [], []
    mandatory = list(inputs.get("mandatory", []))
    mandatory += [c["product"] for c in inputs.get("conditional", []) if evaluate(c["when"], file)]
    for name in mandatory:
        (wanted if find(file, name) else missing).append(name)
    for choice in inputs.get("one_of", []):
        there = [name for name in choice if find(file, name)]
        (wanted if there else missing).append(there[0] if there else " or ".join(choice))
    wanted += [name for name in inputs.get("optional", []) if find(file, name)]
    if missing:
        return missing
    with h5py.File(staged, "w") as target:
        for name, value in file.attrs.items():
            target.attrs[name] = value
        for name in wanted:
            path = find(file, name)
            file.copy(path, target.require_group(os.path.dirname(path)))
    return []


def evaluate(expression, file):
    """`P.<product>.<column>` as a truth value; undefined is false."""
    product, column = re.fullmatch(r"P\.(\w+)\.(\w+)", expression).groups()
    path = find(file, product)
    return path is not None and bool(np.ravel(file[path][column][()])[0])


def check(module, model, written):
    """What the output breaks of the contract and of the data model."""
    broken = []
    with h5py.File(written, "r") as file:
        made = set(file["PRODUCTS"])
        broken += [f"{name} is missing" for name in module.get("outputs", {}).get("mandatory", []) if name not in made]
        broken += [f"{name} is not declared" for name in sorted(made - set(outputs(module)))]
        for name in sorted(made & set(model)):
            group = file["PRODUCTS"][name]
            for column, rule in model[name].get("columns", {}).items():
                if column not in group:
                    broken += [] if rule.get("optional") else [f"{name} has no column {column}"]
                    continue
                data = group[column]
                if KINDS.get(data.dtype.kind) != rule["type"] or data.ndim != rule["ndim"]:
                    broken.append(f"{name}.{column} is {data.dtype} with {data.ndim} dimensions")
                if data.attrs.get("unit", "") != rule.get("unit", data.attrs.get("unit", "")):
                    broken.append(f"{name}.{column} has unit {data.attrs.get('unit', '')!r}, expected {rule['unit']!r}")
    return broken
