# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module as a task sees it, over releases that are files."""

from __future__ import annotations

import pytest
import yaml
from ansible_collections.evenkeel.flask.plugins.module_utils._errors import (
    ArchiveError,
    PreflightError,
)
from ansible_collections.evenkeel.flask.plugins.module_utils._migrations import pg_catalog
from ansible_collections.evenkeel.flask.plugins.module_utils._migrations.rules import Catalog, Table
from ansible_collections.evenkeel.flask.plugins.module_utils._release import stage
from ansible_collections.evenkeel.flask.plugins.modules import migration_info
from ansible_collections.evenkeel.flask.tests.unit.plugins.run_module import run_module

FIRST = "revision = '0001'\ndown_revision = None\ndef upgrade():\n    op.create_table('orders')\n"
SECOND = "revision = '0002'\ndown_revision = '0001'\ndef upgrade():\n    op.create_index('ix', 'orders', ['a'])\n"
PRINTED = "-- Running upgrade 0001 -> 0002\n\nALTER TABLE orders DROP COLUMN a;\n"
URL = 'DATABASE_URL="postgresql://shop:hunter2@data/shop"\n'


@pytest.fixture(name="asked", autouse=True)
def _asked(tmp_path, monkeypatch):
    """Two releases of which the second brings a script, a database with 7 orders, and what was run."""
    for release, scripts in {
        "a": {"0001_first.py": FIRST},
        "b": {"0001_first.py": FIRST, "0002_second.py": SECOND},
    }.items():
        folder = tmp_path / "shop" / "releases" / release
        versions = folder / "app" / "migrations" / "versions"
        versions.mkdir(parents=True)
        (versions.parent / "env.py").touch()
        (folder / "env").write_text(URL)
        for name, text in scripts.items():
            (versions / name).write_text(text)
    runs = []

    def run_in(_folder, _user, _layout, words, _timeout, _environment, *, sealed):
        runs.append((words, sealed))
        return 0, PRINTED

    def read(_url, _timeout, tables, _indexes, _small_rows):
        return Catalog(dict.fromkeys(tables, Table(rows=7)))

    monkeypatch.setattr(stage, "run_in", run_in)
    monkeypatch.setattr(pg_catalog, "heads", lambda *_args: ["0001"])
    monkeypatch.setattr(pg_catalog, "read", read)
    return runs


@pytest.fixture(name="look")
def _look(tmp_path):
    def look(**params):
        good = {"name": "shop", "root": str(tmp_path), "release": "b", "against": "a"}
        return run_module(migration_info, **{**good, **params})

    return look


def test_a_script_is_run_sealed_off_and_what_it_prints_counts(look, asked):
    result = look(command="flask db upgrade")
    assert asked == [(["flask", "db", "upgrade", "--sql", "0001:0002"], True)]
    assert (result["new"], result["printed"], result["partly"]) == (
        ["0002_second.py"],
        ["0002_second"],
        {},
    )
    assert result["destructive"] == ["0002_second: drops column orders.a, and a may need it."]
    assert len(result["refused"]) == 1
    assert look(command="flask db upgrade", allow_destructive=True)["refused"] == []


def test_without_a_command_the_source_is_read(look, asked):
    result = look()
    assert (asked, result["printed"]) == ([], [])
    assert result["locks"] == ["0002_second: CREATE INDEX on orders (7 rows) blocks writes."]
    assert result["refused"] == []
    assert look(small_rows=6)["refused"] != []
    assert look(small_rows=6, allow_blocking=True)["refused"] == []


def test_what_the_database_has_run_already_is_not_judged_again(look, monkeypatch):
    """A rollout that failed after its migration is run again."""
    monkeypatch.setattr(pg_catalog, "heads", lambda *_args: ["0002"])
    result = look()
    assert (result["new"], result["locks"]) == (["0002_second.py"], [])


def test_a_database_that_does_not_answer_makes_each_table_large(look, monkeypatch, capsys):
    def read(*_args):
        raise PreflightError("data does not answer.")

    monkeypatch.setattr(pg_catalog, "heads", lambda *_args: [])
    monkeypatch.setattr(pg_catalog, "read", read)
    result = look()
    assert "CREATE INDEX on orders (size unknown) blocks writes" in result["refused"][0]
    assert "hunter2" not in str(result)


def test_in_check_mode_there_is_no_release_yet(look):
    result = look(release="c", command="flask db upgrade")
    assert (result["new"], result["refused"], result["missing"]) == ([], [], ["0001_first.py"])


@pytest.mark.parametrize(
    "error",
    [ArchiveError("systemd is away."), TimeoutError("systemctl did not end within 7200 s.")],
)
def test_a_command_that_cannot_be_run_is_a_message(look, monkeypatch, error):
    def run_in(*_args, **_options):
        raise error

    monkeypatch.setattr(stage, "run_in", run_in)
    result = look(command="flask db upgrade")
    assert (result["failed"], result["msg"]) == (True, str(error))


def test_a_quotation_that_does_not_end_is_a_message(look):
    result = look(command="flask 'db upgrade")
    assert result["msg"].startswith('"flask \'db upgrade" cannot be split into words (No closing')


def test_every_value_that_is_returned_is_documented(look):
    returned = set(look()) - {"changed", "invocation", "warnings"}
    assert returned == set(yaml.safe_load(migration_info.RETURN))
    assert yaml.safe_load(migration_info.EXAMPLES)
