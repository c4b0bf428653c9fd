# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An app with a common error: it queries its database at import. Each worker takes part in each round."""

from __future__ import annotations

import json
import multiprocessing
import os

from sqlalchemy import create_engine, text

QUESTIONS = 100

engine = create_engine(os.environ["DATABASE_URL"])
with engine.connect() as connection:
    FIRST = connection.execute(text("select pg_backend_pid()")).scalar()
# The workers inherit it. A worker has one request at a time, so no two of those that wait here are of one.
everybody = multiprocessing.get_context("fork").Barrier(int(os.environ["WORKERS"]))


def backend():
    """Return the process of the database at the other end; the driver knows it without a query."""
    with engine.connect() as connection:
        driver = connection.connection.dbapi_connection
        return {"first": FIRST, "own": driver.info.backend_pid}


def wrong():
    """How many questions got the answer to another one."""
    asked = [f"{os.getpid()} {number}" for number in range(QUESTIONS)]
    with engine.connect() as connection:
        answers = [connection.execute(text("select :it"), {"it": it}).scalar() for it in asked]
    return sum(answer != it for it, answer in zip(asked, answers))


def application(environ, start_response):
    everybody.wait(60)
    answer = {"/backend": backend, "/wrong": wrong}[environ["PATH_INFO"]]()
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(answer).encode()]
