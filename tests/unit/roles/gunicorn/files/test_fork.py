# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No two workers share a connection that the app made while it was loaded: apps under real gunicorn, as in a release."""

from __future__ import annotations

import contextlib
import http.client
import logging
import shutil
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jinja2
import pytest
import sqlalchemy
import yaml
from ansible.plugins.filter.core import FilterModule
from ansible_collections.evenkeel.flask.roles.gunicorn.files import evenkeel_fork

ROLES = Path(__file__).parents[5] / "roles"
WITHOUT = "\ndef when_ready(server): ...\n"
# gunicorn loses what ends a worker that is still starting: so all there are have answered.
ALONE = "\nworkers = 1\n"

# A database whose server sees the process of each connection. It responds after two requests.
WIRE = """\
import os, socket
from sqlalchemy.dialects import registry
from sqlalchemy.engine.default import DefaultDialect

PORT = {port}
apilevel, threadsafety, paramstyle = "2.0", 1, "qmark"
class Error(Exception): ...

class Cursor:
    rowcount, description = -1, [("number",) + (None,) * 6]
    def __init__(self, sock): self.sock = sock
    def execute(self, question, parameters=()):
        self.sock.sendall(b"%d %s\\n" % (os.getpid(), question.encode()))
        self.rows = [(int(self.sock.recv(8, socket.MSG_WAITALL)),)]
    def fetchone(self): return self.rows.pop() if self.rows else None
    def fetchall(self): return [self.rows.pop()]
    def close(self): ...

class connect:
    def __init__(self): self.sock = socket.create_connection(("127.0.0.1", PORT))
    def cursor(self): return Cursor(self.sock)
    def close(self): self.sock.close()
    def commit(self): ...
    rollback = commit

class Dialect(DefaultDialect):
    name, driver, supports_statement_cache = "wire", "wire", True
    @classmethod
    def import_dbapi(cls): return __import__("wire")
    dbapi = import_dbapi
    def create_connect_args(self, url): return [], {{}}
    def initialize(self, connection): ...

registry.register("wire", "wire", "Dialect")
"""

SHOP = """\
import wire
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session, scoped_session, sessionmaker
engine = create_engine("wire://")
hello, meet = text("hello"), text("meet")
"""
SERVE = """
def application(environ, start_response):
    start_response("200 OK", [])
    return [str(answer()).encode()]
"""

# The work of an app at import, and in each request.
USED = {
    "an engine": """
with engine.connect() as connection:
    connection.execute(hello)
def answer():
    with engine.connect() as connection:
        return connection.execute(meet).scalar()
""",
    "a connection": """
connection = engine.connect()
connection.execute(hello)
def answer():
    return connection.execute(meet).scalar()
""",
    "a transaction": """
connection = engine.connect()
transaction = connection.begin()
connection.execute(hello)
def answer():
    return connection.execute(meet).scalar()
""",
    "a session": """
session = Session(engine)
session.execute(hello)
def answer():
    number = session.execute(meet).scalar()
    session.commit()
    return number
""",
    "a session of its thread": """
session = scoped_session(sessionmaker(engine))
session.execute(hello)
def answer():
    number = session.execute(meet).scalar()
    session.commit()
    return number
""",
}

FLASK = """\
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
application = Flask("shop")
application.config["SQLALCHEMY_DATABASE_URI"] = "sqlite:///" + {folder!r} + "/main.db"
application.config["SQLALCHEMY_BINDS"] = {{"other": "sqlite:///" + {folder!r} + "/other.db"}}
db = SQLAlchemy(application)
class Main(db.Model):
    id = db.Column(db.Integer, primary_key=True)
class Other(db.Model):
    __bind_key__ = "other"
    id = db.Column(db.Integer, primary_key=True)
with application.app_context():
    db.create_all()
    db.session.add_all([Main(id=1), Other(id=1), Other(id=2)])
    db.session.commit()
    everything = Main.query.all()
@application.route("/")
def page():
    return str(Main.query.count() + Other.query.count())
"""

STARTS = {
    "has no SQLAlchemy": "def answer(): return 3",
    "makes its engine later": """
import sqlalchemy
def answer():
    return sqlalchemy.create_engine("sqlite://").connect().execute(sqlalchemy.text("select 3")).scalar()
""",
    "only has an engine": """
import sqlalchemy
engine = sqlalchemy.create_engine("sqlite://")
def answer():
    return engine.connect().execute(sqlalchemy.text("select 3")).scalar()
""",
    "has its database in memory": """
import sqlalchemy
engine = sqlalchemy.create_engine("sqlite://", poolclass=sqlalchemy.pool.StaticPool)
connection = engine.connect()
connection.execute(sqlalchemy.text("create table numbers as select 3 as number"))
def answer():
    return connection.execute(sqlalchemy.text("select number from numbers")).scalar()
""",
    "has objects of a session that is through": """
import sqlalchemy
from sqlalchemy.orm import Session, declarative_base
class Number(declarative_base()):
    __tablename__ = "numbers"
    id = sqlalchemy.Column(sqlalchemy.Integer, primary_key=True)
engine = sqlalchemy.create_engine("sqlite:///file.db")
Number.metadata.create_all(engine)
session = Session(engine)
number = Number(id=3)
session.add(number)
session.commit()
def answer(): return number.id
""",
    "has an engine that cannot be emptied": """
import sqlalchemy
class Stubborn(sqlalchemy.engine.Engine):
    def dispose(self, *args): raise RuntimeError("never")
engine = sqlalchemy.create_engine("sqlite:///file.db")
engine.__class__ = Stubborn
def answer(): return 3
""",
    "has objects that answer for others": """
import sqlalchemy
class Proxy:
    @property
    def __class__(self): raise RuntimeError("outside of a request")
proxies = [Proxy()]
def answer(): return 3
""",
    "has something else of that name": """
import sys, types
sys.modules["sqlalchemy"] = types.ModuleType("sqlalchemy")
def answer(): return 3
""",
}


class Database:
    """The server; `meetings` has the connection and the process of each question of a request."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.first = []
        self.meetings = []
        self.both = threading.Barrier(2)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            for number in range(1, 100):
                client = self.listener.accept()[0]
                threading.Thread(target=self._serve, args=(client, number), daemon=True).start()

    def _serve(self, client, number):
        with client, client.makefile("rb") as questions:
            for line in questions:
                pid, question = line.split()
                if question == b"hello":
                    self.first.append(number)
                    client.sendall(b"%08d" % number)
                else:
                    self.meetings.append((number, int(pid)))
                    threading.Thread(
                        target=self._answer, args=(client, number), daemon=True
                    ).start()

    def _answer(self, client, number):
        self.both.wait(60)
        client.sendall(b"%08d" % number)


@pytest.fixture(name="database")
def _database():
    database = Database()
    yield database
    database.listener.close()


@pytest.fixture(name="release")
def _release(tmp_path):
    """A release whose configuration is the role's own, with the app in the place of its entry."""

    def release(app, more=""):
        config = tmp_path / "config"
        config.mkdir()
        (tmp_path / "app").mkdir()
        for role, name in (("gunicorn", "evenkeel_fork.py"), ("logging", "evenkeel_logging.py")):
            shutil.copy(ROLES / role / "files" / name, config)
        (config / "gunicorn.conf.py").write_text(configuration(tmp_path) + more)
        (config / "evenkeel_wsgi.py").write_text(app)
        return served(tmp_path)

    return release


def configuration(folder):
    """The template with the role's defaults, except for two forked workers."""
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters.update(FilterModule().filters())
    known = {
        **yaml.safe_load((ROLES / "gunicorn" / "defaults" / "main.yml").read_text()),
        **{"gunicorn_workers": 2, "gunicorn_preload": "always"},
        **{"__gunicorn_preload": {"always": "True"}, "flask_app_name": "shop"},
        **{"logging_directory": str(folder), "logging_level": "INFO"},
    }
    template = (ROLES / "gunicorn" / "templates" / "gunicorn.conf.py.j2").read_text()
    return environment.from_string(template).render(known)


@contextlib.contextmanager
def served(folder):
    """A client that requests the page from gunicorn."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "slot.sock"))
        listener.listen()
        listener.set_inheritable(True)
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "gunicorn"),
                *("--config", str(folder / "config" / "gunicorn.conf.py")),
                *("--bind", f"fd://{listener.fileno()}"),
            ],
            pass_fds=[listener.fileno()],
        )

        def ask():
            client = http.client.HTTPConnection("shop", timeout=60)
            client.sock = socket.socket(socket.AF_UNIX)
            client.sock.settimeout(60)
            client.sock.connect(str(folder / "slot.sock"))
            client.request("GET", "/")
            answer = client.getresponse()
            return answer.status, answer.read()

        try:
            yield ask
        finally:
            process.terminate()
            process.wait(60)


def meet(database, release):
    """Both workers send a request at the same moment; return their connections and processes."""
    with release as ask, ThreadPoolExecutor(2) as pool:
        answers = [future.result() for future in [pool.submit(ask), pool.submit(ask)]]
    assert [status for status, _body in answers] == [200, 200]
    numbers, pids = zip(*database.meetings)
    assert len(set(pids)) == 2
    return set(numbers)


@pytest.fixture(name="shop")
def _shop(database, tmp_path):
    (tmp_path / "wire.py").write_text(WIRE.format(port=database.port))
    return f"import sys\nsys.path.append({str(tmp_path)!r})\n" + SHOP


@pytest.mark.slow
@pytest.mark.parametrize("what", USED)
def test_workers_share_nothing_that_the_app_used_while_it_was_loaded(database, release, shop, what):
    numbers = meet(database, release(shop + USED[what] + SERVE))
    assert len(numbers) == 2
    assert numbers.isdisjoint(database.first)


@pytest.mark.slow
@pytest.mark.parametrize("what", USED)
def test_without_it_they_talk_over_each_other(database, release, shop, what):
    assert meet(database, release(shop + USED[what] + SERVE, WITHOUT)) == set(database.first)


@pytest.mark.slow
@pytest.mark.parametrize("app", STARTS)
def test_an_app_starts_whatever_it(release, app):
    with release(STARTS[app] + SERVE, ALONE) as ask:
        assert ask() == (200, b"3")


@pytest.mark.slow
def test_an_app_with_flask_sqlalchemy_starts(release, tmp_path):
    with release(FLASK.format(folder=str(tmp_path)), ALONE) as ask:
        assert ask() == (200, b"3")


@pytest.mark.slow
def test_what_stays_open_is_told(release, tmp_path):
    with release(STARTS["has an engine that cannot be emptied"] + SERVE, ALONE) as ask:
        ask()
    log = (tmp_path / "app.log").read_text()
    assert "Engine stays open over the fork" in log
    assert "RuntimeError: never" in log


def test_one_that_fails_keeps_no_other_from_being_closed(caplog):
    engines = [sqlalchemy.create_engine("sqlite:///a.db") for _turn in range(3)]
    pools = [engine.pool for engine in engines]
    engines[1].dispose = None
    with caplog.at_level(logging.WARNING):
        evenkeel_fork.let_go([object(), *engines])
    assert [engine.pool is pool for engine, pool in zip(engines, pools)] == [False, True, False]
    assert len(caplog.records) == 1
