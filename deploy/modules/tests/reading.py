"""The contract of pipelines, read a second time: one star through a whole pipeline in this process, for tests.

Knows neither queues nor keys: it takes the modules in order, decides each from what the ones before ended with, stages
its inputs as links, and lets light play it. What the project's own programs do must be the same.
"""

import json
import os
from collections import namedtuple

import h5py
from light import cel, conditions, contract, script
from light.__main__ import attempt

# What a module ended with: a word of the project, why, and the products that it made, each with its file.
End = namedtuple("End", "state reason products")
LOST = ("failed", "errored", "upstream_failed")


class Star:
    """One star in one quarter."""

    def __init__(self, definition, directory, star, quarter, externals, scripts, previous=None):
        self.ends = {}
        self.log = {}
        self._definition = definition
        self._contracts = {name: contract.Contract(definition, name, directory) for name in definition["modules"]}
        self._model = next(iter(self._contracts.values())).columns()
        for known in self._contracts.values():
            known.columns = lambda: self._model
        self._star, self._quarter, self._scripts = star, quarter, scripts
        self._externals = externals
        self._previous = previous.products() if previous else {}
        self._producer = {
            product: name
            for name, known in self._contracts.items()
            for product in known.declared_outputs()
        }

    def run(self, work):
        """Runs every module, in an order that the products allow, with files below `work`."""
        for name in self._order():
            self.ends[name] = self._decide(name) or self._play(name, os.path.join(work, name))
        return self

    def ran(self):
        """The modules that succeeded."""
        return {name for name, end in self.ends.items() if end.state == "succeeded"}

    def products(self):
        """Every product that was made, with its file."""
        return {product: path for end in self.ends.values() for product, path in end.products.items()}

    def _order(self):
        order, waiting = [], dict(self._definition["modules"])
        while waiting:
            ready = [name for name in waiting if not self._upstream(name) & set(waiting)]
            assert ready, f"a cycle among {sorted(waiting)}"
            order += ready
            for name in ready:
                del waiting[name]
        return order

    def _upstream(self, name):
        """Modules that make its inputs or what its conditions name, and `after`; not those that are switched off."""
        module, known = self._definition["modules"][name], self._contracts[name]
        products = {source.product for source in known.declared_inputs() if source.root == contract.PRODUCTS}
        texts = [module.get("run_if", "true"), *(item.when for item in known.conditional_inputs)]
        products |= {known.canonical(product) for text in texts for root, product in cel.products(text) if root == "P"}
        makers = {self._producer[product] for product in products if product in self._producer}
        return {maker for maker in makers | set(module.get("after", [])) if maker != name and self._enabled(maker)}

    def _enabled(self, name):
        return self._definition["modules"][name].get("enabled", True)

    def _decide(self, name):
        """How a module ends without running; None when it runs."""
        module, known = self._definition["modules"][name], self._contracts[name]
        if not self._enabled(name):
            return End("skipped", "disabled", {})
        holds = cel.evaluate(module.get("run_if", "true"), self._product, known.params)
        if holds is cel.UNDECIDED:
            return End("upstream_failed", "run_if", {})
        if not holds:
            return End("skipped", "condition", {})
        return (
            self._missing([source] for source in known.mandatory)
            or self._missing_conditional(known)
            or self._missing(known.one_of)
        )

    def _missing_conditional(self, known):
        """The same for the inputs whose conditions hold."""
        due = []
        for source, when in known.conditional_inputs:
            holds = cel.evaluate(when, self._product, known.params)
            if holds is cel.UNDECIDED:
                return End("upstream_failed", "condition of an input", {})
            due += [[source]] if holds else []
        return self._missing(due)

    def _missing(self, clause):
        """How a module ends for what one clause of its contract, lists of alternatives, misses; None when it misses nothing."""
        absences = {self._absence(alternatives) for alternatives in clause}
        if "lost" in absences:
            return End("upstream_failed", "lost", {})
        for reason in ("not_made", "missing_external"):
            if reason in absences:
                return End("skipped", reason, {})
        return None

    def _absence(self, alternatives):
        """Why none of them is there; None when one is. With the external the module would have run: its absence is told."""
        if any(map(self._file, alternatives)):
            return None
        if any(map(self._is_lost, alternatives)):
            return "lost"
        external = any(source.root == contract.EXTERNALS for source in alternatives)
        return "missing_external" if external else "not_made"

    def _file(self, source):
        """The file that holds an input; None when it is absent."""
        if source.root == contract.EXTERNALS:
            return self._externals.get(source.product)
        if source.root == contract.PREVIOUS:
            return self._previous.get(source.product)
        maker = self._producer.get(source.product)
        return self.ends[maker].products.get(source.product) if maker in self.ends else None

    def _is_lost(self, source):
        maker = self._producer.get(source.product) if source.root == contract.PRODUCTS else None
        return maker in self.ends and self.ends[maker].state in LOST

    def _product(self, root, name):
        """A product as expressions see it."""
        known = next(iter(self._contracts.values()))
        source = known.source(name + ("@previous" if root == "PREV" else ""))
        if self._is_lost(source):
            raise cel.Unseen
        path = self._file(source)
        if path is None:
            raise cel.Absent
        with h5py.File(path, "r") as file:
            return conditions.scalars(file[_inside(source)], self._model.get(source.product))

    def _play(self, name, work):
        """Stages and runs a module."""
        known = self._contracts[name]
        os.makedirs(os.path.join(work, "files"))
        self._stage(known, work)
        module = self._definition["modules"][name]
        output = os.path.join(work, "output.h5")
        parameters = {**module.get("parameters", {}), "script": self._scripts}
        code, message = attempt(known, os.path.join(work, "input.h5"), output, parameters, self._star, self._quarter, 1)
        self.log[name] = message
        if code:
            return End("failed", f"exit {code}", {})
        with h5py.File(output, "r") as file:
            made = [product for product, node in file["PRODUCTS"].items() if "NOT_PRODUCED" not in node.attrs]
        return End("succeeded", "", dict.fromkeys(made, output))

    def _stage(self, known, work):
        holding = [item.what for item in known.conditional_inputs if cel.evaluate(item.when, self._product, known.params)]
        chosen = [next(source for source in group if self._file(source)) for group in known.one_of]
        optional = [source for source in known.optional if self._file(source)]
        sources = list(dict.fromkeys([*known.mandatory, *holding, *chosen, *optional]))
        with h5py.File(os.path.join(work, "input.h5"), "w") as file:
            file.attrs["PLATO_ID"], file.attrs["QUARTER_NUMBER"] = self._star, self._quarter
            file.attrs["STAGED"] = announce(sources, chosen)
            for number, source in enumerate(sources):
                os.symlink(self._file(source), os.path.join(work, "files", f"{number}.h5"))
                link = h5py.ExternalLink(f"files/{number}.h5", _inside(source))
                file.require_group(source.root)[source.product] = link


def announce(sources, chosen):
    """The root attribute STAGED: what is there in the order of the contract, and the alternative of each one_of."""

    def paths(sources):
        return [f"{source.root}/{source.product}" for source in sources]

    return json.dumps({"staged": paths(sources), "one_of": paths(chosen)})


def externals(paths):
    """The externals of star files and shared ones: {product: file}."""
    found = {}
    for path in paths:
        with h5py.File(path, "r") as file:
            found.update(dict.fromkeys(file["EXTERNALS"], path))
    return found


def _inside(source):
    """Where a product is in the file that holds it."""
    root = contract.EXTERNALS if source.root == contract.EXTERNALS else contract.PRODUCTS
    return f"{root}/{source.product}"


KINDS = tuple(script.KINDS)
