# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Arguments: read into requests, or refused by name."""

from __future__ import annotations

import pytest
from ansible_collections.evenkeel.flask.plugins.module_utils._errors import ArgumentError
from ansible_collections.evenkeel.flask.plugins.module_utils._health import (
    endpoints as health_endpoints,
)
from ansible_collections.evenkeel.flask.plugins.module_utils._http import params as http_params
from hypothesis import given
from hypothesis import strategies as st

ENDPOINT = {
    "path": "/health", "url": None, "name": None, "method": "GET", "headers": {}, "body": None,
    "body_json": None, "status": [200], "contains": None, "matches": None, "json": {},
    "response_headers": {}, "max_ms": None,
}  # fmt: skip
PARAMS = {
    "base_url": "http://127.0.0.1:8000", "unix_socket": None, "attempts": 1, "interval": 1.0,
    "successes": 1, "timeout": 5.0, "deadline": None, "concurrency": 8, "follow_redirects": "none",
    "validate_certs": True, "ca_path": None, "min_certificate_days": None,
}  # fmt: skip


def read(endpoint=None, **params):
    endpoints = [{**ENDPOINT, **(endpoint or {})}]
    return health_endpoints.read({**PARAMS, "endpoints": endpoints, **params})


@pytest.mark.parametrize(
    ("base_url", "endpoint", "url", "name"),
    [
        ("http://h", {"path": "/health"}, "http://h/health", "/health"),
        ("http://h/app/", {"path": "health"}, "http://h/app/health", "/app/health"),
        ("http://h", {"path": "/x?token=y"}, "http://h/x?token=y", "/x"),
        ("http://h", {"path": None, "url": "https://o/x"}, "https://o/x", "/x"),
        ("http://h", {"name": "shop"}, "http://h/health", "shop"),
        ("http://h", {"path": ""}, "http://h/", "/"),
    ],
)
def test_where_an_endpoint_is_and_what_it_is_called(base_url, endpoint, url, name):
    (found,), _problems = read(endpoint, base_url=base_url)
    assert (str(found.request.url), found.name) == (url, name)


def test_a_json_body_announces_itself_unless_told_otherwise():
    (plain,), _problems = read({"body_json": {"a": 1}})
    (own,), _problems = read({"body_json": [], "headers": {"content-type": "application/x"}})
    assert plain.request.body == b'{"a": 1}'
    assert plain.request.headers == {"Content-Type": "application/json"}
    assert own.request.headers == {"content-type": "application/x"}


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"endpoints": []}, "endpoints is empty"),
        ({"attempts": 0}, "attempts must be at least 1, not 0"),
        ({"successes": 0}, "successes must be at least 1"),
        ({"concurrency": -1}, "concurrency must be at least 1"),
        ({"interval": -0.1}, "interval must be at least 0"),
        ({"interval": float("nan")}, "interval must be at least 0"),
        ({"timeout": 0}, "timeout must be greater than 0"),
        ({"deadline": 0}, "deadline must be greater than 0"),
        ({"min_certificate_days": -1}, "min_certificate_days must be greater than 0"),
        (
            {"min_certificate_days": 1, "validate_certs": False},
            "min_certificate_days needs validate_certs",
        ),
        (
            {"successes": 3, "attempts": 2},
            r"successes \(3\) in a row cannot be reached with attempts \(2\)",
        ),
        ({"ca_path": "/no/such/file"}, "ca_path /no/such/file is no file"),
        ({"base_url": "ftp://h"}, r"endpoints\[0\]: URL 'ftp://h/health' must begin with http"),
    ],
)
def test_a_bad_argument_is_named(params, message):
    with pytest.raises(ArgumentError, match=message):
        read(**params)


@pytest.mark.parametrize(
    ("endpoint", "message"),
    [
        ({"path": None}, "name either a path or a url"),
        ({"url": "http://h/"}, "name either a path or a url"),
        ({"body": "x", "body_json": {}}, "name either a body or a body_json"),
        ({"matches": "("}, "matches is no regular expression"),
        ({"status": []}, "status must list codes"),
        ({"status": [99]}, "status must list codes"),
        ({"max_ms": 0}, "max_ms must be greater than 0"),
        ({"method": "GET /"}, "is no HTTP method"),
        ({"headers": {"X": "a\r\nb"}}, "has characters no header may have"),
        ({"path": "/a\r\nX: y"}, "blanks or control characters"),
    ],
)
def test_a_bad_endpoint_is_named_with_its_place(endpoint, message):
    with pytest.raises(ArgumentError, match=r"^endpoints\[0\]: .*" + message):
        read(endpoint)


def test_a_file_without_certificates_is_refused(tmp_path):
    (tmp_path / "ca.pem").write_text("nothing")
    with pytest.raises(ArgumentError, match="No certificates can be read"):
        read(ca_path=str(tmp_path / "ca.pem"))


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        (None, set()),
        ({"Host": "shop", "Accept": "x", "X-Forwarded-Proto": "https"}, set()),
        ({"X-Auth": "a", "X-Sig": "s", "X-Internal-Key": "i"}, {"a", "s", "i"}),
        ({"Host-Key": "h", "Accept-Token": "t", "X-Forwarded-Secret": "f"}, {"h", "t", "f"}),
        ({"Authorization": "Bearer t", "X-Api-Key": "k", "Cookie": "c"}, {"Bearer t", "k", "c"}),
        ({"X-Token": "", "x-csrf-TOKEN": 5}, {"5"}),
    ],
)
def test_headers_that_carry_credentials_are_known(headers, found):
    assert http_params.secrets(headers) == found


@given(st.text(max_size=12))
def test_a_header_s_value_is_masked_whatever_its_name_unless_it_is_known_as_harmless(name):
    assert http_params.secrets({f"x-{name}-y": "hunter2"}) == {"hunter2"}


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "path": st.text(),
            "method": st.text(max_size=5),
            "headers": st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2),
            "body": st.text(max_size=5),
            "matches": st.text(max_size=8),
            "status": st.lists(st.integers(), max_size=2),
            "max_ms": st.floats(),
        },
    )
)
def test_no_argument_is_worse_than_refused(endpoint):
    try:
        (found,), _problems = read(endpoint)
    except ArgumentError:
        return
    assert found.request.head().count(b"\r\n\r\n") == 1
