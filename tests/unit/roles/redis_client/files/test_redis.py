# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Redis that goes away, and comes back."""

from __future__ import annotations

import logging

import evenkeel_redis
import pytest


@pytest.fixture
def redis(store):
    return store.guarded()


def ping(redis):
    return redis.ping()


def test_it_is_asked(redis):
    assert redis.ask(ping) is True


def test_while_it_is_away_it_is_asked_once_a_second(redis, store):
    asked = []
    store.go()
    for moment in (0.0, 0.5, 0.9, 1.1):
        store.time = moment
        with pytest.raises(evenkeel_redis.RedisAway):
            redis.ask(lambda redis: asked.append(store.time) or redis.ping())
    assert asked == [0.0, 1.1]


def test_it_is_told_once_that_it_is_away_and_once_that_it_is_back(redis, store, caplog):
    caplog.set_level(logging.WARNING)
    store.go()
    for moment in (0.0, 2.0, 4.0):
        store.time = moment
        with pytest.raises(evenkeel_redis.RedisAway):
            redis.ask(ping)
    store.server.connected, store.time = True, 5.5
    assert redis.ask(ping)
    assert redis.ask(ping)
    away, back = [record.getMessage() for record in caplog.records]
    assert away.startswith("Redis is away, and the app goes on without it: ")
    assert back == "Redis is back after 5.5 s"


def test_a_password_is_in_no_message():
    away = evenkeel_redis.Guarded("redis://:sesame@127.0.0.1:1", 1)
    with pytest.raises(evenkeel_redis.RedisAway) as error:
        away.ask(ping)
    assert "sesame" not in str(error.value.__cause__)


def test_a_mistake_in_the_question_is_not_taken_for_its_absence(redis):
    with pytest.raises(ZeroDivisionError):
        redis.ask(lambda redis: 1 / 0)
    assert redis.ask(ping)
