# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Close database connections before gunicorn forks, so that workers do not share them.

This file is part of each release. It runs in gunicorn's master, and when the release is staged. It
needs Python 3.9 and, if the app has it, SQLAlchemy 1.4 or 2. Its errors must not stop the workers.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable
from typing import Any

log = logging.getLogger("evenkeel.fork")


def let_go(objects: Iterable[Any], held: bool = True) -> None:
    """Make each process that is forked from this one open its own connections.

    @param objects: all objects, from C(gc.get_objects())
    @param held: whether to close also connections in use, which lose transactions, settings and temporary tables
    """
    try:
        steps = _held() if held else _idle()
        # The class by type(): an object may answer for another one, a proxy for one that it would have to make.
        found = [each for each in objects if issubclass(type(each), tuple(steps))]
    except Exception:
        log.warning("Nothing was closed before the fork", exc_info=True)
        return
    for kind, close in steps.items():
        for each in found:
            if issubclass(type(each), kind):
                try:
                    close(each)
                except Exception:
                    log.warning("%s stays open over the fork", kind.__name__, exc_info=True)


def _held() -> dict[type, Any]:
    """Return what to close, in this order: sessions hold connections, and engines know only idle ones."""
    from sqlalchemy.engine import Connection, Engine

    orm = sys.modules.get("sqlalchemy.orm")
    sessions = {} if orm is None else {orm.Session: _end}
    return {**sessions, Connection: _reconnect, Engine: _empty}


def _idle() -> dict[type, Any]:
    from sqlalchemy.engine import Engine

    return {Engine: _empty_if_idle}


def _end(session: Any) -> None:
    # One that is through holds no connection, and its objects would know no session any more.
    if session.in_transaction():
        session.close()


def _reconnect(connection: Any) -> None:
    if connection.closed or _is_memory(connection.engine):
        return
    try:
        transaction = connection.get_transaction()
        if transaction is not None:
            transaction.rollback()
    finally:
        # It makes itself a new one when it is next used.
        connection.invalidate()


def _empty(engine: Any) -> None:
    if not _is_memory(engine):
        engine.dispose()


def _empty_if_idle(engine: Any) -> None:
    from sqlalchemy.pool import QueuePool

    # The others close what is in use too.
    if isinstance(engine.pool, QueuePool):
        _empty(engine)


def _is_memory(engine: Any) -> bool:
    """Return whether it is a database in the memory of this process. A fork copies it; a close destroys it."""
    database = engine.url.database
    return engine.dialect.name == "sqlite" and (
        database in (None, "", ":memory:") or "mode=memory" in str(engine.url)
    )
