# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""URLs: which are refused, and what is shown of the others."""

from __future__ import annotations

import pytest
from ansible_collections.evenkeel.flask.plugins.module_utils._errors import ArgumentError
from ansible_collections.evenkeel.flask.plugins.module_utils._http.url import Url
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("http://127.0.0.1", "http://127.0.0.1/"),
        ("http://127.0.0.1:80/x", "http://127.0.0.1/x"),
        ("https://Shop.Example:443/x?q=1#part", "https://shop.example/x?q=1"),
        ("http://[::1]:8000/x", "http://[::1]:8000/x"),
        ("http://shop.example/größe", "http://shop.example/gr%C3%B6%C3%9Fe"),
        ("http://shop.example/a%20b", "http://shop.example/a%20b"),
        ("http://bücher.example/", "http://xn--bcher-kva.example/"),
    ],
)
def test_a_url_is_read_as_it_goes_over_the_wire(text, whole):
    assert str(Url.parse(text)) == whole


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/path",
        "ftp://host/",
        "http:///path",
        "http://host:port/",
        "http://host:99999/",
        "http://host:0/",
        "http://[::1/",
        "http://host/a b",
        "http://host/\r\nX: y",
        "http://user:pass@host/",
        "http://ho st/",
        "http://" + "a" * 64 + ".example/",
        "http://a_b!c/",
    ],
)
def test_a_url_that_makes_no_sense_is_refused(text):
    with pytest.raises(ArgumentError):
        Url.parse(text)


def test_credentials_in_a_refused_url_are_not_repeated():
    with pytest.raises(ArgumentError) as caught:
        Url.parse("http://user:hunter2@host/")
    assert "hunter2" not in str(caught.value)


def test_the_query_stays_hidden():
    assert Url.parse("http://h/x?token=hunter2").shown() == "http://h/x?…"


@given(st.text())
def test_no_text_is_worse_than_refused(text):
    for candidate in (text, "http://" + text, "http://h/" + text, "http://h/?" + text):
        try:
            url = Url.parse(candidate)
        except ArgumentError:
            continue
        assert url.target.isascii()
        assert not set(url.target) & set("\r\n ")
