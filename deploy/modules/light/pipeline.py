"""Rewrites a pipeline definition so that light plays every module; contracts and conditions stay as they are.

    python3 -m light.pipeline IN.toml OUT.toml [--stars stars.json] [--process | --image IMAGE]

`stars.json` maps stars to scripts (see `script.py`). Every module gets the part of it that changes what that module does,
so that a change of the script concerns the keys of these modules only. With --process (the default) modules are
processes of this machine, which find the program by its path here and the contract in OUT.toml; with --image they are
containers of an image that holds light and the definitions below /opt/pipelines.
"""

import argparse
import json
import os
import shutil
import sys

from . import contract, script, toml

DEFAULT_IMAGE = "sas/light:1"
IN_IMAGE = "/opt/pipelines"


def main(arguments):
    """Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python3 -m light.pipeline", description=__doc__.splitlines()[0])
    parser.add_argument("source", metavar="IN.toml")
    parser.add_argument("target", metavar="OUT.toml")
    parser.add_argument("--stars", metavar="FILE", help="JSON: scripts of the stars")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--process", action="store_true", help="modules are processes of this machine (default)")
    where.add_argument("--image", nargs="?", const=DEFAULT_IMAGE, help=f"modules are containers of IMAGE ({DEFAULT_IMAGE})")
    parser.add_argument("--mode", choices=("oneshot", "serve"), default="oneshot")
    parser.add_argument("--time-limit", default="30s", help="of every module (30s)")
    parser.add_argument("--backoff", default="1s", help="between tries (1s)")
    parser.add_argument("--memory", default="256MB", help="of every class (256MB)")
    parser.add_argument("--cpus", type=float, default=0.5, help="of every class (0.5)")
    options = parser.parse_args(arguments)
    stars = _read_json(options.stars) if options.stars else {}
    rewritten = rewrite(contract.read_toml(options.source), stars, options)
    rewritten = beside(rewritten, options.source, options.target)
    with open(options.target, "w", encoding="utf-8") as file:
        file.write(toml.dumps(rewritten))
    return 0


def _read_json(path):
    """A JSON file."""
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def rewrite(definition, stars, options):
    """The definition with light in the place of every module."""
    limits = {"cpus": options.cpus, "memory": options.memory}
    classes = {name: limits for name in {**definition.get("classes", {}), "default": None}}
    modules = {}
    for name, module in definition["modules"].items():
        modules[name] = {**module, **_played(definition, name, stars, options)}
    return {**definition, "classes": classes, "modules": modules}


def beside(definition, source, target):
    """The definition with its data model copied to the directory of `target`, so that both can be moved together."""
    if "data_model" not in definition:
        return definition
    model = os.path.join(os.path.dirname(source), definition["data_model"])
    copy = os.path.join(os.path.dirname(target), os.path.basename(model))
    if os.path.abspath(copy) != os.path.abspath(model):
        shutil.copyfile(model, copy)
    return {**definition, "data_model": os.path.basename(model)}


def _played(definition, name, stars, options):
    """What light changes in one module."""
    module = definition["modules"][name]
    known = contract.Contract(definition, name)
    scripts = concerning(stars, known)
    environment = dict(module.get("environment", {}))
    if options.image:
        environment["LIGHT_PIPELINE"] = f"{IN_IMAGE}/{os.path.basename(options.source)}"
    else:
        environment["LIGHT_PIPELINE"] = os.path.abspath(options.target)
        environment["PYTHONPATH"] = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        environment["PYTHONDONTWRITEBYTECODE"] = "1"
    return {
        "image": options.image or DEFAULT_IMAGE,
        "command": ["python3" if options.image else "/usr/bin/python3", "-m", "light"],
        "environment": environment,
        "parameters": {**module.get("parameters", {}), **({"script": scripts} if scripts else {})},
        "time_limit": options.time_limit,
        "mode": options.mode,
        "retry": {**module.get("retry", {}), "backoff": options.backoff},
    }


def concerning(stars, known):
    """Of the scripts of the stars those that make a difference in the module of this contract."""
    default = stars.get("default", "quiet")
    usual = _effect(default, known)
    scripts = {star: kind for star, kind in stars.items() if star == "default" or _effect(kind, known) != usual}
    nothing = _effect({"values": {}}, known)
    if list(scripts) in ([], ["default"]) and usual == nothing:
        return {}
    return scripts


def _effect(kind, known):
    """What a script changes in a module, in a form that can be compared."""
    if isinstance(kind, dict) and "weights" in kind:
        effects = [_effect(name, known) for name in kind["weights"]]
        return effects[0] if all(effect == effects[0] for effect in effects) else repr(kind)
    quarters = sorted(_quarters(kind))
    effects = []
    for quarter in ["", *quarters]:
        behaviour = script.resolve(kind, quarter, known.name)
        outputs = known.declared_outputs()
        makes = {product: behaviour.makes(product) for product in outputs if product not in known.outputs}
        values = {product: behaviour.values[product] for product in outputs if product in behaviour.values}
        effects.append((quarter, makes, values, behaviour.act))
    return [effect for effect in effects if effect[0] == "" or effect[1:] != effects[0][1:]]


def _quarters(kind):
    """The quarters that a script names."""
    if not isinstance(kind, dict):
        return set()
    inner = kind.get("quarters", {})
    return set(inner).union(_quarters(kind.get("like")), *map(_quarters, inner.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
