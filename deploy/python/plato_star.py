"""Star files and tables of stars in Python: `plato_star.open(path)`, `plato_star.read_table(path)`.

Needs h5py and numpy. Where astropy is installed, numbers come with units and tables as QTable; where it is not, as plain
numbers and arrays. Plots need matplotlib.

    import plato_star
    star = plato_star.open("PLATO_....h5")
    star.plot()
"""

import csv
import json
import os
import re
from builtins import open as open_text

import h5py
import numpy as np

try:
    from astropy import table as _table
    from astropy import units as _units
except ImportError:
    _table = _units = None

if _units is not None:
    try:
        ppm = _units.Unit("ppm")
    except ValueError:  # no standard has it
        ppm = _units.def_unit("ppm", 1e-6 * _units.dimensionless_unscaled, doc="parts per million")
        _units.add_enabled_units([ppm])

# Where a light curve and a power spectrum are, the best first: product, columns.
LIGHT_CURVES = (("IDP_SAS_VARLC", "time", "flux"), ("DP1_LC_MERGED", "time", "flux"))
SPECTRA = (("IDP_SAS_AARPSD", "frequency", "power"), ("IDP_SAS_VARPSD", "frequency", "power"))


class Missing(Exception):
    """What was asked for is not there; the message says why."""


def open(path):  # noqa: A001, as h5py and astropy call theirs
    """A star file, read-only. Close it, or use it in a `with`."""
    return StarFile(path)


class StarFile:
    """What a star ended with in one run: products by name, what was delivered, and why something is not there."""

    def __init__(self, path):
        # Links in it start from where it lies, not from where a link to it lies.
        self.path = os.path.realpath(path)
        self.file = h5py.File(self.path, "r")
        if "MANIFEST" not in self.file:
            self.file.close()
            raise Missing(f"{path} is no star file: it has no /MANIFEST")
        self.manifest = json.loads(_text(self.file["MANIFEST"][()]))

    @property
    def name(self):
        """The star: `PLATO_` and a UUID."""
        return _text(self.file.attrs["PLATO_ID"])

    @property
    def quarter(self):
        """The number of the quarter of its data."""
        return int(np.ravel(self.file.attrs["QUARTER_NUMBER"])[0])

    @property
    def generation(self):
        """Run, pipeline, version and number of this file, as a dictionary."""
        return self.manifest.get("generation") or {}

    @property
    def status(self):
        """How whole the file is, `complete` if it is; empty where the file is of a time before that was said."""
        return self.attributes.get("STATUS", "")

    @property
    def attributes(self):
        """What the file says of itself as a whole: which generation it shows, what that lost, what is newer."""
        return {name: _attribute(value) for name, value in self.file.attrs.items()}

    @property
    def products(self):
        """Names of the products that are there, those delivered included."""
        return sorted(name for name in self._entries() if self._reason(name) is None)

    @property
    def modules(self):
        """How each module of the pipeline ended, in their order: {module: (state, reason)}."""
        return {entry["module"]: (entry["state"], _why(entry)) for entry in self.manifest.get("modules", [])}

    def columns(self, product):
        """The columns of a product: {name: (unit, shape, type)}; the name of a nested one has slashes."""
        return {name: (_unit(data), data.shape, data.dtype) for name, data in self._datasets(product).items()}

    def __contains__(self, product):
        return product in self._entries() and self._reason(product) is None

    def __getitem__(self, product):
        """All columns of a product, {name: value or array, with unit}. Raises `Missing` with the reason."""
        return {name: _value(data) for name, data in self._datasets(product).items()}

    def get(self, product, column="value", default=None):
        """One column of a product; `default` where product or column are not there (`why` tells)."""
        try:
            datasets = self._datasets(product)
        except Missing:
            return default
        return _value(datasets[column]) if column in datasets else default

    def table(self, product):
        """The columns of a product that are lists of one length, as a table: an astropy QTable, or a dictionary."""
        lists = {name: value for name, value in self[product].items() if np.ndim(value) == 1}
        length = max((len(value) for value in lists.values()), default=0)
        lists = {name: value for name, value in lists.items() if len(value) == length}
        return lists if _table is None else _table.QTable(lists)

    def why(self, product):
        """Why a product is not there; None where it is."""
        if product in self._entries():
            return self._reason(product)
        modules = self.manifest.get("modules", [])
        for entry in modules:
            if product in entry.get("declares", []):
                return f"{entry['module']} made none" if entry["state"] == "succeeded" else f"{entry['module']} {_why(entry)}"
        if any("declares" in entry for entry in modules):
            return "nobody delivered it, and no module of this run makes it"
        return "it is not in this file, which does not say who makes it: `modules` says how each ended"

    def plot(self, axes=None):
        """Draws light curve and power spectrum, with ν_max where it is known; returns the two axes."""
        try:
            from matplotlib import pyplot
        except ImportError:
            raise ImportError("plots need matplotlib: pip install matplotlib") from None
        if axes is None:
            axes = pyplot.subplots(2, figsize=(10, 7), constrained_layout=True)[1]
        curve, spectrum = axes
        product, time, flux = self._first(LIGHT_CURVES)
        curve.plot(_plain(time), _plain(flux), ".", markersize=1, color="black")
        curve.set(title=f"{self.name}  quarter {self.quarter}", xlabel=f"time [{_label(time, 'd')}]", ylabel=f"flux ({product})")
        product, frequency, power = self._first(SPECTRA)
        spectrum.loglog(_plain(frequency), _plain(power), linewidth=0.5, color="black")
        spectrum.set(xlabel=f"frequency [{_label(frequency, 'uHz')}]", ylabel=f"power [{_label(power, 'ppm2 / uHz')}] ({product})")
        numax = self.get("DP3_SAS_NU_MAX")
        if numax is not None:
            spectrum.axvline(_plain(numax), color="tab:red", alpha=0.5, label=f"ν_max {_plain(numax):.1f} {_label(numax, 'uHz')}")
            spectrum.legend()
        return axes

    def close(self):
        self.file.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
        return False

    def __repr__(self):
        status = self.status and f"{self.status}, "
        lost = sum(state not in ("succeeded", "skipped") for state, _ in self.modules.values())
        return f"<{self.name} quarter {self.quarter}: {status}{len(self.products)} products, {lost} modules failed>"

    def _entries(self):
        return {**self.manifest.get("externals", {}), **self.manifest.get("products", {})}

    def _reason(self, product):
        return self._entries()[product].get("not_produced")

    def _datasets(self, product):
        if product not in self:
            raise Missing(f"{product} of {self.name}: {self.why(product)}")
        below = "PRODUCTS" if product in self.manifest.get("products", {}) else "EXTERNALS"
        try:
            node = self.file[below][product]
        except (KeyError, OSError):
            place = self._entries()[product].get("file", "another file of the store")
            raise Missing(f"{product} lies in {place} and not in this file: open the star where it lies in its store, "
                          f"or a copy that `sas star export` made") from None
        found = {}
        if isinstance(node, h5py.Dataset):
            found["value"] = node
        else:
            node.visititems(lambda name, data: found.update({name: data}) if isinstance(data, h5py.Dataset) else None)
        return found

    def _first(self, candidates):
        for product, *columns in candidates:
            values = [self.get(product, column) for column in columns]
            if all(value is not None for value in values):
                return product, *values
        raise Missing(f"{self.name} has none of {', '.join(name for name, *_ in candidates)}: {self.why(candidates[0][0])}")


def read_table(path):
    """A table that `sas export --table` wrote: an astropy QTable with units, missing cells masked.

    Without astropy .csv and .ecsv are read as a dictionary of arrays, missing numbers as NaN; its attribute `units` has units.
    """
    end = os.path.splitext(path)[1].lower()
    if _table is not None and end == ".parquet":
        return _read_parquet(path)
    if _table is not None and end != ".csv":
        return _table.QTable.read(path, format={".ecsv": "ascii.ecsv", ".vot": "votable"}.get(end))
    if end not in (".csv", ".ecsv"):
        raise ImportError(f"{path}: tables other than .csv and .ecsv need astropy: pip install astropy (and pyarrow for .parquet)")
    columns = _read_csv(path)
    if _table is None:
        return columns
    return _table.QTable({name: _with_unit(data, columns.units.get(name, "")) for name, data in columns.items()})


class Columns(dict):
    """Arrays by name; `units` has the unit of each that has one."""

    def __init__(self):
        super().__init__()
        self.units = {}


def _read_csv(path):
    with open_text(path, encoding="utf-8", newline="") as file:
        header = []
        while (line := file.readline()).startswith("#"):
            header.append(line)
        names = next(csv.reader([line]))
        rows = list(csv.reader(file))
    columns = Columns()
    for at, name in enumerate(names):
        if match := re.fullmatch(r"(.*) \[(.*)\]", name):
            name = match[1]
            columns.units[name] = match[2]
        columns[name] = _array([row[at] for row in rows])
    # Names and units of ECSV are written as JSON.
    for name, unit in re.findall(r'\{name: ("(?:[^"\\]|\\.)*"), unit: ("(?:[^"\\]|\\.)*")', "".join(header)):
        columns.units[json.loads(name)] = json.loads(unit)
    return columns


def _read_parquet(path):
    """With masks and units; astropy's own reader knows no missing cells."""
    from astropy.table.meta import get_header_from_yaml
    from pyarrow import parquet

    arrow = parquet.read_table(path)
    header = get_header_from_yaml(arrow.schema.metadata[b"table_meta_yaml"].decode().split("\n"))
    table = _table.Table(meta=dict(header.get("meta", {})), masked=True)
    for column in header["datatype"]:
        cells = arrow[column["name"]].to_pylist()
        mask = [cell is None for cell in cells]
        kind = {"string": str}.get(column["datatype"], column["datatype"])
        data = np.array([kind() if cell is None and kind is str else 0 if cell is None else cell for cell in cells], dtype=kind)
        table[column["name"]] = _table.MaskedColumn(data, mask=mask, unit=column.get("unit"), description=column.get("description"))
    return _table.QTable(table)


def _array(cells):
    there = [cell for cell in cells if cell]
    if there and all(cell.lower() in ("true", "false") for cell in there) and len(there) == len(cells):
        return np.array([cell.lower() == "true" for cell in cells])
    if len(there) == len(cells) and all(re.fullmatch(r"-?\d+", cell) for cell in cells):
        return np.array([int(cell) for cell in cells])
    try:
        return np.array([float(cell) if cell else np.nan for cell in cells]) if there else np.array(cells)
    except ValueError:
        return np.array(cells)


def _why(entry):
    outcome = entry.get("outcome") or {}
    parts = [entry["state"].replace("_", " ")]
    parts += [str(outcome[key]) for key in ("reason", "kind", "lost", "detail", "product", "message") if outcome.get(key)]
    return ": ".join(parts)


def _value(data):
    if data.shape is None:
        return None
    value = data[()]
    if data.dtype.kind in "SO":
        return _text(value) if data.shape == () else np.array([_text(item) for item in np.ravel(value)]).reshape(data.shape)
    if data.dtype.kind in "iu" and _unit(data) == "" or data.dtype.kind == "b":
        return value
    value = np.asarray(value).astype(value.dtype.newbyteorder("="))
    return _with_unit(value[()], _unit(data))


def _with_unit(value, unit):
    """A quantity of astropy; the plain value where it has no unit, or one that astropy does not know."""
    if _units is None or unit == "":
        return value
    parsed = _units.Unit(unit, parse_strict="silent")
    return value if isinstance(parsed, _units.UnrecognizedUnit) else value * parsed


def _unit(data):
    return _text(data.attrs.get("unit", ""))


def _attribute(value):
    if np.ndim(value) == 0 or np.size(value) == 1 and np.asarray(value).dtype.kind in "if":
        value = np.ravel(value)[0]
        return value.item() if isinstance(value, np.generic) and not isinstance(value, bytes) else _text(value)
    return [_attribute(item) for item in value]


def _text(value):
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _plain(value):
    return getattr(value, "value", value)


def _label(value, otherwise):
    return str(getattr(value, "unit", otherwise))
