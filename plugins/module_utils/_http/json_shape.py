# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare a JSON document with dotted paths, exact values and kinds of value. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

KINDS: dict[str, tuple[type, ...]] = {
    "<list>": (list,),
    "<object>": (dict,),
    "<string>": (str,),
    "<number>": (int, float),
    "<bool>": (bool,),
}


def parse(body: bytes | str) -> Any:
    """Return the document in C(body). ValueError if it is invalid, at any nesting depth."""
    try:
        return json.loads(body)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def lookup(document: Any, path: str) -> Any:
    """Follow a dotted path; a number is an index of a list. LookupError if it does not exist."""
    for part in filter(None, path.split(".")):
        if isinstance(document, list) and part.isdecimal() and part.isascii():
            document = document[int(part[:9])]
        elif isinstance(document, dict):
            document = document[part]
        else:
            raise LookupError(path)
    return document


def mismatch(document: Any, expected: Mapping[str, Any]) -> str | None:
    """Return where C(document) differs from C(expected), a mapping of dotted path to value or kind."""
    for path, value in expected.items():
        try:
            found = lookup(document, str(path))
        except LookupError:
            return f"JSON has no {path}"
        if isinstance(value, str) and value in KINDS:
            if not _is_kind(found, value):
                return f"JSON {path} is no {value.strip('<>')}"
        elif not _same(found, value):
            return f"JSON {path} is not {json.dumps(value, default=str)}"
    return None


def _is_kind(found: Any, kind: str) -> bool:
    # In Python a bool is an int, in JSON it is not a number.
    return isinstance(found, KINDS[kind]) and (kind == "<bool>") == isinstance(found, bool)


def _same(found: Any, expected: Any) -> bool:
    """Compare as JSON does: 1 and true differ, although Python's are equal."""
    if isinstance(found, bool) != isinstance(expected, bool):
        return False
    if isinstance(found, list) and isinstance(expected, list):
        return len(found) == len(expected) and all(map(_same, found, expected))
    if isinstance(found, dict) and isinstance(expected, Mapping):
        return found.keys() == expected.keys() and all(_same(found[k], expected[k]) for k in found)
    return bool(found == expected)
