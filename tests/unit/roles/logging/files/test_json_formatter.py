# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each record becomes one line of JSON, regardless of its content."""

from __future__ import annotations

import datetime
import json
import logging
import os
import sys
from types import SimpleNamespace

import evenkeel_logging
import pytest


class Unspeakable:
    def __str__(self):
        raise RuntimeError("no words")

    __repr__ = __str__


@pytest.fixture
def line(settings):
    """Return the fields in the line of a record."""
    formatter = evenkeel_logging.JsonFormatter(settings)

    def formatted(message="said", *args, extra=None, exc_info=None):
        record = logging.getLogger("shop").makeRecord(
            "shop", logging.WARNING, "shop.py", 7, message, args, exc_info, extra=extra
        )
        record.created = 1764000000.0426
        text = formatter.format(record)
        assert "\n" not in text
        return json.loads(text, parse_constant=pytest.fail)

    return formatted


def test_a_line_says_when_where_what_and_by_which_release(line):
    assert line("sold %d of %s", 3, "tea") == {
        "time": "2025-11-24T16:00:00.042Z",
        "level": "WARNING",
        "logger": "shop",
        "message": "sold 3 of tea",
        "request_id": None,
        "release": "r1",
        "slot": "blue",
        "worker": os.getpid(),
    }


def test_the_time_stands_before_anything_that_an_app_could_write(line):
    assert next(iter(line("2001-01-01T00:00:00.000Z"))) == "time"


@pytest.mark.parametrize(
    ("message", "args", "shown"),
    [
        ("two\nlines\r\n", (), "two\nlines\r\n"),
        ("tea \u2028 \U0001f375", (), "tea \u2028 \U0001f375"),
        ("half a \ud800 pair", (), "half a \ud800 pair"),
        (("a", 1), (), "('a', 1)"),
        ("%d sold", ("many",), "%d sold ('many',)"),
        ("%s", (Unspeakable(),), "%s <a tuple that cannot be shown>"),
    ],
)
def test_any_message_becomes_one_line(line, message, args, shown):
    assert line(message, *args)["message"] == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (3, 3),
        ({"nested": [1, None]}, {"nested": [1, None]}),
        ({1}, "{1}"),
        (b"raw", "b'raw'"),
        (float("nan"), "nan"),
        ({("a", 1): 2}, "{('a', 1): 2}"),
        (Unspeakable(), "<a Unspeakable that cannot be shown>"),
    ],
)
def test_what_an_app_adds_by_extra_stands_under_its_own_name(line, value, shown):
    assert line(extra={"basket": value})["basket"] == shown


def test_a_value_that_holds_itself_is_shown_as_text(line):
    endless: list[object] = []
    endless.append(endless)
    assert line(extra={"basket": endless})["basket"] == "[[...]]"


@pytest.mark.parametrize("name", ["time", "level", "logger", "release", "slot", "worker"])
def test_an_app_cannot_overwrite_what_the_line_itself_says(line, name):
    assert line(extra={name: "forged"}) == line()


def test_an_app_may_name_the_request_that_a_job_belongs_to(line):
    assert line(extra={"request_id": "job-7"})["request_id"] == "job-7"


def test_an_exception_is_part_of_its_line(line):
    found = ""
    try:
        raise KeyError("tea")
    except KeyError:
        found = line(exc_info=sys.exc_info())["exception"]
    assert found.startswith("Traceback")
    assert found.endswith("KeyError: 'tea'")


def test_an_exception_that_was_asked_for_where_there_is_none_is_no_trouble(line):
    assert line(exc_info=(None, None, None))["message"] == "said"


@pytest.mark.parametrize("level", [logging.ERROR, logging.CRITICAL])
def test_an_error_has_the_template_of_its_message_beside_it(settings, level):
    record = logging.LogRecord("shop", level, "shop.py", 7, "no login of %s", ("eve",), None)
    line = json.loads(evenkeel_logging.JsonFormatter(settings).format(record))
    assert (line["message"], line["template"]) == ("no login of eve", "no login of %s")


def test_a_line_of_a_request_has_the_address_of_who_asked(settings):
    record = logging.LogRecord("shop", logging.INFO, "shop.py", 7, "said", (), None)
    lines = []

    def app(_environ, _start):
        lines.append(json.loads(evenkeel_logging.JsonFormatter(settings).format(record)))
        return []

    environ = {"HTTP_X_FORWARDED_FOR": "192.0.2.1, 192.0.2.7", "HTTP_X_REQUEST_ID": "mine"}
    evenkeel_logging.RequestIdMiddleware(app)(environ, lambda *_answer: None)
    assert (lines[0]["request_id"], lines[0]["remote_addr"]) == ("mine", "192.0.2.7")


@pytest.mark.parametrize("limited", [True, False])
def test_a_request_that_the_collection_s_limit_refused_is_marked(settings, limited):
    environ = {evenkeel_logging.LIMITED_KEY: True} if limited else {}
    answer = SimpleNamespace(status="429 TOO MANY REQUESTS")
    line = evenkeel_logging._request_line(settings, answer, environ, datetime.timedelta(0))
    assert line.get("limited", False) is limited
