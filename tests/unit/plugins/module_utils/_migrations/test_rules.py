# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of migrations, against what a real PostgreSQL does to a release that goes on serving."""

from __future__ import annotations

import io

import pytest
from ansible_collections.evenkeel.flask.plugins.module_utils._migrations import (
    alembic as migrations_alembic,
)
from ansible_collections.evenkeel.flask.plugins.module_utils._migrations import pg_catalog
from ansible_collections.evenkeel.flask.plugins.module_utils._migrations import (
    rules as migration_rules,
)
from ansible_collections.evenkeel.flask.plugins.module_utils._migrations import sql_changes as sql
from ansible_collections.evenkeel.flask.plugins.module_utils._migrations.rules import (
    Catalog,
    Column,
    Finding,
    Policy,
    Table,
)
from ansible_collections.evenkeel.flask.tests.unit.plugins import postgresql

# ansible-test has its own environment, without these.
psycopg = pytest.importorskip("psycopg")
sa = pytest.importorskip("sqlalchemy")
alembic = pytest.importorskip("alembic")
pytest.importorskip("alembic.operations")
pytest.importorskip("alembic.runtime.migration")

SCHEMA = """
CREATE TYPE state AS ENUM ('new', 'paid');
CREATE TABLE users (id serial PRIMARY KEY, email text);
CREATE TABLE orders (
    id serial PRIMARY KEY, user_id int, name varchar(20), code varchar(20) UNIQUE, note text, qty int,
    small smallint, price numeric(10, 2), at timestamp, flag boolean NOT NULL DEFAULT true, state state,
    never int CONSTRAINT never_null CHECK (never IS NOT NULL), CONSTRAINT qty_positive CHECK (qty >= 0));
CREATE INDEX orders_note ON orders (note);
CREATE UNIQUE INDEX orders_pair ON orders (name, user_id, id);
CREATE INDEX orders_qty ON orders (qty);
CREATE VIEW cheap AS SELECT id FROM orders;
INSERT INTO users (email) SELECT 'a' || g FROM generate_series(1, 20) g;
INSERT INTO orders (user_id, name, code, note, qty, small, price, at, never)
    SELECT g, 'x' || g, 'c' || g, 'n' || g, g, g, g, now(), g FROM generate_series(1, 20) g;
"""
# Statements of the live release. The last insert names few columns, the first one has NULL.
LIVE = """
INSERT INTO orders (user_id, name, code, note, qty, small, price, at, state, never)
    VALUES (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1);
INSERT INTO orders (user_id, name, code, note, qty, small, price, at, state, never)
    VALUES (77, repeat('x', 20), 'k1', repeat('y', 500), 2000000000, 30000, 99999999.99, now(), 'new', 1);
INSERT INTO orders (user_id, name, note, never) VALUES (77, 'twice', '', 1), (77, 'twice', '', 1);
INSERT INTO orders (code, never) VALUES ('k1', 2) ON CONFLICT (code) DO UPDATE SET qty = 1;
INSERT INTO orders (never) VALUES (1);
UPDATE orders SET qty = 0, note = NULL, user_id = 99 WHERE id = 1;
SELECT id, user_id, name, code, note, qty, small, price, at, flag, state, never FROM orders WHERE qty = 1;
SELECT id FROM cheap;
DELETE FROM orders WHERE user_id = 77;
"""
FLAG = "sa.Column('vat', sa.Integer(), {})"
BREAKS, LOCKS, BOTH, NEITHER = "breaks", "locks", "both", "neither"

# Each operation of Alembic, and SQL of all kinds, with what it does to whom.
CASES = {
    # widens
    "pass": {},
    "op.add_column('orders', sa.Column('vat', sa.Integer()))": {},
    "op.add_column('orders', sa.Column('vat', sa.Integer(), server_default='19', nullable=False))": {},
    "op.add_column('orders', sa.Column('a', sa.DateTime(), server_default=sa.func.now(), nullable=False))": {},
    "op.add_column('orders', sa.Column('a', sa.DateTime(), server_default=sa.text('now()')))": {},
    "op.create_table('new', sa.Column('id', sa.Integer(), primary_key=True), sa.Column('u', sa.Integer(), "
    "nullable=False), sa.Column('v', sa.Integer(), sa.ForeignKey('users.id')))\n"
    "    op.create_index('ix', 'new', ['u'], unique=True)\n"
    "    op.alter_column('new', 'u', type_=sa.String(), postgresql_using='u::text')\n"
    "    op.drop_column('new', 'u')": {},
    "op.create_table('new', sa.Column('id', sa.Integer()))\n    op.bulk_insert(sa.table('new', sa.column('id', sa.Integer)), [{'id': 1}])": {},
    "op.alter_column('orders', 'flag', nullable=True)": {},
    "op.alter_column('orders', 'note', server_default='x')": {},
    "op.alter_column('orders', 'name', type_=sa.String(200), existing_type=sa.String(20))": {},
    "op.alter_column('orders', 'name', type_=sa.Text(), existing_type=sa.String(20))": {},
    "op.alter_column('orders', 'price', type_=sa.Numeric(12, 2), existing_type=sa.Numeric(10, 2))": {},
    "op.alter_column('orders', 'never', nullable=False)": {},
    "op.drop_constraint('qty_positive', 'orders', type_='check')": {},
    "op.drop_index('orders_qty', 'orders')": {},
    "op.create_index('ix', 'orders', ['name'], postgresql_concurrently=True)": {},
    "op.create_table_comment('orders', 'all of them')": {},
    "op.execute('COMMENT ON TABLE orders IS $$all$$')": {},
    "op.execute(\"ALTER TYPE state ADD VALUE 'sent'\")": {},
    "op.execute('CREATE TABLE IF NOT EXISTS fresh (id int); CREATE UNIQUE INDEX ON fresh (id)')": {},
    "op.execute('ALTER TABLE orders VALIDATE CONSTRAINT never_null')": {},
    "op.execute('ALTER TABLE orders ALTER note SET STATISTICS 100, SET (fillfactor = 90)')": {},
    "op.execute('CREATE VIEW dear AS SELECT id FROM orders')": {},
    "op.execute('ALTER TABLE orders ADD COLUMN u int REFERENCES users (id)')": {},
    # breaks, and may lock
    "op.add_column('orders', sa.Column('vat', sa.Integer(), server_default='19'))\n    op.alter_column('orders', 'vat', nullable=False, server_default=None)": {
        "column-not-null": BREAKS,
        "set-not-null": LOCKS,
    },
    "op.execute('ALTER TABLE orders ADD vat int'); op.execute('UPDATE orders SET vat = 1'); op.execute('ALTER TABLE orders ALTER vat SET NOT NULL')": {
        "column-not-null": BREAKS,
        "set-not-null": LOCKS,
        "data": NEITHER,
    },
    "op.execute('UPDATE orders SET qty = 1 WHERE qty IS NULL'); op.alter_column('orders', 'qty', nullable=False)": {
        "data": NEITHER,
        "set-not-null": BOTH,
    },
    "op.execute('alter table public.orders alter column \"note\" set not null')": {"set-not-null": BOTH},
    "op.execute('do $$ begin execute format($f$alter table %I alter column qty set not null$f$, $q$orders$q$); end $$')": {
        "set-not-null": BOTH,
        "unknown": NEITHER,
    },
    "op.alter_column('orders', 'flag', server_default=None)": {"drop-default": BREAKS},
    "op.alter_column('orders', 'name', type_=sa.String(5), existing_type=sa.String(20), postgresql_using='left(name, 5)')": {
        "type": BOTH
    },
    "op.alter_column('orders', 'qty', type_=sa.SmallInteger(), existing_type=sa.Integer())": {"type": BOTH},
    "op.alter_column('orders', 'price', type_=sa.Numeric(4, 2), existing_type=sa.Numeric(10, 2))": {"type": BOTH},
    "op.create_unique_constraint('one', 'orders', ['user_id'])": {"unique": BOTH},
    "op.create_index('one', 'orders', ['user_id'], unique=True)": {"unique": BOTH},
    "op.create_index('one', 'orders', ['user_id'], unique=True, postgresql_concurrently=True)": {"unique": BREAKS},
    "op.create_check_constraint('c', 'orders', 'qty < 1000')": {"check": BOTH},
    "op.create_foreign_key('f', 'orders', 'users', ['user_id'], ['id'])": {"foreign-key": BOTH},
    "op.create_exclude_constraint('e', 'orders', ('user_id', '='), using='btree')": {"unique": BOTH},
    "op.drop_column('orders', 'note')": {"drop": BREAKS},
    "op.execute('DROP VIEW cheap'); op.drop_table('orders')": {"drop": BREAKS},
    "op.rename_table('orders', 'order_lines')": {"rename": BREAKS},
    "op.alter_column('orders', 'note', new_column_name='remark')": {"rename": BREAKS},
    "op.execute('DROP VIEW cheap')": {"drop": BREAKS},
    "op.execute('ALTER TABLE orders SET SCHEMA pg_temp')": None,
    "op.execute('ALTER TABLE orders ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY')": {"access": BREAKS},
    "op.add_column('orders', sa.Column('vat', sa.Integer(), server_default='7', unique=True))": None,
    "op.add_column('orders', sa.Column('v', sa.Integer(), server_default='1', nullable=False))\n"
    "    op.alter_column('orders', 'v', new_column_name='vat', server_default=None)": {
        "column-not-null": BREAKS
    },
    "op.execute('ALTER TABLE orders ADD v int DEFAULT 1; ALTER TABLE orders ALTER v SET NOT NULL; "
    "ALTER TABLE orders RENAME v TO vat; ALTER TABLE orders ALTER vat DROP DEFAULT')": {
        "column-not-null": BREAKS,
        "set-not-null": LOCKS,
    },
    "op.add_column('orders', sa.Column('vat', sa.Integer()))\n    op.execute('ALTER TABLE orders ADD CHECK (vat IS NOT NULL) NOT VALID')": {
        "column-not-null": BREAKS
    },
    "op.execute('ALTER TABLE orders ADD a int, ADD b int, ADD CHECK (num_nonnulls(a, b) = 1) NOT VALID')": {
        "column-not-null": BREAKS
    },
    "op.execute('ALTER TABLE orders ADD v int DEFAULT 1 CHECK (v IS NOT NULL)'); op.execute('ALTER TABLE orders ALTER v DROP DEFAULT')": {
        "column-not-null": BREAKS,
        "check": LOCKS,
    },
    "op.add_column('orders', sa.Column('vat', sa.Integer()))\n"
    "    op.execute('CREATE UNIQUE INDEX CONCURRENTLY one ON orders (vat) NULLS NOT DISTINCT WHERE id > 20')": {
        "unique": BREAKS
    },
    "op.add_column('orders', sa.Column('vat', sa.Integer()))\n"
    "    op.create_index('one', 'orders', ['vat'], unique=True, "
    "postgresql_where=sa.text('id > 20'), postgresql_nulls_not_distinct=True)": {
        "unique": BOTH
    },
    "op.execute('CREATE PUBLICATION p FOR TABLE orders')": {"unknown": NEITHER},
    # locks only
    "op.create_index('ix', 'orders', ['name'])": {"index": LOCKS},
    "op.add_column('orders', sa.Column('token', sa.Text(), server_default=sa.text('gen_random_uuid()::text'), nullable=False))": {
        "column-volatile-default": LOCKS
    },
    "op.execute('ALTER TABLE orders ADD n serial')": {"column-volatile-default": LOCKS},
    "op.add_column('orders', sa.Column('n', sa.Integer(), sa.Identity()))": {"column-volatile-default": LOCKS},
    "op.add_column('orders', sa.Column('n', sa.Integer(), sa.Computed('qty / 2', persisted=True)))": {"column-volatile-default": LOCKS},
    "op.alter_column('orders', 'small', type_=sa.Integer(), existing_type=sa.SmallInteger())": {"type": LOCKS},
    "op.add_column('orders', sa.Column('u', sa.Integer(), sa.ForeignKey('users.id')))": {"foreign-key": LOCKS},
    "op.execute('REINDEX TABLE orders')": {"blocking": LOCKS},
    "op.execute('VACUUM FULL orders')": {"blocking": LOCKS},
    # only reported
    "op.execute('ALTER TABLE orders ADD CONSTRAINT c CHECK (qty < 5) NOT VALID')": {"validated": NEITHER},
    "op.create_foreign_key('f', 'orders', 'users', ['user_id'], ['id'], postgresql_not_valid=True)": {"validated": NEITHER},
    "op.drop_constraint('orders_code_key', 'orders', type_='unique')": {"drop-unique": NEITHER},
    "op.drop_index('orders_pair')": {"drop-unique": NEITHER},
    "op.alter_column('orders', 'note', server_default=None)": {},
    "op.execute('SELECT pg_notify($$a$$, $$b$$)')": {"unknown": NEITHER},
}  # fmt: skip
CASES = {body: rules for body, rules in CASES.items() if rules is not None}


@pytest.fixture(scope="module", name="server")
def _server():
    with postgresql.serving() as server:
        yield server


def script(body: str) -> str:
    return f"revision = '2'\ndown_revision = '1'\ndef upgrade():\n    {body}\n"


def printed(body: str) -> str:
    """The SQL that Alembic prints for it in offline mode."""
    buffer = io.StringIO()
    context = alembic.runtime.migration.MigrationContext.configure(
        dialect_name="postgresql", opts={"as_sql": True, "output_buffer": buffer, "literal_binds": True}
    )  # fmt: skip
    names = {"op": alembic.operations.Operations(context), "sa": sa}
    exec(script(body) + "upgrade()", names)
    # It is written for a driver that takes a single one for a parameter.
    return buffer.getvalue().replace("%%", "%")


def effects(findings: list[Finding]) -> dict[str, str]:
    kinds = {(True, True): BOTH, (True, False): BREAKS, (False, True): LOCKS}
    return {one.rule: kinds.get((bool(one.breaks), bool(one.locks)), NEITHER) for one in findings}


def fails(server: postgresql.RealPostgres, statements: str) -> list[str]:
    """Return the statements that fail, each on its own, in a transaction that is rolled back."""
    failed = []
    with server.connect() as connection, connection.transaction(force_rollback=True):
        for statement in filter(str.strip, statements.split(";")):
            try:
                with connection.transaction():
                    connection.execute(statement)
            except psycopg.Error as error:
                failed.append(f"{statement.strip()}: {error}")
    return failed


def files(server: postgresql.RealPostgres) -> int | None:
    with server.connect() as connection:
        row = connection.execute("SELECT pg_relation_filenode(to_regclass('orders'))").fetchone()
    return row[0] if row else None


@pytest.mark.slow
@pytest.mark.parametrize("body", CASES)
def test_a_rule_says_what_happens_to_the_live_release(server, body):
    """A statement breaks or rewrites a table exactly if a rule reports that it does."""
    with server.connect("root") as root:
        root.execute(
            "DROP SCHEMA IF EXISTS public CASCADE; CREATE SCHEMA public AUTHORIZATION shop"
        )
    with server.connect() as connection:
        connection.execute(SCHEMA)
    assert fails(server, LIVE) == []
    text = printed(body)
    before = files(server)
    changes = {
        "2": sql.changes(text),
        "3": list(migrations_alembic.read("2.py", script(body)).changes),
    }
    every = [change for steps in changes.values() for change in steps]
    names = (migration_rules.tables(every), migration_rules.indexes(every))
    catalog = pg_catalog.read(server.url, 5, *names, small_rows=5)
    found = {
        name: migration_rules.evaluate({name: steps}, catalog) for name, steps in changes.items()
    }
    assert effects(found["2"]) == CASES[body], text
    assert effects(found["3"]) == CASES[body]
    with server.connect() as connection:
        # Alembic ends each statement so; CONCURRENTLY must not share its message with another one.
        for statement in filter(str.strip, text.split(";\n\n")):
            connection.execute(statement)
    broken = [line for line in fails(server, LIVE) if "DELETE" not in line]
    says_breaks = any(one.breaks for one in found["2"])
    if "drop-unique" not in CASES[body] and "validated" not in CASES[body]:
        assert bool(broken) == says_breaks, broken
    says_rewrites = any("rewrites" in one.locks for one in found["2"])
    if says_breaks or "VACUUM" in body:
        return
    assert (files(server) != before) == says_rewrites


BIG = Table(rows=40_000_000, size=9_100_000_000, columns={"name": Column("text", False, False)})


def decided(text: str, table: Table | None = BIG, dialect: str = "postgresql", **policy):
    catalog = Catalog({"orders": table} if table else {}, dialect)
    found = migration_rules.evaluate({"0007_orders": sql.changes(text, dialect)}, catalog, "1.9.0")
    return migration_rules.decide(found, catalog, Policy(**policy))


def test_a_refusal_names_revision_table_size_and_remedy():
    assert decided("CREATE INDEX ON orders (name)")[0] == [
        "0007_orders: CREATE INDEX on orders (40 million rows, 9.1 GB) blocks writes. Use "
        "postgresql_concurrently=True in an autocommit_block(), or set rollout_allow_blocking."
    ]
    assert decided("ALTER TABLE orders ADD currency text NOT NULL")[0] == [
        "0007_orders: new column orders.currency (40 million rows, 9.1 GB) is NOT NULL without a server default, "
        "and 1.9.0 does not set it, so its inserts fail. Add a server_default that stays, or add the column as "
        "nullable first, or set rollout_allow_destructive."
    ]


def test_each_effect_needs_its_own_yes():
    text = "ALTER TABLE orders ADD UNIQUE (name)"
    (line,), _warned = decided(text)
    assert line.endswith("or set rollout_allow_destructive and rollout_allow_blocking.")
    (line,), _warned = decided(text, allow_blocking=True)
    assert line.endswith("or set rollout_allow_destructive.")
    assert decided(text, allow_blocking=True, allow_destructive=True)[0] == []


def test_a_small_table_may_be_locked_and_may_not_be_broken():
    small = Table(rows=10_000)
    assert decided("CREATE INDEX ON orders (name)", small)[0] == []
    assert len(decided("CREATE INDEX ON orders (name)", small)[1]) == 1
    assert decided("CREATE INDEX ON orders (name)", small, small_rows=9_999)[0] != []
    assert decided("ALTER TABLE orders DROP name", small)[0] != []


def test_a_table_of_unknown_size_is_large_where_sizes_can_be_known():
    assert "(size unknown)" in decided("CREATE INDEX ON orders (name)", None)[0][0]
    assert decided("CREATE INDEX ON orders (name)", None, "sqlite")[0] == []


@pytest.mark.parametrize(
    ("text", "rule"),
    [("ALTER TABLE orders DROP name", "drop"), ("CALL f()", "unknown"), ("CREATE INDEX ON orders (name)", "index")],
)  # fmt: skip
def test_the_team_decides_by_rule(text, rule):
    assert decided(text, rules={rule: "ignore"}) == ([], [])
    refused, warned = decided(text, rules={rule: "warn"})
    assert (refused, len(warned)) == ([], 1)
    refused, warned = decided(text, rules={rule: "refuse"})
    assert (len(refused), warned) == (1, [])
    assert decided(text, Table(rows=1), rules={rule: "refuse"})[0] != []


def test_what_is_not_understood_is_told_and_not_refused():
    refused, (line,) = decided("CALL f()")
    assert refused == []
    assert line == "0007_orders: not understood: CALL f(). Read the script before you go on."


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("EXPLAIN (COSTS, ANALYZE) DELETE FROM orders", {"unknown"}),
        ("COPY (DELETE FROM orders RETURNING *) TO STDOUT", {"drop"}),
        ("COPY (SELECT f() FROM orders) TO STDOUT", {"unknown"}),
        ("COPY (SELECT * FROM orders) TO STDOUT", set()),
        ("INSERT INTO app.old (a) SELECT f(a) FROM orders", {"unknown"}),
        ("INSERT INTO old WITH gone AS (DELETE FROM orders WHERE a RETURNING *) SELECT * FROM gone", {"data"}),
        ("INSERT INTO old (a, b) VALUES (gen_random_uuid(), CAST('1' AS numeric(3))) ON CONFLICT (a) DO NOTHING", set()),
        ("INSERT INTO old AS o (a) SELECT o.a FROM (SELECT 1) AS t(a) RETURNING a", set()),
        ("INSERT INTO old VALUES (1) ON CONFLICT (a) DO UPDATE SET a = 2", {"data"}),
        ("WITH a(b) AS (SELECT 1), c AS MATERIALIZED (SELECT 2) SELECT 1, f() AS g FROM a", {"unknown"}),
        ("WITH a(b) AS (SELECT 1), c(d) AS (SELECT 2) SELECT * FROM a, c", set()),
        ("SELECT app.lower('x')", {"unknown"}),
        ("SELECT pg_catalog.lower('x')", set()),
        ("DECLARE c CURSOR FOR SELECT f()", {"unknown"}),
        ("CREATE TABLE fresh AS SELECT f(a) FROM orders", {"unknown"}),
        ("CREATE TABLE fresh (a) WITH (fillfactor = 70) AS SELECT lower(a) FROM orders", set()),
        ("CREATE TABLE fresh (a varchar(20) DEFAULT f(1), b int GENERATED ALWAYS AS (g(a)) STORED)", set()),
        ("ALTER TABLE orders ADD at timestamp DEFAULT app.now()", {"column-volatile-default"}),
        ("ALTER TABLE orders ALTER index SET NOT NULL", {"set-not-null"}),
        ("ALTER TABLE orders RENAME index TO place", {"rename"}),
        ("ALTER TABLE orders RENAME key TO place", {"rename"}),
        ("ALTER TABLE orders ADD partition text NOT NULL", {"column-not-null"}),
        ("ALTER TABLE orders RENAME CONSTRAINT a TO b", {"drop-unique"}),
        ("ALTER TABLE orders ALTER code TYPE char", {"type"}),
        ("ALTER TABLE orders ALTER bits TYPE bit", {"type"}),
        ("ALTER TABLE orders ALTER code TYPE bpchar", set()),
        ("DROP INDEX CONCURRENTLY IF EXISTS public.plain, public.single", {"drop-unique"}),
        ("LOCK TABLE users, orders", {"blocking"}),
        ("LOCK TABLE users, orders IN ROW SHARE MODE", set()),
        ("VACUUM FULL users, orders (name)", {"blocking"}),
        ("UPDATE orders SET version_num = 1 WHERE id = 2", {"data"}),
        ("UPDATE revisions SET version_num='2' WHERE revisions.version_num = '1'", set()),
        ("ALTER TABLE orders REPLICA IDENTITY NOTHING", {"unknown"}),
        ("ALTER TABLE orders REPLICA IDENTITY FULL", set()),
        ("ALTER TYPE pair ADD ATTRIBUTE c int", {"unknown"}),
        ("SET LOCAL lock_timeout = '0s'", {"unknown"}),
        ("SET lock_timeout TO 0", {"unknown"}),
        ("SET lock_timeout = '2s'", set()),
        ("SET search_path TO tenant, public", {"unknown"}),
    ],
)  # fmt: skip
def test_a_statement_passes_in_silence_only_if_it_disturbs_nobody(text, rules):
    catalog = Catalog(
        {
            "orders": Table(
                rows=40_000_000,
                columns={
                    "code": Column("character(10)", False, False),
                    "bits": Column("bit(8)", False, False),
                    "index": Column("text", False, False),
                },
                indexes={"plain": False, "single": True},
            ),
            "users": Table(rows=3),
        }
    )
    found = migration_rules.evaluate({"1": sql.changes(text)}, catalog)
    assert {one.rule for one in found} == rules
    # A large table is not hidden behind a small one.
    refused, _warned = migration_rules.decide(found, catalog, Policy())
    assert bool(refused) == any(one.locks or one.breaks for one in found)


def test_a_table_that_the_run_makes_may_be_changed_as_one_likes():
    text = "CREATE TABLE fresh (a int); ALTER TABLE fresh DROP a; CREATE INDEX ON fresh (b); DROP TABLE fresh"
    assert decided(text) == ([], [])
    # A statement for an object that may exist already is not new, unless the database reports so.
    text = "CREATE TABLE IF NOT EXISTS orders (a int); ALTER TABLE orders DROP a"
    assert decided(text)[0] != []
    assert decided(text, None)[0] != []


def test_a_table_that_is_not_found_is_not_taken_for_new():
    """It may be in another database, or in a schema that the script chooses."""
    catalog = Catalog({"orders": None})
    found = migration_rules.evaluate({"1": sql.changes("ALTER TABLE orders DROP a")}, catalog)
    assert migration_rules.decide(found, catalog, Policy())[0] != []
