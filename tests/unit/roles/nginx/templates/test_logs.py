# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No file of the front contains a visitor's secret, regardless of the result of the request."""

from __future__ import annotations

import itertools
import json
import secrets

import pytest
from front import APP, Front, ask, ask_raw, needs_nginx

pytestmark = needs_nginx
FRESH = itertools.count(1)


@pytest.fixture(name="front", scope="module")
def _front(tmp_path_factory):
    variables = {
        "nginx_server_names": ["shop.example"],
        "nginx_trusted_proxies": ["127.0.0.1"],
        "flask_app_rate_limit": 1,
        "nginx_client_max_body_size": "64k",
    }
    with Front(tmp_path_factory.mktemp("logs"), APP, **variables) as front:
        yield front


@pytest.fixture(name="appless", scope="module")
def _appless(tmp_path_factory):
    with Front(tmp_path_factory.mktemp("appless")) as front:
        yield front


def confided(method="GET", path="/reset", host="shop.example", body=b"", **more):
    """A request with another secret in each place, and these secrets."""
    sent = {
        place: secrets.token_hex(12)
        for place in ("query", "referrer", "cookie", "authorization", "body")
    }
    headers = {
        "Host": host,
        "Referer": f"https://a.example/?code={sent['referrer']}",
        "Cookie": f"session={sent['cookie']}",
        "Authorization": f"Bearer {sent['authorization']}",
        **more,
    }
    body = sent["body"].encode() + body
    return (f"{path}?token={sent['query']}", headers, method, "127.0.0.1", body), list(
        sent.values()
    )


def found_in(front, sent):
    """Each file below the folder of the test that has one of the secrets."""
    return {
        str(path.relative_to(front.folder))
        for path in front.folder.rglob("*")
        if path.is_file() and any(one.encode() in path.read_bytes() for one in sent)
    }


FATES = [
    ("served", {}, 200),
    ("not allowed", {"method": "POST"}, 405),
    ("a body that does not fit into memory", {"method": "POST", "body": b"x" * 40_000}, 405),
    ("a body that is too large", {"method": "POST", "body": b"x" * 100_000}, 413),
    ("a foreign host", {"host": "evil.example"}, 421),
    ("another site's page", {"Sec-Fetch-Site": "cross-site"}, 200),
    ("a path that no file system takes", {"path": "/" + "x" * 300}, 200),
    ("no such version of a file", {"path": "/static/a.css?v=0123456789abcdef&x=1"}, 200),
    ("a claim for a foreign host", {"X-Forwarded-Host": "evil.example"}, 421),
]


@pytest.mark.parametrize(("fate", "asked", "status"), FATES)
def test_no_secret_of_a_request_is_kept(front, fate, asked, status):
    request, sent = confided(**{"X-Forwarded-For": f"10.0.0.{next(FRESH)}", **asked})
    assert ask(front.port, *request).status == status
    assert found_in(front, sent) == set()


def test_no_secret_of_a_request_that_is_refused_for_coming_too_often_is_kept(front):
    request, sent = confided(**{"X-Forwarded-For": "192.0.2.1"})
    assert [ask(front.port, *request).status for _turn in range(2)] == [200, 429]
    assert found_in(front, sent) == set()


def test_no_secret_of_a_request_that_finds_no_app_is_kept(appless):
    request, sent = confided()
    assert ask(appless.port, *request).status == 502
    assert found_in(appless, sent) == set()


@pytest.mark.parametrize(
    "text",
    ["GET /reset?token={0} HTTP/1.1\r\nReferer: {0}\r\n\r\n", "GET /reset?token={0} HTTP/9.9\r\n\r\n",
     "GET /%00?token={0} HTTP/1.1\r\nHost: shop.example\r\n\r\n", "G\x01T /?token={0} HTTP/1.1\r\n\r\n",
     "GET http://evil.example/?token={0} HTTP/1.1\r\nHost: shop.example\r\n\r\n",
     "GET /?token={0} HTTP/1.1\r\nHost: shop.example\r\nContent-Length: {0}\r\n\r\n"],
)  # fmt: skip
def test_no_secret_of_a_request_that_is_none_is_kept(front, text):
    secret = secrets.token_hex(12)
    assert ask_raw(front.port, text.format(secret).encode("latin-1")).status >= 400
    assert found_in(front, [secret]) == set()


def test_the_access_log_has_what_became_of_a_request(front):
    headers = {"Host": "shop.example", "X-Forwarded-For": "192.0.2.9", "X-Request-ID": "abc-1"}
    path = '/reset/"a%22b?token=secret#x'
    assert ask(front.port, path, headers).status == 200
    line = json.loads((front.folder / "log" / "shop.log").read_text().splitlines()[-1])
    assert float(line.pop("duration")) >= 0
    assert line.pop("time")
    assert line.pop("bytes") > 0
    assert line == {
        "client": "192.0.2.9",
        "method": "GET",
        "path": '/reset/"a%22b',
        "protocol": "HTTP/1.1",
        "status": 200,
        "upstream_status": "200",
        "release": "1.0-0f1e2d3c4b",
        "request_id": "abc-1",
    }


def test_without_an_access_log_none_is_written(tmp_path):
    with Front(tmp_path, nginx_access_log="") as front:
        assert ask(front.port).status == 502
        logs = front.logs()
    assert {name for name, text in logs.items() if text} == set()
