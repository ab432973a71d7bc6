"""Provenance for other systems, held against what those have published who define its forms.

    published.py prov FILE          PROV-JSON: the schema of W3C's member submission, and what the package `prov` makes of it
    published.py openlineage FILE   events: the classes that OpenLineage's own client has from its schemas

FILE has a document, or a list of them, on each line. Prints how many.
"""

import importlib
import json
import pkgutil
import re
import sys
import typing
from importlib.resources import files


def documents(path):
    for line in open(path, encoding="utf-8"):
        told = json.loads(line)
        yield from told if isinstance(told, list) else [told]


# ---- W3C PROV -----------------------------------------------------------------------------------------------------------------


def prov(path):
    import jsonschema
    from prov.model import ProvDocument

    schema = json.loads(files("prov").joinpath("tests/schemas/prov-json.schema.json").read_text(encoding="utf-8"))
    form = jsonschema.validators.validator_for(schema)(schema)
    count = 0
    for document in documents(path):
        form.validate(document)
        read = ProvDocument.deserialize(content=json.dumps(document), format="json")
        again = ProvDocument.deserialize(content=read.serialize(format="json"), format="json")
        assert read == again, "it is not the same when it is written again"
        records = sum(len(records) for section, records in document.items() if section != "prefix")
        assert len(read.get_records()) == records, f"{len(read.get_records())} records were read, {records} are there"
        count += 1
    return count


# ---- OpenLineage --------------------------------------------------------------------------------------------------------------


def openlineage(path):
    from openlineage.client import generated
    from openlineage.client.generated import base

    kinds = {}
    for module in pkgutil.iter_modules(generated.__path__):
        for name, kind in vars(importlib.import_module(f"{generated.__name__}.{module.name}")).items():
            if hasattr(kind, "__attrs_attrs__"):
                kinds.setdefault(name, kind)
    count = 0
    for event in documents(path):
        made = build(base.RunEvent, event, kinds)
        assert made.schemaURL == event["schemaURL"], f"the client has {made.schemaURL}"
        count += 1
    return count


def build(kind, value, kinds):
    """An object of one of the client's classes, which check what they are given. Nothing may be left over."""
    import attr

    attr.resolve_types(kind)
    known = {field.name: field for field in attr.fields(kind)}
    rest = {name: value[name] for name in set(value) - set(known)}
    assert not rest or facet_name(value) in ("RunFacet", "DatasetFacet"), f"{kind.__name__} has no {sorted(rest)}"
    given = {known[name].alias: convert(known[name].type, value[name], kinds) for name in known if name in value and known[name].init}
    made = kind(**given)
    return made.with_additional_properties(**rest) if rest else made


def convert(kind, value, kinds):
    """A value of a field of this type; facets are of the class that their own schema names."""
    if isinstance(value, dict) and "_schemaURL" in value:
        return build(kinds[facet_name(value)], value, kinds)
    arguments = typing.get_args(kind)
    if isinstance(value, list):
        [of] = [one for one in arguments if typing.get_origin(one) is list] or [kind]
        return [convert(typing.get_args(of)[0], one, kinds) for one in value]
    candidates = [one for one in (*arguments, kind) if hasattr(one, "__attrs_attrs__")]
    if isinstance(value, dict) and candidates:
        return build(candidates[0], value, kinds)
    if isinstance(value, dict):
        return {name: convert(None, one, kinds) for name, one in value.items()}
    enums = [one for one in (*arguments, kind) if isinstance(one, type) and hasattr(one, "__members__")]
    return enums[0](value) if enums else value


def facet_name(value):
    url = value.get("_schemaURL", "")
    assert not url or re.fullmatch(r"https://openlineage\.io/spec/(facets/)?\d+-\d+-\d+/\w+\.json#/\$defs/\w+", url), url
    return url.rsplit("/", 1)[-1]


if __name__ == "__main__":
    what, path = sys.argv[1:]
    print({"prov": prov, "openlineage": openlineage}[what](path))
