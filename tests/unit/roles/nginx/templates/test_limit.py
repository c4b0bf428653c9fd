# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""nginx and FleetLimit count the same requests for the same clients."""

from __future__ import annotations

import ipaddress
import itertools
import pathlib
import sys

import pytest
from front import APP, Front, ask, ask_raw, needs_nginx
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(pathlib.Path(__file__).parents[5] / "roles" / "redis_client" / "files"))

import evenkeel_limit

pytestmark = needs_nginx
FILES = ["/static/a.css"]
CALM = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
FRESH = itertools.count(1)


@pytest.fixture(name="front", scope="module")
def _front(tmp_path_factory):
    folder = tmp_path_factory.mktemp("limit")
    front = Front(
        folder,
        APP,
        flask_app_rate_limit=1,
        nginx_trusted_proxies=["127.0.0.1"],
        flask_app_rate_limit_exempt=["198.18.0.0/16", "2001:db8:ffff::/48"],
    )
    published = folder / "srv" / "shop" / "static" / "published"
    for file in FILES:
        place = published / file.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    # A page that returns the key by which nginx counts a client's requests.
    probe = folder / "conf.d" / "zz_probe.conf"
    probe.write_text(
        f"server {{ listen 127.0.0.1:{front.probe_port}; set_real_ip_from 127.0.0.1;"
        " real_ip_header X-Forwarded-For; set $shop_is_static 0; return 200 $shop_client; }"
    )
    with front:
        yield front


def fresh():
    """An address without earlier requests."""
    return str(ipaddress.ip_address("10.0.0.0") + next(FRESH))


def counted(front, path, method="GET", headers=None):
    """Whether a second request within the minute is refused; and the first answer."""
    given = {"X-Forwarded-For": fresh(), **(headers or {})}
    first, second = (ask(front.port, path, given, method) for _turn in range(2))
    assert first.status != 429
    return second.status == 429, first


def written(path):
    """All ways to write a path: each character as it is or percent-encoded, and what a client may add."""
    ways = [st.sampled_from([one, f"%{ord(one):02x}", f"%{ord(one):02X}"]) for one in path[1:]]
    return st.tuples(*ways).map("".join).map("/{}".format)


SEGMENTS = st.lists(
    st.sampled_from(
        ["health", "HEALTH", "static", "a.css", "A.CSS", ".", "..", "", "%2e", "%2E%2e", "x", ";v", "%2f", "he%61lth"]
    ),
    max_size=5,
)  # fmt: skip
PATHS = (
    SEGMENTS.map(lambda parts: "/" + "/".join(parts))
    | written("/health")
    | written("/static/a.css")
    | st.tuples(st.sampled_from(["", "/x/..", "/.", "/", "/x/%2e%2e", "/x%2f.."]), written("/health")).map("".join)
    | st.tuples(st.sampled_from(["", "/x/..", "/.", "/", "/x/%2e%2e", "/x%2f.."]), written("/static/a.css")).map("".join)
)  # fmt: skip
TAILS = st.sampled_from(["", "?", "?x=1", "#x", "?v=0123456789abcdef", "?/../health", "/", "/."])


@CALM
@example("/health", "")
@example("/x/../health", "")
@example("/x/%2e%2e/HEALTH", "")
@example("/wiki/1/../../health", "")
@example("//health", "")
@example("/static/a.css", "")
@example("/x/../static/a.css", "")
@example("/static/a.css", "?v=0123456789abcdef")
@example("/%68ealth", "")
@given(PATHS, TAILS)
def test_a_request_is_exempt_exactly_when_the_app_routes_it_to_the_health_endpoint_or_a_published_file(
    front, path, tail
):
    refused, answer = counted(front, path + tail)
    if answer.status == 400:
        # nginx refuses it, so the app does not get it.
        return
    assert "X-Endpoint" in answer.headers, (path, answer.status)
    seen = bytes.fromhex(answer.headers["X-Seen-Path"]).decode()
    is_exempt = answer.headers["X-Endpoint"] == "health" or seen in FILES
    assert refused == (not is_exempt)
    # The limit of the fleet agrees.
    assert answer.headers["X-Fleet-Exempt"] == str(is_exempt)


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PROPFIND"])
@pytest.mark.parametrize("path", ["/static/a.css", "/health", "/static/b.css"])
@pytest.mark.parametrize("extra", [{}, {"Range": "bytes=0-0"}])
def test_both_scopes_count_the_same_methods(front, method, path, extra):
    refused, answer = counted(front, path, method, extra)
    assert str(not refused) == answer.headers["X-Fleet-Exempt"]


def addresses():
    v4 = st.ip_addresses(v=4)
    mapped = v4.map(lambda one: ipaddress.ip_address(f"::ffff:{one}"))
    near = st.tuples(st.integers(0, 3), st.integers(0, 2**64 - 1)).map(
        lambda one: ipaddress.IPv6Address((0x20010DB8 << 96) + (one[0] << 64) + one[1])
    )
    low = st.integers(0, 2**33).map(ipaddress.IPv6Address)
    special = st.sampled_from(
        ["127.0.0.1", "::1", "::ffff:127.0.0.1", "198.18.3.4", "::ffff:198.18.3.4", "2001:db8:ffff::1",
         "fe80::1", "0.0.0.0", "::", "64:ff9b::a00:1", "2002:a00:1::1"]
    ).map(ipaddress.ip_address)  # fmt: skip
    return v4 | mapped | st.ip_addresses(v=6) | near | low | special


def related(address):
    """Another address that is somehow near."""
    number, size = int(address), address.max_prefixlen
    flips = [0, 1, 1 << 8, 1 << (size - 1)] + (
        [1 << 32, 1 << 63, 1 << 64, 1 << 80] if size > 32 else []
    )
    same = st.sampled_from([type(address)(number ^ flip) for flip in flips])
    if size == 32:
        return same | st.just(ipaddress.ip_address(f"::ffff:{address}"))
    return same | (st.just(address.ipv4_mapped) if address.ipv4_mapped else same)


PAIRS = addresses().flatmap(lambda one: st.tuples(st.just(one), related(one) | addresses()))


@CALM
@example((ipaddress.ip_address("2001:db8:0:2::1"), ipaddress.ip_address("2001:db8:0:2:ffff::2")))
@example((ipaddress.ip_address("192.0.2.1"), ipaddress.ip_address("::ffff:192.0.2.1")))
@example((ipaddress.ip_address("::ffff:192.0.2.1"), ipaddress.ip_address("::ffff:192.0.2.2")))
@given(PAIRS)
def test_a_pair_of_addresses_is_one_client_to_nginx_exactly_when_it_is_to_the_fleets_limit(
    front, pair
):
    # nginx takes the address of all hosts (RFC 919), which no client has, for no address.
    assume(ipaddress.ip_address("255.255.255.255") not in pair)
    limit = evenkeel_limit.FleetLimit(
        None, None, "", 1, exempt_networks=front.variables["flask_app_rate_limit_exempt"]
    )
    fleet = [limit.client(str(one)) for one in pair]
    nginx = [ask(front.probe_port, "/x", {"X-Forwarded-For": str(one)}).body for one in pair]
    assert [bool(one) for one in nginx] == [bool(one) for one in fleet]
    assert (nginx[0] == nginx[1]) == (fleet[0] == fleet[1])


def test_a_new_address_of_one_network_for_each_request_is_one_client(front):
    statuses = [
        ask(front.port, "/x", {"X-Forwarded-For": f"2001:db8:0:77::{turn:x}"}).status
        for turn in range(1, 6)
    ]
    assert statuses == [200, 429, 429, 429, 429]


def test_a_file_that_is_not_published_is_counted_like_any_request(front):
    assert counted(front, "/static/b.css")[0]


def test_no_absolute_form_of_a_request_escapes_the_limit(front):
    address = fresh()

    def status(path):
        request = f"GET http://127.0.0.1{path} HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {address}\r\nConnection: close\r\n\r\n"
        return ask_raw(front.port, request.encode()).status

    assert [status("/x/../health"), status("/x/../health"), status("/health")] == [200, 429, 200]
