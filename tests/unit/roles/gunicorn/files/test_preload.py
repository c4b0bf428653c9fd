# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether workers may be forked from the process that has loaded the app: asked of real apps under real gunicorn."""

from __future__ import annotations

import http.client
import itertools
import json
import shutil
import socket
import subprocess
import sys
import time
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


# Each app is loaded in a fork of a process that has imported what takes most of the time.
FORKS = """\
import os, runpy, sys
import gunicorn.app.wsgiapp
for line in sys.stdin:
    folder = line.strip()
    if os.fork() == 0:
        os.chdir(folder)
        sys.path.insert(0, folder)
        runpy.run_path("evenkeel_preload.py", run_name="__main__")
    os.wait()
    print(flush=True)
    print("over", flush=True)
"""


@pytest.fixture(name="server", scope="module")
def _server():
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", FORKS]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        yield process
        process.stdin.close()


@pytest.fixture(name="report_of")
def _report_of(server, tmp_path):
    """As C(load), in a tenth of the time; what it reported."""

    def report_of(app):
        (tmp_path / "shop.py").write_text(app + APP)
        (tmp_path / "gunicorn.conf.py").write_text(CONFIG.format(folder=str(tmp_path)))
        for name in ("evenkeel_fork.py", "evenkeel_preload.py"):
            shutil.copy(FILES / name, tmp_path)
        print(tmp_path, file=server.stdin, flush=True)
        lines = list(itertools.takewhile(lambda line: line != "over\n", server.stdout))
        return read("".join(lines).rstrip())

    return report_of


def report_of(done):
    return read(done.stdout)


def read(output):
    line = output.splitlines()[-1]
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
    assert report_of(load(app)) == {
        "forkable": True,
        "opened": [],
        "threads": [],
        "copied": [],
    }


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
    assert report_of(done)["forkable"] is False
    assert what in str(report_of(done))


# Objects that a fork copies although each worker needs its own: an app, and the name in the reason.
LIBRARY = "import sys; sys.path.append('site-packages')\n"
COPIED = {
    "generator": ("import random; vouchers = random.Random()", "shop.vouchers is a random.Random"),
    "seeded": ("import random; vouchers = random.Random(7)", "random.Random"),
    "of a class of its own": (
        "import random\nclass Dice(random.Random): ...\ndice = Dice()",
        "shop.dice is a shop.Dice",
    ),
    "its method only": ("import random; draw = random.Random().getrandbits", "random.Random"),
    "of C": ("import _random; class_ = type('X', (), {'rng': _random.Random()})", "_random.Random"),
    "in a closure": (
        "import random\ndef make(rng):\n    return lambda: rng.random()\ndraw = make(random.Random())",
        "random.Random",
    ),
    "in an object": (
        "import random\nclass Shop:\n    def __init__(self): self.rng = random.Random()\n"
        "shops = [Shop()]",
        "random.Random",
    ),
    "frozen": ("import gc, random; vouchers = random.Random(); gc.freeze()", "random.Random"),
    "counter of the time": (
        "import itertools, time; ids = itertools.count(time.time_ns())",
        "a counter at",
    ),
    "counter at random": (
        "import itertools, random; ids = itertools.count(random.getrandbits(64))",
        "a counter at",
    ),
    "id of the process": (
        "import os; WORKER = os.getpid() & 31",
        "shop reads the id of its process",
    ),
    "its own name of it": ("from os import getpid; WORKER = getpid()", "shop reads the id of"),
    "id through a class": (
        "import os\nclass Node:\n    pid = os.getpid\nnode = Node(); WORKER = node.pid()",
        "shop reads the id of",
    ),
    "id through multiprocessing": (
        "import multiprocessing; WORKER = multiprocessing.current_process().pid",
        "shop reads the id of",
    ),
    "id in a library": (LIBRARY + "import snow", "snow reads the id of its process"),
    "prefix of uuid4": ("import uuid; PREFIX = uuid.uuid4().hex", "shop draws random values"),
    "prefix of secrets": (
        "import secrets; PREFIX = secrets.token_hex(4)",
        "shop draws random values",
    ),
    "number at random": (
        "import random; NODE = random.randrange(1024)",
        "shop draws random values",
    ),
    "its own name of that": (
        "from random import choice; NODE = choice('abc')",
        "shop draws random",
    ),
    "of the system": ("import random; NODE = random.SystemRandom().random()", "shop draws random"),
    "clock sequence": ("import uuid; first = uuid.uuid1()", "uuid.uuid1() was called"),
    "of an extension": (LIBRARY + "import torch", "torch has a generator"),
}


@pytest.mark.parametrize(("app", "why"), COPIED.values(), ids=COPIED)
def test_an_app_whose_workers_would_draw_the_same_is_loaded_by_each_worker(
    report_of, tmp_path, app, why
):
    packages = tmp_path / "site-packages"
    packages.mkdir()
    (packages / "snow.py").write_text("import os\nWORKER = os.getpid() % 1024\n")
    (packages / "torch.py").touch()
    report = report_of(f"{app}\n")
    assert report["forkable"] is False
    assert [each for each in report["copied"] if why in each]


@pytest.mark.parametrize(
    "app", ["import numpy.random\n", "import numpy; rng = numpy.random.default_rng()\n"]
)
def test_generators_of_numpy_count_too(report_of, app):
    pytest.importorskip("numpy")
    assert "numpy.random has a generator" in report_of(app)["copied"]


# Sources of values that differ after a fork: each worker of this forked app gets other values.
UNIQUE = """\
import itertools, json, logging, os, random, secrets, tempfile, uuid
import redis
from random import getrandbits
logging.warning("hello")
system, ids, kept = random.SystemRandom(), itertools.count(), tempfile.mkdtemp()
pool = redis.Redis(port=1)
DRAWS = {
    "random.random": random.random,
    "getrandbits": lambda: getrandbits(64),
    "SystemRandom": system.random,
    "secrets": secrets.token_hex,
    "urandom": lambda: os.urandom(9).hex(),
    "uuid1": lambda: str(uuid.uuid1()),
    "uuid4": lambda: str(uuid.uuid4()),
    "tempfile": lambda: next(tempfile._get_candidate_names()),
    "process": lambda: f"{os.getpid()} {next(ids)}",
}
def app(environ, start_response):
    start_response("200 OK", [])
    drawn = {name: [str(draw()) for _ in range(200)] for name, draw in DRAWS.items()}
    return [json.dumps([os.getpid(), drawn]).encode()]
"""


@pytest.mark.slow
def test_an_app_that_may_be_forked_gives_no_two_workers_the_same_values(load, tmp_path):
    report = report_of(load(UNIQUE))
    assert report["forkable"] is True, report
    path = str(tmp_path / "shop.sock")
    options = [
        "--preload",
        "--workers",
        "3",
        "--bind",
        f"unix:{path}",
        "--pythonpath",
        str(tmp_path),
    ]
    command = [sys.executable, "-m", "gunicorn", *options, "shop:app"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL) as process:
        try:
            answers = asked(path, 3)
        finally:
            process.terminate()
    for name in next(iter(answers.values())):
        values = [value for drawn in answers.values() for value in drawn[name]]
        assert len(set(values)) == len(values), name


def asked(path, workers):
    """The first answer of each worker, once there are as many."""
    found = {}
    deadline = time.monotonic() + 60
    while len(found) < workers and time.monotonic() < deadline:
        connection = http.client.HTTPConnection("shop", timeout=60)
        connection.sock = socket.socket(socket.AF_UNIX)
        try:
            connection.sock.connect(path)
            connection.request("GET", "/")
            pid, drawn = json.loads(connection.getresponse().read())
            found.setdefault(pid, drawn)
        except OSError:
            time.sleep(0.02)
        finally:
            connection.close()
    assert len(found) == workers
    return found


@pytest.mark.parametrize(
    "key",
    ["os.urandom(24)", "secrets.token_hex()", "secrets.token_urlsafe()", "uuid.uuid4().hex"],
)
def test_a_key_that_all_workers_must_share_may_be_drawn_by_the_app(report_of, key):
    report = report_of(
        "import os, secrets, sys, types, uuid\n"
        f"config = {{'SECRET_KEY': {key}}}\n"
        "sys.modules['evenkeel_optimize'] = types.SimpleNamespace(flask_app=lambda app: app)\n"
        "optimizer = types.SimpleNamespace(describe=lambda *_: {'measures': []})\n"
        "flask = types.SimpleNamespace(config=config)\n"
        "sys.modules['evenkeel_wsgi'] = types.SimpleNamespace("
        "app=flask, application=None, optimizer=optimizer)\n"
    )
    assert report["copied"] == []
    assert report["measures"][0]["state"] == "applied"


def test_what_the_app_prints_is_not_taken_for_it(load):
    done = load("import sys; sys.stdout.write('evenkeel: {} and no end of line')\n" + APP)
    assert report_of(done)["forkable"] is True


def test_an_app_that_cannot_be_loaded_says_so_last(load):
    done = load("import nosuchmodule\n")
    assert done.returncode != 0
    assert done.stderr.splitlines()[-1] == "ModuleNotFoundError: No module named 'nosuchmodule'"
