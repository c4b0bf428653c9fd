# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cookies are stored, removed, forged and sent back."""

from __future__ import annotations

import pytest
from ansible_collections.evenkeel.flask.plugins.module_utils._gate.cookies import Cookie, Jar


def test_a_cookie_is_read_with_its_attributes():
    cookie = Cookie.parse("session=a=b; Path=/; HttpOnly; SameSite=Lax")
    assert (cookie.name, cookie.value) == ("session", "a=b")
    assert cookie.attributes == {"path": "/", "httponly": "", "samesite": "Lax"}


def test_a_secure_cookie_is_sent_back_over_loopback():
    jar = Jar()
    jar.take(["session=x; Secure", "other=y"])
    assert jar.header() == {"Cookie": "session=x; other=y"}


@pytest.mark.parametrize(
    "header", ["session=; Path=/", "session=x; Max-Age=0", "session=x; max-age=-1"]
)
def test_a_removed_cookie_is_gone(header):
    jar = Jar()
    jar.take(["session=x"])
    assert jar.take([header]) == []
    assert jar.header() == {}


@pytest.mark.parametrize("value", ["A", "abc", "eyJ1IjoiZGVtbyJ9.Zx3k.sig"])
def test_a_forged_cookie_differs_in_the_middle(value):
    forged = Cookie("session", value).forged().value
    assert len(forged) == len(value)
    assert [i for i in range(len(value)) if forged[i] != value[i]] == [len(value) // 2]
