# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""gunicorn and an app that knows nothing of us, with their lines in our files."""

from __future__ import annotations

import datetime
import importlib.metadata
import logging
import types

import evenkeel_logging
import pytest
from ansible_collections.evenkeel.flask.tests.unit.roles.logging.gunicorn_under_test import gunicorn

FLASK_APP = """
    import logging
    import warnings

    import flask

    app = flask.Flask("shop")

    @app.get("/")
    def index():
        app.logger.warning("from the app", extra={"basket": 3})
        logging.getLogger("library").info("from a library")
        logging.getLogger("library").debug("not wanted")
        warnings.warn("from Python")
        return "tea"

    @app.get("/crash")
    def crash():
        raise KeyError("tea")

    @app.get("/stream")
    def stream():
        def made():
            app.logger.info("in the stream")
            yield "a"
            raise KeyError("tea")
        return made()
"""

WORKERS = {
    "sync": ["--workers", "2"],
    "gthread": ["--workers", "1", "--threads", "4"],
}


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.slow) for name in WORKERS])
def serve(request, tmp_path):
    return lambda app: gunicorn(tmp_path, app, *WORKERS[request.param])


def test_each_line_of_a_request_has_its_id(serve, lines):
    with serve(FLASK_APP) as server:
        assert server.get("/", X_Request_ID="mine").headers["X-Request-ID"] == "mine"
    mine = [line for line in lines("app.log") if line["request_id"] == "mine"]
    assert [(line["logger"], line["level"]) for line in mine] == [
        ("shop", "WARNING"),
        ("library", "INFO"),
        ("py.warnings", "WARNING"),
    ]
    assert mine[0]["basket"] == 3
    assert [line["request_id"] for line in lines("access.log")] == ["mine"]
    assert {line["worker"] for line in mine} == {lines("access.log")[0]["worker"]}
    assert server.stderr == ""


def test_a_request_is_one_line_with_what_people_look_for(serve, lines):
    headers = {
        "X_Request_ID": "mine",
        "X_Real_IP": "192.0.2.7",
        "User_Agent": "tea/1",
        "Referer": "http://shop/?token=secret",
        "Authorization": "Bearer secret",
        "Cookie": "session=secret",
    }
    with serve(FLASK_APP) as server:
        assert server.get("/no%C3%A9?token=secret", **headers).status == 404
    (line,) = lines("access.log")
    assert next(iter(line)) == "time"
    assert isinstance(line.pop("duration_ms"), float)
    assert line.pop("bytes") > 0
    assert line.pop("worker") > 1
    assert line.pop("time").endswith("Z")
    assert line == {
        "request_id": "mine",
        "release": "r1",
        "slot": "blue",
        "method": "GET",
        "path": "/noé",
        "status": 404,
        "remote_addr": "192.0.2.7",
        "user_agent": "tea/1",
    }


@pytest.mark.parametrize("path", ["/crash", "/stream"])
def test_a_crash_has_its_traceback_and_its_request(serve, lines, path):
    with serve(FLASK_APP) as server:
        server.get(path, X_Request_ID="mine")
    (line,) = [line for line in lines("app.log") if "exception" in line]
    assert line["request_id"] == "mine"
    assert line["exception"].endswith("KeyError: 'tea'")


def test_no_query_string_is_in_any_log_even_when_gunicorn_itself_logs_the_crash(
    serve, lines, tmp_path
):
    app = """
        def app(environ, start_response):
            raise KeyError("tea")
    """
    with serve(app) as server:
        assert server.get("/crash?token=secret", X_Request_ID="mine").status == 500
    (line,) = [line for line in lines("app.log") if "exception" in line]
    assert line["logger"] == "gunicorn.error"
    assert line["request_id"] == "mine"
    assert "/crash" in line["message"]
    assert (
        "secret" not in (tmp_path / "app.log").read_text() + (tmp_path / "access.log").read_text()
    )


def test_gunicorn_logs_its_own_life_to_the_app_s_file(serve, lines):
    with serve(FLASK_APP) as server:
        server.get("/")
    messages = [line["message"] for line in lines("app.log") if line["logger"] == "gunicorn.error"]
    assert messages[0].endswith(f"gunicorn {importlib.metadata.version('gunicorn')}")
    assert messages[-1] == "Shutting down: Master"


def test_an_app_that_configures_logging_itself_loses_no_request_and_no_message_of_gunicorn(
    serve, lines
):
    app = """
        import logging.config
        logging.config.dictConfig({"version": 1, "root": {"handlers": [], "level": "ERROR"}})
        def app(environ, start_response):
            raise KeyError("tea")
    """
    with serve(app) as server:
        server.get("/")
    assert [line["status"] for line in lines("access.log")] == [500]
    assert [line["logger"] for line in lines("app.log") if "exception" in line] == [
        "gunicorn.error"
    ]


def test_an_app_that_copies_gunicorn_s_handlers_logs_each_line_once(serve, lines):
    app = """
        import logging
        import flask
        app = flask.Flask("shop")
        app.logger.handlers = logging.getLogger("gunicorn.error").handlers
        app.logger.setLevel(logging.getLogger("gunicorn.error").level)
        @app.get("/")
        def index():
            app.logger.info("once")
            return "tea"
    """
    with serve(app) as server:
        server.get("/")
    assert [line["message"] for line in lines("app.log") if line["logger"] == "shop"] == ["once"]


def test_an_app_may_log_by_gunicorn_s_logger(serve, lines):
    app = """
        import logging
        def app(environ, start_response):
            logging.getLogger("gunicorn.error").info("by the app")
            start_response("200 OK", [])
            return []
    """
    with serve(app) as server:
        server.get("/", X_Request_ID="mine")
    (line,) = [line for line in lines("app.log") if line["message"] == "by the app"]
    assert line["request_id"] == "mine"


def test_requests_are_answered_though_nothing_can_be_logged(serve, tmp_path):
    (tmp_path / "app.log").mkdir()
    (tmp_path / "access.log").mkdir()
    with serve(FLASK_APP) as server:
        assert [server.get("/").body for _turn in range(3)] == [b"tea"] * 3
    assert "app.log: [Errno 21]" in server.stderr


def test_a_request_that_makes_no_sense_is_no_trouble(settings, untouched_root, lines):
    evenkeel_logging.install(settings)
    logger = evenkeel_logging.JsonLogger(types.SimpleNamespace())
    logger.access(types.SimpleNamespace(status="odd"), None, {}, None)
    assert [line["message"] for line in lines("app.log")] == ["A request could not be logged"]


def test_an_app_that_switches_logging_off_logs_no_requests_either(
    settings, untouched_root, lines, monkeypatch
):
    """A rollout looks for the line of its own request, and refuses a release that logs nothing."""
    evenkeel_logging.install(settings)
    logger = evenkeel_logging.JsonLogger(types.SimpleNamespace())
    asked = types.SimpleNamespace(status="200 OK"), None, {}, datetime.timedelta()
    logger.access(*asked)
    monkeypatch.setattr(logging.root.manager, "disable", logging.CRITICAL)
    logger.access(*asked)
    assert len(lines("access.log")) == 1


def test_gunicorn_s_logger_says_what_is_missing_when_nothing_is_installed(monkeypatch):
    monkeypatch.setattr(evenkeel_logging, "_installed", None)
    with pytest.raises(RuntimeError, match=r"install\(\) comes first"):
        evenkeel_logging.JsonLogger(types.SimpleNamespace())
