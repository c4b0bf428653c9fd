# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make text of apps, hosts and visitors safe to show in a terminal. Pure.

All output goes through here: the results of modules (C(_module.py)) and of action plugins, the
tables, the callback, and the reports.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any

# Of one text, in characters; a result has many.
MAX_TEXT = 64 * 1024
MAX_LINE = 4 * 1024
TAB = "    "


def printable(text: str, most: int = MAX_TEXT) -> str:
    """Return the text without control sequences for a terminal, except newlines.

    Control characters, lone surrogates and characters without a glyph become U+FFFD. Characters
    without a width, and those that change the direction of writing, are removed. Tabs and all other
    blanks become blanks.

    @param most: the maximum length of the result, in characters; a longer text is cut at its end
    """
    if len(text) > most:
        mark = "\N{HORIZONTAL ELLIPSIS}"
        text = text[: max(most - len(mark), 0)] + mark[:most]
    # Checking the whole text first handles the usual case, at a tenth of the cost.
    if all(line.isprintable() for line in text.split("\n")):
        return text
    shown = "".join(map(_shown, text.replace("\r\n", "\n")))
    return shown if len(shown) <= most else shown[:most]


def printable_line(text: str, most: int = MAX_LINE) -> str:
    """Return the text as C(printable) does, in one line."""
    return printable(text, most).replace("\n", " ")


def printable_all(value: Any) -> Any:
    """Return a result with all its texts printable: those in lists and dictionaries, and keys.

    Text that is printable already stays the same object, because Ansible marks its own texts.
    """
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, bytes):
        return printable(value.decode("utf-8", "replace"))
    if isinstance(value, Mapping):
        return {printable_all(key): printable_all(item) for key, item in value.items()}
    if isinstance(value, list):
        return [printable_all(item) for item in value]
    if isinstance(value, tuple):
        return tuple(printable_all(item) for item in value)
    return value


def _shown(character: str) -> str:
    if character == "\n" or character.isprintable():
        return character
    if character == "\t":
        return TAB
    kind = unicodedata.category(character)
    return {"Zs": " ", "Cf": ""}.get(kind, "\N{REPLACEMENT CHARACTER}")


def columns(text: str) -> int:
    """Return the number of columns of a printable text in a terminal."""
    return len(text) if text.isascii() else sum(map(_width, text))


def _width(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1


def pad(text: str, width: int) -> str:
    return text + " " * (width - columns(text))


def cut(text: str, most: int) -> str:
    """Return a printable text with at most C(most) columns, with an ellipsis if it was cut."""
    if columns(text) <= most:
        return text
    room, shown = most - 1, ""
    for character in text:
        room -= _width(character)
        if room < 0:
            break
        shown += character
    return (shown + "\N{HORIZONTAL ELLIPSIS}")[: max(most, 0)]
