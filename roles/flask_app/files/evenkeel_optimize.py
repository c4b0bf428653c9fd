# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Apply the measures of production_optimized to an app, and report the state of each.

Some measures are defaults of Flask's own classes, set before the app is imported. So the app's
own settings have precedence.

This file is part of each release and runs inside the app's own process. It needs Python 3.9 and
Flask, and orjson and redis-py for the measures that use them.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import evenkeel_cookies
import evenkeel_static
import flask
from flask.json.provider import DefaultJSONProvider
from flask.sessions import SecureCookieSessionInterface

APPLIED, PRESENT, NOT_APPLICABLE, OFF = "applied", "present", "not applicable", "off"


class Optimizer:
    """The measures of one process.

    @param settings: the module production_optimized
    @param folder: the release's
    """

    def __init__(self, settings: Any, folder: str) -> None:
        self.settings = settings
        self.folder = folder
        self.redis: Any = None
        self.static: list[dict[str, Any]] = []
        # The installed defaults. If the app has another class, it set that itself.
        self.json: type | None = None
        self.sessions: Any = None

    def lay_under(self) -> None:
        """Before the app is imported."""
        settings = self.settings
        values = {name: value for name, value in vars(settings).items() if name.isupper()}
        own = {name: value for name, value in values.items() if not name.startswith("EVENKEEL_")}
        pool = getattr(settings, "EVENKEEL_POOL", None)
        if pool is not None and importlib.util.find_spec("flask_sqlalchemy"):
            import evenkeel_pool

            own["SQLALCHEMY_ENGINE_OPTIONS"] = evenkeel_pool.lay_under(pool)
        defaults = flask.Flask.default_config
        flask.Flask.default_config = type(defaults)({**defaults, **own})
        evenkeel_cookies.lay_under(getattr(settings, "EVENKEEL_HOST_COOKIE", False))
        if settings.EVENKEEL_JSON:
            from evenkeel_json import OrjsonProvider

            flask.Flask.json_provider_class = self.json = OrjsonProvider
        if settings.EVENKEEL_STATIC:
            self.static = evenkeel_static.read(os.path.join(self.folder, "static.json"))
            evenkeel_static.lay_under(evenkeel_static.versions_of(self.static))
        if settings.EVENKEEL_REDIS:
            self._use_redis()

    def _use_redis(self) -> None:
        import evenkeel_cache
        import evenkeel_sessions
        from evenkeel_redis import Guarded

        settings = self.settings
        self.redis = Guarded(os.environ["REDIS_URL"], settings.EVENKEEL_REDIS_TIMEOUT)
        if settings.EVENKEEL_SESSIONS:
            flask.Flask.session_interface = self.sessions = evenkeel_sessions.RedisSessions(
                self.redis, settings.EVENKEEL_KEY_PREFIX, settings.EVENKEEL_SESSIONS_REDIS_AWAY
            )
        if settings.EVENKEEL_CACHE:
            evenkeel_cache.teach_frameworks()
            if not settings.EVENKEEL_SESSIONS:
                # Flask's own interface always reads the cookie, also without a need.
                flask.Flask.session_interface = evenkeel_sessions.CookieSessions()

    def surround(self, app: Any, release: str) -> Any:
        """Wrap the imported app in the layers between the front and the app."""
        settings = self.settings
        if self.redis and settings.EVENKEEL_CACHE:
            from evenkeel_cache import CacheMiddleware, Rules

            rules = Rules(
                settings.EVENKEEL_CACHE_RULES,
                settings.EVENKEEL_CACHE_TIMEOUTS,
                never=[settings.EVENKEEL_HEALTH_PATH],
            )
            app = CacheMiddleware(
                app,
                self.redis,
                settings.EVENKEEL_KEY_PREFIX,
                release,
                rules,
                tells=settings.EVENKEEL_CACHE_HEADER,
                forgets=settings.EVENKEEL_CACHE_FORGETS,
                compresses=settings.EVENKEEL_COMPRESSION,
            )
        if self.redis and settings.EVENKEEL_FLEET_LIMIT:
            from evenkeel_limit import FleetLimit

            app = FleetLimit(
                app,
                self.redis,
                settings.EVENKEEL_KEY_PREFIX,
                settings.EVENKEEL_FLEET_LIMIT,
                exempt_paths=[settings.EVENKEEL_HEALTH_PATH],
                exempt_networks=settings.EVENKEEL_FLEET_LIMIT_EXEMPT,
                exempt_files=[urlsplit(file["url"]).path for file in self.static],
            )
        if self.static:
            # Beside the folder of the releases.
            root = os.path.join(os.path.dirname(os.path.dirname(self.folder)), "static")
            compresses = settings.EVENKEEL_COMPRESSION
            app = evenkeel_static.StaticFiles(app, root, self.static, compresses)
        return app

    def describe(self, entry: Any, application: Any) -> dict[str, Any]:
        """Return the state of each measure in this app, and the static files that nginx may serve.

        @param entry: the app's own entry point
        @param application: the WSGI application that gunicorn serves
        """
        app = flask_app(entry)
        outcomes: dict[str, tuple[str, str]] = {
            "pool": self._pool(app),
            "sessions": self._sessions(app),
            "cache": self._cache(app),
            "json": self._json(app),
        }
        files, outcomes["static"] = self._static(app, application)
        outcomes["fleet limit"] = self._fleet_limit()
        measures = [
            {"measure": name, "state": state, "detail": detail}
            for name, (state, detail) in outcomes.items()
        ]
        return {"measures": measures, "static": files}

    def _pool(self, app: Any) -> tuple[str, str]:
        if getattr(self.settings, "EVENKEEL_POOL", None) is None:
            return OFF, "switched off, or no database of a server"
        if app is None or "sqlalchemy" not in app.extensions:
            return NOT_APPLICABLE, "the app has no Flask-SQLAlchemy"
        import evenkeel_pool

        try:
            engines = _engines(app)
        except Exception as error:
            # An app can make its engines later, or in a way of its own.
            return NOT_APPLICABLE, f"the app's engines are not to be had: {error!r}"
        if not engines:
            return NOT_APPLICABLE, "the app has no engine"
        (_name, first), *others = engines.items()
        also = "".join(f"; {name}: {evenkeel_pool.describe(each)}" for name, each in others)
        detail = f"{evenkeel_pool.describe(first)}{also}"
        return (APPLIED, detail) if evenkeel_pool.is_ours(first) else (PRESENT, detail)

    def _sessions(self, app: Any) -> tuple[str, str]:
        if not self.settings.EVENKEEL_SESSIONS:
            return OFF, ""
        if not self.redis:
            return NOT_APPLICABLE, "no redis_client_url"
        if app is None:
            return NOT_APPLICABLE, "no Flask app was found behind the entry"
        own = type(app.session_interface)
        if app.session_interface is not self.sessions:
            standard = own is SecureCookieSessionInterface
            return PRESENT, "Flask's own, set by the app" if standard else own.__name__
        if not app.secret_key:
            return NOT_APPLICABLE, "the app has no SECRET_KEY, so no sessions"
        return APPLIED, "in Redis"

    def _cache(self, app: Any) -> tuple[str, str]:
        if not self.settings.EVENKEEL_CACHE:
            return OFF, ""
        if not self.redis:
            return NOT_APPLICABLE, "no redis_client_url"
        also = app is not None and "cache" in app.extensions
        return APPLIED, "beside the app's own Flask-Caching" if also else "in Redis"

    def _json(self, app: Any) -> tuple[str, str]:
        if not self.settings.EVENKEEL_JSON:
            return OFF, ""
        if app is None:
            return NOT_APPLICABLE, "no Flask app was found behind the entry"
        own = type(app.json)
        if own is self.json:
            return APPLIED, "orjson"
        standard = own is DefaultJSONProvider
        return PRESENT, "Flask's own, set by the app" if standard else own.__name__

    def _static(self, app: Any, application: Any) -> tuple[list[dict[str, Any]], tuple[str, str]]:
        if not self.settings.EVENKEEL_STATIC:
            return [], (OFF, "")
        files, why = _listed(app, application, self.settings.EVENKEEL_STATIC_TYPES)
        if not files:
            return [], (NOT_APPLICABLE, why or "no files")
        left = f"; the app's own: {why}" if why else ""
        return files, (APPLIED, f"{len(files)} files{left}")

    def _fleet_limit(self) -> tuple[str, str]:
        limit = self.settings.EVENKEEL_FLEET_LIMIT
        if not limit:
            return OFF, ""
        if not self.redis:
            return NOT_APPLICABLE, "no redis_client_url"
        return APPLIED, f"{limit} a minute"


def _listed(
    app: Any, application: Any, types: Mapping[str, str]
) -> tuple[list[dict[str, Any]], str]:
    if app is None:
        return [], "no Flask app was found behind the entry"
    try:
        return evenkeel_static.listed(app, application, types)
    except Exception as error:
        # An app can be good even if it fails during this inspection.
        return [], f"they were not to be had: {error!r}"


def _engines(app: Any) -> dict[str | None, Any]:
    """The engines of an app with Flask-SQLAlchemy, the one without a name first; none is connected."""
    extension = app.extensions["sqlalchemy"]
    # Before version 3 it is a state that has the extension.
    database = getattr(extension, "db", extension)
    with app.app_context():
        engines = getattr(database, "engines", None)
        found = {None: database.engine} if engines is None else dict(engines)
    return dict(sorted(found.items(), key=lambda item: item[0] or ""))


def flask_app(entry: Any) -> Any:
    """The Flask app behind an entry, which may be wrapped in what others wrap theirs in."""
    for _depth in range(5):
        if entry is None or isinstance(entry, flask.Flask):
            return entry
        inner = (getattr(entry, name, None) for name in ("app", "wsgi_app", "application"))
        entry = next((found for found in inner if found is not None), None)
    return None
