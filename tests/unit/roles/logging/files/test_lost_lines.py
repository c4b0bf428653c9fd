# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No line is lost under several workers, regardless of how often the files are rotated.

Python's own RotatingFileHandler loses lines, which shows that the workload is sufficient.
"""

from __future__ import annotations

import contextlib
import gzip
import itertools
import json
import logging
import logging.handlers
import multiprocessing
import os
import pathlib
import sys
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import evenkeel_logging
import pytest
from ansible_collections.evenkeel.flask.tests.unit.roles.logging.gunicorn_under_test import gunicorn
from ansible_collections.evenkeel.flask.tests.unit.roles.logging.rendered import (
    Logrotate,
    needs_logrotate,
)

pytestmark = pytest.mark.slow

WORKERS = 5
ROUNDS = 20
LINES_A_ROUND = 200
LINES = WORKERS * ROUNDS * LINES_A_ROUND


class ByRenaming:
    """The rename of logrotate and nothing else, as fast as possible."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory
        self.numbers = itertools.count(1)

    def __call__(self) -> None:
        for log in ("app.log", "access.log"):
            with contextlib.suppress(FileNotFoundError):
                os.rename(self.directory / log, self.directory / f"{log}.{next(self.numbers)}")


def by_logrotate(directory: pathlib.Path) -> Callable[[], object]:
    """logrotate as the role configures it, without the removal of files."""
    logrotate = Logrotate(directory, logging_rotate_keep=1000)
    return lambda: logrotate("--force")


ROTATIONS = [
    pytest.param(ByRenaming, id="renaming"),
    pytest.param(by_logrotate, id="logrotate", marks=needs_logrotate),
]


def written_by_several_workers(handler, rotate=lambda: None, text="x" * 80):
    """All workers write at once, and in each round, while they do, the files are rotated once.

    A round ends when all its lines are written: between two rotations of a log lie minutes on a
    host, and never less than one line takes.
    """
    fork = multiprocessing.get_context("fork")
    rounds = fork.Barrier(WORKERS + 1, timeout=60)
    logger = logging.Logger("shop")
    logger.addHandler(handler)

    def work(worker):
        try:
            for turn in range(ROUNDS):
                rounds.wait()
                for number in range(LINES_A_ROUND):
                    logger.info("%d-%d-%d %s", worker, turn, number, text)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        # Without a farewell: what a worker leaves unwritten when it is gone is lost.
        os._exit(0)

    workers = [fork.Process(target=work, args=(number,)) for number in range(WORKERS)]
    for worker in workers:
        worker.start()
    for _turn in range(ROUNDS):
        rounds.wait()
        rotate()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * WORKERS


def everything_in(directory, log):
    """All lines of a log, rotated and compressed ones too."""
    for path in directory.glob(f"{log}*"):
        with (gzip.open if path.suffix == ".gz" else open)(path, "rt") as stream:
            yield from stream


def test_plain_rotating_file_handler_loses_lines_under_several_workers(tmp_path, monkeypatch):
    monkeypatch.setattr(logging, "raiseExceptions", False)
    handler = logging.handlers.RotatingFileHandler(
        tmp_path / "app.log", maxBytes=20_000, backupCount=300, delay=True
    )
    written_by_several_workers(handler)
    found = {line.split(" ")[0] for line in everything_in(tmp_path, "app.log")}
    assert 0 < len(found) < LINES
    assert len(list(tmp_path.iterdir())) < 300  # None was removed for its number.


@pytest.mark.parametrize("rotation", ROTATIONS)
def test_no_line_is_lost_under_several_workers_while_logrotate_rotates(
    settings, tmp_path, rotation, capfd
):
    handler = evenkeel_logging.WholeLineHandler(str(tmp_path / "app.log"))
    handler.setFormatter(evenkeel_logging.JsonFormatter(settings))
    # Its file is open before the workers are forked, as it is under gunicorn.
    handler.handle(logging.makeLogRecord({"msg": "first"}))
    written_by_several_workers(handler, rotation(tmp_path))
    found = [json.loads(line)["message"] for line in everything_in(tmp_path, "app.log")]
    assert len(found) == len(set(found)) == LINES + 1
    assert len(list(tmp_path.glob("app.log.*"))) >= ROUNDS - 1
    assert capfd.readouterr().err == ""


def test_long_lines_of_several_workers_do_not_mix(settings, tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "LINES_A_ROUND", 2)
    text = "x" * 200_000
    handler = evenkeel_logging.WholeLineHandler(str(tmp_path / "app.log"))
    handler.setFormatter(evenkeel_logging.JsonFormatter(settings))
    written_by_several_workers(handler, ByRenaming(tmp_path), text)
    found = [json.loads(line)["message"] for line in everything_in(tmp_path, "app.log")]
    assert len(set(found)) == WORKERS * ROUNDS * 2
    assert all(message.endswith(f" {text}") for message in found)


@pytest.mark.parametrize("rotation", ROTATIONS)
def test_every_request_has_its_lines_when_the_logs_of_a_running_gunicorn_are_rotated(
    tmp_path, rotation
):
    app = """
        import logging
        def app(environ, start_response):
            logging.getLogger("shop").info("served")
            start_response("200 OK", [])
            return [b"tea"]
    """
    rotate = rotation(tmp_path)
    with (
        gunicorn(tmp_path, app, "--workers", str(WORKERS)) as server,
        ThreadPoolExecutor(WORKERS) as clients,
    ):
        asked = [f"{turn}-{number}" for turn in range(10) for number in range(50)]
        for turn in range(10):
            answers = clients.map(
                lambda own: server.get("/", X_Request_ID=own), asked[turn * 50 :][:50]
            )
            rotate()
            assert {answer.status for answer in answers} == {200}
    served = [json.loads(line) for line in everything_in(tmp_path, "app.log")]
    assert sorted(line["request_id"] for line in served if line["logger"] == "shop") == sorted(
        asked
    )
    logged = [json.loads(line)["request_id"] for line in everything_in(tmp_path, "access.log")]
    assert sorted(logged) == sorted(asked)
