# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The responses of an app with orjson are equal, byte by byte, to those with Flask's own JSON."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import uuid

import flask
import orjson
import pytest
from ansible_collections.evenkeel.flask.roles.flask_app.files import evenkeel_json
from flask.json.provider import DefaultJSONProvider
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup


class Colour(enum.Enum):
    RED = 1


class Level(enum.IntEnum):
    HIGH = 3


class Name(str):
    pass


class Row(dict):
    pass


class Rows(list):
    pass


class Size(int):
    pass


@dataclasses.dataclass
class Point:
    x: float
    on: datetime.date


class Page:
    def __html__(self):
        return "<p>ü</p>"


ODD = [
    *(Colour.RED, Level.HIGH, Name("n"), Row(a=1), Rows([1]), Size(5), Point(1e-5, datetime.date.min)),
    *(Page(), Markup("<b>"), object(), b"bytes", {1, 2}, datetime.time(1), orjson.Fragment(b"1")),
    *(2**63, 2**64, -(2**63) - 1, float("nan"), float("inf"), 1e16, 9.9e-05, 5e-324, -0.0),
    *("\ud800", "\x7f", "\\", '"', "\\\x7f", "\\xé", "\u2028", "é", "€", "😀", "\x00\x1f\n", "/", "\\U0001f600é"),
]  # fmt: skip
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.text(st.characters())
    | st.dates()
    | st.datetimes()
    | st.decimals()
    | st.uuids()
    | st.sampled_from(ODD)
)
KEYS = st.text() | st.integers() | st.floats() | st.booleans() | st.none() | st.just(Name("k"))
DATA = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(), inner)
        | st.dictionaries(KEYS, inner)
    ),
    max_leaves=8,
)

APP = flask.Flask("shop")


def outcome(provider, data):
    with APP.test_request_context():
        try:
            answer = provider.response(data)
        except Exception as error:
            return type(error)
        return answer.data, answer.headers.to_wsgi_list()


def providers(**attributes):
    both = DefaultJSONProvider(APP), evenkeel_json.OrjsonProvider(APP)
    for provider in both:
        vars(provider).update(attributes)
    return both


def same(data, **attributes):
    flasks, ours = providers(**attributes)
    return outcome(ours, data) == outcome(flasks, data)


@given(DATA, st.booleans(), st.booleans(), st.sampled_from([None, True, False]))
def test_every_answer_is_flasks_to_the_byte_or_the_same_error(data, ascii_only, is_sorted, compact):
    assert same(data, ensure_ascii=ascii_only, sort_keys=is_sorted, compact=compact)


@given(st.floats())
def test_every_number_is_written_as_flask_does(number):
    assert same([number])


@given(st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from('\\"\x7fxuU0é😀')))
def test_every_text_is_written_as_flask_does(text):
    assert same({text: text})
    assert same({text: text}, ensure_ascii=False)


@pytest.mark.parametrize("odd", ODD, ids=[type(odd).__name__ for odd in ODD])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_what_orjson_sees_otherwise_is_left_to_flask(odd, ascii_only):
    assert same([odd], ensure_ascii=ascii_only)
    assert same({"é": [odd], "a": (odd, {"b": odd})}, ensure_ascii=ascii_only)


@pytest.mark.parametrize("is_sorted", [True, False])
def test_keys_are_in_flasks_order(is_sorted):
    data = {"b": {"é": 1, "z": 2, "😀": 3, "\uffff": 4}, "a": 5}
    assert same(data, sort_keys=is_sorted, ensure_ascii=False)


def test_what_has_no_end_is_the_same_error():
    circle = []
    circle += [circle, circle]
    deep = []
    for _turn in range(600):
        deep = [deep]
    assert same(circle)
    assert same(deep)


def test_an_app_with_a_default_of_its_own_is_asked_for_all_that_it_knows():
    data = [uuid.UUID(int=1), decimal.Decimal("1.5"), datetime.date.max]
    assert same(data, default=lambda value: [float("nan"), type(value).__name__])


def test_what_is_not_an_answer_is_flasks_too():
    flasks, ours = providers()
    for options in ({}, {"indent": 1}, {"separators": (",", ":"), "sort_keys": False}):
        assert ours.dumps({"b": 1, "a": [1.0]}, **options) == flasks.dumps(
            {"b": 1, "a": [1.0]}, **options
        )
    assert ours.loads("[18446744073709551617, NaN]")[0] == 18446744073709551617


def test_debug_mode_is_shown_with_spaces_as_ever(monkeypatch):
    monkeypatch.setattr(APP, "debug", True)
    assert same({"a": [1]})


@pytest.mark.skipif(not evenkeel_json.IS_SETTLED, reason="Flask 2.2 is left alone")
@pytest.mark.parametrize("text", ["plain", "Küche", "€", "tab\t"])
def test_a_list_of_products_is_made_by_orjson_alone(monkeypatch, text):
    """Or nothing would be gained."""
    monkeypatch.setattr(DefaultJSONProvider, "dumps", None)
    product = {
        **{"id": 7, "name": text, "price": 9.99, "in_stock": True, "discount": None},
        **{"tags": [text], "since": datetime.date(2026, 1, 1), "weight": decimal.Decimal("0.5")},
        **{"uuid": uuid.UUID(int=7), "sizes": (1, 2)},
    }
    status = outcome(evenkeel_json.OrjsonProvider(APP), {"products": [product] * 3})
    assert status[0].startswith(b'{"products":[{"discount":null,')
