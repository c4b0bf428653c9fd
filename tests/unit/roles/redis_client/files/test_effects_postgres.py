# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The effects of a GET in PostgreSQL, with and without SQLAlchemy, by TCP and by a Unix socket."""

from __future__ import annotations

import glob
import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import evenkeel_cache
import evenkeel_sessions
import flask
import psycopg
import pytest
import sqlalchemy
from sqlalchemy import orm
from werkzeug.test import Client

PROGRAMS = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
pytestmark = [
    pytest.mark.usefixtures("taught"),
    pytest.mark.slow,
    pytest.mark.skipif(not PROGRAMS, reason="the machine has no PostgreSQL"),
]
INSERT = "INSERT INTO t VALUES (1)"
TIMES = 20


@pytest.fixture(scope="module")
def database():
    """The port and the folder of the Unix socket of a server that the tests have for themselves."""
    # Not in pytest's folder, which no other user can enter.
    folder = Path(tempfile.mkdtemp())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = {}
    if os.geteuid() == 0:
        # It does not run as root.
        shutil.chown(folder, "postgres")
        options = {"user": "postgres", "group": "postgres", "extra_groups": []}

    def run(program, *words):
        command = [f"{PROGRAMS[-1]}/{program}", "-D", f"{folder}/data", *words]
        subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL, **options)

    run("initdb", "-A", "trust", "-U", "shop", "--no-sync")
    settings = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    run("pg_ctl", "-o", settings, "-l", f"{folder}/log", "-w", "start")
    yield port, str(folder)
    run("pg_ctl", "-m", "immediate", "stop")
    shutil.rmtree(folder)


@pytest.fixture(params=["TCP", "Unix"])
def place(request, database):
    port, folder = database
    return {"host": "127.0.0.1" if request.param == "TCP" else folder, "port": port}


@pytest.fixture
def dsn(place):
    dsn = f"host={place['host']} port={place['port']} user=shop dbname=postgres"
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS t")
        connection.execute("CREATE TABLE t (x int)")
        connection.execute(
            f"CREATE OR REPLACE FUNCTION add() RETURNS int LANGUAGE sql AS '{INSERT} RETURNING 1'"
        )
    return dsn


@pytest.fixture
def engine(place, dsn):
    url = f"postgresql+psycopg://shop@/postgres?host={place['host']}&port={place['port']}"
    engine = sqlalchemy.create_engine(url, pool_pre_ping=True)
    yield engine
    engine.dispose()


def ask(store, act, times):
    app = flask.Flask(__name__)
    app.session_interface = evenkeel_sessions.CookieSessions()
    app.add_url_rule("/", "index", lambda: str(act() and "done"))
    # A wait for a database takes long enough.
    rules = evenkeel_cache.Rules(types={"text/html": 60})
    client = Client(
        evenkeel_cache.CacheMiddleware(app, store.guarded(), "shop:", "r1", rules, tells=True)
    )
    found = []
    for _time in range(times):
        with client.get("/", buffered=True) as answer:
            assert answer.status_code == 200
            found.append(answer.headers["Cache-Status"])
    return found


def by(statement):
    def act(engine, dsn):
        def effect():
            with engine.begin() as connection:
                connection.execute(sqlalchemy.text(statement))

        return effect

    act.__name__ = statement
    return act


def raw(engine, dsn):
    def effect():
        connection = engine.raw_connection()
        connection.cursor().execute(INSERT)
        connection.commit()
        connection.close()

    return effect


def raw_and_kept(engine, dsn):
    connection = engine.raw_connection()
    cursor = connection.cursor()
    return lambda: (cursor.execute(INSERT), connection.commit())


def driver(engine, dsn):
    def effect():
        with engine.begin() as connection:
            connection.connection.cursor().execute(INSERT)

    return effect


def psycopg_new(engine, dsn):
    def effect():
        with psycopg.connect(dsn) as connection:
            connection.execute(INSERT)

    return effect


def psycopg_kept(engine, dsn):
    connection = psycopg.connect(dsn, autocommit=True)
    return lambda: connection.execute(INSERT)


@pytest.mark.parametrize(
    "kind",
    [
        by(INSERT),
        by(f"WITH y AS ({INSERT} RETURNING x) SELECT * FROM y"),
        by("SELECT add()"),
        raw,
        raw_and_kept,
        driver,
        psycopg_new,
        psycopg_kept,
    ],
    ids=lambda kind: kind.__name__,
)
def test_each_get_that_writes_to_postgres_takes_effect(store, engine, dsn, kind):
    effect = kind(engine, dsn)
    statuses = ask(store, lambda: bool(effect()) or True, TIMES)
    with psycopg.connect(dsn) as connection:
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (TIMES,)
    assert not any("; hit" in each for each in statuses), statuses


def test_a_get_that_reads_postgres_is_kept(store, engine):
    def read():
        with orm.Session(engine) as session:
            session.execute(sqlalchemy.text("SELECT count(*), pg_sleep(0.01) FROM t"))
        return True

    assert "; hit" in ask(store, read, 3)[-1]
