# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Query a PostgreSQL for tables, locks and indexes. Reads only.

Catalogs: https://www.postgresql.org/docs/current/catalogs.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .._errors import PreflightError, PreflightWarning
from .._services import postgres
from . import sql
from .rules import Catalog, Column, Table

# A query must not wait for the same lock as the migration. LOCAL, because a pooler reuses the
# connection for others.
BEGIN = "BEGIN READ ONLY; SET LOCAL statement_timeout = '5s'; SET LOCAL lock_timeout = '1s'"
NOT_NULL = re.compile(r'CHECK \(\(?"?(\w+)"? IS NOT NULL\)?\)')
# A script can change the search path, so names outside of it are found also.
RELATION = """
coalesce(to_regclass({name})::oid, (
  SELECT oid FROM pg_class WHERE relname = {last} AND relkind IN ({kinds})
  ORDER BY relpages DESC, oid LIMIT 1))
"""
TABLE = """
SELECT json_build_object(
  'rows', (SELECT coalesce(sum(greatest(m.reltuples, 0)), 0)::bigint FROM pg_class m WHERE m.oid = c.oid
           OR m.oid IN (SELECT relid FROM pg_partition_tree(c.oid))),
  'size', pg_total_relation_size(c.oid)
          + (SELECT coalesce(sum(pg_total_relation_size(relid)), 0) FROM pg_partition_tree(c.oid) WHERE relid <> c.oid),
  'name', c.oid::regclass::text,
  'columns', (SELECT json_agg(json_build_array(
       attname, format_type(atttypid, atttypmod), attnotnull, atthasdef OR attidentity <> ''))
     FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped),
  'constraints', (SELECT json_agg(json_build_array(conname, contype, convalidated, pg_get_constraintdef(oid)))
     FROM pg_constraint WHERE conrelid = c.oid),
  'indexes', (SELECT json_agg(json_build_array(i.relname, indisunique))
     FROM pg_index JOIN pg_class i ON i.oid = indexrelid WHERE indrelid = c.oid))
FROM pg_class c WHERE c.oid = {relation}
"""
OWNER = "SELECT indrelid::regclass::text FROM pg_index WHERE indexrelid = {relation}"
INVALID = """
SELECT coalesce(json_agg(json_build_array(indexrelid::regclass::text, indrelid::regclass::text)), '[]')
FROM pg_index WHERE NOT indisvalid AND indislive
"""
HOLDERS = """
SELECT coalesce(json_agg(json_build_array(pid, state, since) ORDER BY since DESC), '[]') FROM (
  SELECT DISTINCT l.pid, coalesce(a.state, 'its state is not shown to this user') AS state,
    extract(epoch FROM clock_timestamp() - a.xact_start)::int AS since
  FROM pg_locks l LEFT JOIN pg_stat_activity a USING (pid)
  WHERE l.granted AND l.relation = {relation} AND l.pid <> pg_backend_pid()) held
"""
VERSIONS = "SELECT coalesce(json_agg(version_num), '[]') FROM alembic_version"


@dataclass(frozen=True)
class Index:
    """An index that PostgreSQL does not use, because its creation was interrupted."""

    name: str
    table: str

    @property
    def remedy(self) -> str:
        return f"DROP INDEX CONCURRENTLY {self.name};"


def relation(table: str, kinds: str = "rpf") -> str:
    """Return SQL for the oid of a table, by its name in a statement.

    @param kinds: values of pg_class.relkind
    """
    parts = table.split(".")
    quoted = ".".join('"' + part.replace('"', '""') + '"' for part in parts)
    return RELATION.format(
        name=sql.literal(quoted),
        last=sql.literal(parts[-1]),
        kinds=", ".join(map(sql.literal, kinds)),
    )


def _asked(connection: postgres.Connection, query: str) -> Any:
    """Return the JSON result of a query, or None without a row."""
    row = connection.row(query)
    return json.loads(row[0]) if row and row[0] else None


def read(
    url: str, timeout: float, tables: Iterable[str], indexes: Iterable[str], small_rows: int
) -> Catalog:
    """Read the properties of tables, and of the tables of indexes.

    @param small_rows: up to how many rows are counted exactly, because statistics can be old
    @raises PreflightError: if the database does not respond
    @raises PreflightWarning: if it cannot be queried from here
    """
    names, owned = list(tables), list(indexes)

    def query(connection: postgres.Connection) -> Catalog:
        connection.row(BEGIN)
        found = {name: _table(connection, name, small_rows) for name in names}
        for name in owned:
            table = connection.row(OWNER.format(relation=relation(name, "i")))
            if table and table[0] not in found:
                found[table[0]] = _table(connection, table[0], small_rows)
        connection.row("COMMIT")
        return Catalog(found)

    return postgres.session(url, timeout, query)


def _table(connection: postgres.Connection, name: str, small_rows: int) -> Table | None:
    connection.row("SAVEPOINT asking")
    try:
        found = _asked(connection, TABLE.format(relation=relation(name)))
    except postgres.Refused:
        # Another session has locked it. A table without a size does not count as small.
        connection.settle()
        connection.row("ROLLBACK TO asking")
        return Table()
    if found is None:
        return None
    rows = int(found["rows"])
    if rows <= small_rows:
        rows = max(rows, _counted(connection, found["name"], small_rows))
    constraints = found["constraints"] or []
    never_null = {
        match.group(1)
        for _name, kind, valid, text in constraints
        for match in [NOT_NULL.fullmatch(text)]
        if match and kind == "c" and valid
    }
    return Table(
        rows=rows,
        size=int(found["size"]),
        columns={column: Column(*rest) for column, *rest in found["columns"] or []},
        constraints={constraint: kind for constraint, kind, _valid, _text in constraints},
        indexes=dict(found["indexes"] or []),
        never_null=frozenset(never_null),
    )


def _counted(connection: postgres.Connection, name: str, small_rows: int) -> int:
    """Return the number of rows, or C(small_rows) + 1 if there are more."""
    connection.row("SAVEPOINT counting")
    try:
        row = connection.row(
            f"SELECT count(*) FROM (SELECT 1 FROM {name} LIMIT {small_rows + 1}) some_rows"
        )
    except postgres.Refused:
        # No permission, or locked. A table that cannot be counted does not count as small.
        connection.settle()
        connection.row("ROLLBACK TO counting")
        return small_rows + 1
    return int(row[0])


def heads(url: str, timeout: float) -> list[str]:
    """Return the database's revisions; [] without Alembic's table or a connection."""

    def query(connection: postgres.Connection) -> list[str]:
        return [str(one) for one in _asked(connection, VERSIONS) or []]

    try:
        return postgres.session(url, timeout, query)
    except (PreflightError, PreflightWarning):
        return []


def invalid_indexes(url: str, timeout: float) -> list[Index]:
    """Return the indexes that a CREATE INDEX CONCURRENTLY left invalid; [] without a connection."""

    def query(connection: postgres.Connection) -> list[Index]:
        return [Index(name, table) for name, table in _asked(connection, INVALID) or []]

    try:
        return postgres.session(url, timeout, query)
    except (PreflightError, PreflightWarning):
        return []


def holders(url: str, timeout: float, table: str) -> list[str]:
    """Return the holders of locks on a table, the oldest transaction first; [] without a connection."""

    def query(connection: postgres.Connection) -> list[str]:
        return [
            f"pid {pid} holds it ({state}{f', for {since} s' if since is not None else ''})"
            for pid, state, since in _asked(connection, HOLDERS.format(relation=relation(table)))
            or []
        ]

    try:
        return postgres.session(url, timeout, query)
    except (PreflightError, PreflightWarning):
        return []
