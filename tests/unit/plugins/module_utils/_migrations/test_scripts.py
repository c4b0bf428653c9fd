# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Alembic scripts and their effects are read without running the scripts."""

from __future__ import annotations

import pytest
from ansible_collections.evenkeel.flask.plugins.module_utils._migrations import alembic
from ansible_collections.evenkeel.flask.plugins.module_utils._migrations import (
    scripts as migrations,
)
from ansible_collections.evenkeel.flask.plugins.module_utils._migrations import sql_changes as sql
from hypothesis import given
from hypothesis import strategies as st

UPGRADE = "def upgrade():\n    {}\n\ndef downgrade():\n    op.drop_table('reviews')\n"


@pytest.mark.parametrize(
    ("does", "message"),
    [
        ("op.drop_table('reviews')", "drops table reviews"),
        ("op.drop_column('products', 'price')", "drops column products.price"),
        ("op.rename_table('a', 'b')", "renames table a"),
        (
            "op.alter_column('products', 'price', new_column_name='cost')",
            "renames column products.price",
        ),
        ("op.execute('ALTER TABLE products DROP  COLUMN price')", "drops column products.price"),
        ("op.get_bind().execute(sa.text('truncate products'))", "drops all rows of products"),
        ("[op.drop_table(name) for name in NAMES]", f"drops table {sql.CHOSEN}"),
        ("op.add_column('t', sa.Column('c', sa.Integer(), nullable=False))", "new column t.c"),
        ("op.alter_column('t', 'c', nullable=False)", "NOT NULL on t.c"),
        ("op.alter_column('t', 'c', type_=sa.Integer())", "the type of t.c"),
        ("op.create_unique_constraint('u', 't', ['c'])", "UNIQUE on t(c)"),
        ("op.create_check_constraint('u', 't', 'c > 0')", "CHECK on t"),
        ("op.create_foreign_key('u', 't', 'other', ['c'], ['id'])", "FOREIGN KEY t(c)"),
        ("op.execute('ALTER TABLE t ALTER c SET NOT NULL')", "NOT NULL on t.c"),
    ],
)
def test_what_breaks_an_older_release_is_told_with_its_script(does, message):
    (line,) = migrations.destructive("2.py", UPGRADE.format(does))
    assert line.startswith(f"2: {message}")


def test_what_breaks_by_source_is_refused_however_it_is_written():
    """Constants, loops, f-strings, aliases, helpers and batches hide nothing."""
    variants = [
        "TABLE = 'orders'\ndef upgrade():\n    op.drop_column(TABLE, 'x')",
        "def upgrade():\n    for t in ('orders', 'b'):\n        op.drop_column(t, 'x')",
        "def upgrade():\n    for t, c in [('orders', 'x')]:\n        op.drop_column(t, c)",
        "def upgrade():\n    t = 'orders'\n    op.execute(f'ALTER TABLE {t} DROP COLUMN x')",
        "def upgrade():\n    op.execute('ALTER TABLE %s DROP COLUMN x' % 'orders')",
        "def upgrade():\n    op.execute('ALTER TABLE {} DROP COLUMN {}'.format('orders', 'x'))",
        "def upgrade():\n    op.execute('ALTER TABLE ' + 'orders' + ' DROP COLUMN x')",
        "S = ['SELECT 1', 'ALTER TABLE orders DROP x']\ndef upgrade():\n    for s in S:\n        op.execute(s)",
        "def upgrade():\n    op.execute(sa.text('ALTER TABLE orders DROP x').execution_options(a=1))",
        "def upgrade():\n    c = op.get_bind()\n    c.execute(text('ALTER TABLE orders DROP x'))",
        "from alembic import op as o\ndef upgrade():\n    o.drop_column('orders', 'x')",
        "from alembic.op import drop_column\ndef upgrade():\n    drop_column('orders', 'x')",
        "def helper(t):\n    op.drop_column(t, 'x')\ndef upgrade():\n    helper('orders')",
        "def upgrade():\n    with op.batch_alter_table('orders') as b:\n        b.drop_column('x')",
        "def upgrade():\n    with op.batch_alter_table('orders', schema=None) as batch_op:\n        batch_op.drop_column('x')",
        "def upgrade():\n    if True:\n        try:\n            op.drop_column('orders', 'x')\n        except Exception:\n            pass",
        "def upgrade(engine_name):\n    globals()['upgrade_' + engine_name]()\ndef upgrade_():\n    op.drop_column('orders', 'x')",
        "def upgrade():\n    (lambda: op.drop_column('orders', 'x'))()",
        "def upgrade():\n    op.drop_column(column_name='x', table_name='orders')",
    ]
    for text in variants:
        found = migrations.destructive("2.py", text)
        assert found, text
        assert found[0].startswith("2: drops column orders.x"), text


@pytest.mark.parametrize(
    "does",
    [
        "pass",
        "op.add_column('products', sa.Column('a'))",
        "op.create_table('b')",
        "op.drop_index('i')",
        "op.alter_column('products', 'price', nullable=True)",
        "op.execute('UPDATE products SET price = 1')",
        "op.execute(statement)",
        "seen = {}; seen.update(a=1); print(seen)",
    ],
)
def test_what_only_adds_breaks_nothing(does):
    assert migrations.destructive("2.py", UPGRADE.format(does)) == []


@pytest.mark.parametrize(
    ("does", "message"),
    [
        ("op.execute(statement)", "execute(statement)"),
        ("op.create_hypertable('a')", "op.create_hypertable()"),
        ("helper(op)", "helper() is given the database"),
        ("getattr(op, 'drop_' + what)('a')", "getattr() is given the database"),
        ("tenants.migrate()", "calls tenants.migrate()"),
        ("op.execute(f'{verb} TABLE a')", "... TABLE a"),
        (
            "op.execute('CREATE TRIGGER t BEFORE INSERT ON a EXECUTE FUNCTION f()')",
            "CREATE TRIGGER",
        ),
        ("op.add_column('a', make_column())", "a column of a that the script chooses"),
        ("op.add_column('a', sa.Column('b', **options))", "a column of a that the script chooses"),
        ("op.run_async(work)", "op.run_async()"),
    ],
)
def test_what_is_not_understood_is_named(does, message):
    changes = alembic.read("2.py", UPGRADE.format(does)).changes
    assert any(message in one.what for one in changes if one.verb == sql.UNKNOWN), changes


def test_every_operation_of_alembic_is_sorted():
    """None that a version of Alembic adds passes in silence, and none of today's is forgotten."""
    # ansible-test has its own environment, without it.
    operations = pytest.importorskip("alembic.operations")

    names = {
        name
        for kind in (operations.Operations, operations.BatchOperations)
        for name in dir(kind)
        if not name.startswith("_") and callable(getattr(kind, name))
    }
    # They create operations; they are not operations themselves.
    names -= {"context", "create_module_class_proxy", "invoke", "register_operation", "run_async"}
    sorted_out = set(alembic.OPERATIONS) | alembic.HARMLESS_OPS | alembic.EXECUTES
    assert names <= sorted_out


def test_what_cannot_be_read_is_told():
    (change,) = alembic.read("2.py", "def upgrade(:").changes
    assert change == sql.unknown("the script cannot be parsed")


@given(st.text())
def test_no_text_is_too_odd(text):
    assert isinstance(migrations.destructive("2.py", text), list)


def test_scripts_are_those_beside_an_env_py(tmp_path):
    for path in (
        "app/migrations/env.py",
        "app/migrations/versions/1_a.py",
        "app/migrations/versions/2026/2_b.py",
        "app/migrations/versions/README",
        "app/versions/3_c.py",
        "lib/shop/alembic/env.py",
        "lib/shop/alembic/versions/4_d.py",
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(path)
    found = migrations.scripts(str(tmp_path / "app"), str(tmp_path / "lib"), str(tmp_path / "none"))
    assert sorted(found) == ["1_a.py", "2_b.py", "4_d.py"]


def test_new_is_what_only_the_later_one_has():
    assert migrations.new({"1": "", "2": ""}, {"2": "", "4": "", "3": ""}) == ["3", "4"]


def scripts(*revisions):
    """Scripts in a chain, the names in an order of their own."""
    found = {}
    for number, revision in enumerate(revisions):
        parent = repr(revisions[number - 1]) if number else None
        name = f"{9 - number}.py"
        text = f"revision = {revision!r}\ndown_revision = {parent}\ndef upgrade(): op.drop_table('t{revision}')"
        found[name] = alembic.read(name, text)
    return found


@pytest.mark.parametrize(
    ("known", "heads", "todo"),
    [
        ({"9.py": ""}, [], ["b", "c"]),
        ({"9.py": ""}, ["b"], ["c"]),
        ({"9.py": "", "8.py": ""}, ["a"], ["b", "c"]),
        ({"9.py": ""}, ["c"], []),
        ({"9.py": ""}, ["of another app"], ["b", "c"]),
    ],
)
def test_what_is_to_run_is_what_the_database_lacks_where_it_says_so(known, heads, todo):
    found = migrations.pending(known, scripts("a", "b", "c"), heads)
    assert [script.revision for script in found] == todo


@pytest.mark.parametrize(
    ("command", "offline"),
    [
        ("flask --app shop db upgrade", "flask --app shop db upgrade --sql 1:2"),
        ("flask db upgrade -d migrations head", "flask db upgrade -d migrations --sql 1:2"),
        ("alembic -c a.ini upgrade heads", "alembic -c a.ini upgrade --sql 1:2"),
        ("python -m flask db upgrade +1", "python -m flask db upgrade --sql 1:2"),
        ("./migrate.sh", None),
        ("python manage.py migrate", None),
    ],
)
def test_an_upgrade_is_asked_to_print_its_sql(command, offline):
    found = migrations.offline_command(command.split(), "1:2")
    assert (" ".join(found) if found else None) == offline


PRINTED = """\
loading the app
BEGIN;

-- Running upgrade a -> b

a word of the script
ALTER TABLE orders DROP COLUMN x;

UPDATE alembic_version SET version_num='b' WHERE alembic_version.version_num = 'a';

-- Running upgrade b -> c

DROP TABLE y;

COMMIT;
"""


def test_what_is_printed_counts_and_a_word_between_hides_nothing():
    found = migrations.read_offline(PRINTED)
    assert [(one.verb, one.what) for one in found["b"]] == [
        (sql.UNKNOWN, "a word of the script"),
        (sql.DROP, "column orders.x"),
    ]
    assert [one.what for one in found["c"]] == ["table y"]


def test_a_script_that_prints_nothing_is_read_as_source_and_told():
    todo = list(scripts("a", "b").values())
    runs = []

    def run(words):
        runs.append(words[-1])
        fails = words[-1] != "base:a"
        return (
            (1, "x\nAttributeError: no bind\n")
            if fails
            else (0, "-- Running upgrade  -> a\n\nSELECT 1;")
        )

    reading = migrations.read(todo, ["flask", "db", "upgrade"], run)
    assert runs == ["base:b", "base:a", "a:b"]
    assert reading.changes["9"] == []
    assert [one.what for one in reading.changes["8"]] == ["table tb"]
    # All of its source is understood.
    assert reading.partly == {}
    todo[1] = alembic.read("8.py", "revision='b'\ndown_revision='a'\ndef upgrade(): op.odd()")
    reading = migrations.read(todo, ["flask", "db", "upgrade"], run)
    assert reading.partly == {"8": "AttributeError: no bind"}


def test_what_a_script_does_only_with_a_database_is_not_lost():
    """Offline mode prints nothing of it."""
    text = "revision='a'\ndown_revision=None\ndef upgrade():\n    if not context.is_offline_mode():\n        op.drop_table('t')"
    reading = migrations.read(
        [alembic.read("a.py", text)],
        ["flask", "db", "upgrade"],
        lambda _words: (0, "-- Running upgrade  -> a\n\n"),
    )
    assert [one.what for one in reading.changes["a"]] == ["table t"]
