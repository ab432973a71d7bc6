"""What every module of a campaign is: light, once or serving, with a line in the execution log before and after each attempt.

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
    from light import __main__ as light

    if os.environ.get("SAS_SERVE") == "1":
        once = light.attempt

        def noted(known, source, target, parameters, star, quarter, number, wrong=()):
            note("begins", star=star, attempt=number)
            code, message = once(known, source, target, parameters, star, quarter, number, wrong)
            note("ends", star=star, attempt=number, code=code)
            return code, message

        light.attempt = noted
        return light.main()
    note("begins")
    code = light.main()
    note("ends", code=code)
    return code


if __name__ == "__main__":
    sys.exit(main())
