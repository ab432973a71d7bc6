"""What a star does in the modules that it meets: its script.

A module's parameter `script` maps stars to scripts: `{"default": "quiet", "PLATO_…": "seismic"}`. A script is the name
of a built-in kind, or an object, each part of which may be left out:

    like      the kind that it starts from, else `quiet`
    values    {product: {column: value}}: flags and special values ("nan" for not a number)
    make      {product: bool}: which optional and nullable outputs are made; a name that ends in `*` matches any rest
    modules   {module or "*": {seconds, cpu_seconds, fail, attempts}}: how its attempts go, see `faults.py`
    quarters  {quarter: script}: in some quarters another script in place of this one

`default` may also be {"weights": {kind: number}}: each star then has a kind by its id, so that a script for any number of
stars stays small. Optional outputs that no script names are made.
"""

import hashlib

SEISMIC_PRODUCTS = {
    "DP3_SAS_*": False,
    "IDP_SAS_BACKGROUND_FIT": False,
    "IDP_SAS_FREQUENCIES_FIRST_GUESS*": False,
    "IDP_SAS_OSC_MODE_*": False,
}
ROTATION_PRODUCTS = {"DP4_SAS_PROT*": False, "DP4_SAS_DELTAPROT*": False, "DP4_SAS_SPH": False}


def _flags(seismic, granulation, consistent):
    return {
        "IDP_SAS_SEISMIC_DETECTION_FLAG": {
            "MSAP3_01_flag": seismic,
            "MSAP3_02_flag": seismic,
            "osc_detection_flag": seismic,
            "peakbagging_flag": seismic,
        },
        "IDP_SAS_LOGG_FLIPER_FLAG": {"logg_flag": granulation},
        "IDP_SAS_CONSISTENCY_FLAGS": {
            "mass_consistency_flag": consistent,
            "radius_consistency_flag": consistent,
            "age_consistency_flag": consistent,
        },
    }


def _frequencies(mixed):
    return {"IDP_SAS_SEISMIC_QUALITY_METADATA": {"nmodes": 12, "mixed_modes": mixed}}


# Stars of the real pipeline: nothing found; rotation only; oscillations with separate modes; with mixed modes.
KINDS = {
    "quiet": {
        "values": _flags(False, False, False),
        "make": {**SEISMIC_PRODUCTS, **ROTATION_PRODUCTS, "IDP_SAS_LOGG_FLIPER": False, "ADP_SAS_FLARES*": False},
    },
    "rotating": {
        "values": _flags(False, False, True),
        "make": {**SEISMIC_PRODUCTS, "IDP_SAS_LOGG_FLIPER": False, "DP5_SAS_MASS": False, "DP5_SAS_RADIUS": False},
    },
    "seismic": {"values": {**_flags(True, True, True), **_frequencies(False)}, "make": {}},
    "mixed": {"values": {**_flags(True, True, True), **_frequencies(True)}, "make": {}},
}


class Behaviour:
    """What one module does for one star in one quarter."""

    def __init__(self, values, make, act):
        self.values = values
        self.act = act
        self._make = make

    def makes(self, product):
        """Whether an optional output is made: an exact name decides before a pattern, a longer pattern before a shorter."""
        if product in self._make:
            return self._make[product]
        patterns = [name for name in self._make if name.endswith("*") and product.startswith(name[:-1])]
        return self._make[max(patterns, key=len)] if patterns else True


def behaviour(scripts, star, quarter, module):
    """How `module` behaves for `star`, from the parameter `script`."""
    script = scripts.get(star, scripts.get("default", "quiet"))
    return resolve(_weighted(script, star), quarter, module)


def resolve(script, quarter, module):
    """A script for one module and quarter. KeyError or TypeError when it is none."""
    values, make, act = {}, {}, {}
    for part in _layers(script, str(quarter)):
        for product, columns in part.get("values", {}).items():
            values[product] = {**values.get(product, {}), **columns}
        make.update(part.get("make", {}))
        acts = part.get("modules", {})
        act.update({**acts.get("*", {}), **acts.get(module, {})})
    return Behaviour(values, make, act)


def _layers(script, quarter):
    """The parts of a script, from the kind that it starts from to what its quarter says."""
    if isinstance(script, str):
        if script not in KINDS:
            raise KeyError(f"no kind `{script}` of star; there are {', '.join(KINDS)}")
        return [KINDS[script]]
    unknown = set(script) - {"like", "values", "make", "modules", "quarters"}
    if unknown:
        raise KeyError(f"a script has no `{sorted(unknown)[0]}`")
    if quarter in script.get("quarters", {}):
        return _layers(script["quarters"][quarter], quarter)
    return [*_layers(script.get("like", "quiet"), quarter), script]


def _weighted(script, star):
    """The kind that a star has by its id, where a default names weights."""
    if not isinstance(script, dict) or "weights" not in script:
        return script
    weights = script["weights"]
    draw = int.from_bytes(hashlib.sha256(star.encode()).digest()[:8], "big") / 2**64 * sum(weights.values())
    for kind, weight in weights.items():
        draw -= weight
        if draw < 0:
            return kind
    return next(reversed(weights))
