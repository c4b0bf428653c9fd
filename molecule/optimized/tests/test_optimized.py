# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The production form of an app that knows nothing of it."""

from __future__ import annotations

import gzip
import http.client
import json
import re
import uuid
from concurrent.futures import ThreadPoolExecutor

import brotli
import pytest
from ansible_collections.evenkeel.flask.molecule.shared.testbed import wait_until

PRODUCT = {"name": "Stool", "price_cents": 4900, "category": "Kitchen"}


@pytest.fixture(scope="module")
def data(fleet):
    return fleet.props["data"].see


@pytest.fixture
def in_redis(fleet, data):
    """Return the response of redis-cli, run as the app's user."""
    password = fleet.secrets["redis_password"]

    def ask(*command):
        words = " ".join(f"'{word}'" for word in command)
        return data.check_output(
            f"REDISCLI_AUTH={password} redis-cli --no-auth-warning --user storefront {words}"
        )

    return ask


@pytest.fixture
def keys_of(in_redis):
    """Return the keys with a prefix; the app's user has no permission for KEYS."""
    return lambda prefix: in_redis("--scan", "--pattern", f"{prefix}*").split()


@pytest.fixture
def in_postgres(data):
    def ask(query):
        return data.check_output("su - postgres -c %s", f'psql -tAc "{query}" storefront')

    return ask


@pytest.fixture
def fresh():
    """A path without an earlier request."""
    return f"/api/products?asked={uuid.uuid4().hex}"


def cached(fleet, host, path, **headers):
    # A balancer requests the same site from all hosts.
    answer = fleet.ask(host, path, {"Host": "shop.example", **headers})
    assert answer.status == 200
    return answer.headers["X-Cache"]


def keep(fleet, host, path):
    """Send requests until the response is stored."""
    wait_until(lambda: cached(fleet, host, path) == "HIT", f"{path} is in the cache")


def log_in(fleet, host):
    answer = fleet.ask(host, "/login", form={"username": "demo", "password": "demo-password"})
    assert answer.status == 302
    return {"Cookie": answer.headers["Set-Cookie"].partition(";")[0]}


# Static files


@pytest.fixture
def stylesheet(fleet):
    return re.search(r'href="([^"]*shop.css[^"]*)"', fleet.ask("app1", "/").text)[1]


@pytest.mark.parametrize("taken", ["gzip", "gzip, br"])
def test_static_files_are_served_by_nginx_for_a_year_and_precompressed(
    fleet, host, stylesheet, taken
):
    answer = fleet.ask("app1", stylesheet, {"Accept-Encoding": taken})
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert answer.headers["Content-Encoding"] == "gzip"
    # The app names itself in all of its own.
    assert answer.release is None
    version = stylesheet.partition("?v=")[2]
    kept = host.see.file(f"/srv/storefront/static/{version}/static/shop.css.gz")
    assert answer.body == kept.content


def test_who_takes_brotli_alone_gets_static_files_by_it(fleet, host, stylesheet):
    answer = fleet.ask("app1", stylesheet, {"Accept-Encoding": "br"})
    assert (answer.headers["Content-Encoding"], answer.release) == ("br", None)
    version = stylesheet.partition("?v=")[2]
    kept = host.see.file(f"/srv/storefront/static/{version}/static/shop.css")
    assert brotli.decompress(answer.body) == kept.content


def test_what_is_asked_for_without_a_version_is_the_apps(fleet):
    answer = fleet.ask("app1", "/static/shop.css")
    assert (answer.status, answer.headers["Cache-Control"]) == (200, "no-cache")
    assert answer.release


def test_what_is_asked_for_without_a_version_is_precompressed_too(fleet):
    answer = fleet.ask("app1", "/static/shop.css", {"Accept-Encoding": "gzip"})
    assert answer.headers["Content-Encoding"] == "gzip"
    # nginx would have made that a weak one.
    assert re.fullmatch(r'"[0-9a-f]{16}-gzip"', answer.headers["ETag"])
    assert gzip.decompress(answer.body) == fleet.ask("app1", "/static/shop.css").body


@pytest.mark.parametrize(
    "path", ["/static/shop.css?v=../../../etc", "/etc/passwd?v=none", "/static/?v=none"]
)
def test_nothing_else_lies_there(fleet, path):
    answer = fleet.ask("app1", path)
    assert answer.release, "it was not the app that answered"


# Compression


DECODERS = {"gzip": gzip.decompress, "br": brotli.decompress}


@pytest.mark.parametrize(
    ("taken", "encoding"),
    [("gzip", "gzip"), ("br", "br"), ("gzip, br", "br"), ("gzip, deflate, br, zstd", "br")],
)
@pytest.mark.parametrize("path", ["/", "/api/products"])
def test_pages_are_compressed_by_the_best_that_the_client_takes(fleet, path, taken, encoding):
    # A response that is not stored: a stored one is already compressed by gzip.
    page = fleet.ask("app1", f"{path}?{uuid.uuid4()}", {"Accept-Encoding": taken})
    assert (page.headers["Content-Encoding"], page.headers["Vary"]) == (encoding, "Accept-Encoding")
    assert DECODERS[encoding](page.body) == fleet.ask("app1", path).body


def test_what_is_kept_is_compressed_already_for_whoever_takes_gzip(fleet):
    path = f"/products?{uuid.uuid4()}"
    for _turn in range(3):
        page = fleet.ask("app1", path, {"Accept-Encoding": "gzip, br"})
    assert page.headers["X-Cache"] == "HIT"
    assert page.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(page.body) == fleet.ask("app1", path).body


@pytest.mark.parametrize("taken", ["gzip", "br"])
def test_small_answers_are_not_compressed(fleet, taken):
    assert (
        fleet.ask("app1", "/health", {"Accept-Encoding": taken}).headers["Content-Encoding"] is None
    )


@pytest.mark.parametrize("taken", ["gzip", "br"])
@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_what_another_sites_page_asks_for_with_a_cookie_is_not_compressed(fleet, site, taken):
    headers = {"Accept-Encoding": taken, "Sec-Fetch-Site": site}
    with_cookie = fleet.ask("app1", "/", {**headers, "Cookie": "session=x"})
    assert (with_cookie.status, with_cookie.headers["Content-Encoding"]) == (200, None)
    assert fleet.ask("app1", "/", headers).headers["Content-Encoding"] == taken


# The pool


def test_workers_keep_their_connections_and_have_no_more_than_they_have_threads(
    fleet, host, in_postgres
):
    query = "select count(*) from pg_stat_activity where usename = 'storefront'"
    with ThreadPoolExecutor(20) as pool:
        asked = [pool.submit(fleet.ask, name) for name in fleet.hosts for _time in range(100)]
    assert {each.result().status for each in asked} == {200}
    assert 1 <= int(in_postgres(query)) <= 2 * 5


def test_its_settings_are_those_of_the_production_form(host):
    text = host.see.file(f"{host.live_folder}/config/production_optimized.py").content_string
    for line in ('"pool_size": 20', '"max_overflow": 40', '"pool_recycle": 3600', "pre_ping"):
        assert line in text


# Workers


def workers(host):
    main = host.see.check_output(f"systemctl show -P MainPID storefront@{host.live_slot}.service")
    return set(host.see.check_output(f"pgrep -P {main}").split())


def test_workers_are_recycled_one_after_the_other_and_lose_nothing(fleet, host):
    first, gone = workers(host), []
    for _turn in range(60):
        statuses = {fleet.ask("app1").status for _time in range(10)}
        assert statuses == {200}
        gone.append(len(first - workers(host)))
    assert gone[-1] == 5
    # All at once is what the jitter is against.
    assert set(gone) & {1, 2, 3, 4}


def test_heartbeats_are_in_memory(host):
    (worker, *_others) = workers(host)
    assert "/dev/shm/" in host.see.check_output(f"ls -l /proc/{worker}/fd")


# Sessions


def test_a_session_is_one_for_all_hosts_and_lies_in_redis(fleet, in_redis, keys_of):
    cookie = log_in(fleet, "app1")
    assert "Hello, demo" in fleet.ask("app2", "/account", cookie).text
    keys = keys_of("storefront:session:")
    assert keys
    assert cookie["Cookie"].partition("=")[2] not in "".join(keys)
    assert json.loads(in_redis("GET", keys[0]))
    assert int(in_redis("TTL", keys[0])) > 0


def test_who_uses_no_session_has_none(fleet, keys_of):
    before = keys_of("storefront:session:")
    assert fleet.ask("app1", "/").headers["Set-Cookie"] is None
    assert keys_of("storefront:session:") == before


# The cache


def test_an_answer_is_kept_for_all_hosts_and_expires(fleet, in_redis, keys_of, fresh):
    keep(fleet, "app1", fresh)
    assert cached(fleet, "app2", fresh) == "HIT"
    release = fleet.ask("app1").release
    keys = keys_of(f"storefront:cache:{release}:")
    assert keys
    # The mark of a page in progress lives for 2 s: it may be gone (-2) before the query to Redis.
    left = {key: int(in_redis("PTTL", key)) for key in keys}
    assert {key: ms for key, ms in left.items() if not (ms == -2 or 0 <= ms <= 120_000)} == {}
    assert max(left.values()) > 0


def test_who_writes_sees_it_on_every_host(fleet, fresh):
    keep(fleet, "app2", fresh)
    connection = http.client.HTTPConnection(fleet.urls["app1"].partition("//")[2], timeout=30)
    body, headers = json.dumps(PRODUCT), {"Content-Type": "application/json"}
    connection.request("POST", "/api/products", body, headers)
    answer = connection.getresponse()
    made = json.loads(answer.read())
    assert answer.status == 201, made
    assert cached(fleet, "app2", fresh) == "MISS"
    connection.request("DELETE", f"/api/products/{made['id']}")
    assert connection.getresponse().status == 204


def test_a_page_of_ones_own_is_never_kept(fleet):
    cookie = log_in(fleet, "app1")
    for _time in range(4):
        assert cached(fleet, "app1", "/account", **cookie) != "HIT"
        assert fleet.ask("app1", "/account").status == 302


def test_the_host_itself_asks_the_app(fleet, host):
    keep(fleet, "app1", "/")
    script = (
        "import urllib.request as u; "
        "r = u.Request('http://127.0.0.1:8000/', headers={'Host': 'shop.example', 'Cache-Control': 'no-cache'}); "
        "print(u.urlopen(r).headers['X-Cache'])"
    )
    assert host.see.check_output("python3 -c %s", script) == "BYPASS"


def test_a_release_has_none_of_its_predecessors_answers(fleet):
    keep(fleet, "app1", "/products?page=1")
    fleet.lay_out_another()
    settings = {
        "flask_app_rate_limit_scope": "fleet",
        "redis_client_cache_header": True,
        "rollout_batches": ["100%"],
    }
    assert fleet.play("rollout", "-e", json.dumps(settings)).status == 0
    assert cached(fleet, "app1", "/products?page=1") == "MISS"


# The limit


def test_a_client_has_one_limit_on_all_hosts(fleet):
    client = {"X-Forwarded-For": f"198.51.100.{uuid.uuid4().int % 250 + 1}"}
    statuses = [
        fleet.ask(("app1", "app2")[number % 2], "/login", client).status for number in range(201)
    ]
    assert statuses == [200] * 200 + [429]
    refused = fleet.ask("app1", "/login", client)
    assert 0 < int(refused.headers["Retry-After"]) <= 60
    # Other requests are not affected, nor are health checks of the app.
    assert fleet.ask("app1", "/login", {"X-Forwarded-For": "203.0.113.1"}).status == 200
    assert fleet.ask("app1", "/health", client).status == 200


# Redis away: after the limit, for which a worker does not ask for a second after it was


def test_without_redis_all_is_served_and_with_it_sessions_are_there_again(fleet, host, data):
    cookie = log_in(fleet, "app1")
    data.check_output("systemctl stop redis-server")
    try:
        for path in ("/", "/products", "/api/products", "/health"):
            assert {fleet.ask("app1", path).status for _time in range(5)} == {200}
        # It looks logged out, and its cookie is left alone.
        account = fleet.ask("app1", "/account", cookie)
        assert (account.status, account.headers["Set-Cookie"]) == (302, None)
        assert "Redis is away" in host.see.file("/var/log/storefront/app.log").content_string
    finally:
        data.check_output("systemctl start redis-server")
    wait_until(lambda: fleet.ask("app1", "/account", cookie).status == 200, "the session is back")


# Reports


def test_the_status_says_what_became_of_each_measure(fleet):
    output = fleet.play("status").said
    for measure in ("pool", "sessions", "cache", "json", "static"):
        assert re.search(rf"{measure} +applied +.* app1, app2", output)


def test_a_profile_measures_and_compares(fleet, tmp_path):
    settings = ["-e", f"profile_report_path={tmp_path}", "-e", "profile_seconds=0.5"]
    settings += ["-e", json.dumps({"profile_endpoints": ["/", "/health"]})]
    first = fleet.play("profile", *settings)
    assert first.status == 0
    report = json.loads((tmp_path / "profile.json").read_text())
    assert set(report["hosts"]) == {"app1", "app2"}
    again = fleet.play("profile", *settings, "-e", f"profile_compare={tmp_path}/profile.json")
    assert again.status == 0
    assert "<svg" in (tmp_path / "profile.html").read_text()
