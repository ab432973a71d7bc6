"""How an attempt goes wrong, or takes its time, because the script says so.

In a script's `modules`: `seconds` of sleep, `cpu_seconds` of work, `fail` with one of the words below and an optional
argument after a blank, `attempts` = how many first attempts fail (all when left out).

    exit CODE WORDS   ends with this code (75 asks to be tried again), and with these last words, if any
    signal NAME       kills itself: SEGV, KILL, ABRT, …
    hang              never ends; SIGTERM ends it
    stubborn          never ends, and ignores SIGTERM
    memory            takes memory until it is stopped, at most four times what it was given
    orphan            leaves a child that lives on, and succeeds
    shout BYTES       writes that much to stdout, and succeeds
    no_output         succeeds without an output.h5
    missing           leaves out the first mandatory output
    undeclared        writes a product that no contract names
    outside           writes beside /PRODUCTS
    no_column         leaves out a column
    kind              writes text where the data model has something else
    rank              writes a column with a dimension too many
    corrupt           writes bytes that are no HDF5
    truncated         writes half of the file
    link              writes an external link in place of a product
    big BYTES         writes a dataset of that size
    nondeterministic  writes other values in every attempt
"""

import os
import signal
import subprocess
import sys
import time

import h5py
import numpy as np

BEFORE = ("exit", "signal", "hang", "stubborn", "memory", "orphan", "shout")
AFTER = ("no_output", "missing", "undeclared", "outside", "no_column", "kind", "rank", "corrupt", "truncated", "link", "big")
NONDETERMINISTIC = "nondeterministic"


class Ended(Exception):
    """The script ends this attempt with an exit code."""

    def __init__(self, code, words=""):
        super().__init__(words or f"the script ends it with {code}")
        self.code = code


def planned(act, attempt):
    """(word, argument) of the fault that this attempt has; (None, "") when it has none."""
    fail = act.get("fail")
    if fail is None or attempt > act.get("attempts", attempt):
        return None, ""
    word, _, argument = fail.partition(" ")
    if word not in (*BEFORE, *AFTER, NONDETERMINISTIC):
        raise KeyError(f"no fault `{word}`")
    return word, argument


def delay(act):
    """Sleeps and works as long as the script says."""
    time.sleep(act.get("seconds", 0))
    until = time.process_time() + act.get("cpu_seconds", 0)
    while time.process_time() < until:
        pass


def before(word, argument, memory):
    """Faults of the process itself. `memory` is what it was given, in bytes."""
    if word == "exit":
        code, _, words = argument.partition(" ")
        raise Ended(int(code or 1), words)
    if word == "signal":
        _die(signal.Signals[f"SIG{(argument or 'SEGV').removeprefix('SIG')}"])
    if word in ("hang", "stubborn"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN if word == "stubborn" else signal.SIG_DFL)
        while True:
            time.sleep(3600)
    if word == "memory":
        _take(4 * memory)
        raise Ended(1)
    if word == "orphan":
        subprocess.Popen(["sleep", "3600"], stdin=subprocess.DEVNULL, start_new_session=True)
    if word == "shout":
        _shout(_bytes(argument or "1MB"))


def after(word, argument, path, contract, model):
    """Faults of the output that was written to `path`."""
    if word == "no_output":
        os.remove(path)
    elif word == "corrupt":
        with open(path, "wb") as file:
            file.write(b"this is no HDF5\n" * 64)
    elif word == "truncated":
        os.truncate(path, os.path.getsize(path) // 2)
    elif word in AFTER:
        with h5py.File(path, "r+") as file:
            _spoil(file, word, argument, contract, model)


def _spoil(file, word, argument, contract, model):
    products = file["PRODUCTS"]
    if word == "missing":
        del products[(contract.outputs or contract.declared_outputs())[0]]
    elif word == "undeclared":
        products.create_group("LIGHT_UNDECLARED")["value"] = 1.0
    elif word == "outside":
        file["EXTERNALS/LIGHT_OUTSIDE/value"] = 1.0
    elif word == "link":
        product = next(iter(products))
        del products[product]
        products[product] = h5py.ExternalLink("/etc/hostname", "/")
    elif word == "big":
        product = products[next(iter(products))]
        product.create_dataset("light_big", data=np.zeros(_bytes(argument or "1GB"), "u1"))
    else:
        group, column = _checked_column(products, model)
        _misshape(group, column, word)


def _misshape(group, column, word):
    data = group[column][()]
    del group[column]
    if word == "rank":
        group[column] = np.asarray(data)[np.newaxis]
    elif word == "kind":
        group.create_dataset(column, data=np.full(np.shape(data), "text", object), dtype=h5py.string_dtype())


def _checked_column(products, model):
    """A written number that the data model requires."""
    for product in products:
        for column, known in model.get(product, {}).items():
            if not known.get("optional") and known["type"] == "float" and column in products[product]:
                return products[product], column
    raise Ended(70)


def _die(number):
    """Ends this process by a signal. The first process of a container is spared by signals that it sends itself, but not
    by those that the kernel raises, so what is left reads from address 0."""
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    import ctypes

    ctypes.string_at(0)


def _take(limit):
    """Touches memory, page by page, up to `limit` bytes."""
    blocks = []
    while len(blocks) << 24 < limit:
        block = bytearray(1 << 24)
        block[:: 1 << 12] = b"x" * (1 << 12)
        blocks.append(block)


def _shout(count):
    line = b"light " * 20 + b"\n"
    for _ in range(count // len(line) + 1):
        sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()


def _bytes(text):
    """Bytes from a number with an optional unit of 1000 or 1024."""
    units = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
    for unit, factor in units.items():
        if text.endswith(unit):
            return int(text.removesuffix(unit)) * factor
    return int(text)
