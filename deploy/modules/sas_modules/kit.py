"""The container contract, once: where inputs and outputs are, what exit codes mean, one run or many.

A science module is a function `run(inputs, outputs)`. It asks `inputs` for columns, gives columns to `outputs`, and
raises `Refused` when the data allow no answer. It never sees a path, a file handle or an exit code.

Files (the defaults are those of the container; the environment overrides them for runs without one):
    /sas/in/input.h5          SAS_INPUT        read-only: /EXTERNALS/<P>, /PRODUCTS/<P>, /PREVIOUS/PRODUCTS/<P>
    /sas/in/parameters.json   SAS_PARAMETERS   the module's parameters
    /sas/out/output.h5        SAS_OUTPUT       written: /PRODUCTS/<P>/<column>, with the attribute `unit`
"""

import json
import os
import sys
import traceback

import h5py
import numpy as np

# How a module ends: 0 = success, 75 = try again later (EX_TEMPFAIL of sysexits.h), any other = failed.
SUCCESS, FAILED, CRASHED, AGAIN = 0, 1, 70, 75


class Refused(Exception):
    """The data allow no result; the message is the one line that the operator reads."""


class TryAgain(Exception):
    """Something outside of the data is missing now and may be there later."""


class Inputs:
    """What was staged for one star. Absent is written in three ways in the field (no product, NaN, -1): here it is None."""

    def __init__(self, file, parameters, seed):
        self.parameters = parameters
        self.seed = seed
        self._file = file

    def has(self, product, previous=False):
        """Whether the product was staged and is more than an explicit NOT_PRODUCED."""
        node = self._node(product, previous)
        return node is not None and "NOT_PRODUCED" not in node.attrs

    def column(self, product, column, previous=False):
        """A column as a native array (a scalar for 0-d data), or None when product or column is absent."""
        dataset = self._dataset(product, column, previous)
        if dataset is None:
            return None
        data = dataset[()]
        if isinstance(data, np.ndarray) and data.dtype.kind in "fiu":
            return data.astype(data.dtype.newbyteorder("="))
        return data

    def numbers(self, product, column, optional=False):
        """A column of real numbers, flat and of its own type; None when an optional one is absent. Refuses whatever is no number."""
        dataset = self._dataset(product, column)
        if dataset is None and optional:
            return None
        if dataset is not None and dataset.dtype.kind not in "fiub":
            raise Refused(f"{product}: the column `{column}` of this delivery holds {_kind(dataset.dtype)}, expected numbers")
        return np.ravel(self.require(product, column))

    def products(self):
        """The names of all products that were staged for this quarter, sorted."""
        return sorted({name for root in ("PRODUCTS", "EXTERNALS") for name in self._file.get(root, {})})

    def columns(self, product):
        """The names of a product's columns, nested ones with slashes, sorted; `value` of a product that is a dataset itself."""
        node = self._node(product, False)
        return sorted(_columns(node)) if isinstance(node, h5py.Group) else ["value"]

    def unit(self, product, column):
        """The attribute `unit` of a column as text, empty when there is none."""
        dataset = self._dataset(product, column)
        unit = "" if dataset is None else dataset.attrs.get("unit", "")
        if isinstance(unit, np.ndarray) and unit.size == 1:
            unit = unit.item()
        if isinstance(unit, h5py.Empty):
            return ""
        return unit.decode("utf-8", "replace") if isinstance(unit, bytes) else str(unit)

    def number(self, product, column="value", previous=False):
        """A scalar as float; None when it is absent in any of the three ways. Arrays of one element count as scalars."""
        data = self.column(product, column, previous)
        if data is None or np.size(data) != 1:
            return None
        if np.iscomplexobj(data):  # float() would drop a part of it
            raise Refused(f"{product}: the column `{column}` holds {_kind(np.asarray(data).dtype)}, expected a number")
        try:
            value = float(np.ravel(data)[0])
        except (TypeError, ValueError):  # text
            return None
        return value if np.isfinite(value) and value != -1.0 else None

    def first_number(self, candidates, column="value"):
        """The first that is there of (product, previous) pairs, in order; None when none is."""
        for product, previous in candidates:
            value = self.number(product, column, previous)
            if value is not None:
                return value
        return None

    def require(self, product, column):
        """A column that must be there."""
        data = self.column(product, column)
        if data is None:
            raise Refused(f"{product} has no column `{column}`")
        return data

    def random(self):
        """The only source of random numbers: seeded, so that the same inputs give the same outputs."""
        return np.random.default_rng(self.seed)

    def _node(self, product, previous):
        roots = ("PREVIOUS/PRODUCTS",) if previous else ("PRODUCTS", "EXTERNALS")
        for root in roots:
            group = self._file.get(root)
            if group is not None and product in group:
                return group[product]
        return None

    def _dataset(self, product, column, previous=False):
        """The dataset of a column that is there; a product that is a dataset itself has the one column `value`."""
        node = self._node(product, previous)
        if isinstance(node, h5py.Group):
            node = node.get(column)
        elif column != "value":
            return None
        return node if isinstance(node, h5py.Dataset) and node.shape is not None else None


class Outputs:
    """Products of one star, kept in memory and written only when the module has succeeded."""

    def __init__(self):
        self._columns = {}

    def put(self, product, column, data, unit=None):
        """Adds a column to a product; a slash in the name makes a nested group. Text becomes variable-length UTF-8."""
        self._columns[(product, column)] = (data, unit)

    def take(self, product, node):
        """Takes a product over as it is, from an open HDF5 file: all columns of a group, or a dataset."""
        columns = _columns(node) if isinstance(node, h5py.Group) else {"value": node}
        for column, dataset in columns.items():
            unit = dataset.attrs.get("unit")
            self.put(product, column, dataset[()], unit.decode() if isinstance(unit, bytes) else unit)

    def write(self, path):
        """Writes all products to a new file."""
        with h5py.File(path, "w") as file:
            products = file.create_group("PRODUCTS")
            for (product, column), (data, unit) in self._columns.items():
                group = products.require_group(product)
                if is_text(data):
                    dataset = group.create_dataset(column, data=data, dtype=h5py.string_dtype())
                else:
                    dataset = group.create_dataset(column, data=np.asarray(data))
                if unit is not None:
                    dataset.attrs["unit"] = unit


def is_text(data):
    """Whether these values, of a column or alone, are text."""
    array = np.asarray(data)
    return array.dtype.kind in "SU" or array.dtype.kind == "O" and array.size > 0


def _kind(dtype):
    """What values of a type are that are no real numbers. `object` alone says nothing: h5py gives it to texts and to lists."""
    if dtype.kind in "SU" or h5py.check_string_dtype(dtype) is not None:
        return "text"
    if h5py.check_vlen_dtype(dtype) is not None:
        return "lists"
    if dtype.names is not None:
        return f"records of {', '.join(dtype.names)}"
    return "complex numbers" if dtype.kind == "c" else f"values of type {dtype}"


def _columns(group, prefix=""):
    """{name: dataset} of all columns of a product; links are followed, which h5py's `visititems` does not."""
    found = {}
    for name, node in group.items():
        if isinstance(node, h5py.Group):
            found.update(_columns(node, f"{prefix}{name}/"))
        elif node.shape is not None:
            found[prefix + name] = node
    return found


def main(identifier, run):
    """Runs a module as the environment says, once or as a server, and returns the exit code."""
    if os.environ.get("SAS_SERVE") == "1":
        return _serve(identifier, run)
    code, message = _attempt(
        run,
        os.environ.get("SAS_INPUT", "/sas/in/input.h5"),
        os.environ.get("SAS_OUTPUT", "/sas/out/output.h5"),
        os.environ.get("SAS_PARAMETERS", "/sas/in/parameters.json"),
        os.environ.get("SAS_SEED", "0"),
    )
    if message:
        print(f"{identifier}: {message}", file=sys.stderr)
    return code


def _serve(identifier, run):
    """One request per line on stdin, one answer per line on stdout; what modules print goes to stderr."""
    answers, sys.stdout = sys.stdout, sys.stderr
    print(json.dumps({"ready": 1}), file=answers, flush=True)
    for line in sys.stdin:
        if not line.strip():
            continue
        try:
            request = json.loads(line)
            identity, paths = request["id"], (request["input"], request["output"])
        except (ValueError, KeyError, TypeError) as error:
            print(f"{identifier}: unreadable request: {error!r}", file=sys.stderr)
            return CRASHED
        parameters, seed = request.get("parameters"), request.get("seed", 0)
        code, message = _attempt(run, *paths, parameters, seed)
        if message:
            message = f"{identifier}: {message}"
            print(message, file=sys.stderr, flush=True)
        print(json.dumps({"id": identity, "exit": code, "message": message}), file=answers, flush=True)
    return SUCCESS


def _attempt(run, source, target, parameters, seed):
    """One star: (exit code, message). All that can go wrong ends here, so that no star disturbs the next."""
    try:
        with h5py.File(source, "r") as file:
            outputs = Outputs()
            run(Inputs(file, _parameters(parameters), _seed(seed)), outputs)
        outputs.write(target)
        return SUCCESS, ""
    except Refused as refusal:
        return FAILED, str(refusal)
    except TryAgain as reason:
        return AGAIN, f"try again later: {reason}"
    except OSError as error:
        return FAILED, f"cannot read {source} or write {target}: {error}"
    except Exception as error:  # the boundary: a defect of a module must not end a server
        traceback.print_exc()
        return CRASHED, f"defect: {type(error).__name__}: {error}"


def _parameters(given):
    """The parameters: an object, or the path of a JSON file, which need not exist."""
    if isinstance(given, str):
        if not os.path.exists(given):
            return {}
        with open(given, encoding="utf-8") as file:
            given = json.load(file)
    return given or {}


def _seed(text):
    """A seed of 64 bits, written in decimal or in hexadecimal with or without 0x."""
    text = str(text).strip() or "0"
    try:
        number = int(text, 10)
    except ValueError:
        number = int(text, 16)
    return number & 0xFFFF_FFFF_FFFF_FFFF
