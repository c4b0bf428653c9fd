# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SQL is split into statements, and their kinds are recognized."""

from __future__ import annotations

import re

import pytest
from ansible_collections.evenkeel.flask.plugins.module_utils._migrations import (
    sql as migrations_sql,
)
from ansible_collections.evenkeel.flask.plugins.module_utils._migrations import sql_changes as sql
from hypothesis import given
from hypothesis import strategies as st

DIALECTS = ("postgresql", "mysql", "sqlite")
# Constructs that hide a statement from a search for semicolons and keywords.
HIDES = [
    "-- DROP TABLE a;\n",
    "/* ; /* nested; */ DROP TABLE a; */",
    "SELECT 'it''s; DROP TABLE a';",
    "SELECT E'it\\'s; DROP TABLE a';",
    "SELECT $$; DROP TABLE a; $$;",
    "SELECT $b$; $$ DROP TABLE a; $b$;",
    "COMMENT ON TABLE \"a;b\" IS ';';",
    "SELECT U&'d\\0061t;';",
    "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC; DELETE FROM a; END;",
    "CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$ BEGIN DROP TABLE a; END $$;",
    "INSERT INTO a VALUES ('-- ', '/*');",
    ";;",
    " \n\t",
]


@given(st.lists(st.sampled_from(HIDES)), st.lists(st.sampled_from(HIDES)))
def test_a_statement_is_found_between_all_that_hides_others(before, after):
    text = "\n".join([*before, "ALTER TABLE b DROP COLUMN c;", *after])
    assert [(one.verb, one.table, one.column) for one in sql.changes(text)] == [
        (sql.DROP, "b", "c")
    ]


@given(st.text(), st.sampled_from(DIALECTS))
def test_no_text_is_too_odd(text, dialect):
    assert isinstance(sql.changes(text, dialect), list)


@given(
    st.lists(
        st.sampled_from(
            [
                *"();,.*'\"$[]:",
                *re.findall(r"\S+", "$$ ALTER TABLE a ADD COLUMN NOT NULL DROP DEFAULT CREATE INDEX ON TYPE"),
                *re.findall(r"\S+", "SET DO 1 SELECT UPDATE WITH AS"),
            ]
        )
    ),
    st.sampled_from(DIALECTS),
)  # fmt: skip
def test_no_words_of_sql_are_too_odd(words, dialect):
    text = " ".join(words)
    assert isinstance(sql.changes(text, dialect), list)
    for statement in migrations_sql.statements(text, dialect):
        assert isinstance(statement.text, str)


# By what begins it, each kind of statement that https://www.postgresql.org/docs/15/sql-commands.html
# has; MySQL's and SQLite's own follow. SILENT passes unasked.
SILENT = [
    "ABORT", "ALTER INDEX a SET (fillfactor = 90)", "ALTER SEQUENCE a OWNED BY b.c", "ALTER TYPE a ADD VALUE 'b'",
    "ANALYZE a", "BEGIN", "CHECKPOINT", "CLOSE a", "COMMENT ON TABLE a IS 'b'", "COMMIT", "COPY a TO STDOUT",
    "CREATE AGGREGATE a (int) (sfunc = f, stype = int)", "CREATE COLLATION a FROM b", "CREATE DATABASE a",
    "CREATE DOMAIN a AS int", "CREATE EXTENSION a", "CREATE FOREIGN TABLE a (b int) SERVER c", "CREATE FUNCTION a() RETURNS int AS 'b' LANGUAGE sql",
    "CREATE INDEX CONCURRENTLY a ON b (c)", "CREATE MATERIALIZED VIEW a AS SELECT 1", "CREATE ROLE a", "CREATE SCHEMA a",
    "CREATE SEQUENCE a", "CREATE TABLE a (b int NOT NULL UNIQUE)", "CREATE TABLE a AS SELECT 1", "CREATE TYPE a AS ENUM ('b')",
    "CREATE VIEW a AS SELECT 1", "DEALLOCATE a", "DECLARE a CURSOR FOR SELECT 1", "DISCARD ALL", "END", "EXPLAIN SELECT 1",
    "FETCH a", "GRANT SELECT ON a TO b", "INSERT INTO a VALUES (1)", "LISTEN a", "LOCK TABLE a IN ACCESS SHARE MODE", "MOVE a",
    "NOTIFY a", "PREPARE a AS SELECT 1", "REFRESH MATERIALIZED VIEW CONCURRENTLY a", "REINDEX TABLE CONCURRENTLY a",
    "RELEASE SAVEPOINT a", "RESET a", "ROLLBACK", "SAVEPOINT a", "SELECT count(*) FROM a WHERE b IN (SELECT max(c) FROM d)",
    "SELECT setval('a', (SELECT max(b) FROM a))", "SET a = b", "SHOW a", "START TRANSACTION", "UNLISTEN a", "VACUUM a",
    "VALUES (1)", "WITH a AS (SELECT 1) INSERT INTO b SELECT * FROM a", "ALTER TABLE a DROP CONSTRAINT b, VALIDATE CONSTRAINT c",
    "ALTER TABLE a ALTER b DROP NOT NULL, ALTER b SET DEFAULT 1", "DROP INDEX a", "DROP INDEX CONCURRENTLY a",
]  # fmt: skip
UNKNOWN = [
    "ALTER DATABASE a SET b = c", "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO a", "ALTER ROLE a NOLOGIN", "ALTER SYSTEM SET a = b",
    "ALTER TABLE a ATTACH PARTITION b DEFAULT", "ALTER TABLE a DISABLE TRIGGER ALL", "ALTER TABLE a INHERIT b", "CALL a()",
    "CREATE OR REPLACE FUNCTION a() RETURNS int AS 'b' LANGUAGE sql", "CREATE OR REPLACE VIEW a AS SELECT 1", "CREATE POLICY a ON b",
    "CREATE RULE a AS ON INSERT TO b DO NOTHING",
    "CREATE TRIGGER a BEFORE INSERT ON b EXECUTE FUNCTION c()", "CREATE EVENT TRIGGER a ON b EXECUTE FUNCTION c()",
    "CREATE TABLE a PARTITION OF b DEFAULT", "DO $$ BEGIN PERFORM 1; END $$", "DROP TRIGGER a ON b",
    "DROP POLICY a ON b", "EXECUTE a", "EXPLAIN ANALYZE DELETE FROM a",
    "IMPORT FOREIGN SCHEMA a FROM SERVER b INTO c", "LOAD 'a'", "REASSIGN OWNED BY a TO b", "SECURITY LABEL ON TABLE a IS 'b'",
    "SELECT pg_terminate_backend(1)", "SELECT 'it does not end", "ALTER TABLE a FROBNICATE", "nonsense", "ALTER TABLE a",
]  # fmt: skip
NARROW = {
    "ALTER DOMAIN a ADD CHECK (VALUE > 0)": sql.CHECK,
    "ALTER TABLE a ADD CONSTRAINT b CHECK (c > 0)": sql.CHECK,
    "ALTER TABLE a ADD CONSTRAINT b EXCLUDE USING gist (c WITH &&)": sql.UNIQUE,
    "ALTER TABLE a ADD PRIMARY KEY (b)": sql.UNIQUE,
    "ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES c": sql.FOREIGN_KEY,
    "ALTER TABLE IF EXISTS ONLY a * ALTER COLUMN b SET NOT NULL": sql.SET_NOT_NULL,
    "ALTER TABLE a ALTER b DROP IDENTITY": sql.DROP_DEFAULT,
    "ALTER TABLE a ALTER b SET DEFAULT NULL": sql.DROP_DEFAULT,
    "ALTER TABLE a ALTER b SET DATA TYPE int": sql.TYPE,
    "ALTER TABLE a DETACH PARTITION b": sql.DROP,
    "ALTER TABLE a FORCE ROW LEVEL SECURITY": sql.ACCESS,
    "ALTER TABLE a RENAME TO b": sql.RENAME,
    "ALTER TABLE a RENAME b TO c": sql.RENAME,
    "ALTER TABLE a SET SCHEMA b": sql.RENAME,
    "ALTER TABLE a SET TABLESPACE b": sql.BLOCKING,
    "ALTER TYPE a RENAME VALUE 'b' TO 'c'": sql.RENAME,
    "ALTER VIEW a RENAME TO b": sql.RENAME,
    "CLUSTER a USING b": sql.BLOCKING,
    "CREATE INDEX ON a (b)": sql.INDEX,
    "CREATE UNIQUE INDEX CONCURRENTLY a ON b (c)": sql.UNIQUE,
    "DELETE FROM a": sql.DROP,
    "DELETE FROM a WHERE b": sql.DATA,
    "DROP FUNCTION a(int)": sql.DROP,
    "DROP MATERIALIZED VIEW a": sql.DROP,
    "DROP OWNED BY a": sql.DROP,
    "DROP SCHEMA a CASCADE": sql.DROP,
    "LOCK a": sql.BLOCKING,
    "MERGE INTO a USING b ON c WHEN MATCHED THEN DELETE": sql.DATA,
    "REFRESH MATERIALIZED VIEW a": sql.BLOCKING,
    "REINDEX (VERBOSE) TABLE a": sql.BLOCKING,
    "REVOKE ALL ON a FROM b": sql.ACCESS,
    "TRUNCATE a": sql.DROP,
    "UPDATE a SET b = 1": sql.DATA,
    "VACUUM (FULL) a": sql.BLOCKING,
    "WITH a AS (DELETE FROM b WHERE c RETURNING d) SELECT * FROM a": sql.DATA,
    "DO 'BEGIN DROP TABLE a; END'": sql.DROP,
}


@pytest.mark.parametrize("text", SILENT)
def test_only_what_widens_passes_unasked(text):
    verbs = {one.verb for one in sql.changes(text)}
    assert verbs <= {sql.CREATE_TABLE, sql.DROP_CONSTRAINT, sql.DROP_INDEX, sql.DROP_NOT_NULL, sql.SET_DEFAULT, sql.INDEX}  # fmt: skip
    assert all(one.safe for one in sql.changes(text) if one.verb == sql.INDEX)


@pytest.mark.parametrize("text", UNKNOWN)
def test_what_is_not_understood_says_so(text):
    assert sql.UNKNOWN in {one.verb for one in sql.changes(text)}


@pytest.mark.parametrize("text", NARROW)
def test_what_narrows_or_blocks_is_found(text):
    assert NARROW[text] in {one.verb for one in sql.changes(text)}


@pytest.mark.parametrize(
    ("dialect", "text", "verbs"),
    [
        ("mysql", "ALTER TABLE `a` MODIFY b int NOT NULL", [sql.TYPE, sql.SET_NOT_NULL]),
        ("mysql", "ALTER TABLE a CHANGE b c int", [sql.RENAME, sql.TYPE]),
        ("mysql", "ALTER TABLE a ADD UNIQUE KEY k (b), DROP FOREIGN KEY f", [sql.UNIQUE]),
        ("mysql", "RENAME TABLE a TO b, c TO d", [sql.RENAME, sql.RENAME]),
        ("mysql", "# DROP TABLE a;\nDROP TABLE b /* x */", [sql.DROP]),
        ("mysql", "/*!40101 DROP TABLE a */", [sql.DROP]),
        ("mysql", "INSERT INTO a VALUES ('it\\'s; DROP TABLE b')", []),
        ("mysql", "ALTER TABLE a CONVERT TO CHARACTER SET utf8mb4", [sql.BLOCKING]),
        ("sqlite", "ALTER TABLE [a b] DROP COLUMN c", [sql.DROP]),
        ("sqlite", "CREATE TRIGGER t AFTER INSERT ON a BEGIN DELETE FROM b; END; DROP TABLE c", [sql.UNKNOWN, sql.DROP]),
        ("sqlite", "PRAGMA foreign_keys = ON", []),
    ],
)  # fmt: skip
def test_other_dialects_are_understood(dialect, text, verbs):
    assert [one.verb for one in sql.changes(text, dialect)] == verbs


@pytest.mark.parametrize(
    ("old", "new", "outcome"),
    [
        ("character varying(20)", "character varying(30)", (False, False)),
        ("character varying(20)", "character varying(10)", (True, True)),
        ("character varying(20)", "text", (False, False)),
        ("text", "character varying(20)", (True, True)),
        ("numeric(10,2)", "numeric(12,2)", (False, False)),
        ("numeric(10,2)", "numeric(12,3)", (True, True)),
        ("integer", "bigint", (True, False)),
        ("bigint", "integer", (True, True)),
        ("integer", "integer", (False, False)),
        ("", "text", (True, True)),
        ("timestamp without time zone", "timestamp with time zone", (True, True)),
    ],
)
def test_a_type_is_wider_or_it_is_not(old, new, outcome):
    assert sql.widens(old, new) == outcome
