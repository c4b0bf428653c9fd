# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the Alembic scripts of a release would do to a database that an older release still works on.

Scripts are read and never imported. This file is private to the collection.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator, Mapping

from ansible_collections.evenkeel.flask.plugins.module_utils import _untrusted

# A script is written by hand.
MAX_SCRIPT_BYTES = 1 << 20
# https://alembic.sqlalchemy.org/en/latest/ops.html: what takes away, by its name alone.
TAKES_AWAY = {"drop_table", "drop_column", "rename_table"}
# What op.execute() is given is SQL; a comment or a string in it may mislead us, on the safe side.
SQL = re.compile(r"\b(?:drop\s+(?:table|column|schema|view|type)|rename|truncate)\b", re.IGNORECASE)


def scripts(*folders: str) -> dict[str, str]:
    """The Alembic scripts below C(folders), text by file name: those in C(versions) beside an C(env.py).

    A name stands for its script: Alembic puts the revision into it.

    @raises UntrustedError: for one that lies out of the folders, behind a link
    """
    found = {}
    for path in _script_paths(folders):
        text = _untrusted.read(path, MAX_SCRIPT_BYTES).decode("utf-8", "replace")
        found[os.path.basename(path)] = text
    return found


def _script_paths(folders: tuple[str, ...]) -> Iterator[str]:
    for folder in folders:
        for place, subfolders, files in os.walk(folder):
            if "env.py" in files and "versions" in subfolders:
                versions = _inside(os.path.join(place, "versions"), folder)
                # Alembic looks below C(versions) too, where recursive_version_locations is set.
                for below, _subfolders, names in os.walk(versions):
                    paths = (os.path.join(below, n) for n in names if n.endswith(".py"))
                    yield from (_inside(path, folder) for path in paths)


def _inside(path: str, folder: str) -> str:
    """Where a path of a release leads, which must be in the release: the app can change what is elsewhere."""
    real = os.path.realpath(path)
    if not real.startswith(os.path.realpath(folder) + os.sep):
        raise _untrusted.UntrustedError(
            f"{path} leads out of the release, to {real}, so it is not read; keep the migrations in the source, "
            "and out of flask_app_shared_paths."
        )
    return real


def new(known: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """The names of the scripts that only C(found) has, sorted."""
    return sorted(set(found) - set(known))


def destructive(name: str, text: str) -> list[str]:
    """What of a script takes away what an older release may need, as lines for people."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return [f"{name}: it cannot be read"]
    upgrades = [node for node in tree.body if not _is_downgrade(node)]
    calls = [node for part in upgrades for node in ast.walk(part) if isinstance(node, ast.Call)]
    said = [(call.lineno, what) for call in calls for what in [_taken_away(call)] if what]
    return [f"{name}, line {line}: {what}" for line, what in sorted(said)]


def _is_downgrade(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef) and node.name.startswith("downgrade")


def _taken_away(call: ast.Call) -> str | None:
    if not isinstance(call.func, ast.Attribute):
        return None
    verb = call.func.attr
    if verb in TAKES_AWAY:
        return " ".join([verb, *_literals(call)])
    renames = any(keyword.arg == "new_column_name" for keyword in call.keywords)
    if verb == "alter_column" and renames:
        return " ".join(["rename column", *_literals(call)])
    if verb == "execute":
        texts = (n.value for n in ast.walk(call) if isinstance(n, ast.Constant))
        match = next(filter(None, (SQL.search(t) for t in texts if isinstance(t, str))), None)
        return f"execute {match.group(0)!r}" if match else None
    return None


def _literals(call: ast.Call) -> list[str]:
    return [a.value for a in call.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
