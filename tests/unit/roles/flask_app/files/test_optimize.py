# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The defaults and layers of an app, in its own process as in production; and their report."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROLES = Path(__file__).resolve().parents[5] / "roles"
FOLDERS = [str(ROLES / role / "files") for role in ("flask_app", "redis_client", "logging")]

# As production_optimized.py.j2 renders it.
SETTINGS = {
    "EVENKEEL_POOL": {
        "pool_size": 20,
        "max_overflow": 40,
        "pool_recycle": 3600,
        "pool_pre_ping": True,
    },
    "SESSION_COOKIE_SAMESITE": "Lax",
    "EVENKEEL_JSON": True,
    "EVENKEEL_STATIC": True,
    "EVENKEEL_STATIC_TYPES": {"css": "text/css", "js": "text/javascript"},
    "EVENKEEL_COMPRESSION": True,
    "EVENKEEL_HEALTH_PATH": "/health",
    "EVENKEEL_REDIS": True,
    "EVENKEEL_REDIS_TIMEOUT": 1.0,
    "EVENKEEL_KEY_PREFIX": "shop:",
    "EVENKEEL_SESSIONS": True,
    "EVENKEEL_SESSIONS_REDIS_AWAY": "cookie",
    "EVENKEEL_CACHE": True,
    "EVENKEEL_CACHE_RULES": [],
    "EVENKEEL_CACHE_TIMEOUTS": {"text/html": 60},
    "EVENKEEL_CACHE_FORGETS": True,
    "EVENKEEL_CACHE_HEADER": False,
    "EVENKEEL_FLEET_LIMIT": 0,
    "EVENKEEL_FLEET_LIMIT_EXEMPT": [],
}
# Each app is loaded in a fork of a process that has imported what takes most of the time.
SCRIPT = """\
import json, os, sys, traceback, types
import flask, flask_sqlalchemy, orjson, psycopg, redis

def tell(paths, settings, folder):
    sys.path[:0] = paths
    os.environ["REDIS_URL"] = "redis://127.0.0.1:1"
    from evenkeel_optimize import Optimizer
    optimizer = Optimizer(types.SimpleNamespace(**settings), folder)
    optimizer.lay_under()
    import shop
    application = optimizer.surround(shop.app, "r1")
    told = optimizer.describe(shop.app, application)
    told["said"] = shop.say() if hasattr(shop, "say") else None
    return told

for line in sys.stdin:
    if os.fork() == 0:
        try:
            told = tell(*json.loads(line))
        except Exception:
            told = {"failed": traceback.format_exc()}
        print(json.dumps(told), flush=True)
        os._exit(0)
    os.wait()
"""
APP = """\
import flask
app = flask.Flask(__name__)
app.secret_key = "sesame"
"""


@pytest.fixture(name="python", scope="module")
def _python():
    command = [sys.executable, "-c", SCRIPT]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        yield process
        process.stdin.close()


@pytest.fixture
def optimized(python, tmp_path):
    """A function that optimizes an app and returns the report."""

    def optimize(app=APP, more="", **settings):
        (tmp_path / "shop.py").write_text(app + textwrap.dedent(more))
        asked = [[*FOLDERS, str(tmp_path)], {**SETTINGS, **settings}, str(tmp_path)]
        print(json.dumps(asked), file=python.stdin, flush=True)
        report = json.loads(python.stdout.readline())
        assert "failed" not in report, report["failed"]
        report["states"] = {each["measure"]: each["state"] for each in report["measures"]}
        return report

    return optimize


def test_all_that_fits_is_applied(optimized, tmp_path):
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "shop.css").write_text("a{}")
    more = """
        import flask_sqlalchemy
        app.config["SQLALCHEMY_DATABASE_URI"] = "postgresql+psycopg://nowhere.invalid"
        flask_sqlalchemy.SQLAlchemy(app)
    """
    report = optimized(more=more, EVENKEEL_FLEET_LIMIT=200)
    assert set(report["states"].values()) == {"applied"}
    assert set(report["states"]) == {"pool", "sessions", "cache", "json", "static", "fleet limit"}


def test_what_the_app_sets_for_itself_wins(optimized):
    more = """
        import flask_sqlalchemy
        from flask.json.provider import DefaultJSONProvider
        from flask.sessions import SecureCookieSessionInterface
        class Own(DefaultJSONProvider): ...
        app.json = Own(app)
        app.session_interface = SecureCookieSessionInterface()
        app.config["SESSION_COOKIE_SAMESITE"] = "Strict"
        app.config["SQLALCHEMY_DATABASE_URI"] = "postgresql+psycopg://nowhere.invalid"
        app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {"pool_size": 3}
        flask_sqlalchemy.SQLAlchemy(app)
        def say():
            return [app.config["SESSION_COOKIE_SAMESITE"], type(app.json).__name__]
    """
    report = optimized(more=more)
    assert report["said"] == ["Strict", "Own"]
    assert [report["states"][name] for name in ("pool", "sessions", "json")] == ["present"] * 3


# Every documented way to set the pool of an engine: the lines of an app, and the requested pool.
DATABASE = """
import os
import flask_sqlalchemy, sqlalchemy
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.pool import NullPool, QueuePool, StaticPool
URL = "postgresql+psycopg://nowhere.invalid"
app.config["SQLALCHEMY_DATABASE_URI"] = URL
def say():
    with app.app_context():
        pool = db.engine.pool
        return [type(pool).__name__, *([pool.size(), pool._max_overflow, pool._recycle, pool._pre_ping]
            if isinstance(pool, QueuePool) else [])]
"""
THREE = {"pool_size": 3, "max_overflow": 0}
OWN_POOLS = {
    "config key": (f"app.config['SQLALCHEMY_ENGINE_OPTIONS'] = {THREE}\ndb = SQLAlchemy(app)", 3),
    "config update": (
        f"app.config.update(SQLALCHEMY_ENGINE_OPTIONS={THREE})\ndb = SQLAlchemy(app)",
        3,
    ),
    "in place": (
        "app.config['SQLALCHEMY_ENGINE_OPTIONS']['pool_size'] = 3\ndb = SQLAlchemy(app)",
        3,
    ),
    "from_object": (
        f"class Config:\n    SQLALCHEMY_ENGINE_OPTIONS = {THREE}\n"
        "app.config.from_object(Config)\ndb = SQLAlchemy(app)",
        3,
    ),
    "from_mapping": (
        f"app.config.from_mapping(SQLALCHEMY_ENGINE_OPTIONS={THREE})\ndb = SQLAlchemy(app)",
        3,
    ),
    "from_prefixed_env": (
        "os.environ['FLASK_SQLALCHEMY_ENGINE_OPTIONS'] = '{\"pool_size\": 3, \"max_overflow\": 0}'\n"
        "app.config.from_prefixed_env()\ndb = SQLAlchemy(app)",
        3,
    ),
    "from_prefixed_env, nested": (
        "os.environ['FLASK_SQLALCHEMY_ENGINE_OPTIONS__pool_size'] = '3'\n"
        "app.config.from_prefixed_env()\ndb = SQLAlchemy(app)",
        3,
    ),
    "constructor": (f"db = SQLAlchemy(app, engine_options={THREE})", 3),
    "constructor, no pool": (
        "db = SQLAlchemy(app, engine_options={'poolclass': NullPool})",
        "NullPool",
    ),
    "constructor, one connection": (
        "db = SQLAlchemy(app, engine_options={'poolclass': StaticPool})",
        "StaticPool",
    ),
    "config, no pool": (
        "app.config['SQLALCHEMY_ENGINE_OPTIONS'] = {'poolclass': NullPool}\ndb = SQLAlchemy(app)",
        "NullPool",
    ),
    "its own class of pools": (
        "db = SQLAlchemy(app, engine_options={'poolclass': QueuePool, 'pool_size': 3})",
        3,
    ),
    "one option of a pool": ("db = SQLAlchemy(app, engine_options={'pool_timeout': 3})", 5),
    "no overflow": ("db = SQLAlchemy(app, engine_options={'max_overflow': 0})", 5),
    "init_app": (f"db = SQLAlchemy(engine_options={THREE})\ndb.init_app(app)", 3),
    "factory": (
        f"db = SQLAlchemy(engine_options={THREE})\ndef create_app():\n    db.init_app(app)\n"
        "    return app\napp = create_app()",
        3,
    ),
    "subclass": (
        f"class Own(SQLAlchemy):\n    def __init__(self, *args):\n"
        f"        super().__init__(*args, engine_options={THREE})\ndb = Own(app)",
        3,
    ),
    "subclass that makes engines": (
        "class Own(SQLAlchemy):\n    def _make_engine(self, key, options, app):\n"
        "        return sqlalchemy.create_engine(options['url'], pool_size=3)\ndb = Own(app)",
        3,
    ),
    "subclass with other defaults": (
        "class Own(SQLAlchemy):\n    def _apply_driver_defaults(self, options, app):\n"
        "        options['poolclass'] = NullPool\ndb = Own(app)",
        "NullPool",
    ),
    "bind": (
        "app.config['SQLALCHEMY_DATABASE_URI'] = None\n"
        "app.config['SQLALCHEMY_BINDS'] = {None: {'url': URL, 'pool_size': 3}}\n"
        "db = SQLAlchemy(app)",
        3,
    ),
    "after creation": (
        "db = SQLAlchemy(app)\nwith app.app_context():\n"
        "    db.engines[None] = sqlalchemy.create_engine(URL, pool_size=3)",
        3,
    ),
}


@pytest.mark.parametrize(("lines", "pool"), OWN_POOLS.values(), ids=OWN_POOLS)
def test_a_pool_that_the_app_sets_wins_wherever_it_is_set(optimized, lines, pool):
    report = optimized(app=APP + DATABASE + lines)
    returned = report["said"]
    assert (returned[0] if isinstance(pool, str) else returned[1]) == pool
    assert returned[4:] in ([], [False])
    (row,) = [each for each in report["measures"] if each["measure"] == "pool"]
    shown = returned[0] if isinstance(pool, str) else f"{returned[1]} + {returned[2]} a worker"
    assert (row["state"], row["detail"]) == ("present", shown)


# Options that are not about the pool keep ours, and the report is read from the engine.
NOT_OF_A_POOL = {
    "nothing": "db = SQLAlchemy(app)",
    "constructor": "db = SQLAlchemy(app, engine_options={'connect_args': {'connect_timeout': 3}})",
    "echo": "app.config['SQLALCHEMY_ECHO'] = True\ndb = SQLAlchemy(app)",
    "creator": "db = SQLAlchemy(app, engine_options={'creator': lambda: None})",
    "init_app": "db = SQLAlchemy()\ndb.init_app(app)",
    "subclass": "class Own(SQLAlchemy): ...\ndb = Own(app)",
    "its own engine with the options": (
        "class Own(SQLAlchemy):\n    def _make_engine(self, key, options, app):\n"
        "        return sqlalchemy.create_engine(options.pop('url'), **options)\ndb = Own(app)"
    ),
    "our configuration by name": (
        "app.config.from_object('production_optimized')\n"
        "db = SQLAlchemy(app, engine_options={'connect_args': {}})"
    ),
}


@pytest.mark.parametrize("lines", NOT_OF_A_POOL.values(), ids=NOT_OF_A_POOL)
def test_an_app_that_sets_no_pool_gets_ours(optimized, tmp_path, lines):
    (tmp_path / "production_optimized.py").write_text("EVENKEEL_POOL = {'pool_size': 20}\n")
    report = optimized(app=APP + DATABASE + lines)
    assert report["said"] == ["QueuePool", 20, 40, 3600, True]
    (row,) = [each for each in report["measures"] if each["measure"] == "pool"]
    assert (row["state"], row["detail"]) == ("applied", "20 + 40 a worker")


def test_engines_of_binds_are_told_too(optimized):
    lines = "app.config['SQLALCHEMY_BINDS'] = {'other': URL}\ndb = SQLAlchemy(app)"
    (row,) = [
        each
        for each in optimized(app=APP + DATABASE + lines)["measures"]
        if each["measure"] == "pool"
    ]
    assert row["detail"] == "20 + 40 a worker; other: 5 + 10 a worker"


def test_a_database_without_connections_keeps_its_own(optimized):
    lines = "app.config['SQLALCHEMY_DATABASE_URI'] = 'sqlite://'\ndb = SQLAlchemy(app)"
    report = optimized(app=APP + DATABASE + lines)
    assert report["states"]["pool"] == "present"


# Every documented way to set the other two: what the app has, and never "applied".
OWN_JSON = {
    "after creation": "app.json = Own(app)",
    "attribute of a subclass": "class Shop(flask.Flask):\n    json_provider_class = Own\napp = Shop('shop')",
    "attribute of Flask": "flask.Flask.json_provider_class = Own\napp = flask.Flask('shop')",
    "factory": "def create_app():\n    made = flask.Flask('shop')\n    made.json = Own(made)\n"
    "    return made\napp = create_app()",
}
OWN_SESSIONS = {
    "after creation": "app.session_interface = Sessions()",
    "attribute of a subclass": "class Shop(flask.Flask):\n    session_interface = Sessions()\napp = Shop('shop')",
    "attribute of Flask": "flask.Flask.session_interface = Sessions()\napp = flask.Flask('shop')",
    "extension": "class Extension:\n    def init_app(self, app): app.session_interface = Sessions()\n"
    "Extension().init_app(app)",
}
OWN_CLASSES = """
from flask.json.provider import DefaultJSONProvider
from flask.sessions import SecureCookieSessionInterface
class Own(DefaultJSONProvider): ...
class Sessions(SecureCookieSessionInterface): ...
"""


@pytest.mark.parametrize(
    ("measure", "lines", "name"),
    [
        *(("json", lines, "Own") for lines in OWN_JSON.values()),
        *(("sessions", lines, "Sessions") for lines in OWN_SESSIONS.values()),
    ],
)
def test_json_and_sessions_that_the_app_sets_win_wherever_they_are_set(
    optimized, measure, lines, name
):
    report = optimized(app=APP + OWN_CLASSES + lines + "\napp.secret_key = 'sesame'\n")
    (row,) = [each for each in report["measures"] if each["measure"] == measure]
    assert (row["state"], row["detail"]) == ("present", name)


def test_a_class_of_the_apps_own_wins_too(optimized):
    app = """
import flask
from flask.json.provider import DefaultJSONProvider
class Shop(flask.Flask):
    json_provider_class = DefaultJSONProvider
app = Shop(__name__)
"""
    assert optimized(app)["states"]["json"] == "present"


def test_any_single_measure_can_be_switched_off(optimized):
    switches = {
        "sessions": "EVENKEEL_SESSIONS",
        "cache": "EVENKEEL_CACHE",
        "json": "EVENKEEL_JSON",
        "static": "EVENKEEL_STATIC",
    }
    for measure, switch in switches.items():
        states = optimized(**{switch: False})["states"]
        off = {name for name in switches if states[name] == "off"}
        assert off == {measure}


def test_without_redis_the_app_keeps_its_own_store(optimized):
    states = optimized(EVENKEEL_REDIS=False)["states"]
    assert [states[name] for name in ("sessions", "cache")] == ["not applicable"] * 2


def test_an_app_that_cannot_sign_has_no_sessions_to_move(optimized):
    states = optimized("import flask\napp = flask.Flask(__name__)\n")["states"]
    assert states["sessions"] == "not applicable"


@pytest.mark.parametrize(
    "wrapped",
    [
        "from werkzeug.middleware.proxy_fix import ProxyFix\napp = ProxyFix(app)\n",
        "class Outer:\n    def __init__(self, app): self.app = app\n"
        "    def __call__(self, *args): return self.app(*args)\napp = Outer(Outer(app))\n",
    ],
)
def test_a_wrapped_app_is_found(optimized, wrapped):
    assert optimized(more=wrapped)["states"]["sessions"] == "applied"


def test_an_app_that_is_no_flask_at_all_is_served(optimized):
    report = optimized("def app(environ, start_response): ...\n")
    assert report["states"]["json"] == "not applicable"
    assert report["states"]["cache"] == "applied"


def test_an_app_that_picks_its_configuration_by_name_finds_it(optimized, tmp_path):
    (tmp_path / "production_optimized.py").write_text("JSONIFY = 'found'\nOWN = 1\n")
    more = """
        import os
        os.environ["FLASK_ENV"] = "production_optimized"
        app.config.from_object(os.environ["FLASK_ENV"])
        def say():
            return app.config["OWN"]
    """
    assert optimized(more=more)["said"] == 1


# Static files


@pytest.fixture
def files(tmp_path):
    folder = tmp_path / "static"
    (folder / "deep").mkdir(parents=True)
    (folder / "shop.css").write_text("body { color: navy }")
    (folder / "deep" / "a b.js").write_text("1")
    (folder / "link.css").symlink_to("shop.css")
    return folder


@pytest.mark.parametrize("is_enabled", [True, False])
def test_the_files_that_anybody_gets_are_listed(optimized, files, is_enabled):
    report = optimized(EVENKEEL_CACHE_HEADER=is_enabled)
    found = {each["url"]: each for each in report["static"]}
    assert set(found) == {"/static/shop.css", "/static/deep/a%20b.js"}
    css = found["/static/shop.css"]
    assert (css["endpoint"], css["name"], css["path"]) == (
        "static",
        "shop.css",
        str(files / "shop.css"),
    )
    assert dict(css["headers"])["Content-Type"] == "text/css; charset=utf-8"
    assert "ETag" not in dict(css["headers"])


def test_a_blueprint_s_are_listed_too(optimized, tmp_path):
    (tmp_path / "kit").mkdir()
    (tmp_path / "kit" / "kit.css").write_text("a{}")
    more = """
        kit = flask.Blueprint("kit", __name__, static_folder="kit", url_prefix="/kit")
        app.register_blueprint(kit)
    """
    (found,) = optimized(more=more)["static"]
    assert (found["endpoint"], found["url"]) == ("kit.static", "/kit/kit/kit.css")


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ("@app.before_request\ndef guard(): flask.abort(401)\n", "is answered by 401"),
        (
            "@app.after_request\ndef add(answer):\n    answer.headers['X-Frame-Options'] = 'DENY'\n"
            "    return answer\n",
            "has headers of its own: x-frame-options",
        ),
        (
            "@app.after_request\ndef add(answer):\n    answer.direct_passthrough = False\n"
            "    answer.set_data(b'other')\n    return answer\n",
            "is not what is in the file",
        ),
        ("@app.before_request\ndef fail(): raise ZeroDivisionError\n", "is answered by 500"),
        (
            "import mimetypes\nmimetypes.add_type('text/plain', '.css')\n"
            "mimetypes.add_type('text/plain', '.js')\n",
            "is text/plain, and by nginx would be text/",
        ),
        (
            "@app.after_request\ndef other(answer):\n    answer.mimetype_params['charset'] = 'latin-1'\n"
            "    return answer\n",
            "; charset=latin-1",
        ),
    ],
)
def test_what_is_not_for_everybody_as_it_is_stays_the_apps(optimized, files, more, why):
    report = optimized(more=more)
    assert report["static"] == []
    (static,) = [each for each in report["measures"] if each["measure"] == "static"]
    assert static["state"] == "not applicable"
    assert why in static["detail"]


def test_a_type_that_has_two_names_is_the_same_by_either(optimized, tmp_path):
    (tmp_path / "static").mkdir()
    (tmp_path / "static" / "shop.js").write_text("1")
    more = "import mimetypes\nmimetypes.add_type('application/javascript', '.js')\n"
    (found,) = optimized(more=more)["static"]
    assert dict(found["headers"])["Content-Type"].startswith("application/javascript")


def told_by_client(script):
    return "def say():\n" + textwrap.indent(textwrap.dedent(script), "    ")


def test_url_for_names_the_version_and_browsers_may_keep_it(optimized, files, tmp_path):
    css = {
        "endpoint": "static",
        "name": "shop.css",
        "url": "/static/shop.css",
        "version": "0123456789abcdef",
        "headers": [],
    }
    (tmp_path / "static.json").write_text(json.dumps({"files": [css]}))
    script = """
        with app.test_request_context():
            url = flask.url_for("static", filename="shop.css")
            others = [
                flask.url_for("static", filename="deep/a b.js"),
                flask.url_for("static", filename="shop.css", mine=1),
            ]
        client = app.test_client()
        urls = [url, "/static/shop.css", "/static/shop.css?v=old"]
        return [url, others, [client.get(each).headers["Cache-Control"] for each in urls]]
    """
    url, others, returned = optimized(more=told_by_client(script))["said"]
    assert url == "/static/shop.css?v=0123456789abcdef"
    assert others == ["/static/deep/a%20b.js", "/static/shop.css?mine=1"]
    assert returned == ["public, max-age=31536000", "no-cache", "no-cache"]
