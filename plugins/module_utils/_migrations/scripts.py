# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find the new Alembic scripts of a release, and their effects on the database.

A script runs offline, which makes Alembic print its SQL. If that is not possible, its source is read
instead. Reads files below the given folders. The function that is passed in runs commands.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from .._system import untrusted
from . import alembic, rules
from . import sql_changes as sql
from .alembic import Script
from .sql_changes import Change

# In bytes. Scripts are written by hand.
MAX_SCRIPT_BYTES = 1 << 20
# Each one loads the app, which takes a second or more.
MAX_OFFLINE_RUNS = 10
# Options of "flask db upgrade" and of "alembic upgrade" that have a value.
VALUED = {"-d", "--directory", "--tag", "-x", "--x-arg", "-c", "--config", "-n", "--name"}
STEP = re.compile(r"^-- Running upgrade (?:(.*?) )?-> (\S+)[^\n]*$", re.MULTILINE)
DIALECTS = {"mariadb": "mysql", "mysql": "mysql", "sqlite": "sqlite"}

# Status and output of a command.
Run = Callable[[Sequence[str]], "tuple[int, str]"]


@dataclass
class Reading:
    """The effects of the migrations of a release, by the labels of their scripts."""

    changes: dict[str, Sequence[Change]] = field(default_factory=dict)
    # The labels of the scripts that have printed their SQL.
    printed: list[str] = field(default_factory=list)
    # Why a script was read as source, by its label.
    partly: dict[str, str] = field(default_factory=dict)


def scripts(*folders: str) -> dict[str, str]:
    """Return the Alembic scripts in C(versions) next to an C(env.py) below C(folders), text by file name.

    The name identifies a script, because Alembic puts the revision into it.

    @raises UntrustedError: for one outside of the folders, behind a link
    """
    found = {}
    for path in _script_paths(folders):
        text = untrusted.read(path, MAX_SCRIPT_BYTES).decode("utf-8", "replace")
        found[os.path.basename(path)] = text
    return found


def _script_paths(folders: tuple[str, ...]) -> Iterator[str]:
    for folder in folders:
        for place, subfolders, files in os.walk(folder):
            if "env.py" in files and "versions" in subfolders:
                versions = _inside(os.path.join(place, "versions"), folder)
                # Alembic also looks below C(versions), if recursive_version_locations is set.
                for below, _subfolders, names in os.walk(versions):
                    yield from (
                        _inside(os.path.join(below, name), folder)
                        for name in names
                        if name.endswith(".py") and name != "__init__.py"
                    )


def _inside(path: str, folder: str) -> str:
    """Resolve a path of a release. It must stay in the release: the app can change other files."""
    real = os.path.realpath(path)
    if not real.startswith(os.path.realpath(folder) + os.sep):
        raise untrusted.UntrustedError(
            f"{path} leads out of the release, to {real}, so it is not read; keep the migrations in the source, "
            "and out of flask_app_shared_paths."
        )
    return real


def new(known: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """Return the names of the scripts that only C(found) has, sorted."""
    return sorted(set(found) - set(known))


def dialect(url: str) -> str:
    """Return the SQL dialect of a SQLAlchemy URL; PostgreSQL if it is not known."""
    return DIALECTS.get(url.partition(":")[0].partition("+")[0], "postgresql")


def pending(
    known: Mapping[str, str], found: Mapping[str, Script], heads: Sequence[str] = ()
) -> list[Script]:
    """Return the scripts that a migration would run, in their order.

    @param known: the scripts of the live release, by name
    @param heads: the revisions of the database, if known
    """
    by_revision = {script.revision: script for script in found.values() if script.revision}
    if heads and set(heads) <= set(by_revision):
        done: set[str] = set()
        todo = list(heads)
        while todo:
            revision = todo.pop()
            if revision in by_revision and revision not in done:
                done.add(revision)
                todo += [*by_revision[revision].parents, *by_revision[revision].depends]
        chosen = [script for script in found.values() if script.revision not in done]
    else:
        chosen = [script for name, script in found.items() if name not in known]
    return _in_order(chosen)


def _in_order(chosen: Iterable[Script]) -> list[Script]:
    """Sort parents before children, and otherwise by name."""
    waiting = sorted(chosen, key=lambda script: script.name)
    ordered: list[Script] = []
    while waiting:
        names = {script.revision for script in waiting}
        ready = [s for s in waiting if not names & {*s.parents, *s.depends} - {s.revision}]
        # A cycle is an error of Alembic itself, which stops the migration.
        ordered += ready or waiting
        waiting = [script for script in waiting if script not in ordered]
    return ordered


def offline_command(words: Sequence[str], span: str) -> list[str] | None:
    """Return the command with which an upgrade prints its SQL; None for a command of another program.

    @param span: the first and the last revision, as C(0001:0002)
    """
    if "upgrade" not in words or "--sql" in words:
        return None
    place = list(words).index("upgrade") + 1
    options: list[str] = []
    rest = iter(words[place:])
    for word in rest:
        if word in VALUED:
            options += [word, next(rest, "")]
        elif word.startswith("-"):
            options.append(word)
    return [*words[:place], *options, "--sql", span]


def read_offline(text: str, dialect: str = "postgresql") -> dict[str, list[Change]]:
    """Parse the SQL that Alembic prints, by revision."""
    steps = list(STEP.finditer(text))
    ends = [step.start() for step in steps[1:]] + [len(text)]
    return {
        step.group(2): sql.changes(text[step.end() : end], dialect)
        for step, end in zip(steps, ends)
    }


def read(
    todo: Sequence[Script], command: Sequence[str], run: Run | None, dialect: str = "postgresql"
) -> Reading:
    """Find the changes of scripts: by the SQL that they print if they can, else by their source.

    @param run: runs a command in the release, without permission to change anything
    """
    reading = Reading()
    printed: dict[str, list[Change]] = {}
    why: dict[str, str] = {}
    # For other databases, statements that alter a column repeat all of its definition.
    if run and dialect == "postgresql":
        printed, why = _printed(todo, command, run)
    for script in todo:
        found: Sequence[Change] | None = printed.get(script.revision)
        if found is not None:
            reading.printed.append(script.label)
        if found is None:
            found = script.changes
            if any(change.verb == sql.UNKNOWN for change in found) and script.revision in why:
                reading.partly[script.label] = why[script.revision]
        elif script.is_online_only:
            seen = {(change.verb, change.table, change.column) for change in found}
            found = [
                *found,
                *(c for c in script.changes if (c.verb, c.table, c.column) not in seen),
            ]
        reading.changes[script.label] = found
    return reading


def _printed(
    todo: Sequence[Script], command: Sequence[str], run: Run
) -> tuple[dict[str, list[Change]], dict[str, str]]:
    """Return the changes of the scripts that print SQL, and the reasons of the others, by revision."""
    if not todo or offline_command(command, "") is None:
        return {}, {}
    is_chain = all(one.revision and len(one.parents) <= 1 for one in todo) and all(
        later.parents == (earlier.revision,) for earlier, later in zip(todo, todo[1:])
    )
    if is_chain:
        status, output = run(_offline(command, todo[0], todo[-1]))
        found = read_offline(output) if status == 0 else {}
        if {script.revision for script in todo} <= set(found):
            return found, {}
    found, why = {}, {}
    for script in todo[:MAX_OFFLINE_RUNS]:
        if len(script.parents) > 1 or not script.revision:
            continue
        status, output = run(_offline(command, script, script))
        if status == 0 and script.revision in (read := read_offline(output)):
            found[script.revision] = read[script.revision]
        else:
            lines = [line.strip() for line in output.splitlines() if line.strip()]
            why[script.revision] = lines[-1] if lines and status else "it printed no SQL"
    return found, why


def _offline(command: Sequence[str], first: Script, last: Script) -> list[str]:
    start = first.parents[0] if first.parents else "base"
    return offline_command(command, f"{start}:{last.revision}") or []


def destructive(name: str, text: str) -> list[str]:
    """Return the changes of a script that break an older release, from its source only, as lines."""
    script = alembic.read(name, text)
    catalog = rules.Catalog()
    found = rules.evaluate({script.label: script.changes}, catalog)
    return [rules.describe(one, catalog) for one in found if one.breaks]
