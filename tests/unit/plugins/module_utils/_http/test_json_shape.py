# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Paths into JSON, values and kinds."""

from __future__ import annotations

import pytest
from ansible_collections.evenkeel.flask.plugins.module_utils._http import json_shape

DOCUMENT = {"page": 1, "ok": True, "price": 1.5, "none": None, "items": [{"name": "cup"}], "s": "1"}


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"page": 1, "ok": True, "price": 1.5, "none": None},
        {"items.0.name": "cup"},
        {"items": [{"name": "cup"}]},
        {"page": "<number>", "price": "<number>", "ok": "<bool>", "s": "<string>"},
        {"items": "<list>", "items.0": "<object>"},
    ],
)
def test_what_is_there_is_found(wanted):
    assert json_shape.mismatch(DOCUMENT, wanted) is None


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        ({"pages": 1}, "JSON has no pages"),
        ({"items.1": 1}, "JSON has no items.1"),
        ({"items.name": 1}, "JSON has no items.name"),
        ({"page.x": 1}, "JSON has no page.x"),
        ({"items.-1": 1}, "JSON has no items.-1"),
        ({"page": 2}, "JSON page is not 2"),
        ({"s": 1}, "JSON s is not 1"),
        ({"page": True}, "JSON page is not true"),
        ({"ok": 1}, "JSON ok is not 1"),
        ({"ok": "<number>"}, "JSON ok is no number"),
        ({"page": "<bool>"}, "JSON page is no bool"),
        ({"items": "<object>"}, "JSON items is no object"),
        ({"items": [{"name": "mug"}]}, 'JSON items is not [{"name": "mug"}]'),
        ({"items": []}, "JSON items is not []"),
    ],
)
def test_what_differs_is_named(wanted, reason):
    assert json_shape.mismatch(DOCUMENT, wanted) == reason


@pytest.mark.parametrize("body", [b"", b"{", b"[" * 200_000, b"\xff", b"<html>"])
def test_what_is_no_json_is_a_value_error(body):
    with pytest.raises(ValueError):  # noqa: PT011 - json's own and ours have nothing else in common
        json_shape.parse(body)
