"""Holds what README shows of a star file (`$ h5dump -A`, cut) against a real one, with h5py and nothing of ours.

Usage: excerpt.py README STAR_FILE     prints how many groups, datasets and attributes were compared; exit code 1 and a line for
each that is not there, or says something else. What is cut shows as `…`.
"""

import json
import re
import sys

import h5py

# What the design promises of every star file.
PROMISED = ["/@PLATO_ID", "/@QUARTER_NUMBER", "/@OBS_START_DATE", "/@OBS_END_DATE", "/EXTERNALS", "/PRODUCTS"]
# Attributes of which the value is the same in every star of this kind.
ALIKE = ("STATUS", "PIPELINE", "QUARTER_NUMBER", "state", "group", "unit")
OBJECT = re.compile(r'\s*(?:GROUP|DATASET) "(?P<name>[^"]+)" \{')
ATTRIBUTE = re.compile(r'\s*ATTRIBUTE "(?P<name>[^"]+)" \{ (?P<value>.*) \}')


def shown(readme):
    """Paths of groups and datasets, and attributes as {(path, name): value}."""
    (excerpt,) = re.findall(r"^\$ h5dump -A .*?\n(.*?)^```", readme, re.DOTALL | re.MULTILINE)
    place, paths, attributes = [], [], {}
    for line in excerpt.splitlines():
        if match := OBJECT.fullmatch(line):
            place.append(match["name"].strip("/"))
            paths.append(path_of(place))
        elif match := ATTRIBUTE.fullmatch(line):
            attributes[path_of(place), match["name"]] = match["value"]
        elif line.strip() == "}":
            place.pop()
        elif line.strip() != "…":
            raise SystemExit(f"README shows {line!r}, which is none of h5dump's")
    return paths, attributes


def path_of(place):
    return "/" + "/".join(filter(None, place))


def wrong(readme, star):
    """What is shown and is not so, a line each."""
    paths, attributes = shown(readme)
    for path in paths:
        if path not in star:
            yield f"{path} is shown, and not in the file"
    for (path, name), value in attributes.items():
        real = star[path].attrs.get(name) if path in star else None
        if real is None:
            yield f"{path} has no attribute {name}"
            continue
        whole = "…" not in value
        if path.endswith("/inputs") or name == "outputs":
            named, there = set(re.findall(r'"([^"…]+)"', value)), set(real)
            if not named <= there or (whole and named != there):
                yield f"{path} has {sorted(there)} as {name}, and {value} is shown"
        elif name in ALIKE and json.loads(value) != (real if isinstance(real, str) else int(real)):
            yield f"{path} has {real!r} as {name}, and {value} is shown"
    for path in (path for path in paths if path.endswith("/inputs")):
        known = {name for of, name in attributes if of == path}
        if path in star and known != set(star[path].attrs):
            yield f"{path} has {sorted(star[path].attrs)}, and {sorted(known)} are shown"
    for promised in PROMISED:
        path, _, name = promised.partition("@")
        if not ((path, name) in attributes if name else path in paths):
            yield f"README does not show {promised}"


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as readme, h5py.File(sys.argv[2], "r") as star:
        text = readme.read()
        found = list(wrong(text, star))
        paths, attributes = shown(text)
    print("\n".join(found), file=sys.stderr)
    print(len(paths) + len(attributes))
    sys.exit(bool(found))
