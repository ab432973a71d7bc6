"""Looks at what is on record of stars, with h5py and nothing of ours: reads files, digests them, compares.

Usage: provenance.py files STAR_FILE…         prints how much was compared; exit code 1 and a line for each thing that is wrong
       provenance.py prov DOCUMENTS           a document of PROV-JSON a line, held against the structure that W3C published
       provenance.py openlineage EVENTS       events of OpenLineage a line, held against the rules of its specification
       provenance.py receive BODIES           a receiver: prints its port, and writes each body that it gets as a line, until it is ended
"""

import http.server
import json
import os
import re
import sys
import uuid
from datetime import datetime
from urllib.parse import urlparse

import h5py

# The definition of digests in `common/store/src/digest.rs`, read by h5py; the test says where it lies.
from digest import digest

wrong = []


def check(holds, *words):
    if not holds:
        wrong.append(" ".join(str(word) for word in words))
    return holds


# ---- star files ---------------------------------------------------------------------------------------------------------------


class StarFolder:
    """The folder of a star's quarter, whose committed files are opened once."""

    def __init__(self, folder):
        self.folder, self.held = folder, {}

    def committed(self, name):
        """A committed file and its manifest, by its name from the star's folder."""
        if name not in self.held:
            path = os.path.join(self.folder, "..", name)
            if name.startswith("shared/"):
                path = os.path.join(self.folder, "..", "..", "..", "..", name)
            file = h5py.File(path, "r")
            self.held[name] = file, json.loads(file["MANIFEST"][()])
        return self.held[name]


def files(paths):
    counts = {"modules": 0, "outputs": 0, "inputs": 0, "previous": 0, "reasons": 0}
    for path in paths:
        folder = StarFolder(os.path.dirname(os.path.abspath(path)))
        with h5py.File(path, "r") as star:
            groups = {name: group for name, group in star.items() if "state" in group.attrs}
            for name, group in groups.items():
                if "key" in group.attrs:
                    counts["modules"] += 1
                    result(star, folder, name, group, groups, counts)
                else:
                    reasons(path, name, group, counts)
    return counts


def module_of(star, name):
    return name[len(star.attrs["PIPELINE"]) + 1 :].rsplit("_", 1)[0]


def result(star, folder, name, group, groups, counts):
    """A module that made something: what is said of it is what is on record with its result, and what it read was committed."""
    attrs, module = group.attrs, module_of(star, name)
    quarter = f"Q{int(star.attrs['QUARTER_NUMBER']):03}"
    own = f"{quarter}/products/{module}-{attrs['key']}.h5"
    file, manifest = folder.committed(own)
    record = json.loads(file["PROVENANCE"][()])
    for here, there in (
        (list(attrs["command"]), record["command"]),
        (attrs["image_identity"], record["image_identity"]),
        (attrs["contract"], record["contract"]),
        (json.loads(attrs["parameters"]), record["parameters"]),
        (int(attrs["seed"]), record["seed"]),
        (int(attrs["made_in_attempt"]), record["attempt"]),
        (attrs["made_by"], record["worker"]),
        (attrs["host"], record["host"]),
        (int(attrs["clock_ahead"]), record.get("clock_ahead", 0)),
        (int(attrs["exit_code"]), 0),
        (int(attrs["seed"]), int(record["key"][:16], 16)),
    ):
        check(here == there, own, "says", there, "and the star file", here)
    check(re.fullmatch("[0-9a-f]{16}", attrs["contract"]), name, "has no version of its contract:", attrs["contract"])
    check(moment(attrs["made_from"]) <= moment(attrs["made_until"]), name, "ended before it began")
    # Modules run as processes here, which are measured; what is less than the worker itself has nobody can tell.
    check(float(attrs["cpu_seconds"][0]) > 0, name, "took no time of a CPU")
    unknown = list(attrs.get("not_measured", []))
    check(unknown in ([], ["peak_memory"]), name, "is not measured:", unknown)
    place, inside = attrs["log"].split(":/")
    check(os.path.isfile(os.path.join(folder.folder, place)) and inside in file, name, "has no log at", attrs["log"])
    for product in attrs["outputs"]:
        counts["outputs"] += 1
        said, found = manifest["products"][product]["digest"], digest(file["PRODUCTS"][product])
        check(said == found, own, product, "is", found, "and not", said)
        shown = digest(star["PRODUCTS"][product])
        check(said == shown, star.filename, product, "is", shown, "and not", said)
    for read in record["inputs"]:
        if read.get("digest") is not None:
            counts["inputs"] += 1
            source(star, folder, name, group, groups, read, counts)


def spelled_source(star, groups, of):
    """Where an input came from, as the documents spell it."""
    if not isinstance(of, dict):
        return {"external": "EXTERNALS", "shared": "PDP", "previous": "PREVIOUS"}[of]
    pipeline, maker = star.attrs["PIPELINE"], of["module"]["module"]
    (producer,) = [group for name, group in groups.items() if module_of(star, name) == maker]
    group = producer.attrs.get("group", "")
    return f"{pipeline}-{group}/{pipeline}-{maker}" if group else f"{pipeline}-{maker}"


def source(star, folder, name, group, groups, read, counts):
    """What was read is what the named producer committed."""
    product, of = read["product"], read["source"]
    spelled = product
    if of == "previous":
        counts["previous"] += 1
        file, manifest = folder.committed(read["file"])
        said, found, spelled = manifest["products"][product]["digest"], digest(file["PRODUCTS"][product]), f"{product}@previous"
        before = int(star.attrs["QUARTER_NUMBER"]) - 1
        check(read["file"].startswith(f"Q{before:03}/products/"), name, "read", read["file"], "of no quarter before")
    elif of in ("external", "shared"):
        file, manifest = folder.committed(read["file"])
        said, found = manifest["externals"][product]["digest"], digest(file["EXTERNALS"][product])
        check(read["file"].startswith("shared/") == (of == "shared"), name, "read", read["file"], "as", of)
    else:
        maker = of["module"]["module"]
        (producer,) = [other for other in groups if module_of(star, other) == maker]
        quarter = f"Q{int(star.attrs['QUARTER_NUMBER']):03}"
        place = f"{quarter}/products/{maker}-{groups[producer].attrs['key']}.h5"
        # What the producer committed may stand for something that was before, by its own record; then that was read.
        committed, _ = folder.committed(place)
        stands_for = json.loads(committed["STANDS_FOR"][()]).get(product) if "STANDS_FOR" in committed else None
        if stands_for and read["file"] == stands_for["file"]:
            place = stands_for["file"]
            check(read["digest"] == stands_for["digest"], name, "read", read["digest"], "and", producer, "stands for", stands_for)
            check(groups[producer]["stands_for"].attrs[product] == read["digest"], producer, "does not say what", product, "stands for")
        check(read["file"] == place, name, "read", read["file"], "and", producer, "committed", place)
        file, manifest = folder.committed(place)
        said, found = manifest["products"][product]["digest"], digest(file["PRODUCTS"][product])
    check(product in group["inputs"].attrs[spelled_source(star, groups, of)], name, "does not name", product, "of", of)
    check(read["digest"] == said == found, name, "read", product, read["digest"], "committed was", said, "there is", found)
    check(group["digests"].attrs[spelled] == read["digest"], name, "says of", product, "another digest than its result")


def reasons(path, name, group, counts):
    """A module that made nothing: the star file tells why, and why of each product."""
    check(group.attrs["reason"], path, name, "has no reason")
    for product, why in group["not_produced"].attrs.items() if "not_produced" in group else ():
        counts["reasons"] += 1
        check(why, path, name, "does not say why there is no", product)


# ---- PROV-JSON ----------------------------------------------------------------------------------------------------------------

# Of each relation what it must name, and what it may, with the section in which that stands.
RELATIONS = {
    "used": ({"prov:activity": "activity"}, {"prov:entity": "entity", "prov:time": None}),
    "wasGeneratedBy": ({"prov:entity": "entity"}, {"prov:activity": "activity", "prov:time": None}),
    "wasAssociatedWith": ({"prov:activity": "activity"}, {"prov:agent": "agent", "prov:plan": "entity"}),
    "wasDerivedFrom": (
        {"prov:generatedEntity": "entity", "prov:usedEntity": "entity"},
        {"prov:activity": "activity", "prov:generation": None, "prov:usage": None},
    ),
    "hadMember": ({"prov:collection": "entity", "prov:entity": "entity"}, {}),
}


def prov(path):
    counts = dict.fromkeys(["entity", "activity", "agent", *RELATIONS], 0)
    for document in map(json.loads, open(path)):
        prefixes = set(document["prefix"]) | {"prov", "xsd", "_"}
        check(all(urlparse(uri).scheme for uri in document["prefix"].values()), "a prefix stands for no URI")
        unknown = set(document) - {"prefix", "entity", "activity", "agent", *RELATIONS}
        check(not unknown, "sections", unknown, "are none of PROV")
        for section in counts:
            for name, attributes in document.get(section, {}).items():
                counts[section] += 1
                check(qualified(name, prefixes), name, "is no qualified name")
                for key, value in attributes.items():
                    check(qualified(key, prefixes), name, "has an attribute", key)
                    for one in value if isinstance(value, list) else [value]:
                        literal(name, key, one, prefixes)
                for key in ("prov:startTime", "prov:endTime"):
                    if key in attributes:
                        check(section == "activity" and moment(attributes[key]), name, key, "is no time")
        for section, (needed, allowed) in RELATIONS.items():
            for name, attributes in document.get(section, {}).items():
                check(set(needed) <= set(attributes), section, name, "lacks", set(needed) - set(attributes))
                for key, of in {**needed, **allowed}.items():
                    if of and key in attributes:
                        check(attributes[key] in document[of], section, name, "names", attributes[key], "which is no", of)
        activities = {relation["prov:activity"] for relation in document["wasAssociatedWith"].values()}
        check(activities == set(document["activity"]), "activities without an agent:", set(document["activity"]) - activities)
    return counts


def qualified(name, prefixes):
    prefix, colon, local = name.partition(":")
    return bool(colon) and prefix in prefixes and re.fullmatch(r"([\w./@-]|%[0-9A-F]{2})+", local) is not None


def literal(name, key, value, prefixes):
    if isinstance(value, dict):
        check(set(value) <= {"$", "type", "lang"} and isinstance(value["$"], str), name, key, "is no literal:", value)
        if value.get("type") == "prov:QUALIFIED_NAME":
            check(qualified(value["$"], prefixes), name, key, "is no qualified name:", value)
    else:
        check(isinstance(value, (str, int, float, bool)), name, key, "is no literal:", value)


# ---- OpenLineage --------------------------------------------------------------------------------------------------------------


def openlineage(path):
    counts, runs = {"START": 0, "COMPLETE": 0, "FAIL": 0, "inputs": 0, "outputs": 0}, {}
    for line in open(path):
        told = json.loads(line)
        for event in told if isinstance(told, list) else [told]:
            counts[event["eventType"]] += 1
            check(moment(event["eventTime"]), "no time:", event["eventTime"])
            check(urlparse(event["producer"]).scheme, "no producer:", event["producer"])
            check(event["schemaURL"].endswith("OpenLineage.json#/$defs/RunEvent"), "no schema:", event["schemaURL"])
            run = str(uuid.UUID(event["run"]["runId"]))
            runs.setdefault(run, []).append(event["eventType"])
            for of in (event["job"], *event["inputs"], *event["outputs"]):
                check(of["namespace"] and of["name"], "something has no name:", of)
            facets(event["run"], "parent", lambda facet: uuid.UUID(facet["run"]["runId"]) and facet["job"]["name"])
            facets(event["job"], "jobType", lambda facet: facet["processingType"] and facet["integration"])
            if event["eventType"] == "FAIL":
                facets(event["run"], "errorMessage", lambda facet: facet["message"] and facet["programmingLanguage"])
            for side in ("inputs", "outputs"):
                counts[side] += len(event[side])
                for data in event[side]:
                    facets(data, "version", lambda facet: re.fullmatch("[0-9a-f]{64}", facet["datasetVersion"]))
            for data in event["outputs"]:
                facets({"facets": data["outputFacets"]}, "outputStatistics", lambda facet: facet["size"] >= 0)
    ends = {run: kinds for run, kinds in runs.items() if kinds not in (["START", "COMPLETE"], ["START", "FAIL"])}
    check(not ends, "runs with other events than a start and an end:", ends)
    return counts


def facets(of, name, holds):
    """All facets have their base, and the one with this name is as its own definition has it."""
    for key, facet in of["facets"].items():
        known = urlparse(facet["_producer"]).scheme and urlparse(facet["_schemaURL"]).scheme
        check(known, "facet", key, "has no base:", facet)
    check(name in of["facets"] and holds(of["facets"][name]), "facet", name, "is not as it should be:", of["facets"])


def moment(text):
    # Python 3.11 reads no more than microseconds.
    when = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text).replace("Z", "+00:00"))
    return when if when.tzinfo is not None else None


# ---- a receiver ---------------------------------------------------------------------------------------------------------------


def receive(bodies):
    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with open(bodies, "ab") as out:
                out.write(json.dumps(json.loads(body)).encode() + b"\n")
            self.send_response(201)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Receiver)
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    what, *arguments = sys.argv[1:]
    if what == "receive":
        receive(*arguments)
    found = files(arguments) if what == "files" else {"prov": prov, "openlineage": openlineage}[what](*arguments)
    if wrong:
        sys.exit("\n".join(wrong[:20]))
    print(json.dumps(found))
