# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Assets and forms of pages, however broken."""

from __future__ import annotations

from ansible_collections.evenkeel.flask.plugins.module_utils._gate.html import Page
from hypothesis import example, given
from hypothesis import strategies as st


def test_assets_are_what_a_browser_loads_by_itself():
    page = Page(
        '<link rel="stylesheet" href="a.css"><LINK REL="shortcut icon" HREF=b.ico>'
        '<link rel="canonical" href="/no"><a href="/no"></a><script>no()</script>'
        '<script src=" c.js "></script><img src="d.png"><img src="data:no"><iframe src="/no">'
    )
    assert page.assets == ["a.css", "b.ico", "c.js", "d.png"]


def test_the_first_base_counts():
    assert Page('<base href="/a/"><base href="/b/">').base == "/a/"


def test_hidden_fields_come_from_the_form_that_is_filled_in():
    page = Page(
        '<input type="hidden" name="stray" value="0">'
        '<form><input type="hidden" name="q" value="1"><input name="search"></form>'
        '<form><input type="HIDDEN" name="csrf" value="2"><input name="user"></form>'
    )
    assert page.hidden_beside({"user", "password"}) == {"csrf": "2"}
    assert page.hidden_beside({"other"}) == {}


@given(st.text(alphabet='<>!["/=abc -&;x#'))
@example("<![foo[")
@example("<!x")
def test_no_page_is_too_broken(text):
    Page(text)
