# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The check warns about insecure session cookies."""

from __future__ import annotations

import pytest
from ansible_collections.evenkeel.flask.plugins.module_utils._gate.checks import session
from ansible_collections.evenkeel.flask.plugins.module_utils._gate.cookies import Cookie


@pytest.mark.parametrize(
    ("header", "domain"),
    [
        ("session=x; Path=/; HttpOnly", None),
        ("session=x; Domain=", None),
        ("session=x; Domain=shop.example; Path=/", "shop.example"),
        ("session=x; domain=.shop.example", ".shop.example"),
    ],
)
def test_a_cookie_for_a_whole_domain_is_told_with_what_its_apps_must_share(header, domain):
    warnings = session.shared_domains([Cookie.parse(header)])
    assert len(warnings) == (domain is not None)
    for warning in warnings:
        assert f"cookie session is for all of {domain};" in warning
        assert "redis_client_key_prefix" in warning
        assert "SESSION_COOKIE_NAME" in warning
