# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Alembic scripts, read by someone who must not run them."""

from __future__ import annotations

import pytest
from ansible_collections.evenkeel.flask.plugins.module_utils import _migrations
from hypothesis import given
from hypothesis import strategies as st

UPGRADE = "def upgrade():\n    {}\n\ndef downgrade():\n    op.drop_table('reviews')\n"


@pytest.mark.parametrize(
    ("does", "said"),
    [
        ("op.drop_table('reviews')", "drop_table reviews"),
        ("op.drop_column('products', 'price')", "drop_column products price"),
        ("op.rename_table('a', 'b')", "rename_table a b"),
        (
            "op.alter_column('products', 'price', new_column_name='cost')",
            "rename column products price",
        ),
        ("op.execute('ALTER TABLE products DROP  COLUMN price')", "execute 'DROP  COLUMN'"),
        ("op.get_bind().execute(sa.text('truncate products'))", "execute 'truncate'"),
        ("[op.drop_table(name) for name in NAMES]", "drop_table"),
    ],
)
def test_what_takes_away_is_told_with_its_line(does, said):
    assert _migrations.destructive("2.py", UPGRADE.format(does)) == [f"2.py, line 2: {said}"]


def test_batches_are_looked_into():
    text = UPGRADE.format(
        "with op.batch_alter_table('a') as batch:\n        batch.drop_column('b')"
    )
    assert _migrations.destructive("2.py", text) == ["2.py, line 3: drop_column b"]


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
    ],
)
def test_what_only_adds_is_not_told(does):
    assert _migrations.destructive("2.py", UPGRADE.format(does)) == []


def test_what_cannot_be_read_is_told():
    assert _migrations.destructive("2.py", "def upgrade(:") == ["2.py: it cannot be read"]


@given(st.text())
def test_no_text_is_too_odd(text):
    assert isinstance(_migrations.destructive("2.py", text), list)


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
    found = _migrations.scripts(
        str(tmp_path / "app"), str(tmp_path / "lib"), str(tmp_path / "none")
    )
    assert sorted(found) == ["1_a.py", "2_b.py", "4_d.py"]


def test_new_is_what_only_the_later_one_has():
    assert _migrations.new({"1": "", "2": ""}, {"2": "", "4": "", "3": ""}) == ["3", "4"]
