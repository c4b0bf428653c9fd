# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A comparison finds each difference, except intended ones and those between two runs of plain Flask."""

from __future__ import annotations

import http.client

import pytest
from ansible_collections.evenkeel.flask.molecule.shared.testbed import Answer
from ansible_collections.evenkeel.flask.molecule.third_party.comparison import (
    differences,
    has_no_shape,
    stands_still,
)

PAGE = '<a href="/tea">Tea</a> <input name="csrf_token" value="{}">'


def answer(body="<p>Tea</p>", status=200, **headers):
    message = http.client.HTTPMessage()
    for name, value in headers.items():
        message[name.replace("_", "-")] = value
    return Answer(status, message, body.encode())


PLAIN = answer(Content_Type="text/html", Set_Cookie="session=signed; HttpOnly; Path=/")


@pytest.mark.parametrize(
    ("optimized", "found"),
    [
        (answer(status=500), "status: '200' became '500'"),
        (answer("<p>Milk</p>"), "body: 'Tea' became 'Milk'"),
        (answer("<p>Tea</p><p>Milk</p>"), "body: "),
        (answer(Content_Type="text/plain"), "headers: "),
        (answer(X_Frame_Options="DENY"), "headers: "),
    ],
)
def test_a_difference_is_told(optimized, found):
    (difference,) = differences([answer(), answer()], optimized)
    assert difference.startswith(found)


@pytest.mark.parametrize(
    "cookie",
    ["session=; HttpOnly; Path=/", "session=id; Path=/", "other=signed; HttpOnly; Path=/"],
)
def test_a_cookie_that_is_otherwise_is_told(cookie):
    optimized = answer(Content_Type="text/html", Set_Cookie=cookie)
    assert differences([PLAIN, PLAIN], optimized)


@pytest.mark.parametrize(
    ("plain", "optimized"),
    [
        (answer('<img src="/a.svg">'), answer('<img src="/a.svg?v=0123456789abcdef">')),
        (answer(Date="now", Server="gunicorn"), answer(Date="then", Server="nginx", Age="3")),
        (answer(Vary="Cookie"), answer(Vary="Accept-Encoding, Cookie")),
        (answer(), answer(Vary="Accept-Encoding")),
        (PLAIN, answer(Content_Type="text/html", Set_Cookie="session=id; HttpOnly; Path=/; SameSite=Lax")),
    ],
)  # fmt: skip
def test_what_is_meant_is_none(plain, optimized):
    assert differences([plain, plain], optimized) == []


def test_what_plain_says_otherwise_each_time_need_not_be_the_same():
    plain = [answer(PAGE.format("one")), answer(PAGE.format("two"))]
    assert differences(plain, answer(PAGE.format("three"))) == []
    assert differences(plain, answer(PAGE.format("three").replace("/tea", "/milk")))


def test_a_token_that_is_given_out_twice_is_seen():
    one, two, three = (answer(PAGE.format(token)) for token in ("one", "two", "three"))
    assert stands_still([one, two], [three, three])
    assert not stands_still([one, two], [three, one])
    assert not stands_still([one, one], [three, three])


def test_an_answer_of_which_nothing_can_be_compared_is_known():
    assert has_no_shape([answer("one"), answer("one and two")])
    assert not has_no_shape([answer(PAGE.format("one")), answer(PAGE.format("two"))])
