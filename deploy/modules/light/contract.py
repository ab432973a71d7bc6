"""What a pipeline file says of one module. Reads the file as it is; that it is right was checked by `sas pipeline check`."""

import os
import tomllib
from collections import namedtuple

# Where inputs appear in an input.h5.
EXTERNALS, PRODUCTS, PREVIOUS = "/EXTERNALS", "/PRODUCTS", "/PREVIOUS/PRODUCTS"

# A declared input: its product and where it is staged.
Source = namedtuple("Source", "product root")
# A product that is there exactly when an expression holds. `what` is a Source for inputs, a name for outputs.
Conditional = namedtuple("Conditional", "what when")


class Contract:
    """The products that one module needs and gives."""

    def __init__(self, definition, name, directory=""):
        module = definition["modules"][name]
        inputs, outputs = module.get("inputs", {}), module.get("outputs", {})
        self.name = name
        self.params = definition.get("params", {})
        self._aliases = definition.get("aliases", {})
        externals = definition.get("externals", {})
        self._externals = {self.canonical(product) for scope in externals.values() for product in scope}
        self._model_path = os.path.join(directory, definition["data_model"]) if "data_model" in definition else None
        self.enabled = module.get("enabled", True)
        self.run_if = module.get("run_if")
        self._makers = {
            self.canonical(product): maker
            for maker, other in definition["modules"].items()
            for product in _output_names(other)
        }

        self.mandatory = [self.source(text) for text in inputs.get("mandatory", [])]
        self.optional = [self.source(text) for text in inputs.get("optional", [])]
        self.one_of = [[self.source(text) for text in alternatives] for alternatives in inputs.get("one_of", [])]
        self.conditional_inputs = [
            Conditional(self.source(item["product"]), item["when"]) for item in inputs.get("conditional", [])
        ]
        self.outputs = [self.canonical(product) for product in outputs.get("mandatory", [])]
        self.optional_outputs = [self.canonical(product) for product in outputs.get("optional", [])]
        self.nullable_outputs = [self.canonical(product) for product in outputs.get("nullable", [])]
        self.conditional_outputs = [
            Conditional(self.canonical(item["product"]), item["when"]) for item in outputs.get("conditional", [])
        ]

    def canonical(self, product):
        """The name that the pipeline uses for a product, whatever the spelling."""
        return self._aliases.get(product, product)

    def source(self, text):
        """A declared input, from its text in the definition."""
        if text.endswith("@previous"):
            return Source(self.canonical(text.removesuffix("@previous")), PREVIOUS)
        product = self.canonical(text)
        return Source(product, EXTERNALS if product in self._externals else PRODUCTS)

    def is_made_by(self, product, module):
        """Whether the definition has this module make this product."""
        return self._makers.get(product) == module

    def declared_inputs(self):
        """Every input that may be staged."""
        conditional = [item.what for item in self.conditional_inputs]
        return {*self.mandatory, *self.optional, *conditional, *(source for group in self.one_of for source in group)}

    def declared_outputs(self):
        """Every product that may be written."""
        conditional = [item.what for item in self.conditional_outputs]
        return [*self.outputs, *self.optional_outputs, *self.nullable_outputs, *conditional]

    def columns(self):
        """Columns of products by name, from the data model; none where the pipeline has no model."""
        if self._model_path is None or not os.path.exists(self._model_path):
            return {}
        products = read_toml(self._model_path).get("products", {})
        return {self.canonical(product): model.get("columns", {}) for product, model in products.items()}


def _output_names(module):
    """Every product that a module of a definition may write, as it is spelled there."""
    outputs = module.get("outputs", {})
    plain = [product for kind in ("mandatory", "optional", "nullable") for product in outputs.get(kind, [])]
    return [*plain, *(item["product"] for item in outputs.get("conditional", []))]


def read(path, module):
    """The contract of a module in the definition at `path`; KeyError when it has no such module."""
    return Contract(read_toml(path), module, os.path.dirname(path))


def read_toml(path):
    """A TOML file as a dictionary."""
    with open(path, "rb") as file:
        return tomllib.load(file)
