# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether workers may be forked from the process that has loaded the app: asked of real apps under real gunicorn."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

FILES = Path(__file__).parents[5] / "roles" / "gunicorn" / "files"
CONFIG = """\
import logging
wsgi_app = "shop:app"
chdir = {folder!r}
logging.basicConfig(filename={folder!r} + "/app.log")
"""
APP = "def app(environ, start_response): ...\n"
SQL = """\
import sqlite3
import sqlalchemy as sa
from sqlalchemy.orm import Session
engine = sa.create_engine("sqlite:///shop.db")
with engine.connect() as before:
    before.execute(sa.text("select 1"))
"""


@pytest.fixture(name="load")
def _load(tmp_path):
    def load(app):
        (tmp_path / "shop.py").write_text(app)
        (tmp_path / "gunicorn.conf.py").write_text(CONFIG.format(folder=str(tmp_path)))
        shutil.copy(FILES / "evenkeel_fork.py", tmp_path)
        copy = shutil.copy(FILES / "evenkeel_preload.py", tmp_path)
        return subprocess.run(
            [sys.executable, copy], text=True, capture_output=True, check=False, cwd=tmp_path
        )

    return load


def told(done):
    line = done.stdout.splitlines()[-1]
    assert line.startswith("evenkeel: ")
    return json.loads(line.partition(" ")[2])


@pytest.mark.parametrize(
    "app",
    [
        APP,
        "import logging; logging.warning('hello')\n" + APP,
        "open('notes', 'w').close()\n" + APP,
        "import threading; thread = threading.Thread(target=print); thread.start(); thread.join()\n"
        + APP,
        SQL + APP,
        SQL
        + "session = Session(engine); session.execute(sa.text('select 1')); session.commit()\n"
        + APP,
    ],
    ids=[
        "plain",
        "logs",
        "closed its file",
        "its thread has ended",
        "its pool is idle",
        "its session too",
    ],
)
def test_an_app_that_a_fork_leaves_whole_may_be_loaded_first(load, app):
    assert told(load(app)) == {"forkable": True, "opened": [], "threads": []}


@pytest.mark.parametrize(
    ("app", "what"),
    [
        ("import sqlite3; db = sqlite3.connect('shop.db')\n", "shop.db"),
        ("import socket; sock = socket.socket()\n", "socket:"),
        (
            "import threading, time\nthreading.Thread(target=time.sleep, args=(9,), daemon=True, name='ticker').start()\n",
            "ticker",
        ),
        ("log = open('own.log', 'w')\n", "own.log"),
        (SQL + "held = engine.connect()\n", "shop.db"),
        (SQL + "session = Session(engine); session.execute(sa.text('select 1'))\n", "shop.db"),
        (SQL + "db = sqlite3.connect('other.db')\n", "other.db"),
        (
            "import sqlalchemy as sa\n"
            "engine = sa.create_engine('sqlite:///shop.db', poolclass=sa.pool.StaticPool)\n"
            "held = engine.connect()\n",
            "shop.db",
        ),
    ],
    ids=[
        *("database", "socket", "thread", "file"),
        *("connection", "session", "beside a pool", "the pool's only connection"),
    ],
)
def test_an_app_that_a_fork_would_break_is_loaded_by_each_worker(load, app, what):
    done = load(app + APP)
    assert done.returncode == 0
    assert told(done)["forkable"] is False
    assert what in str(told(done))


def test_what_the_app_prints_is_not_taken_for_it(load):
    done = load("import sys; sys.stdout.write('evenkeel: {} and no end of line')\n" + APP)
    assert told(done)["forkable"] is True


def test_an_app_that_cannot_be_loaded_says_so_last(load):
    done = load("import nosuchmodule\n")
    assert done.returncode != 0
    assert done.stderr.splitlines()[-1] == "ModuleNotFoundError: No module named 'nosuchmodule'"
