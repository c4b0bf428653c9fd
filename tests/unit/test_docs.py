# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tables of the documentation are those that C(make tables) generates."""

from __future__ import annotations

import pytest
from ansible_collections.evenkeel.flask.tests import docs


@pytest.mark.parametrize("page", docs.pages(), ids=lambda page: str(page.relative_to(docs.ROOT)))
def test_a_page_has_the_tables_that_are_generated(page):
    text = page.read_text(encoding="utf-8")
    assert docs.MARKS.search(text)
    assert text == docs.updated(page), "Run make tables."


@pytest.mark.parametrize("kind", ["modules", "filter", "callback"])
def test_the_reference_lists_every_plugin(kind):
    text = docs.REFERENCE.read_text(encoding="utf-8")
    names = [path.stem for path in (docs.ROOT / "plugins" / kind).glob("[!_]*.py")]
    assert names
    assert [name for name in names if f"| `{name}` | " not in text] == []


@pytest.mark.parametrize(
    ("text", "markdown"),
    [
        ("C(a) and V(b) or O(c_d)", "`a` and `b` or `c_d`"),
        ("O(evenkeel.flask.rollout_gate#module:checks)", "`checks` of the module `rollout_gate`"),
        ("O(evenkeel.flask.nginx#role:main:nginx_group).", "`nginx_group`."),
        ("M(evenkeel.flask.balancer), P(evenkeel.flask.rollout#role)", "`balancer`, `rollout`"),
    ],
)
def test_the_markup_of_ansible_becomes_markdown(text, markdown):
    assert docs.markdown(text) == markdown
