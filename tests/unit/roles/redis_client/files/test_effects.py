# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A GET that does more than answer is never answered from the cache, and one that only reads is."""

from __future__ import annotations

import ctypes
import http.client
import logging
import logging.handlers
import mmap
import multiprocessing
import os
import pty
import queue
import shelve
import signal
import smtplib
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import tty
import urllib.request
from pathlib import Path

import evenkeel_cache
import evenkeel_effects
import evenkeel_sessions
import flask
import pytest
import redis
import requests
import sqlalchemy
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import orm
from werkzeug.test import Client

RULES = evenkeel_cache.Rules(types={"text/html": 60})
A_RULE = evenkeel_cache.Rules(paths=[("/effect", 60)])
TIMES = 20


pytestmark = pytest.mark.usefixtures("taught")


@pytest.fixture(scope="module")
def listener(tmp_path_factory):
    path = tmp_path_factory.mktemp("listener") / "socket"
    script = Path(__file__).with_name("listener.py")
    process = subprocess.Popen(
        [sys.executable, str(script), str(path)], stdout=subprocess.PIPE, text=True
    )
    port, smtp = map(int, process.stdout.readline().split())
    process.stdout.close()
    yield Listener(port, smtp, str(path))
    process.kill()
    process.wait()


class Listener:
    def __init__(self, port, smtp, path):
        self.port, self.smtp, self.path = port, smtp, path

    def count(self):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/count") as answer:
            return int(answer.read())


class World:
    """The state of an app at import, and the effect of a GET."""

    def __init__(self, folder, listener):
        self.folder, self.listener = folder, listener
        self.endings = []
        self.began = listener.count()

    def path(self, name):
        return str(self.folder / name)

    def lines(self):
        path = self.folder / "lines"
        return len(path.read_text().splitlines()) if path.exists() else 0

    def arrived(self):
        return self.listener.count() - self.began


@pytest.fixture
def world(tmp_path, listener):
    made = World(tmp_path, listener)
    yield made
    for end in made.endings:
        end()


def sqlite_new(world):
    def effect():
        with sqlite3.connect(world.path("db")) as db:
            db.execute("CREATE TABLE IF NOT EXISTS t (x)")
            db.execute("INSERT INTO t VALUES (1)")
        db.close()

    return effect, lambda: rows(world)


def rows(world):
    db = sqlite3.connect(world.path("db"))
    try:
        return db.execute("SELECT count(*) FROM t").fetchone()[0]
    finally:
        db.close()


def table(world, *pragmas):
    db = sqlite3.connect(world.path("db"))
    for pragma in pragmas:
        db.execute(pragma)
    db.execute("CREATE TABLE t (x)")
    db.commit()
    return db


def sqlite_kept(world, *pragmas):
    db = table(world, *pragmas)
    world.endings.append(db.close)

    def effect():
        with db:
            db.execute("INSERT INTO t VALUES (1)")

    return effect, lambda: rows(world)


def sqlite_kept_with_a_log(world):
    return sqlite_kept(world, "PRAGMA journal_mode=WAL")


def sqlite_by_uri(world):
    table(world).close()

    def effect():
        db = sqlite3.connect(f"file:{world.path('db')}?mode=rw", uri=True)
        with db:
            db.execute("INSERT INTO t VALUES (1)")
        db.close()

    return effect, lambda: rows(world)


def engine_of(world):
    table(world).close()
    engine = sqlalchemy.create_engine(f"sqlite:///{world.path('db')}")
    world.endings.append(engine.dispose)
    return engine


def sqlalchemy_core(world):
    engine = engine_of(world)

    def effect():
        with engine.begin() as connection:
            connection.execute(sqlalchemy.text("INSERT INTO t VALUES (1)"))

    return effect, lambda: rows(world)


def sqlalchemy_orm(world):
    engine = engine_of(world)
    base = orm.declarative_base()

    class T(base):
        __tablename__ = "t2"
        id = sqlalchemy.Column(sqlalchemy.Integer, primary_key=True)

    base.metadata.create_all(engine)

    def effect():
        with orm.Session(engine) as session:
            session.add(T())
            session.commit()

    def count():
        with orm.Session(engine) as session:
            return session.query(T).count()

    return effect, count


def sqlalchemy_raw(world):
    engine = engine_of(world)

    def effect():
        connection = engine.raw_connection()
        connection.cursor().execute("INSERT INTO t VALUES (1)")
        connection.commit()
        connection.close()

    return effect, lambda: rows(world)


def sqlalchemy_driver(world):
    engine = engine_of(world)

    def effect():
        with engine.connect() as connection:
            driver = connection.connection.driver_connection
            driver.execute("INSERT INTO t VALUES (1)")
            driver.commit()

    return effect, lambda: rows(world)


def file_append(world):
    def effect():
        with open(world.path("lines"), "a") as stream:
            stream.write("line\n")

    return effect, world.lines


def file_by_pathlib(world):
    path = Path(world.path("lines"))
    return lambda: path.write_text(
        (path.read_text() if path.exists() else "") + "line\n"
    ), world.lines


def file_by_os(world):
    def effect():
        fd = os.open(world.path("lines"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(fd, b"line\n")
        os.close(fd)

    return effect, world.lines


def file_open_before(world):
    stream = open(world.path("lines"), "a")  # noqa: SIM115
    world.endings.append(stream.close)

    def count():
        stream.flush()
        return world.lines()

    return lambda: stream.write("line\n"), count


def descriptor_open_before(world):
    fd = os.open(world.path("lines"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    world.endings.append(lambda: os.close(fd))
    return lambda: os.write(fd, b"line\n"), world.lines


def log_file(world):
    logger = logging.Logger("own")
    logger.addHandler(logging.FileHandler(world.path("lines")))
    world.endings.append(logger.handlers[0].close)
    return lambda: logger.warning("line"), world.lines


def mapped_file(world):
    Path(world.path("map")).write_bytes(bytes(8))
    with open(world.path("map"), "r+b") as stream:
        mapped = mmap.mmap(stream.fileno(), 8)
    world.endings.append(mapped.close)

    def effect():
        mapped[0] += 1

    return effect, lambda: mapped[0]


def forget_dbm():
    """Python of Debian has C libraries for shelves: a process that has loaded one keeps no answer."""
    for name in ("_dbm", "_gdbm", "dbm.gnu", "dbm.ndbm"):
        sys.modules.pop(name, None)


def shelf(world):
    world.endings.append(forget_dbm)

    def effect():
        with shelve.open(world.path("shelf")) as found:
            found["n"] = found.get("n", 0) + 1

    def count():
        with shelve.open(world.path("shelf")) as found:
            return found["n"]

    return effect, count


def unlink(world):
    left = [world.path(f"file{number}") for number in range(TIMES)]
    for path in left:
        Path(path).touch()
    return lambda: os.unlink(left.pop()), lambda: TIMES - len(left)


def rename(world):
    names = iter(range(1000))
    Path(world.path("0")).touch()

    def effect():
        here = next(names)
        os.rename(world.path(str(here)), world.path(str(here + 1)))

    return effect, lambda: int(next(iter(os.listdir(world.folder))))


def mkdir(world):
    names = iter(range(1000))
    return lambda: os.makedirs(world.path(str(next(names)))), lambda: len(os.listdir(world.folder))


def http_new(world):
    def effect():
        requests.get(f"http://127.0.0.1:{world.listener.port}/")

    return effect, world.arrived


def http_kept(world):
    session = requests.Session()
    world.endings.append(session.close)
    url = f"http://127.0.0.1:{world.listener.port}/"
    return lambda: session.get(url), world.arrived


def http_client_kept(world):
    connection = http.client.HTTPConnection("127.0.0.1", world.listener.port)
    connection.connect()
    world.endings.append(connection.close)

    def effect():
        connection.request("GET", "/")
        connection.getresponse().read()

    return effect, world.arrived


def tcp_kept(world):
    sock = socket.create_connection(("127.0.0.1", world.listener.port))
    world.endings.append(sock.close)

    def effect():
        sock.send(b"ping")
        sock.recv(100)

    return effect, world.arrived


def unix_kept(world):
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(world.listener.path)
    world.endings.append(sock.close)

    def effect():
        sock.send(b"ping")
        sock.recv(100)

    return effect, world.arrived


def udp_new(world):
    def effect():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"ping", ("127.0.0.1", world.listener.port))

    return effect, world.arrived


def udp_connected(world):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.connect(("127.0.0.1", world.listener.port))
    world.endings.append(sock.close)
    return lambda: sock.send(b"ping"), world.arrived


def mail(world):
    def effect():
        with smtplib.SMTP("127.0.0.1", world.listener.smtp, "here") as server:
            server.sendmail("a@b.example", ["c@d.example"], "hello")

    return effect, world.arrived


def redis_new(world):
    def effect():
        client = redis.Redis(port=world.listener.port, protocol=2)
        client.incr("n")
        client.close()

    return effect, world.arrived


def redis_kept(world):
    client = redis.Redis(port=world.listener.port, protocol=2)
    client.ping()
    world.endings.append(client.close)
    return lambda: client.incr("n"), world.arrived


def program(world):
    return lambda: subprocess.run(
        ["sh", "-c", f"echo line >> {world.path('lines')}"], check=True
    ), world.lines


def program_by_os(world):
    return lambda: os.system(f"echo line >> {world.path('lines')}"), world.lines


def pipe_to_a_program(world):
    process = subprocess.Popen(["sh", "-c", f"cat >> {world.path('lines')}"], stdin=subprocess.PIPE)

    def end():
        process.stdin.close()
        process.wait()

    def count():
        end()
        return world.lines()

    world.endings.append(end)
    return lambda: (process.stdin.write(b"line\n"), process.stdin.flush()), count


def thread_new(world):
    def write():
        with open(world.path("lines"), "a") as stream:
            stream.write("line\n")

    def effect():
        thread = threading.Thread(target=write)
        thread.start()
        thread.join()

    return effect, world.lines


def thread_with_a_queue(world):
    todo = queue.SimpleQueue()

    def work():
        while todo.get():
            with open(world.path("lines"), "a") as stream:
                stream.write("line\n")

    thread = threading.Thread(target=work)
    thread.start()

    def end():
        todo.put(False)
        thread.join()

    def count():
        end()
        return world.lines()

    world.endings.append(lambda: thread.is_alive() and end())
    return lambda: todo.put(True), count


def fifo_new(world):
    names = iter(range(1000))
    return lambda: os.mkfifo(world.path(str(next(names)))), lambda: len(os.listdir(world.folder))


def read_all(fd):
    os.set_blocking(fd, False)
    return len(os.read(fd, 1000))


def fifo_kept(world):
    # Open for both, so that opening does not wait for a reader.
    os.mkfifo(world.path("fifo"))
    fd = os.open(world.path("fifo"), os.O_RDWR)
    world.endings.append(lambda: os.close(fd))
    return lambda: os.write(fd, b"x"), lambda: read_all(fd)


def queue_to_a_process(world):
    todo = multiprocessing.SimpleQueue()
    world.endings.append(todo.close)

    def count():
        found = 0
        while not todo.empty():
            found += todo.get()
        return found

    return lambda: todo.put(1), count


def terminal_to_a_program(world):
    here, there = pty.openpty()
    tty.setraw(there)
    os.set_blocking(there, False)
    # Only a program has the other end.
    program = subprocess.Popen(["sleep", "60"], stdin=there)
    os.close(there)
    world.endings += [program.kill, program.wait, lambda: os.close(here)]

    def count():
        with open(f"/proc/{program.pid}/fd/0", "rb", buffering=0) as stream:
            return read_all(stream.fileno())

    return lambda: os.write(here, b"x"), count


def function_of_a_library(world):
    system = ctypes.CDLL(None).system
    world.endings.append(evenkeel_effects.begin)
    return lambda: system(f"echo line >> {world.path('lines')}".encode()), world.lines


def signal_by_descriptor(world):
    came = []
    before = signal.signal(signal.SIGUSR1, lambda *_told: came.append(1))
    fd = os.pidfd_open(os.getpid())
    world.endings += [lambda: signal.signal(signal.SIGUSR1, before), lambda: os.close(fd)]
    return lambda: signal.pidfd_send_signal(fd, signal.SIGUSR1), lambda: len(came)


def log_in_memory(world):
    logger = logging.Logger("own")
    lines = logging.FileHandler(world.path("lines"))
    logger.addHandler(logging.handlers.MemoryHandler(100, target=lines))
    # The file was not written to just before.
    os.utime(world.path("lines"), (1, 1))
    world.endings += [logger.handlers[0].close, lines.close]

    def count():
        logger.handlers[0].flush()
        return world.lines()

    return lambda: logger.warning("line"), count


CERTAIN = [
    sqlite_new,
    sqlite_kept,
    sqlite_kept_with_a_log,
    sqlite_by_uri,
    sqlalchemy_core,
    sqlalchemy_orm,
    file_append,
    file_by_pathlib,
    file_by_os,
    log_file,
    unlink,
    rename,
    mkdir,
    fifo_new,
]
POSSIBLE = [
    sqlalchemy_raw,
    sqlalchemy_driver,
    file_open_before,
    descriptor_open_before,
    mapped_file,
    shelf,
    http_new,
    http_kept,
    http_client_kept,
    tcp_kept,
    unix_kept,
    udp_new,
    udp_connected,
    mail,
    redis_new,
    redis_kept,
    program,
    program_by_os,
    pipe_to_a_program,
    thread_new,
    thread_with_a_queue,
    fifo_kept,
    queue_to_a_process,
    terminal_to_a_program,
    function_of_a_library,
    signal_by_descriptor,
    log_in_memory,
]


def compute():
    end = time.thread_time() + 2 * evenkeel_cache.WORTH_SECONDS
    while time.thread_time() < end:
        pass


def cached(store, app, rules=RULES):
    return Client(
        evenkeel_cache.CacheMiddleware(app, store.guarded(), "shop:", "r1", rules, tells=True)
    )


def details(client, times, path="/effect"):
    found = []
    for _time in range(times):
        answer = client.get(path, buffered=True)
        assert answer.status_code == 200
        found.append(answer.headers["Cache-Status"])
        answer.close()
    return found


def in_the_view(effect):
    effect()
    return "done"


def while_it_is_closed(effect):
    answer = flask.make_response("done")
    answer.call_on_close(effect)
    return answer


def in_teardown(effect):
    flask.g.effect = effect
    return "done"


def in_after_request(effect):
    @flask.after_this_request
    def act(answer):
        effect()
        return answer

    return "done"


def an_app(effect, moment=in_the_view):
    app = flask.Flask(__name__)
    app.session_interface = evenkeel_sessions.CookieSessions()

    @app.get("/effect")
    def view():
        compute()
        return moment(effect)

    @app.teardown_request
    def teardown(_error):
        if "effect" in flask.g:
            flask.g.effect()

    return app


@pytest.mark.parametrize("kind", CERTAIN + POSSIBLE)
def test_each_get_that_does_something_takes_effect(store, world, kind):
    effect, count = kind(world)
    statuses = details(cached(store, an_app(effect)), TIMES)
    assert count() == TIMES
    assert not any("; hit" in each for each in statuses)
    assert not any(why in statuses[0] for why in ("looked", "as fast", "made once"))


@pytest.mark.parametrize("kind", CERTAIN)
def test_a_rule_for_the_path_does_not_lose_what_was_written_for_certain(store, world, kind):
    effect, count = kind(world)
    details(cached(store, an_app(effect), A_RULE), TIMES)
    assert count() == TIMES


@pytest.mark.parametrize("moment", [in_the_view, in_after_request, in_teardown, while_it_is_closed])
@pytest.mark.parametrize("kind", [sqlite_new, sqlalchemy_core, file_append, http_new, program])
def test_an_effect_is_noticed_at_every_point_of_a_request(store, world, kind, moment):
    effect, count = kind(world)
    details(cached(store, an_app(effect, moment)), 5)
    assert count() == 5


@pytest.mark.parametrize(
    "rules",
    [
        evenkeel_cache.Rules(paths=[("/effect", 60, False)]),
        evenkeel_cache.Rules(paths=[("/other", 60), ("/eff*", 60, False)]),
    ],
)
def test_the_team_can_say_that_what_a_path_does_does_not_count(store, world, rules):
    effect, count = file_append(world)
    assert "hit" in details(cached(store, an_app(effect), rules), 3)[-1]
    assert count() == 1


@pytest.mark.parametrize("kind", [http_new, redis_kept, program])
def test_a_rule_for_the_path_allows_what_may_be_harmless(store, world, kind):
    effect, _count = kind(world)
    assert "hit" in details(cached(store, an_app(effect), A_RULE), 3)[-1]


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (file_append, "the request wrote a file"),
        (sqlalchemy_core, "the request wrote to the database (INSERT)"),
        (http_new, "the request opened a connection"),
        (program, "the request ran a program"),
        (unlink, "the request removed a file"),
        (unix_kept, "a connection is open that may have been used"),
        (file_open_before, "lines is open for writing"),
        (thread_with_a_queue, "the app has a thread of its own"),
    ],
)
def test_the_reason_is_in_cache_status(store, world, kind, reason):
    effect, _count = kind(world)
    assert reason in details(cached(store, an_app(effect)), 1)[0]


def test_an_effect_every_second_time_is_never_lost(store, world):
    effect, count = file_append(world)
    turns = iter(range(1000))
    details(cached(store, an_app(lambda: next(turns) % 2 and effect())), TIMES)
    assert count() == TIMES // 2


def test_a_get_that_writes_makes_other_answers_old(store, world):
    effect, count = sqlalchemy_core(world)
    app = an_app(effect)

    @app.get("/count")
    def shown():
        compute()
        return str(count())

    client = cached(store, app)
    for _time in range(3):
        details(client, 3, "/count")
        details(client, 1)
        assert client.get("/count").get_data(as_text=True) == str(count())


# Read-only requests


def reads_a_database(world):
    table(world).close()
    return lambda: rows(world)


def reads_a_database_with_a_log(world):
    world.endings.append(table(world, "PRAGMA journal_mode=WAL").close)
    return lambda: rows(world)


def reads_by_sqlalchemy(world):
    engine = engine_of(world)

    def read():
        with orm.Session(engine) as session:
            session.execute(sqlalchemy.text("SELECT count(*) FROM t"))

    return read


def reads_a_file(world):
    Path(world.path("page")).write_text("page")
    return lambda: Path(world.path("page")).read_text()


def makes_sure_of_a_folder(world):
    return lambda: os.makedirs(world.folder, exist_ok=True)


def removes_what_is_not_there(world):
    return lambda: Path(world.path("none")).unlink(missing_ok=True)


def renders_a_template(world):
    return lambda: flask.render_template_string("{{ a }}", a=1)


def logs_to_nowhere(world):
    return lambda: open(os.devnull, "w").close()


def looks_up_a_name(world):
    return lambda: socket.getaddrinfo("127.0.0.1", 80)


def has_an_idle_connection(world):
    sock = socket.create_connection(("127.0.0.1", world.listener.port))
    world.endings.append(sock.close)
    time.sleep(0.2)
    return lambda: None


@pytest.mark.parametrize(
    "kind",
    [
        reads_a_database,
        reads_a_database_with_a_log,
        reads_by_sqlalchemy,
        reads_a_file,
        makes_sure_of_a_folder,
        removes_what_is_not_there,
        renders_a_template,
        logs_to_nowhere,
        looks_up_a_name,
        has_an_idle_connection,
    ],
)
def test_what_only_reads_is_kept(store, world, kind):
    read = kind(world)
    for path in world.folder.iterdir():
        # The request itself can have written a file that changed a moment ago.
        os.utime(path, (1, 1))
    statuses = details(cached(store, an_app(read)), 3)
    assert "hit" in statuses[-1], statuses


# Chance


def test_a_page_of_a_few_random_ones_freezes_rarely(store):
    import random

    froze = 0
    for _turn in range(30):
        app = an_app(lambda: None, lambda _effect: random.choice("abc"))
        froze += any("hit" in each for each in details(cached(store, app), 10))
        store.inside.flushall()
    # With two proofs it would be 10.
    assert froze <= 2


def test_a_page_that_draws_random_numbers_for_something_else_is_kept_in_the_end(store):
    import random

    statuses = details(cached(store, an_app(random.random)), 9)
    assert 'detail="stored"' in statuses[7]
    assert "hit" in statuses[8]


# Statements


NAMES = st.sampled_from(["a", "b", "item", "updated_at", "deleted", "t.update", '"insert"'])
READS = st.recursive(
    NAMES,
    lambda inner: st.one_of(
        st.builds("lower({})".format, inner),
        st.builds("count({})".format, inner),
        st.builds("(SELECT {} FROM t)".format, inner),
        st.builds("CASE WHEN {} THEN 1 END".format, inner),
    ),
)
WRITES = st.sampled_from(
    [
        "INSERT INTO t VALUES (1)",
        "UPDATE t SET a = 1",
        "DELETE FROM t",
        "DROP TABLE t",
        "TRUNCATE t",
        "CALL f()",
        "DO $$ BEGIN END $$",
        "LOCK TABLE t",
        "REPLACE INTO t VALUES (1)",
        "COPY t FROM STDIN",
        "NOTIFY a",
        "VACUUM",
        "GRANT ALL ON t TO a",
        "SELECT a INTO b FROM t",
        "SELECT a FROM t FOR UPDATE",
        "SELECT nextval('a')",
        "SELECT f(1)",
        "SELECT my.lower(a)",
        'SELECT "lower"(a)',
        "WITH x AS (DELETE FROM t RETURNING a) SELECT a FROM x",
        "EXPLAIN ANALYZE DELETE FROM t",
        "PRAGMA user_version = 3",
        "SET GLOBAL a = 1",
        "EXECUTE a",
        "SELECT 1 /*! INTO OUTFILE 'a' */",
        r"SELECT 'a\', f(1), '\'",
        r"SELECT 'a\'' , f(1), '...'",
        "SELECT 1 # it's\n, f('a')",
        "SELECT 1 --it's\n, f('a')",
        "SELECT 1 /*M! INTO OUTFILE 'a' */",
        "SELECT 1 /* /* ' */ ' */, f('a')",
        "SELECT a$b$, f(1), c$b$ FROM t",
        "SELECT * FROM f() AS (a int)",
        "SELECT * FROM f(a) AS (b int)",
    ]
)
NOISE = st.sampled_from(["", " ", "\n", "/* DELETE */", "-- DELETE\n", "  \t"])


def kind_of(text):
    return evenkeel_effects.evenkeel_sql.classify(text).kind


@given(READS, READS, NOISE, NOISE)
def test_a_statement_that_only_reads_is_known(one, other, before, between):
    assert kind_of(f"{before}SELECT {one}{between} FROM t WHERE {other} = 'DELETE'") == "reads"


@given(READS, WRITES, NOISE, NOISE)
def test_a_statement_that_may_write_is_known_in_any_surroundings(read, write, before, between):
    for text in (
        f"{before}{write}{between}",
        f"SELECT {read} FROM t;{between}{write}",
        f"{between}{write}; SELECT {read} FROM t",
    ):
        assert kind_of(text) in ("writes", "calls")
