# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Give an engine of Flask-SQLAlchemy our pool, unless the app has set a pool or an option of one.

The app can do that in the configuration, in C(SQLAlchemy(engine_options=...)), in a subclass, or in
any place that a later version adds. All of them end in C(create_engine), so the decision is there: by a
plugin, SQLAlchemy's own way to see the arguments of an engine.

This file is part of each release and runs inside the app's own process. It needs Python 3.9 and
SQLAlchemy 1.4 or 2.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any

from sqlalchemy.dialects import plugins
from sqlalchemy.engine import CreateEnginePlugin, Engine
from sqlalchemy.pool import QueuePool

NAME = "evenkeel"
# Arguments of create_engine() that concern the pool, in addition to pool_...
OWN = ("poolclass", "max_overflow")
# create_engine() has these names, and a pool has them without C(pool_).
PREFIXED = ("pool_recycle", "pool_pre_ping", "pool_timeout", "pool_use_lifo")
_ours: weakref.WeakSet[Engine] = weakref.WeakSet()


def lay_under(values: Mapping[str, Any]) -> dict[str, Any]:
    """Register the plugin, and return the engine options that name it.

    @param values: the arguments of the pool, as create_engine() has them
    """
    Plugin.values = dict(values)
    plugins.register(NAME, __name__, "Plugin")
    return {"plugins": [NAME]}


class Plugin(CreateEnginePlugin):
    """The choice of one engine's pool."""

    values: Mapping[str, Any] = {}

    def __init__(self, url: Any, kwargs: dict[str, Any]) -> None:
        super().__init__(url, kwargs)
        own = {name for name in kwargs if name in OWN or name.startswith("pool")}
        # Flask-SQLAlchemy sets this one for each engine of MySQL.
        if url.drivername.startswith(("mysql", "mariadb")) and kwargs.get("pool_recycle") == 7200:
            own.discard("pool_recycle")
        self._has_own = bool(own)
        self._is_ours = False

    def update_url(self, url: Any) -> Any:
        return url

    def handle_pool_kwargs(self, pool_cls: type, pool_args: dict[str, Any]) -> None:
        # Some dialects choose another class: SQLite has no pool for some databases.
        self._is_ours = not self._has_own and issubclass(pool_cls, QueuePool)
        for name, value in self.values.items() if self._is_ours else ():
            pool_args.setdefault(name[len("pool_") :] if name in PREFIXED else name, value)

    def engine_created(self, engine: Engine) -> None:
        if self._is_ours:
            _ours.add(engine)


def is_ours(engine: Any) -> bool:
    return engine in _ours


def describe(engine: Any) -> str:
    """Return the pool of an engine in words, as it is and not as it was configured."""
    pool = engine.pool
    if isinstance(pool, QueuePool):
        return f"{pool.size()} + {max(0, pool._max_overflow)} a worker"
    return type(pool).__name__
