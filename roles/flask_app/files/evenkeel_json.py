# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flask's JSON, made by orjson where that is the same to the byte.

This file is part of each release and runs inside the app's own process. It needs Python 3.9,
Flask 2.2 and orjson.
"""

from __future__ import annotations

import gc
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import flask
import orjson
from flask.json.provider import DefaultJSONProvider

# The separators of jsonify(). Other output has spaces, which orjson never writes.
COMPACT = {"separators": (",", ":")}
# Flask 2.2 has other settings, outside of the provider, that change the output.
IS_SETTLED = not hasattr(flask.Flask, "json_encoder")

CONTAINERS = {dict, list, tuple}
# Of these Flask makes strings.
LEAVES = {date, datetime, Decimal}
KNOWN = CONTAINERS | LEAVES | {str, int, float, bool, type(None), UUID}


def _is_same(value: Any) -> bool:
    """Whether orjson writes as Flask does what it wrote: not an Enum, which Flask refuses, NaN, or 1e-05.

    A level at a time, as that is what the garbage collector's eyes see at the speed of C.
    """
    level = [value]
    while True:
        kinds = set(map(type, level))
        if not kinds <= KNOWN:
            return False
        if float in kinds and [
            x for x in level if isinstance(x, float) and not (1e-4 <= abs(x) < 1e16 or x == 0)
        ]:
            return False
        if kinds.isdisjoint(CONTAINERS):
            return True
        level = gc.get_referents(*[x for x in level if type(x) in CONTAINERS])


def _leaf(value: Any) -> Any:
    if type(value) in LEAVES:
        return DefaultJSONProvider.default(value)
    raise TypeError


def _ascii(text: str) -> str | None:
    """JSON with all beyond ASCII escaped as Python does, DEL too; None where that would take a parser."""
    if text.isascii() and "\x7f" not in text:
        return text
    escaped = text.encode("ascii", "backslashreplace").decode()
    # A sequence like an escape can be text after a backslash, and JSON has pairs of \u instead of \U.
    if r"\\" in text or r"\U" in escaped:
        return None
    return escaped.replace(r"\x", r"\u00").replace("\x7f", r"\u007f")


class OrjsonProvider(DefaultJSONProvider):
    """To read stays with the standard library: orjson makes floats of large integers, and refuses NaN."""

    def dumps(self, obj: Any, **kwargs: Any) -> str:
        text = None
        if IS_SETTLED and kwargs == COMPACT and self.default is DefaultJSONProvider.default:
            text = self._fast(obj)
        return super().dumps(obj, **kwargs) if text is None else text

    def _fast(self, obj: Any) -> str | None:
        options = orjson.OPT_PASSTHROUGH_DATETIME
        if self.sort_keys:
            options |= orjson.OPT_SORT_KEYS
        try:
            written = orjson.dumps(obj, _leaf, options).decode()
        except TypeError:
            # It refuses more than Flask does.
            return None
        text = _ascii(written) if self.ensure_ascii else written
        # Looked at only now, as orjson has seen that it has an end.
        return text if text is not None and _is_same(obj) else None
