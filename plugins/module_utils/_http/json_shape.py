# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Does a JSON document hold what was wanted? Dotted paths, exact values and kinds of value."""

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
    """The document in C(body); ValueError if there is none, however deep it is nested."""
    try:
        return json.loads(body)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def dig(document: Any, path: str) -> Any:
    """Follow a dotted path; a number is an index of a list. LookupError where it leads nowhere."""
    for part in filter(None, path.split(".")):
        if isinstance(document, list) and part.isdecimal() and part.isascii():
            document = document[int(part[:9])]
        elif isinstance(document, dict):
            document = document[part]
        else:
            raise LookupError(path)
    return document


def mismatch(document: Any, wanted: Mapping[str, Any]) -> str | None:
    """Say where C(document) is not as C(wanted), a mapping of dotted path to value or kind."""
    for path, value in wanted.items():
        try:
            found = dig(document, str(path))
        except LookupError:
            return f"JSON has no {path}"
        if isinstance(value, str) and value in KINDS:
            if not _is_kind(found, value):
                return f"JSON {path} is no {value.strip('<>')}"
        elif not _same(found, value):
            return f"JSON {path} is not {json.dumps(value, default=str)}"
    return None


def _is_kind(found: Any, kind: str) -> bool:
    # To Python a bool is a number, to JSON it is none.
    return isinstance(found, KINDS[kind]) and (kind == "<bool>") == isinstance(found, bool)


def _same(found: Any, wanted: Any) -> bool:
    """Compare as JSON does, which tells 1 from true, whatever Python thinks."""
    if isinstance(found, bool) != isinstance(wanted, bool):
        return False
    if isinstance(found, list) and isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(_same, found, wanted))
    if isinstance(found, dict) and isinstance(wanted, Mapping):
        return found.keys() == wanted.keys() and all(_same(found[k], wanted[k]) for k in found)
    return bool(found == wanted)
