# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No part of an app's external URL is a visitor's choice: not the scheme, the host, the port or the prefix."""

from __future__ import annotations

import json

import pytest
from front import APP, Front, ask, ask_raw, known_variables, needs_nginx
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

pytestmark = needs_nginx
CALM = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
NAMES = ["shop.example", "*.shop.example", "~^re[0-9]{2}\\.example$", "port.example:8443"]
# A visitor from here is no proxy; one from 127.0.0.1 is.
STRANGER = "127.0.0.2"
HEADERS = [
    "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Forwarded-Prefix",
    "X-Forwarded-Ssl", "X-Forwarded-Server", "X-Forwarded-Scheme", "X-Forwarded-Protocol", "X-Forwarded-By",
    "X-Forwarded-Path", "X-Forwarded-Uri", "X-Real-IP", "Forwarded", "X-Original-URL", "X-Original-URI",
    "X-Original-Host", "X-Rewrite-URL", "X-Host", "X-Scheme", "X-Url-Scheme", "Front-End-Https", "X-Script-Name",
    "SCRIPT_NAME", "PATH_INFO", "SCRIPT-NAME", "X_Forwarded_Host", "X_Forwarded_Prefix", "X_Forwarded_Proto",
]  # fmt: skip
# The variables that nginx sets for each request.
SET = {"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip"}
VALUES = ["evil.example", "https", "on", "443", "/evil", "for=1.2.3.4;host=evil.example;proto=https",
          "evil.example, shop.example", "wss", "ssl", "None", "127.0.0.1", ""]  # fmt: skip


@pytest.fixture(name="named", scope="module")
def _named(tmp_path_factory):
    variables = {"nginx_server_names": NAMES, "nginx_trusted_proxies": ["127.0.0.1"]}
    with Front(tmp_path_factory.mktemp("named"), APP, **variables) as front:
        yield front


@pytest.fixture(name="unnamed", scope="module")
def _unnamed(tmp_path_factory):
    with Front(tmp_path_factory.mktemp("unnamed"), APP) as front:
        yield front


def where(front, headers, **options):
    answer = ask(front.port, "/where", headers, **options)
    return json.loads(answer.body) if answer.status == 200 else answer.status


SETS = st.dictionaries(st.sampled_from(HEADERS), st.sampled_from(VALUES), min_size=1)


@pytest.mark.slow
@CALM
@given(SETS)
def test_no_header_of_a_visitor_changes_a_part_of_the_url(named, unnamed, headers):
    for front in (named, unnamed):
        host = {"Host": "shop.example"}
        plain = where(front, host, source=STRANGER)
        assert plain["url"] == "http://shop.example/where"
        assert where(front, {**host, **headers}, source=STRANGER) == plain


@pytest.mark.parametrize("header", HEADERS)
def test_no_header_of_a_visitor_reaches_the_app_that_could_be_a_part_of_the_url(named, header):
    for value in VALUES:
        found = where(named, {"Host": "shop.example", header: value}, source=STRANGER)
        arrived = {
            name for name in found["headers"] if name.lower() == header.lower().replace("_", "-")
        }
        assert arrived <= SET


HOSTS = [
    # Host as it is sent, and the app's own name for itself.
    ("shop.example", "shop.example"),
    ("shop.example:{port}", "shop.example:{port}"),
    ("shop.example:80", "shop.example"),
    ("SHOP.Example", "shop.example"),
    ("shop.example.", "shop.example"),
    ("SHOP.example.:{port}", "shop.example:{port}"),
    ("www.shop.example", "www.shop.example"),
    ("a.b.shop.example", "a.b.shop.example"),
    ("re12.example", "re12.example"),
    ("port.example:8443", "port.example:8443"),
    ("evil.example", 421),
    ("evil.example:{port}", 421),
    ("EVIL.example", 421),
    ("shop.example.evil.example", 421),
    ("evilshop.example", 421),
    ("shop.example:99", 421),
    ("shop.example:080", 421),
    ("shop.example:", 421),
    ("shop.example:{port}1", 421),
    ("shop.example:evil", 421),
    ("shop.example@evil.example", 421),
    ("re123.example", 421),
    ("127.0.0.1", 421),
    ("127.0.0.1:{port}", 421),
    ("localhost", 421),
    ("[::1]", 421),
    ("[::1]:{port}", 421),
    ("2130706433", 421),
    ("front.evenkeel.invalid", 421),
    ("_", 421),
    # Characters that end a name for a browser, before the end that a wildcard allows.
    *((f"evil.example{mark}.shop.example", 421) for mark in "?#\\@%&;'\"<>$(),=!*+~`^|[]"),
    ("xn--mnchen-3ya.shop.example", "xn--mnchen-3ya.shop.example"),
    ("a-b.shop.example", "a-b.shop.example"),
    ("", 400),
    ("shop.example/evil", 400),
    ("shop.example..", 400),
    ("shop.example evil", (400, 421)),
]


@pytest.mark.parametrize(("host", "expected"), HOSTS)
def test_an_app_with_names_answers_to_these_alone(named, host, expected):
    host = host.format(port=named.port)
    found = where(named, {"Host": host}, source=STRANGER)
    if isinstance(expected, str):
        name = expected.format(port=named.port)
        assert (found["host"], found["url"]) == (name, f"http://{name}/where")
    else:
        assert found in (expected if isinstance(expected, tuple) else (expected,))


@CALM
@example("evil.example")
@example("_.shop.example")
@given(st.from_regex(r"[!-.0-~]{1,20}(\.shop\.example)?", fullmatch=True))
def test_any_other_host_is_refused_and_reaches_no_app(named, host):
    answer = ask(named.port, "/where", {"Host": host}, source=STRANGER)
    if answer.status == 200:
        name = json.loads(answer.body)["host"].partition(":")[0]
        # Werkzeug has no host where it takes a label for none.
        assert not name or name.endswith(("shop.example", "port.example"))
    else:
        assert answer.status in (400, 421)
        assert "X-Release" not in answer.headers


ABSENT = [
    ("GET /where HTTP/1.0\r\n\r\n", 421),
    ("GET /where HTTP/1.1\r\nConnection: close\r\n\r\n", 400),
    (
        "GET http://evil.example/where HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n",
        421,
    ),
    ("GET http://evil.example/where HTTP/1.0\r\n\r\n", 421),
    (
        "GET http://shop.example/where HTTP/1.1\r\nHost: evil.example:99\r\nConnection: close\r\n\r\n",
        421,
    ),
]


@pytest.mark.parametrize(("request_text", "status"), ABSENT)
def test_a_request_without_one_of_the_names_is_refused(named, request_text, status):
    assert ask_raw(named.port, request_text.encode(), STRANGER).status == status


def test_in_the_absolute_form_of_a_request_the_other_host_means_nothing(named):
    text = (
        "GET http://shop.example/where HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
    )
    answer = ask_raw(named.port, text.encode(), STRANGER)
    assert json.loads(answer.body)["url"] == "http://shop.example/where"
    assert b"evil" not in answer.body


def test_a_refused_host_may_get_no_answer_at_all(tmp_path):
    variables = {"nginx_server_names": ["shop.example"], "nginx_unknown_host_status": 444}
    with Front(tmp_path, APP, **variables) as front:
        assert ask(front.port, "/where", {"Host": "evil.example"}, source=STRANGER).status == 0
        assert ask(front.port, "/where", {"Host": "shop.example:99"}, source=STRANGER).status == 0


def test_without_names_any_host_is_the_apps_to_judge_as_it_was_sent(unnamed):
    assert where(unnamed, {"Host": "Evil.example:99"})["host"].lower() == "evil.example:99"


@pytest.mark.parametrize(
    ("proto", "scheme"),
    [("https", "https"), ("HTTPS", "https"), ("https,http", "https"), ("https , http", "https"), ("wss", "https"),
     ("http", "http"), ("http,https", "http"), ("httpsx", "http"), ("", "http")],
)  # fmt: skip
def test_a_trusted_proxy_says_by_which_scheme_it_was_asked(named, proto, scheme):
    headers = {"Host": "shop.example", "X-Forwarded-Proto": proto}
    assert where(named, headers)["scheme"] == scheme
    assert where(named, headers, source=STRANGER)["scheme"] == "http"


@pytest.mark.parametrize(
    ("claimed", "expected"),
    [("www.shop.example", "www.shop.example"), ("www.shop.example:8443", "www.shop.example:8443"),
     ("www.shop.example, shop.example", "www.shop.example"), ("evil.example", 421), ("evil.example:80", 421),
     ("evil.example, shop.example", 421), ("shop.example\"><", 421), ("evil.example?.shop.example", 421),
     ("evil.example/.shop.example", 421), ("evil.example:80.shop.example", 421), ("evil@www.shop.example", 421)],
)  # fmt: skip
def test_a_trusted_proxy_says_which_of_the_names_it_was_asked_for(named, claimed, expected):
    found = where(named, {"Host": "shop.example", "X-Forwarded-Host": claimed})
    assert (found if isinstance(found, int) else found["host"]) == expected
    stranger = where(named, {"Host": "shop.example", "X-Forwarded-Host": claimed}, source=STRANGER)
    assert stranger["host"] == "shop.example"


def test_a_trusted_proxy_may_have_any_port(named):
    assert where(named, {"Host": "shop.example:8080"})["host"] == "shop.example:8080"


@pytest.mark.parametrize("path", ["/health", "/health?x=1", "/%68ealth"])
def test_a_balancer_asks_for_the_health_endpoint_by_any_host(named, path):
    for host in ("10.0.0.7:8000", "evil.example"):
        assert ask(named.port, path, {"Host": host}).status == 200
        assert ask(named.port, path, {"Host": host}, source=STRANGER).status == (
            # Loopback is the host itself.
            200
        )
    assert ask_raw(named.port, f"GET {path} HTTP/1.0\r\n\r\n".encode()).status == 200


def test_a_balancer_does_so_where_all_names_are_patterns(tmp_path):
    with Front(tmp_path, APP, nginx_server_names=["~^shop"]) as front:
        assert ask(front.port, "/health", {"Host": "10.0.0.7"}).status == 200
        assert ask(front.port, "/where", {"Host": "10.0.0.7"}).status == 421


@pytest.mark.parametrize("path", ["/healthy", "/x/../health", "/health/", "/HEALTH", "/where"])
def test_by_any_host_there_is_nothing_but_the_health_endpoint(named, path):
    assert ask(named.port, path, {"Host": "evil.example"}).status == 421


def test_a_candidate_is_asked_by_its_names_and_by_the_host_itself(named):
    port = named.candidate_port
    for host in ("shop.example", "127.0.0.1:54321", "localhost", f"127.0.0.1:{port}"):
        assert ask(port, "/where", {"Host": host}).status == 200
    assert ask(port, "/where", {"Host": "evil.example"}).status == 421


def test_users_are_not_told_the_release_and_the_host_itself_is(named):
    assert ask(named.port, "/where", {"Host": "shop.example"}).headers["X-Release"]
    through = {"Host": "shop.example", "X-Forwarded-For": "192.0.2.1"}
    assert "X-Release" not in ask(named.port, "/where", through).headers


@pytest.mark.parametrize("variables", [
    {},
    {"nginx_server_names": NAMES},
    {"nginx_server_names": ["shop.example", "127.0.0.1", "127.0.0.1:8443"]},
    {"nginx_server_names": NAMES, "nginx_trusted_proxies": ["10.0.0.0/8", "127.0.0.0/8", "::1/128"]},
    {"nginx_server_names": ["*.shop.example"], "nginx_health_any_host": False, "nginx_access_log": ""},
    {"flask_app_rate_limit": 1}, {"flask_app_rate_limit": 200, "nginx_server_names": ["a.example"]},
    {"flask_app_rate_limit": 7, "flask_app_rate_limit_exempt": ["127.0.0.0/8", "10.0.0.0/8"]},
    {"nginx_compression": False}, {"nginx_expose_release": True}, {"flask_app_name": "my-shop_2"},
    {"rollout_health_path": "/a \"'{};$x/ü?deep=1"}, {"nginx_error_log_level": "error"},
])  # fmt: skip
def test_nginx_takes_the_file_without_a_word(tmp_path, variables):
    front = Front(tmp_path, **variables)
    front.site.write_text(front.content())
    done = front.nginx("-t", "-q")
    assert (done.returncode, done.stderr) == (0, "")


def test_two_apps_are_in_one_nginx(tmp_path):
    front = Front(tmp_path)
    front.site.write_text(front.content(flask_app_rate_limit=5))
    other = front.content(
        flask_app_name="blog", flask_app_port=front.probe_port, nginx_candidate_port=1
    )
    front.site.with_name("blog.conf").write_text(other)
    done = front.nginx("-t", "-q")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_header_of_an_answer_may_be_of_16_kib(tmp_path):
    app = """
def application(environ, start):
    start("200 OK", [("X-Long", "x" * 12000), ("Content-Length", "0")])
    return [b""]
"""
    with Front(tmp_path, app) as front:
        assert ask(front.port).status == 200


@pytest.mark.parametrize(
    ("names", "trusted"),
    [
        ([], []),
        (["shop.example"], ["shop.example"]),
        (["shop.example:8443", "shop.example"], ["shop.example"]),
        (["*.shop.example", ".a.example"], [".shop.example", ".a.example"]),
        (["shop.example", "~^re$"], None),
        (["shop.example", "www.example.*"], None),
    ],
)
def test_flask_trusts_the_same_names_and_the_host_itself(names, trusted):
    found = known_variables(nginx_server_names=names)["__nginx_trusted_hosts"]
    assert found == ([*trusted, "localhost", "127.0.0.1"] if trusted else [])


@pytest.fixture(name="trusting", scope="module")
def _trusting(tmp_path_factory):
    names = ["shop.example", "*.shop.example", ".dot.example", "port.example:8443"]
    trusted = known_variables(nginx_server_names=names)["__nginx_trusted_hosts"]
    app = APP + f"\napp.config['TRUSTED_HOSTS'] = {trusted}\n"
    with Front(tmp_path_factory.mktemp("trusting"), app, nginx_server_names=names) as front:
        yield front


@pytest.mark.parametrize(
    "host",
    ["shop.example", "SHOP.example", "shop.example.", "shop.example:{port}", "a.shop.example", "A.b.shop.example:80",
     "dot.example", "x.dot.example", "port.example:8443"],
)  # fmt: skip
def test_what_nginx_lets_through_flask_takes(trusting, host):
    assert ask(trusting.port, "/where", {"Host": host.format(port=trusting.port)}).status == 200


def test_flask_takes_what_gate_and_health_checks_ask_by(trusting):
    port = trusting.candidate_port
    for host in ("shop.example", f"127.0.0.1:{port}", "localhost"):
        assert ask(port, "/where", {"Host": host}).status == 200
    # A balancer's, which nginx gives the app's own name.
    assert ask(trusting.port, "/health", {"Host": "10.0.0.7"}).status == 200
