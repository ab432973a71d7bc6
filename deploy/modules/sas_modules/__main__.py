"""Command line: `python3 -m sas_modules NAME`, by short name or identifier (`flares` is `MSAP1_02`)."""

import importlib
import sys

from . import MODULES, kit


def main(arguments):
    """Runs the module named by the only argument and returns its exit code; 2 for a wrong call."""
    by_id = {identifier: name for name, (identifier, _) in MODULES.items()}
    if len(arguments) != 1 or by_id.get(arguments[0], arguments[0]) not in MODULES:
        known = ", ".join(f"{name} ({identifier})" for name, (identifier, _) in MODULES.items())
        print(f"usage: python3 -m sas_modules NAME, with NAME one of {known}", file=sys.stderr)
        return 2
    identifier, file = MODULES[by_id.get(arguments[0], arguments[0])]
    module = importlib.import_module(f".{file}", __package__)
    return kit.main(identifier, module.run)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
