# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find the schema changes that break the live release, or that block its users. Pure.

A change can affect locks and the live release. Each effect has its own switch, so that allowing one
does not allow the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from . import sql_changes as sql
from .sql_changes import Change

# The remedy, by rule.
REMEDIES: Mapping[str, str] = {
    "access": "Release code that does without the right first",
    "blocking": "Run it by hand at a quiet hour, or in its CONCURRENTLY form",
    "check": "Add it with NOT VALID, and VALIDATE CONSTRAINT in a later migration",
    "column-not-null": "Add a server_default that stays, or add the column as nullable first",
    "column-volatile-default": "Add the column without the default, then set the default, and fill old rows in batches",
    "data": "Change the rows in batches, outside of the migration",
    "drop": "Release first what does without it, then this",
    "drop-default": "Keep the server default until no release that may serve needs it",
    "drop-unique": "Check that no ON CONFLICT of a release that may serve needs it",
    "foreign-key": "Add it with NOT VALID (postgresql_not_valid=True), and VALIDATE CONSTRAINT in a later migration",
    "index": "Use postgresql_concurrently=True in an autocommit_block()",
    "rename": "Add the new name beside the old one, and drop the old one in a later release",
    "set-not-null": "Release first code that always sets it, with CHECK (... IS NOT NULL) NOT VALID, and validate that",
    "type": "Add a column of the new type, write both, and drop the old one in a later release",
    "unique": "Release first code that writes no duplicates, then create the index CONCURRENTLY and add USING INDEX",
    "unknown": "Read the script before you go on",
    "validated": "Check that no release that may serve writes what it forbids",
}
RULES = tuple(REMEDIES)
REFUSE, WARN, IGNORE = "refuse", "warn", "ignore"
SWITCHES = {"breaks": "rollout_allow_destructive", "locks": "rollout_allow_blocking"}
# Words of an expression that are not columns.
EXPRESSION_WORDS = frozenset(
    [
        *(
            "all",
            "and",
            "any",
            "array",
            "between",
            "btrim",
            "cast",
            "char_length",
            "false",
            "ilike",
        ),
        *("in", "is", "length", "like", "lower", "not", "null", "numeric", "or", "text", "trim"),
        *("true", "upper", "varchar", "character", "varying", "integer"),
    ]
)


# Functions by which a CHECK rejects NULL, besides IS NOT NULL.
NULL_FUNCTIONS = frozenset(["coalesce", "num_nonnulls", "num_nulls", "nullif"])


@dataclass(frozen=True)
class Column:
    """A column as it is in the database."""

    type: str
    not_null: bool
    has_default: bool


@dataclass(frozen=True)
class Table:
    """A table as it is in the database; C(rows) is C(None) if it was not counted."""

    rows: int | None = None
    size: int | None = None
    columns: Mapping[str, Column] = field(default_factory=dict)
    # Kind by name, as pg_constraint.contype.
    constraints: Mapping[str, str] = field(default_factory=dict)
    # Whether it is unique, by name.
    indexes: Mapping[str, bool] = field(default_factory=dict)
    # Columns that a validated constraint keeps from being NULL.
    never_null: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Catalog:
    """The known part of the database; C(tables) has None for a table that does not exist."""

    tables: Mapping[str, Table | None] = field(default_factory=dict)
    dialect: str = "postgresql"

    def table(self, name: str) -> Table:
        return self.tables.get(name) or Table()

    def lacks(self, name: str) -> bool:
        return name in self.tables and self.tables[name] is None

    def unique_index(self, name: str) -> str:
        """Return the table of a unique index."""
        for table, known in self.tables.items():
            if known and known.indexes.get(name):
                return table
        return ""


@dataclass(frozen=True)
class Policy:
    """The team's settings for findings."""

    rules: Mapping[str, str] = field(default_factory=dict)
    allow_blocking: bool = False
    allow_destructive: bool = False
    small_rows: int = 10000


@dataclass(frozen=True)
class Finding:
    """One change with its effects as a clause each; an empty one means no effect."""

    revision: str
    rule: str
    table: str
    says: str
    locks: str = ""
    breaks: str = ""
    line: int = 0


@dataclass
class _Added:
    not_null: bool
    default: str
    revision: str
    line: int


def tables(changes: Iterable[Change]) -> list[str]:
    """Return the tables whose size and columns matter, sorted."""
    return sorted({change.table for change in changes if change.table not in ("", sql.CHOSEN)})


def indexes(changes: Iterable[Change]) -> list[str]:
    """Return the indexes whose table matters, sorted."""
    return sorted({change.name for change in changes if change.verb == sql.DROP_INDEX})


def evaluate(
    changes: Mapping[str, Sequence[Change]], catalog: Catalog, live: str = "the live release"
) -> list[Finding]:
    """Find the changes that can break or block in the migrations of a release.

    @param changes: by revision, in execution order
    @param live: the name, in messages, of the release that keeps serving
    """
    run = _Run(catalog, live)
    for revision, steps in changes.items():
        for change in steps:
            run.take(revision, change)
    return [*run.findings, *run.never_set()]


class _Run:
    """The state of the schema during the migrations."""

    def __init__(self, catalog: Catalog, live: str) -> None:
        self.catalog = catalog
        self.live = live
        self.new: set[str] = set()
        self.added: dict[tuple[str, str], _Added] = {}
        self.findings: list[Finding] = []
        self.revision = ""
        self.change = Change("")

    def take(self, revision: str, change: Change) -> None:
        self.revision, self.change = revision, change
        if change.verb == sql.CREATE_TABLE:
            if not change.kind or self.catalog.lacks(change.table):
                self.new.add(change.table)
            return
        # No user waits for a table that this run creates, and the live release does not know it.
        if change.table in self.new:
            return
        getattr(self, f"_{change.verb.replace(' ', '_')}")(change)

    def never_set(self) -> list[Finding]:
        """Return the new columns that end as NOT NULL without a default: the live release cannot insert."""
        return [
            Finding(
                one.revision,
                "column-not-null",
                table,
                f"new column {table}.{column}{{size}} is NOT NULL without a server default",
                breaks=f"{self.live} does not set it, so its inserts fail",
                line=one.line,
            )
            for (table, column), one in self.added.items()
            if one.not_null and not one.default
        ]

    def _find(self, rule: str, says: str, locks: str = "", breaks: str = "") -> None:
        self.findings.append(
            Finding(self.revision, rule, self.change.table, says, locks, breaks, self.change.line)
        )

    def _old(self, change: Change) -> _Added | None:
        """Return the column as this run has added it."""
        return self.added.get((change.table, change.column))

    def _are_new(self, table: str, columns: Sequence[str]) -> bool:
        """Return whether an expression uses only columns that the live release does not know."""
        known = self.catalog.table(table).columns
        new = {column for of, column in self.added if of == table}
        if known:
            used = {column for column in columns if column in known or column in new}
        else:
            used = set(columns) - EXPRESSION_WORDS
        return bool(used) and used <= new

    def _add_column(self, change: Change) -> None:
        table, column = change.table, change.column
        self.added[table, column] = _Added(
            change.not_null, change.default, self.revision, change.line
        )
        rewrites = change.default == "generated" or (
            change.default == "volatile" and self.catalog.dialect == "postgresql"
        )
        if rewrites:
            kind = "a generated value" if change.default == "generated" else "a volatile default"
            self._find(
                "column-volatile-default",
                f"new column {table}.{column}{{size}} with {kind}",
                "rewrites the table under ACCESS EXCLUSIVE",
            )
        for below in change.below:
            # PostgreSQL skips the check of a column that is NULL in all rows.
            if below.verb == sql.FOREIGN_KEY and below.inline and not change.default:
                continue
            self.take(self.revision, below)

    def _set_not_null(self, change: Change) -> None:
        table, column = change.table, change.column
        old, known = self._old(change), self.catalog.table(table)
        present = known.columns.get(column)
        if old:
            old.not_null, old.revision, old.line = True, self.revision, change.line
        if (present and present.not_null) or column in known.never_null:
            return
        if change.safe:
            self._find("validated", f"NOT NULL NOT VALID on {table}.{column}")
            return
        self._find(
            "set-not-null",
            f"NOT NULL on {table}.{column}{{size}}",
            "scans the table under ACCESS EXCLUSIVE"
            if self.catalog.dialect == "postgresql"
            else "",
            "" if old else f"inserts of {self.live} that do not set it fail",
        )

    def _drop_not_null(self, change: Change) -> None:
        old = self._old(change)
        if old:
            old.not_null = False

    def _set_default(self, change: Change) -> None:
        old = self._old(change)
        if old:
            old.default = change.default or "constant"

    def _drop_default(self, change: Change) -> None:
        old = self._old(change)
        if old:
            old.default, old.revision, old.line = "", self.revision, change.line
            return
        column = self.catalog.table(change.table).columns.get(change.column)
        if column and not column.has_default:
            return
        fails = not column or column.not_null
        self._find(
            "drop-default",
            f"the server default of {change.table}.{change.column}{{size}} goes",
            breaks=f"inserts of {self.live} that rely on it fail" if fails else "",
        )

    def _type(self, change: Change) -> None:
        table, column = change.table, change.column
        if self._old(change):
            return
        present = self.catalog.table(table).columns.get(column)
        old = (present.type if present else "") or change.old_type
        if change.kind == "restated" and not old:
            self._find(
                "unknown", f"{table}.{column} is declared again as {change.new_type or 'a type'}"
            )
            return
        rewrites, breaks = sql.widens(old, change.new_type)
        if change.kind == "using":
            rewrites = breaks = True
        if rewrites or breaks:
            self._find(
                "type",
                f"the type of {table}.{column}{{size}} from {old or 'one that is not known'} to "
                f"{change.new_type or 'another'}",
                "rewrites the table under ACCESS EXCLUSIVE" if rewrites else "",
                f"{self.live} may read or write what no longer fits" if breaks else "",
            )

    def _index(self, change: Change) -> None:
        if not change.safe and self.catalog.dialect != "mysql":
            self._find("index", f"CREATE INDEX on {change.table}{{size}}", "blocks writes")

    def _unique(self, change: Change) -> None:
        table, kind = change.table, change.kind
        columns = ", ".join(change.columns)
        says = f"{kind} on {table}({columns}){{size}}" if columns else f"{kind} on {table}{{size}}"
        if change.using_index:
            # Duplicates have been rejected since the creation of the index.
            if kind == "PRIMARY KEY":
                self._find("set-not-null", says, "scans the table, unless its columns are NOT NULL")
            return
        locks = "" if change.safe or self.catalog.dialect == "mysql" else "blocks writes"
        ours = [self.added.get((table, column)) for column in change.columns]
        if self._are_new(table, change.columns):
            # One value for all rows is a duplicate; NULL is one only if the index says so.
            same_values = {"constant", ""} if "NULLS NOT DISTINCT" in kind else {"constant"}
            same = all(one and one.default in same_values for one in ours)
            breaks = f"the second insert of {self.live} fails" if same else ""
        else:
            breaks = f"duplicates that {self.live} writes fail"
        if locks or breaks:
            self._find("unique", says, locks, breaks)

    def _check(self, change: Change) -> None:
        is_new = self._are_new(change.table, change.columns)
        says = f"{change.what}{{size}}"
        if is_new and _refuses_null(change.columns):
            for column in change.columns:
                added = self.added.get((change.table, column))
                if added:
                    added.not_null, added.revision, added.line = True, self.revision, change.line
        if change.safe:
            if not is_new:
                self._find("validated", f"{says}, NOT VALID")
            return
        self._find(
            "check",
            says,
            "scans the table under ACCESS EXCLUSIVE",
            "" if is_new else f"rows of {self.live} that violate it fail",
        )

    def _foreign_key(self, change: Change) -> None:
        table, columns = change.table, ", ".join(change.columns)
        says = f"FOREIGN KEY {table}({columns}){{size}} to {change.kind or 'another table'}"
        is_new = self._are_new(table, change.columns)
        if change.safe:
            if not is_new:
                self._find("validated", f"{says}, NOT VALID")
            return
        self._find(
            "foreign-key",
            says,
            "blocks writes to both tables while it checks all rows",
            "" if is_new else f"rows of {self.live} that violate it fail",
        )

    def _drop(self, change: Change) -> None:
        if (change.table, change.column) in self.added:
            del self.added[change.table, change.column]
            return
        self._find("drop", f"drops {change.what}", breaks=f"{self.live} may need it")

    def _rename(self, change: Change) -> None:
        added = self.added.pop((change.table, change.column), None)
        if added:
            self.added[change.table, change.name] = added
            return
        self._find("rename", f"renames {change.what}", breaks=f"{self.live} may need the old name")

    def _drop_constraint(self, change: Change) -> None:
        kind = self.catalog.table(change.table).constraints.get(change.name) or change.kind
        if kind in ("c", "f", "n"):
            return
        what = f"constraint {change.name}" if change.name else "the primary key"
        self._find("drop-unique", f"{change.what or f'drops {what}'} of {change.table}")

    def _drop_index(self, change: Change) -> None:
        table = self.catalog.unique_index(change.name)
        if table and table not in self.new:
            self._find("drop-unique", f"drops unique index {change.name} of {table}")

    def _data(self, change: Change) -> None:
        self._find("data", f"{change.what}{{size}} holds its rows until the migration commits")

    def _access(self, change: Change) -> None:
        breaks = "" if change.safe else f"{self.live} may need the right"
        self._find("access", change.what, breaks=breaks)

    def _blocking(self, change: Change) -> None:
        self._find("blocking", f"{change.what}{{size}}", "keeps others out while it runs")

    def _unknown(self, change: Change) -> None:
        self._find("unknown", f"not understood: {change.what}")


def _refuses_null(words: Sequence[str]) -> bool:
    """Return whether an expression with these words can be false if a column is NULL."""
    tests = zip(words, words[1:], words[2:])
    return ("is", "not", "null") in tests or bool(NULL_FUNCTIONS & set(words))


def is_small(finding: Finding, catalog: Catalog, policy: Policy) -> bool:
    rows = catalog.table(finding.table).rows
    if rows is None:
        # Sizes are read only from PostgreSQL; an assumption would refuse every migration elsewhere.
        return catalog.dialect != "postgresql"
    return rows <= policy.small_rows


def decide(
    findings: Iterable[Finding], catalog: Catalog, policy: Policy
) -> tuple[list[str], list[str]]:
    """Sort findings into refused ones and warnings, as lines for people."""
    refused: list[str] = []
    warned: list[str] = []
    for finding in findings:
        action = policy.rules.get(finding.rule)
        small = is_small(finding, catalog, policy)
        if action == IGNORE or (finding.rule == "data" and small and not action):
            continue
        effects = {"breaks": bool(finding.breaks), "locks": bool(finding.locks)}
        if action == REFUSE and not any(effects.values()):
            effects["breaks"] = True
        elif action != REFUSE:
            effects["locks"] = effects["locks"] and not small
        allowed = {"breaks": policy.allow_destructive, "locks": policy.allow_blocking}
        missing = [SWITCHES[name] for name in SWITCHES if effects[name] and not allowed[name]]
        line = describe(finding, catalog)
        if missing and action != WARN:
            advice = f"{REMEDIES[finding.rule]}, or set {' and '.join(missing)}."
            refused.append(f"{line} {advice}")
        else:
            warned.append(f"{line} {REMEDIES[finding.rule]}.")
    return refused, warned


def describe(finding: Finding, catalog: Catalog) -> str:
    """Describe a change, with its table and the table's size."""
    says = finding.says.replace("{size}", describe_size(catalog, finding.table))
    locks = f" {finding.locks}" if finding.locks else ""
    breaks = f", and {finding.breaks}" if finding.breaks else ""
    return f"{finding.revision}: {says}{locks}{breaks}."


def describe_size(catalog: Catalog, name: str) -> str:
    table = catalog.table(name)
    if table.rows is None:
        return " (size unknown)" if catalog.dialect == "postgresql" else ""
    size = f", {_bytes(table.size)}" if table.size is not None else ""
    return f" ({_count(table.rows)} row{'' if table.rows == 1 else 's'}{size})"


def _count(number: int) -> str:
    if number >= 10**6:
        return f"{number / 10**6:.3g} million"
    return f"{number:,}"


def _bytes(size: int) -> str:
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= factor:
            return f"{size / factor:.3g} {unit}"
    return f"{size} bytes"
