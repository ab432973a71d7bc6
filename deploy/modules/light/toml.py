"""Writes dictionaries as TOML: what a pipeline definition holds, nothing else (no dates)."""

import json
import re

BARE = re.compile(r"[A-Za-z0-9_-]+\Z")


def dumps(data):
    """A document that reads back as `data`. Tables two levels deep have headers, all below is inline."""
    lines = [f"{_key(name)} = {_value(value)}" for name, value in data.items() if not isinstance(value, dict)]
    for name, table in data.items():
        if isinstance(table, dict) and table and all(isinstance(value, dict) for value in table.values()):
            for inner, content in table.items():
                lines += _table(f"{_key(name)}.{_key(inner)}", content)
        elif isinstance(table, dict):
            lines += _table(_key(name), table)
    return "\n".join(lines) + "\n"


def _table(header, content):
    return ["", f"[{header}]", *(f"{_key(name)} = {_value(value)}" for name, value in content.items())]


def _key(name):
    return name if BARE.match(name) else _text(name)


def _value(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(name)} = {_value(inner)}" for name, inner in value.items()) + " }"
    return "[" + ", ".join(map(_value, value)) + "]"


def _text(text):
    # JSON's escapes are TOML's, but for DEL, which TOML wants escaped.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
