# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Translate SQL statements into schema changes. Pure.

Invariant: a statement yields no change only if it is known to be harmless to a release that uses
the same database. A statement that is not understood yields a change with the verb UNKNOWN.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from . import sql
from .sql import Statement, Token, words

ACCESS = "access"
ADD_COLUMN = "add column"
BLOCKING = "blocking"
CHECK = "check"
CREATE_TABLE = "create table"
DATA = "data"
DROP = "drop"
DROP_CONSTRAINT = "drop constraint"
DROP_DEFAULT = "drop default"
DROP_INDEX = "drop index"
DROP_NOT_NULL = "drop not null"
FOREIGN_KEY = "foreign key"
INDEX = "index"
RENAME = "rename"
SET_DEFAULT = "set default"
SET_NOT_NULL = "set not null"
TYPE = "type"
UNIQUE = "unique"
UNKNOWN = "unknown"

# A name that is known only when the script runs.
CHOSEN = "(chosen by the script)"
# The placeholder in a statement for a value that only the running script knows.
PLACEHOLDER = "evenkeel_chosen"
MAX_TEXT = 80

# Functions that PostgreSQL declares immutable or stable, so that a default needs no rewrite.
STABLE = words(
    "array coalesce concat current_date current_timestamp date date_trunc extract greatest interval "
    "json_build_array json_build_object jsonb_build_array jsonb_build_object least length localtimestamp "
    "lower make_date make_interval md5 now nullif replace round row statement_timestamp substring "
    "timestamp timezone to_char to_date to_json to_jsonb to_timestamp transaction_timestamp trim upper"
)
# Functions that a SELECT can call without a change beyond a sequence or a setting.
HARMLESS = STABLE | words(
    "abs age array_agg array_length array_to_string avg bool_and bool_or btrim cast ceil char char_length "
    "clock_timestamp conflict count crypt currval decimal decode dense_rank digest encode exists first_value "
    "floor format gen_random_uuid gen_salt generate_series in initcap json_agg jsonb_agg "
    "jsonb_array_elements jsonb_each jsonb_set lag lastval last_value lead left lpad ltrim max min nextval "
    "numeric over pg_get_serial_sequence pg_advisory_lock pg_advisory_unlock pg_advisory_xact_lock "
    "pg_try_advisory_lock position quote_ident quote_literal random rank regexp_matches regexp_replace "
    "repeat right row_number rpad rtrim set_config setval sha256 split_part string_agg string_to_array sum "
    "to_number to_regclass trunc unnest uuid_generate_v4 values varchar"
)
# The first words of statements that change neither schema nor data.
NEUTRAL = words(
    "ANALYZE ABORT BEGIN CHECKPOINT CLOSE COMMENT COMMIT DEALLOCATE DESCRIBE DISCARD END EXPLAIN "
    "FETCH GRANT LISTEN MOVE NOTIFY PRAGMA PREPARE RELEASE RESET ROLLBACK SAVEPOINT SET SHOW START "
    "TABLE UNLISTEN UNLOCK USE"
)
# The first words of all statements that this file distinguishes.
VERBS = NEUTRAL | words(
    "ALTER ATTACH CALL CLUSTER COPY CREATE DECLARE DELETE DETACH DO DROP EXECUTE GRANT IMPORT INSERT LOAD LOCK "
    "MERGE OPTIMIZE REASSIGN REFRESH REINDEX RENAME REPLACE REVOKE SECURITY SELECT TRUNCATE UPDATE VACUUM "
    "VALUES WITH"
)
# The words of a routine's body that can begin a statement.
INNER_VERBS = words(
    "ALTER CLUSTER CREATE DELETE DROP LOCK MERGE REINDEX RENAME REVOKE TRUNCATE UPDATE VACUUM"
)
COLUMN_ENDS = words(
    "AFTER AS AUTOINCREMENT AUTO_INCREMENT CHECK COLLATE COMMENT COMPRESSION CONSTRAINT DEFAULT "
    "DEFERRABLE FIRST GENERATED INITIALLY NOT NULL ON PRIMARY REFERENCES STORAGE UNIQUE USING"
)
SERIALS = {"serial", "serial4", "bigserial", "serial8", "smallserial", "serial2"}
# Objects that a statement creates, and that no release uses yet. A publication does not belong to
# them: an UPDATE of a published table fails if its rows have no identity.
NEW_OBJECTS = words(
    "ACCESS AGGREGATE CAST COLLATION CONVERSION DATABASE DOMAIN EXTENSION FOREIGN FUNCTION GROUP "
    "LANGUAGE MATERIALIZED OPERATOR PROCEDURE ROLE SCHEMA SEQUENCE SERVER STATISTICS "
    "SUBSCRIPTION TEXT TYPE USER VIEW VIRTUAL"
)
# Actions of ALTER TABLE that take a short lock and change nothing that a release can notice.
QUIET_ACTIONS = (
    ("VALIDATE", "CONSTRAINT"),
    ("ALTER", "CONSTRAINT"),
    ("CLUSTER", "ON"),
    ("SET", "WITHOUT", "CLUSTER"),
    ("REPLICA", "IDENTITY", "FULL"),
    ("RESET",),
)
# The same in MySQL. In other databases a column can have such a name.
MYSQL_QUIET_ACTIONS = (
    ("RENAME", "INDEX"),
    ("RENAME", "KEY"),
    ("AUTO_INCREMENT",),
    ("COMMENT",),
    ("ALGORITHM",),
    ("LOCK",),
    ("ALTER", "INDEX"),
)
REWRITES = (
    ("SET", "TABLESPACE"),
    ("SET", "LOGGED"),
    ("SET", "UNLOGGED"),
    ("SET", "ACCESS"),
    ("ENGINE",),
    ("CONVERT", "TO"),
    ("FORCE",),
    ("ORDER", "BY"),
)
TYPE_NAMES = {
    "varchar": "character varying",
    "nvarchar": "character varying",
    "character varying": "character varying",
    "char": "character",
    "bpchar": "character",
    "int": "integer",
    "int4": "integer",
    "int8": "bigint",
    "int2": "smallint",
    "serial": "integer",
    "bigserial": "bigint",
    "smallserial": "smallint",
    "decimal": "numeric",
    "float4": "real",
    "float8": "double precision",
    "float": "double precision",
    "bool": "boolean",
    "timestamptz": "timestamp with time zone",
    "timetz": "time with time zone",
    "timestamp": "timestamp without time zone",
    "time": "time without time zone",
    "varbit": "bit varying",
}
WIDER = {
    ("smallint", "integer"),
    ("smallint", "bigint"),
    ("integer", "bigint"),
    ("real", "double precision"),
}
SIZED = re.compile(r"([a-z ]+?) ?(?:\(([\d, ]+)\))?((?: with| without) time zone)?")


# Words before a parenthesis that opens a query or an expression instead of a call.
OPENS_QUERY = {
    "ALL", "AND", "ANY", "AS", "BY", "CASE", "ELSE", "EXCEPT", "FILTER", "FROM", "HAVING", "INTERSECT",
    "INTO", "JOIN", "LATERAL", "LIMIT", "MATERIALIZED", "NOT", "ON", "OR", "RETURNING", "SELECT", "SET",
    "THEN", "UNION", "USING", "VALUES", "WHEN", "WHERE", "WITH",
}  # fmt: skip


@dataclass(frozen=True)
class Change:
    """One change of a schema, or of its data.

    C(name) is that of a constraint or an index, and for a renamed column the new one. C(default) of a
    column is empty, constant, volatile or generated. C(safe) means no rewrite for a type, CONCURRENTLY
    for an index, and NOT VALID or USING INDEX for a constraint.
    """

    verb: str
    table: str = ""
    column: str = ""
    what: str = ""
    columns: tuple[str, ...] = ()
    not_null: bool = False
    default: str = ""
    name: str = ""
    kind: str = ""
    old_type: str = ""
    new_type: str = ""
    safe: bool = False
    inline: bool = False
    using_index: bool = False
    line: int = 0
    below: tuple[Change, ...] = field(default=(), repr=False)


def changes(text: str, dialect: str = "postgresql") -> list[Change]:
    """Return the changes of the statements in C(text), in their order."""
    found: list[Change] = []
    for statement in sql.statements(text, dialect):
        line = statement.tokens[0].line
        steps = _of(statement, dialect)
        is_whole = all(
            PLACEHOLDER not in token.text for token in statement.tokens if token.kind != sql.STRING
        )
        if not is_whole and not any(step.verb == UNKNOWN for step in steps):
            steps = [*steps, unknown(statement.text.replace(PLACEHOLDER, "..."))]
        found += [replace(step, line=line) for step in steps]
    return found


def unknown(what: str) -> Change:
    what = " ".join(what.replace(PLACEHOLDER, "...").split())
    short = what if len(what) <= MAX_TEXT else f"{what[: MAX_TEXT - 3]}..."
    return Change(UNKNOWN, what=short)


def _of(statement: Statement, dialect: str) -> list[Change]:
    if any(token.kind == sql.BROKEN for token in statement.tokens):
        return [unknown(f"{statement.text} does not end")]
    first = statement.tokens[0].word
    if first not in VERBS:
        # Output of a script between two statements must not hide a statement.
        for place, token in enumerate(statement.tokens):
            if place and token.leads and token.word in VERBS:
                noise, rest = statement.tokens[:place], statement.tokens[place:]
                return [unknown(sql.spell(noise)), *_of(Statement(rest), dialect)]
        return [unknown(statement.text)]
    if first in NEUTRAL:
        return _neutral(statement)
    reader = Reader(statement.tokens, dialect)
    reader.take()
    try:
        return READERS.get(first, _not_understood)(reader, statement)
    except IndexError:
        return [unknown(statement.text)]


def _neutral(statement: Statement) -> list[Change]:
    words = [word for word in statement.words if word not in {"LOCAL", "SESSION"}]
    # EXPLAIN ANALYZE executes its statement.
    if words[0] == "EXPLAIN" and {"ANALYZE", "ANALYSE"} & set(words):
        return [unknown(statement.text)]
    # After these a name can mean another table, or a wait for a lock is unlimited.
    is_endless = re.fullmatch(r"0+[a-z]*", statement.tokens[-1].text)
    if words[:2] == ["SET", "SEARCH_PATH"] or (words[:2] == ["SET", "LOCK_TIMEOUT"] and is_endless):
        return [unknown(statement.text)]
    return []


def _not_understood(_reader: Reader, statement: Statement) -> list[Change]:
    return [unknown(statement.text)]


class Reader:
    """A position in the tokens of a statement."""

    def __init__(self, tokens: Sequence[Token], dialect: str) -> None:
        self.tokens = tokens
        self.dialect = dialect
        self.at = 0

    @property
    def is_done(self) -> bool:
        return self.at >= len(self.tokens)

    @property
    def word(self) -> str:
        return "" if self.is_done else self.tokens[self.at].word

    def take(self) -> Token:
        """Read the next token.

        @raises IndexError: at the end of the statement
        """
        token = self.tokens[self.at]
        self.at += 1
        return token

    def sees(self, *words: str) -> bool:
        return tuple(token.word for token in self.tokens[self.at : self.at + len(words)]) == words

    def accept(self, *words: str) -> bool:
        """Read these words if they come next."""
        if not self.sees(*words):
            return False
        self.at += len(words)
        return True

    def accept_any(self, *words: str) -> str:
        word = self.word
        return self.take().word if word and word in words else ""

    def skip_if_exists(self) -> bool:
        return self.accept("IF", "NOT", "EXISTS") or self.accept("IF", "EXISTS")

    def sees_sign(self, text: str) -> bool:
        return not self.is_done and self.tokens[self.at].is_sign(text)

    def part(self) -> str:
        """Read an identifier in the form that the server stores."""
        token = self.take()
        if PLACEHOLDER in token.text:
            return CHOSEN
        if token.kind == sql.WORD:
            return token.text.lower()
        if token.kind == sql.NAME:
            return token.text.lower() if self.dialect != "postgresql" else token.text
        if token.kind == sql.SIGN and sql.PARAMETER.fullmatch(token.text):
            return CHOSEN
        if token.kind == sql.STRING and self.dialect == "mysql":
            return token.text
        raise IndexError(token.text)

    def name(self) -> str:
        """Read a name that can have a schema."""
        parts = [self.part()]
        while self.sees_sign("."):
            self.take()
            parts.append(self.part())
        return CHOSEN if CHOSEN in parts else plain(".".join(parts))

    def group(self) -> list[Token]:
        """Read the content of parentheses."""
        if not self.sees_sign("("):
            return []
        start, depth = self.at + 1, 0
        while True:
            token = self.take()
            depth += token.is_sign("(") - token.is_sign(")")
            if depth == 0:
                return list(self.tokens[start : self.at - 1])

    def rest(self) -> list[Token]:
        tokens = list(self.tokens[self.at :])
        self.at = len(self.tokens)
        return tokens

    def has(self, *words: str) -> bool:
        """Return whether the words are anywhere in the rest."""
        rest = [token.word for token in self.tokens[self.at :]]
        return any(tuple(rest[place : place + len(words)]) == words for place in range(len(rest)))


def plain(name: str) -> str:
    """Remove the schema that is searched by default."""
    return name[len("public.") :] if name.startswith("public.") else name


def split(tokens: Iterable[Token]) -> list[list[Token]]:
    """Split at the commas outside of parentheses and brackets."""
    parts: list[list[Token]] = [[]]
    depth = 0
    for token in tokens:
        if token.kind == sql.SIGN:
            depth += (token.text in "([") - (token.text in ")]")
        if token.is_sign(",") and depth == 0:
            parts.append([])
        else:
            parts[-1].append(token)
    return [part for part in parts if part]


def identifiers(tokens: Sequence[Token], dialect: str) -> tuple[str, ...]:
    """Return the names in a list of columns or in an expression."""
    found = []
    for token in tokens:
        if token.kind in (sql.WORD, sql.NAME):
            lower = token.kind == sql.WORD or dialect != "postgresql"
            found.append(token.text.lower() if lower else token.text)
    return tuple(found)


# ALTER


def _alter(reader: Reader, statement: Statement) -> list[Change]:
    if reader.accept("TABLE") or reader.accept("FOREIGN", "TABLE"):
        return _alter_table(reader, statement)
    if reader.accept("INDEX"):
        # A rename, move or setting of an index. A release does not name indexes.
        return [] if not reader.has("TABLESPACE") else [unknown(statement.text)]
    kind = reader.word
    text = statement.text
    if kind == "TYPE":
        reader.take()
        name = reader.name()
        if reader.accept("ADD", "VALUE"):
            return []
        if reader.word == "RENAME" or reader.accept("SET", "SCHEMA"):
            return [Change(RENAME, what=f"type {name}")]
        if reader.accept("DROP"):
            return [Change(DROP, what=f"an attribute of type {name}")]
        return [unknown(text)]
    if kind == "DOMAIN":
        reader.take()
        name = reader.name()
        if reader.accept("ADD"):
            return [
                Change(
                    CHECK, what=f"a constraint on domain {name}", safe=reader.has("NOT", "VALID")
                )
            ]
        if reader.accept("SET", "NOT", "NULL"):
            return [Change(CHECK, what=f"NOT NULL on domain {name}")]
        if reader.word == "RENAME":
            return [Change(RENAME, what=f"domain {name}")]
        if reader.accept("DROP") and reader.word in {"CONSTRAINT", "NOT"}:
            return []
        if reader.accept("VALIDATE") or reader.accept("SET", "DEFAULT"):
            return []
        return [unknown(text)]
    if kind in {"VIEW", "MATERIALIZED", "SEQUENCE", "SCHEMA", "FUNCTION", "PROCEDURE", "EXTENSION"}:
        if reader.has("RENAME") or reader.has("SET", "SCHEMA"):
            return [Change(RENAME, what=text[len("ALTER ") :][:MAX_TEXT])]
        if kind == "SEQUENCE" and reader.has("OWNED", "BY"):
            return []
    return [unknown(text)]


def _alter_table(reader: Reader, statement: Statement) -> list[Change]:
    if reader.accept("ALL"):
        return [Change(BLOCKING, what=statement.text[:MAX_TEXT], table=CHOSEN)]
    reader.skip_if_exists()
    reader.accept("ONLY")
    table = reader.name()
    if reader.sees_sign("*"):
        reader.take()
    found: list[Change] = []
    actions = split(reader.rest())
    for action in actions:
        try:
            found += _action(Reader(action, reader.dialect), table)
        except IndexError:
            found.append(unknown(f"ALTER TABLE {table} {sql.spell(action)}"))
    return found if actions else [unknown(statement.text)]


def _action(reader: Reader, table: str) -> list[Change]:
    text = f"ALTER TABLE {table} {sql.spell(reader.tokens)}"
    is_mysql = reader.dialect == "mysql"
    quiet = (*QUIET_ACTIONS, *MYSQL_QUIET_ACTIONS) if is_mysql else QUIET_ACTIONS
    if any(reader.sees(*words) for words in quiet):
        return []
    if reader.has("ROW", "LEVEL", "SECURITY"):
        loosens = reader.word == "DISABLE" or reader.sees("NO", "FORCE")
        return [] if loosens else [Change(ACCESS, table, what=f"row level security on {table}")]
    if any(reader.sees(*words) for words in REWRITES):
        return [Change(BLOCKING, table, what=text[:MAX_TEXT])]
    if reader.accept("ADD"):
        return _add(reader, table)
    if reader.accept("DROP"):
        return _alter_drop(reader, table)
    if reader.accept("ALTER"):
        reader.accept("COLUMN")
        return _alter_column(reader, table)
    if reader.accept("MODIFY"):
        reader.accept("COLUMN")
        return _redefined(reader, table, reader.part())
    if reader.accept("CHANGE"):
        reader.accept("COLUMN")
        old = reader.part()
        new = reader.tokens[reader.at].text.lower()
        what = f"column {table}.{old}"
        renamed = [Change(RENAME, table, old, what=what, name=new)] if new != old else []
        return renamed + _redefined(reader, table, reader.part())
    if reader.accept("RENAME"):
        if reader.accept("CONSTRAINT"):
            old = reader.part()
            return [Change(DROP_CONSTRAINT, table, name=old, what=f"renames constraint {old}")]
        if reader.accept_any("TO", "AS"):
            return [Change(RENAME, table, what=f"table {table}")]
        reader.accept("COLUMN")
        column = reader.part()
        if reader.accept("TO"):
            what = f"column {table}.{column}"
            return [Change(RENAME, table, column, what=what, name=reader.part())]
        return [Change(RENAME, table, what=f"table {table}")]
    if reader.accept("SET", "SCHEMA"):
        return [Change(RENAME, table, what=f"table {table}")]
    if reader.accept("SET"):
        # For example SET (fillfactor = 70).
        return [] if reader.sees_sign("(") else [unknown(text)]
    if reader.accept("DETACH", "PARTITION"):
        return [Change(DROP, table, what=f"partition {reader.name()} of {table}")]
    if reader.accept("OWNER"):
        return [Change(ACCESS, table, what=f"the owner of {table}", safe=True)]
    return [unknown(text)]


def _add(reader: Reader, table: str) -> list[Change]:
    dialect = reader.dialect
    start = reader.at
    name = ""
    kinds = {"PRIMARY", "UNIQUE", "CHECK", "FOREIGN", "EXCLUDE"}
    if reader.accept("CONSTRAINT") and reader.word not in kinds:
        name = reader.part()
    if reader.word in {"PRIMARY", "UNIQUE", "CHECK", "FOREIGN", "EXCLUDE", "NOT"}:
        return [_constraint(reader, table, name)]
    reader.at = start
    if dialect == "mysql" and reader.accept_any("INDEX", "KEY", "FULLTEXT", "SPATIAL"):
        return [Change(INDEX, table, kind="online", safe=True)]
    if dialect == "mysql" and reader.accept("PARTITION"):
        return [unknown(f"ALTER TABLE {table} ADD PARTITION")]
    reader.accept("COLUMN")
    reader.skip_if_exists()
    if reader.sees_sign("("):
        return [
            change
            for part in split(reader.group())
            for change in _column(Reader(part, dialect), table)
        ]
    return _column(reader, table)


def _constraint(reader: Reader, table: str, name: str = "") -> Change:
    """Read a constraint of a table."""
    dialect = reader.dialect
    not_valid = reader.has("NOT", "VALID")
    kind = reader.take().word
    if kind == "NOT":
        # NOT NULL as a separate constraint, PostgreSQL 18.
        reader.accept("NULL")
        return Change(SET_NOT_NULL, table, reader.part(), safe=not_valid)
    if kind in {"PRIMARY", "UNIQUE"}:
        reader.accept_any("KEY", "INDEX")
        using = reader.has("USING", "INDEX")
        unique = _unique_kind(reader)
        while not reader.is_done and not reader.sees_sign("("):
            reader.take()
        return Change(
            UNIQUE,
            table,
            columns=identifiers(reader.group(), dialect),
            kind="PRIMARY KEY" if kind == "PRIMARY" else unique,
            using_index=using,
            name=name,
        )
    if kind == "EXCLUDE":
        return Change(UNIQUE, table, kind="EXCLUDE", name=name)
    if kind == "CHECK":
        return Change(
            CHECK,
            table,
            columns=identifiers(reader.group(), dialect),
            what=f"CHECK on {table}",
            safe=not_valid,
            name=name,
        )
    reader.accept("KEY")
    while not reader.is_done and not reader.sees_sign("("):
        reader.take()
    columns = identifiers(reader.group(), dialect)
    target = reader.name() if reader.accept("REFERENCES") else ""
    return Change(FOREIGN_KEY, table, columns=columns, kind=target, safe=not_valid, name=name)


def _unique_kind(reader: Reader) -> str:
    """Return whether NULL is a duplicate of NULL, as text for people."""
    return "UNIQUE NULLS NOT DISTINCT" if reader.has("NULLS", "NOT", "DISTINCT") else "UNIQUE"


def _until(reader: Reader, ends: frozenset[str]) -> list[Token]:
    """Read up to one of the words, outside of parentheses."""
    start, depth = reader.at, 0
    while not reader.is_done:
        token = reader.tokens[reader.at]
        if depth == 0 and token.word in ends and reader.at > start:
            break
        depth += token.is_sign("(") - token.is_sign(")")
        reader.at += 1
    return list(reader.tokens[start : reader.at])


def _column(reader: Reader, table: str) -> list[Change]:
    """Read the definition of a new column."""
    name = reader.part()
    # A column needs no type in SQLite.
    type_tokens = [] if reader.word in COLUMN_ENDS else _until(reader, COLUMN_ENDS)
    new_type = type_name(sql.spell(type_tokens))
    serial = sql.spell(type_tokens).lower().partition(" ")[0] in SERIALS
    column = Change(
        ADD_COLUMN, table, name, new_type=new_type, default="generated" if serial else ""
    )
    below: list[Change] = []
    while not reader.is_done:
        if reader.accept("CONSTRAINT"):
            reader.part()
        elif reader.accept("NOT", "NULL"):
            column = replace(column, not_null=True)
        elif reader.accept("DEFAULT"):
            default = _until(reader, COLUMN_ENDS - {"AS", "COLLATE"})
            column = replace(column, default=volatility(default))
        elif reader.accept("GENERATED") or reader.sees("AS"):
            column = replace(column, default="constant" if reader.has("VIRTUAL") else "generated")
            reader.rest()
        elif reader.accept_any("AUTO_INCREMENT", "AUTOINCREMENT"):
            column = replace(column, default="generated")
        elif reader.accept("PRIMARY", "KEY"):
            column = replace(column, not_null=True)
            below.append(Change(UNIQUE, table, columns=(name,), kind="PRIMARY KEY", inline=True))
        elif reader.accept("UNIQUE"):
            reader.accept("KEY")
            kind = _unique_kind(reader)
            below.append(Change(UNIQUE, table, columns=(name,), kind=kind, inline=True))
        elif reader.accept("CHECK"):
            columns = (name, *identifiers(reader.group(), reader.dialect))
            below.append(
                Change(CHECK, table, columns=columns, what=f"CHECK on {table}", inline=True)
            )
        elif reader.accept("REFERENCES"):
            below.append(
                Change(FOREIGN_KEY, table, columns=(name,), kind=reader.name(), inline=True)
            )
        else:
            reader.take()
    return [replace(column, below=tuple(below))]


def volatility(tokens: Sequence[Token]) -> str:
    """Return the kind of a default for existing rows: empty for NULL, constant or volatile."""
    if [token.word for token in tokens] == ["NULL"]:
        return ""
    for place, token in enumerate(tokens[:-1]):
        calls = tokens[place + 1].is_sign("(") and token.kind in (sql.WORD, sql.NAME)
        cast = place and tokens[place - 1].is_sign("::")
        if calls and not cast and not _is_one_of(STABLE, tokens, place):
            return "volatile"
    return "constant"


def _is_one_of(functions: frozenset[str], tokens: Sequence[Token], place: int) -> bool:
    """Return whether the function at C(place) is one of the server's own with these names."""
    in_schema = place > 1 and tokens[place - 1].is_sign(".")
    if in_schema and tokens[place - 2].text.lower() != "pg_catalog":
        return False
    return tokens[place].text.lower() in functions


def _redefined(reader: Reader, table: str, column: str) -> list[Change]:
    """Read MySQL's MODIFY and CHANGE, which repeat the whole definition of a column."""
    again = _column(Reader([Token(sql.NAME, column, 0), *reader.rest()], reader.dialect), table)[0]
    found = [Change(TYPE, table, column, new_type=again.new_type, kind="restated")]
    return found + (
        [Change(SET_NOT_NULL, table, column, kind="restated")] if again.not_null else []
    )


def _alter_drop(reader: Reader, table: str) -> list[Change]:
    if reader.accept("CONSTRAINT"):
        reader.skip_if_exists()
        return [Change(DROP_CONSTRAINT, table, name=reader.part())]
    if reader.accept("PRIMARY", "KEY"):
        return [Change(DROP_CONSTRAINT, table, kind="p")]
    if reader.accept("FOREIGN", "KEY"):
        return []
    if reader.dialect == "mysql" and reader.accept("CHECK"):
        return []
    if reader.dialect == "mysql" and reader.accept_any("INDEX", "KEY"):
        return [Change(DROP_INDEX, table, name=reader.part())]
    if reader.dialect == "mysql" and reader.accept("PARTITION"):
        return [Change(DROP, table, what=f"a partition of {table}")]
    reader.accept("COLUMN")
    reader.skip_if_exists()
    column = reader.part()
    return [Change(DROP, table, column, what=f"column {table}.{column}")]


def _alter_column(reader: Reader, table: str) -> list[Change]:
    column = reader.part()
    if reader.accept("SET", "NOT", "NULL"):
        return [Change(SET_NOT_NULL, table, column)]
    if reader.accept("DROP", "NOT", "NULL"):
        return [Change(DROP_NOT_NULL, table, column)]
    if reader.accept("SET", "DEFAULT"):
        default = volatility(reader.rest())
        return [Change(SET_DEFAULT if default else DROP_DEFAULT, table, column, default=default)]
    if reader.accept("DROP", "DEFAULT") or reader.accept("DROP", "IDENTITY"):
        return [Change(DROP_DEFAULT, table, column)]
    if reader.accept("SET", "DATA", "TYPE") or reader.accept("TYPE"):
        new = _until(reader, frozenset({"USING", "COLLATE"}))
        return [
            Change(
                TYPE,
                table,
                column,
                new_type=type_name(sql.spell(new)),
                kind="using" if not reader.is_done else "",
            )
        ]
    if reader.accept_any("SET") and (
        reader.accept_any("STATISTICS", "STORAGE", "COMPRESSION", "VISIBLE", "INVISIBLE")
        or reader.sees_sign("(")
    ):
        return []
    if reader.accept("RESET"):
        return []
    if reader.word == "EXPRESSION":
        return [Change(BLOCKING, table, column, what=f"the expression of {table}.{column}")]
    return [unknown(f"ALTER TABLE {table} ALTER COLUMN {sql.spell(reader.tokens)}")]


def type_name(text: str) -> str:
    """Write a type as PostgreSQL's format_type() does, as far as its names differ."""
    text = " ".join(text.lower().replace("pg_catalog.", "").split())
    found = SIZED.fullmatch(text)
    if not found:
        return text
    base, size, zone = found.groups()
    base = TYPE_NAMES.get(base.strip(), base.strip())
    if zone:
        base = base.partition(" ")[0]
    # Only bpchar has no limit.
    if base in {"character", "bit"} and not size and text != "bpchar":
        size = "1"
    size = f"({','.join(size.replace(' ', '').split(','))})" if size else ""
    if base.endswith(" time zone"):
        base, zone = base.split(" ", 1)[0], f" {base.split(' ', 1)[1]}"
    return f"{base}{size}{zone or ''}"


def widens(old: str, new: str) -> tuple[bool, bool]:
    """Return whether a change of type rewrites the table, and whether it can break a release."""
    if not old:
        return True, True
    if old == new:
        return False, False
    (old_base, old_size), (new_base, new_size) = _sized(old), _sized(new)
    texts = {"character varying", "text"}
    if old_base in texts and new_base in texts:
        if new_base == "text" or not new_size:
            return False, False
        wider = old_base != "text" and bool(old_size) and old_size[0] <= new_size[0]
        return (False, False) if wider else (True, True)
    if old_base == new_base:
        if not new_size and old_size:
            return False, False
        if old_base == "numeric" and old_size and len(old_size) == len(new_size):
            wider = old_size[0] <= new_size[0] and old_size[1:] == new_size[1:]
            return (False, False) if wider else (True, True)
        if old_base.startswith(("timestamp", "time ", "bit varying")) and old_size and new_size:
            return (False, False) if old_size[0] <= new_size[0] else (True, True)
        return True, True
    return True, (old, new) not in WIDER


def _sized(name: str) -> tuple[str, tuple[int, ...]]:
    found = re.search(r"\(([\d,]+)\)", name)
    if not found:
        return name, ()
    size = tuple(int(part) for part in found.group(1).split(",") if part)
    return name.replace(found.group(), ""), size


# CREATE


def _create(reader: Reader, statement: Statement) -> list[Change]:
    text = statement.text
    replaces = reader.accept("OR", "REPLACE")
    temporary = reader.accept_any("TEMPORARY", "TEMP", "GLOBAL", "LOCAL")
    reader.accept_any("TEMPORARY", "TEMP")
    reader.accept_any("UNLOGGED")
    if reader.accept("TABLE"):
        if reader.dialect == "mysql" and replaces:
            return [Change(DROP, what=text[:MAX_TEXT])]
        may_exist = reader.skip_if_exists()
        table = reader.name()
        if reader.accept("PARTITION", "OF"):
            return [unknown(text)]
        kind = "if not exists" if may_exist and not temporary else ""
        if not reader.sees("AS"):
            _until(reader, frozenset({"AS"}))
        query = _query(reader.rest()[1:], reader.dialect)
        return [Change(CREATE_TABLE, table, kind=kind), *query]
    unique = reader.accept_any("UNIQUE", "FULLTEXT", "SPATIAL")
    if reader.accept("INDEX"):
        return _create_index(reader, unique == "UNIQUE")
    kind = reader.word
    if kind in {"VIEW", "MATERIALIZED", "RECURSIVE"} and not replaces:
        return []
    if kind in {"FUNCTION", "PROCEDURE", "AGGREGATE"} or kind in NEW_OBJECTS:
        # The live release can use the replaced object.
        return [unknown(text)] if replaces else []
    return [unknown(text)]


def _create_index(reader: Reader, unique: bool) -> list[Change]:
    concurrently = reader.accept("CONCURRENTLY")
    reader.skip_if_exists()
    name = "" if reader.sees("ON") else reader.name()
    while not reader.is_done and not reader.accept("ON"):
        reader.take()
    reader.accept("ONLY")
    table = reader.name()
    if reader.accept("USING"):
        reader.take()
    columns = identifiers(reader.group(), reader.dialect)
    if unique:
        kind = _unique_kind(reader).replace("UNIQUE", "UNIQUE INDEX")
        return [Change(UNIQUE, table, name=name, columns=columns, kind=kind, safe=concurrently)]
    return [Change(INDEX, table, name=name, columns=columns, safe=concurrently)]


# The rest


def _drop(reader: Reader, statement: Statement) -> list[Change]:
    kind = reader.take().word
    if kind == "INDEX":
        reader.accept("CONCURRENTLY")
        reader.skip_if_exists()
        return [
            Change(DROP_INDEX, name=Reader(part, reader.dialect).name())
            for part in split(reader.rest())
        ]
    if kind in {"TRIGGER", "RULE", "POLICY", "CAST", "STATISTICS"}:
        return [unknown(statement.text)]
    temporary = kind == "TEMPORARY"
    if kind in {"MATERIALIZED", "FOREIGN", "TEMPORARY"}:
        kind = f"{kind} {reader.take().word}"
    reader.skip_if_exists()
    found = []
    for part in split(reader.rest()):
        name = Reader(part, reader.dialect).name()
        table = name if kind in {"TABLE", "FOREIGN TABLE"} else ""
        found.append(Change(DROP, table, what=f"{kind.lower()} {name}"))
    return [] if temporary else found


def _rename(reader: Reader, statement: Statement) -> list[Change]:
    if reader.accept_any("TABLE", "TABLES"):
        return [
            Change(RENAME, name, what=f"table {name}")
            for part in split(reader.rest())
            for name in [Reader(part, reader.dialect).name()]
        ]
    return [Change(RENAME, what=statement.text[len("RENAME ") :][:MAX_TEXT])]


def _truncate(reader: Reader, _statement: Statement) -> list[Change]:
    reader.accept("TABLE")
    reader.accept("ONLY")
    tables = [Reader(part, reader.dialect).name() for part in split(reader.rest())]
    return [Change(DROP, table, what=f"all rows of {table}", kind="rows") for table in tables]


def _delete(reader: Reader, statement: Statement) -> list[Change]:
    reader.accept("FROM")
    reader.accept("ONLY")
    table = reader.name()
    if "WHERE" not in statement.words and "USING" not in statement.words:
        return [Change(DROP, table, what=f"all rows of {table}", kind="rows")]
    return [Change(DATA, table, what=f"DELETE FROM {table}")]


def _update(reader: Reader, statement: Statement) -> list[Change]:
    reader.accept("ONLY")
    table = reader.name()
    # Alembic's own record of the database's revision, by the old value.
    is_note = reader.accept("SET") and reader.part() == "version_num"
    if is_note and statement.words.count("VERSION_NUM") == 2:
        return []
    return [Change(DATA, table, what=f"UPDATE {table}")]


def _data(reader: Reader, statement: Statement) -> list[Change]:
    verb = statement.tokens[0].word
    if verb == "COPY" and reader.sees_sign("("):
        return _query(reader.group(), reader.dialect)
    if verb == "COPY" and reader.has("TO") and not reader.has("PROGRAM"):
        return []
    reader.accept("INTO")
    table = "" if reader.sees_sign("(") else reader.name()
    return [Change(DATA, table, what=f"{verb} {table}".strip())]


def _insert(reader: Reader, statement: Statement) -> list[Change]:
    """Read an INSERT, whose query can write or call functions that write."""
    reader.accept_any("IGNORE")
    reader.accept("INTO")
    table = reader.name()
    if reader.accept("AS"):
        reader.part()
    reader.group()
    query = _query(_until(reader, frozenset({"ON", "RETURNING"})), reader.dialect)
    if {"UPDATE", "REPLACE"} & {token.word for token in reader.rest()}:
        return [Change(DATA, table, what=statement.text[:MAX_TEXT]), *query]
    return query


def _query(tokens: Sequence[Token], dialect: str) -> list[Change]:
    """Read a query within a statement; the part of a JOIN after ON belongs to it."""
    return _of(Statement(tuple(tokens)), dialect) if tokens else []


def _names_query(tokens: Sequence[Token], place: int) -> bool:
    """Return whether the name at C(place) is that of a query of WITH, which has a list of columns."""
    follows = Reader(tokens[place + 1 :], "")
    try:
        follows.group()
    except IndexError:
        return False
    if not follows.accept("AS"):
        return False
    follows.accept("NOT")
    follows.accept("MATERIALIZED")
    return follows.sees_sign("(")


def _select(reader: Reader, statement: Statement) -> list[Change]:
    """Read a query, which can write or call functions that write."""
    found: list[Change] = []
    tokens = statement.tokens
    for place, token in enumerate(tokens[:-1]):
        following = tokens[place + 1]
        is_locking = place and tokens[place - 1].word == "FOR"
        if token.word in {"UPDATE", "DELETE"} and not is_locking:
            found += _of(Statement(tokens[place:]), reader.dialect)
        calls = following.is_sign("(") and token.kind in (sql.WORD, sql.NAME)
        opens = token.word in OPENS_QUERY
        # AS precedes a type in CAST, or the name of a query with a list of columns.
        is_named = place and tokens[place - 1].word == "AS"
        if not calls or opens or is_named or _is_one_of(HARMLESS, tokens, place):
            continue
        if not _names_query(tokens, place):
            found.append(unknown(f"{token.text}() in {statement.text}"))
    if "MERGE" in statement.words:
        found.append(Change(DATA, what=statement.text[:MAX_TEXT]))
    return found


def _do(reader: Reader, statement: Statement) -> list[Change]:
    """Return the known changes of an anonymous block, and one unknown change for the rest."""
    body = next(
        (token.text for token in statement.tokens if token.kind in (sql.BODY, sql.STRING)), ""
    )
    return [*inside(body, reader.dialect), unknown("a DO block")]


def inside(body: str, dialect: str) -> list[Change]:
    """Return the changes of the statements in the body of a routine, as far as they are understood."""
    found: list[Change] = []
    for part in sql.statements(body, dialect, nests=False):
        words = part.words
        first = next((place for place, word in enumerate(words) if word in INNER_VERBS), None)
        if first is not None:
            found += _of(Statement(part.tokens[first:]), dialect)
        if "EXECUTE" in words:
            for token in part.tokens:
                if token.kind in (sql.STRING, sql.BODY):
                    text = re.sub(r"%%?(\d+\$)?[-\d]*[sIL]", PLACEHOLDER, token.text)
                    found += changes(text, dialect)
    return [change for change in found if change.verb != UNKNOWN]


def _blocking(reader: Reader, statement: Statement) -> list[Change]:
    """Read the statements of maintenance, and LOCK."""
    verb, words = statement.tokens[0].word, set(statement.words)
    text = statement.text[:MAX_TEXT]
    if verb == "VACUUM" and "FULL" not in words:
        return []
    if verb in {"REINDEX", "REFRESH"} and "CONCURRENTLY" in words:
        return []
    if verb == "LOCK":
        reader.accept_any("TABLE", "TABLES")
        harmless = reader.has("ACCESS", "SHARE") or reader.has("ROW", "SHARE")
        return [] if harmless else _each(reader, text)
    while not reader.is_done and (
        reader.word
        in {
            "FULL",
            "VERBOSE",
            "ANALYZE",
            "TABLE",
            "INDEX",
            "MATERIALIZED",
            "VIEW",
            "FREEZE",
            "LOCAL",
        }
        or reader.sees_sign("(")
    ):
        if reader.sees_sign("("):
            reader.group()
        else:
            reader.take()
    return [Change(BLOCKING, CHOSEN, what=text)] if reader.is_done else _each(reader, text)


def _each(reader: Reader, text: str) -> list[Change]:
    """Return a blocking change for each table in a list."""
    found = []
    for part in split(reader.rest()):
        one = Reader(part, reader.dialect)
        one.accept("ONLY")
        found.append(Change(BLOCKING, one.name(), what=text))
    return found


def _revoke(_reader: Reader, statement: Statement) -> list[Change]:
    return [Change(ACCESS, what=statement.text[:MAX_TEXT])]


READERS: Mapping[str, Callable[[Reader, Statement], list[Change]]] = {
    "ALTER": _alter,
    "CLUSTER": _blocking,
    "COPY": _data,
    "CREATE": _create,
    "DECLARE": _select,
    "DELETE": _delete,
    "DO": _do,
    "DROP": _drop,
    "INSERT": _insert,
    "LOCK": _blocking,
    "MERGE": _data,
    "OPTIMIZE": _blocking,
    "REFRESH": _blocking,
    "REINDEX": _blocking,
    "RENAME": _rename,
    "REPLACE": _data,
    "REVOKE": _revoke,
    "SELECT": _select,
    "TRUNCATE": _truncate,
    "UPDATE": _update,
    "VACUUM": _blocking,
    "VALUES": _select,
    "WITH": _select,
}
