# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The client against a server that does what real servers should not."""

from __future__ import annotations

import socket

import pytest
from ansible_collections.evenkeel.flask.plugins.module_utils._errors import ArgumentError, HttpError
from ansible_collections.evenkeel.flask.plugins.module_utils._http import client
from ansible_collections.evenkeel.flask.plugins.module_utils._http.client import (
    Request,
    Response,
    Tls,
    Url,
    fetch,
)
from ansible_collections.evenkeel.flask.plugins.module_utils._http.response import (
    Headers,
    RawResponse,
)
from ansible_collections.evenkeel.flask.tests.unit.plugins.certificates import server_context
from ansible_collections.evenkeel.flask.tests.unit.plugins.loopback import (
    ok,
    reset,
    serving,
    silent,
)
from hypothesis import given
from hypothesis import strategies as st


def request(url, **more):
    return Request(Url.parse(url), **more)


def test_a_request_says_who_it_asks_and_that_it_asks_once():
    with serving(ok(b"ready")) as server:
        response = fetch(request(server.url + "/x?y=1", headers={"host": "shop.example"}))
    assert (response.status, response.body) == (200, b"ready")
    head = server.requests[0].decode().split("\r\n")
    assert head[0] == "GET /x?y=1 HTTP/1.1"
    assert "host: shop.example" in head
    assert "Connection: close" in head
    assert not any(line.startswith("Host:") for line in head)


def test_a_body_is_sent_with_its_length():
    with serving(ok()) as server:
        fetch(request(server.url, method="POST", body=b"a=b"))
    assert b"Content-Length: 3\r\n" in server.requests[0]
    assert server.requests[0].endswith(b"\r\n\r\na=b")


def test_proxies_of_the_environment_are_ignored(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with serving(ok()) as server:
        assert fetch(request(server.url)).status == 200


def test_ipv6_in_brackets():
    try:
        with serving(ok(), family=socket.AF_INET6) as server:
            assert fetch(request(server.url)).status == 200
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")


def test_a_unix_socket(tmp_path):
    with serving(ok(), unix_socket=str(tmp_path / "s")) as server:
        asked = request("http://shop.example/x", unix_socket=server.address)
        assert fetch(asked).status == 200
    assert b"Host: shop.example\r\n" in server.requests[0]


def hang_up(conn, _request):
    return None


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (silent, r"no answer within 0\.2 s, connected"),
        (hang_up, "connection closed without an answer"),
        (reset, "connection broke: reset by the server"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", "body cut short: 1 of 9 bytes came"),
    ],
    ids=["silent", "hang up", "reset", "short"],
)
def test_no_complete_answer_is_an_error(answer, reason):
    with serving(answer) as server, pytest.raises(HttpError, match=reason):
        fetch(request(server.url, timeout=0.2 if answer is silent else 5))


def endless(head, piece):
    def answer(conn, _request):
        conn.sendall(head)
        while True:
            conn.sendall(piece)

    return answer


@pytest.mark.parametrize(
    ("head", "piece", "reason"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65536, "body not complete within 0.2 s"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"1\r\nx\r\n",
            "body not complete within 0.2 s",
        ),
        (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n", "larger than 64 KiB"),
        (b"", b"HTTP/1.1 102 Processing\r\n\r\n", "larger than 64 KiB"),
    ],
    ids=["body", "chunks", "headers", "1xx"],
)
def test_an_endless_answer_ends_with_the_deadline(head, piece, reason):
    with serving(endless(head, piece)) as server, pytest.raises(HttpError, match=reason):
        fetch(request(server.url, timeout=0.2 if "0.2" in reason else 30))


def test_nobody_listens():
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(HttpError, match=f"cannot connect to 127.0.0.1:{port}: refused"):
        fetch(request(f"http://127.0.0.1:{port}/"))


@pytest.mark.parametrize(
    "more",
    [
        {"method": "GET /"},
        {"method": ""},
        {"timeout": 0},
        {"timeout": float("nan")},
        {"headers": {"X": "a\r\nY: b"}},
        {"headers": {"X": "a\nb"}},
        {"headers": {"X\r\n": "a"}},
        {"headers": {"X Y": "a"}},
        {"headers": {"": "a"}},
        {"headers": {"X": "\u2713"}},
        {"headers": {"Content-Length": "5"}},
        {"headers": {"Transfer-Encoding": "chunked"}},
    ],
)
def test_a_request_that_makes_no_sense_is_refused(more):
    with pytest.raises(ArgumentError):
        request("http://h/", **more)


def test_a_refused_header_is_named_and_its_value_is_not():
    with pytest.raises(ArgumentError) as caught:
        request("http://h/", headers={"X-Token": "hunter2\n"})
    assert "X-Token" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def redirecting(target, status="302 Found"):
    def answer(_conn, asked):
        return ok(b"there") if b" /there" in asked else ok(status=status, Location=target)

    return answer


@pytest.mark.parametrize(("redirects", "status"), [("none", 302), ("safe", 200), ("all", 200)])
def test_redirects_are_followed_as_asked(redirects, status):
    with serving(redirecting("/there")) as server:
        assert fetch(request(server.url, redirects=redirects)).status == status


@pytest.mark.parametrize(
    ("status", "method", "body"),
    [("303 See Other", b"GET", b""), ("302 Found", b"GET", b""), ("307 Same", b"POST", b"a=b")],
)
def test_a_redirected_post_is_what_browsers_make_of_it(status, method, body):
    with serving(redirecting("/there", status)) as server:
        fetch(request(server.url, method="POST", body=b"a=b", redirects="safe"))
    assert server.requests[1].startswith(method)
    assert server.requests[1].endswith(b"\r\n\r\n" + body)


def test_a_redirect_elsewhere_is_not_safe():
    with (
        serving(redirecting("http://elsewhere.example/x?token=hunter2")) as server,
        pytest.raises(HttpError) as caught,
    ):
        fetch(request(server.url, redirects="safe"))
    assert str(caught.value) == "302 leads elsewhere, to http://elsewhere.example/x?…"


def test_another_origin_gets_nothing_but_what_any_browser_says():
    with serving(ok()) as other, serving(ok(status="307 Same", Location=other.url)) as server:
        headers = {"X-Internal-Key": "hunter2", "Host": "shop", "Accept-Language": "de"}
        asked = request(server.url, headers=headers, redirects="all", method="POST", body=b"a=b")
        assert fetch(asked).status == 200
    assert b"hunter2" in server.requests[0]
    assert b"hunter2" not in other.requests[0]
    assert b"Host: shop" not in other.requests[0]
    assert b"Accept-Language: de" in other.requests[0]
    assert other.requests[0].endswith(b"Content-Length: 0\r\n\r\n")


NAMES = st.one_of(
    st.from_regex(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,12}", fullmatch=True),
    st.sampled_from(
        ["Authorization", "X-Auth", "X-Sig", "Cookie", "Accept-Key", "User-Agent-Token"]
    ),
)


@given(
    name=NAMES,
    status=st.sampled_from(client.REDIRECTS),
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE"]),
    target=st.sampled_from(
        ["http://other.example/", "http://shop.example:81/", "https://shop.example/"]
    ),
)
def test_no_header_and_no_body_follows_a_redirect_to_another_origin(name, status, method, target):
    try:
        asked = request(
            "http://shop.example/",
            headers={name: "hunter2"},
            method=method,
            body=b"hunter2",
            redirects="all",
        )
    except ArgumentError:
        return
    answer = Response(asked.url, RawResponse(status, Headers((("Location", target),)), b""), 1.0)
    onward = client._redirected(asked, answer)
    assert onward.body is None
    harmless = {"accept", "accept-charset", "accept-encoding", "accept-language", "user-agent"}
    assert (b"hunter2" in onward.head()) == (name.lower() in harmless)


@pytest.mark.parametrize("redirects", ["safe", "all"])
@pytest.mark.parametrize("target", ["http://shop.example/", "http://other.example/x?token=t"])
def test_no_redirect_leads_from_https_to_http(redirects, target):
    asked = request("https://shop.example/", redirects=redirects)
    answer = Response(asked.url, RawResponse(302, Headers((("Location", target),)), b""), 1.0)
    with pytest.raises(
        HttpError, match=r"302 leads (from https to http|elsewhere), to http://\w+\.example/"
    ):
        client._redirected(asked, answer)


def test_a_loop_of_redirects_ends():
    with serving(ok(status="302 Found", Location="/again")) as server:
        with pytest.raises(HttpError, match="redirects do not end after 10 hops"):
            fetch(request(server.url, redirects="all"))
        assert len(server.requests) == 11


def test_a_redirect_to_nowhere_is_an_error():
    with (
        serving(ok(status="302 Found", Location="gopher://x")) as server,
        pytest.raises(HttpError, match="302 leads nowhere"),
    ):
        fetch(request(server.url, redirects="all"))


def test_a_trusted_certificate_tells_its_end(tmp_path):
    context = server_context(tmp_path, days=3)
    with serving(ok(), tls=context) as server:
        response = fetch(request(server.url, tls=Tls(ca_path=str(tmp_path / "ca.pem"))))
    assert response.certificate_end is not None


def test_a_large_body_over_tls_arrives_whole(tmp_path):
    context = server_context(tmp_path, days=3)
    body = b"x" * 3_000_000
    with serving(ok(), tls=context) as server:
        fetch(request(server.url, method="POST", body=body, tls=Tls(validate=False)))
    assert server.requests[0].endswith(body)


@pytest.mark.parametrize(
    ("days", "name", "trusted", "reason"),
    [
        (3, "127.0.0.1", False, "certificate is not accepted: self.signed certificate"),
        (3, "shop.example", True, "certificate is not accepted: IP address mismatch"),
        (-1, "127.0.0.1", True, "certificate is not accepted: certificate has expired"),
    ],
)
def test_a_bad_certificate_is_named(tmp_path, days, name, trusted, reason):
    context = server_context(tmp_path, days, name)
    tls = Tls(ca_path=str(tmp_path / "ca.pem")) if trusted else Tls()
    with serving(ok(), tls=context) as server, pytest.raises(HttpError, match=reason):
        fetch(request(server.url, tls=tls))


def test_certificates_need_not_be_judged(tmp_path):
    with serving(ok(), tls=server_context(tmp_path, days=-1)) as server:
        assert fetch(request(server.url, tls=Tls(validate=False))).status == 200


def test_plain_http_where_tls_is_wanted_is_named():
    plain = b"HTTP/1.1 400 Bad\r\n\r\n"
    with serving(plain, read=lambda conn: conn.recv(65536)) as server:
        url = server.url.replace("http:", "https:")
        with pytest.raises(HttpError, match=r"TLS failed: (wrong version number|record)"):
            fetch(request(url))


def test_a_server_that_leaves_in_the_handshake_is_named():
    with serving(b"", read=lambda conn: b"") as server:
        url = server.url.replace("http:", "https:")
        with pytest.raises(HttpError, match=r"connection lost in the TLS handshake|TLS failed"):
            fetch(request(url))


def test_a_server_that_never_shakes_hands_is_named():
    with serving(silent, read=lambda conn: b"") as server:
        url = server.url.replace("http:", "https:")
        with pytest.raises(HttpError, match=r"no TLS handshake within 0\.2 s, connected"):
            fetch(request(url, timeout=0.2))
