"""What every module of a campaign is: light, with a line in the execution log before and after it.

The log is a file to which all executions append whole lines: {"what", "at", "star", "module", "attempt", "process"}; at the end
also "code". It is no part of the store, and no program of ours knows of it.
"""

import json
import os
import sys
import time


def note(what, **more):
    """Appends a line."""
    line = {
        "what": what,
        "at": time.time(),
        "star": os.environ.get("SAS_STAR", ""),
        "module": os.environ.get("SAS_MODULE", ""),
        "attempt": int(os.environ.get("SAS_ATTEMPT") or 1),
        "process": os.getpid(),
        **more,
    }
    log = os.open(os.environ["CHAOS_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(log, (json.dumps(line) + "\n").encode())
    os.close(log)


def main():
    """Returns light's exit code."""
    note("begins")
    from light.__main__ import main as light

    code = light()
    note("ends", code=code)
    return code


if __name__ == "__main__":
    sys.exit(main())
