"""`python3 -m light`: plays the module SAS_MODULE of the pipeline LIGHT_PIPELINE, once or as a server (SAS_SERVE=1)."""

import hashlib
import json
import os
import sys
import traceback

import h5py

from . import DEFECT, VIOLATION, canonical, contract, faults, origin, produce, script, staged


def main():
    """Runs one attempt, or many, and returns the exit code."""
    module = os.environ.get("SAS_MODULE", "")
    try:
        known = contract.read(os.environ["LIGHT_PIPELINE"], module)
    except (KeyError, OSError, ValueError) as error:
        print(f"light: no contract of {module!r} in LIGHT_PIPELINE: {error!r}", file=sys.stderr)
        return DEFECT
    if os.environ.get("SAS_SERVE") == "1":
        return _serve(known)
    source, target, path = staged.paths(os.environ)
    parameters, wrong = staged.read_parameters(path)
    code, message = attempt(
        known,
        source,
        target,
        parameters,
        os.environ.get("SAS_STAR", ""),
        os.environ.get("SAS_QUARTER", ""),
        int(os.environ.get("SAS_ATTEMPT") or 1),
        [*staged.missing_environment(os.environ), *wrong],
    )
    print(f"light: {module}: {message}", file=sys.stderr if code else sys.stdout)
    return code


def attempt(known, source, target, parameters, star, quarter, number, wrong=()):
    """One attempt: (exit code, message). `wrong` are violations found before."""
    try:
        behaviour = script.behaviour(parameters.get("script", {}), star, quarter, known.name)
        fault, argument = faults.planned(behaviour.act, number)
        with h5py.File(source, "r") as file:
            lines = [*wrong, *staged.violations(file, known, star, quarter)]
            if lines:
                return VIOLATION, "\n".join(f"violation: {line}" for line in lines)
            fingerprint = canonical.fingerprint(file, _salt(known.name, parameters))
        faults.delay(behaviour.act)
        faults.before(fault, argument, int(os.environ.get("SAS_MEMORY_BYTES") or 1 << 30))
        if fault == faults.NONDETERMINISTIC:
            fingerprint = os.urandom(32)
        model = known.columns()
        products = produce.outputs(known, behaviour, fingerprint, model)
        produce.write(target, products, origin.of(star, quarter, known.name))
        faults.after(fault, argument, target, known, model)
        return 0, f"{star}: {len(products)} products"
    except faults.Ended as end:
        return end.code, str(end)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        traceback.print_exc()
        return DEFECT, f"unreadable script or contract: {error!r}"
    except OSError as error:
        return DEFECT, f"cannot read {source} or write {target}: {error}"


def _salt(module, parameters):
    """What besides the inputs determines values: the module, and parameters other than the script."""
    others = {name: value for name, value in parameters.items() if name != "script"}
    return hashlib.sha256(json.dumps([module, others], sort_keys=True).encode()).digest()


def _serve(known):
    """A request per line on stdin, an answer per line on stdout; the log goes to stderr."""
    answers, sys.stdout = sys.stdout, sys.stderr
    print(json.dumps({"ready": 1}), file=answers, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        given = request.get("parameters")
        parameters, wrong = (given, ()) if isinstance(given, dict) else staged.read_parameters(given)
        code, message = attempt(
            known,
            request["input"],
            request["output"],
            parameters,
            request["star"],
            request["quarter"],
            int(request.get("attempt", 1)),
            wrong,
        )
        print(f"light: {known.name}: {message}", file=sys.stderr, flush=True)
        print(json.dumps({"id": request["id"], "exit": code, "message": message}), file=answers, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
