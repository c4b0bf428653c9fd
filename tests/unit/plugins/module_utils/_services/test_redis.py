# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The check of a Redis server, against a server on loopback with a script."""

from __future__ import annotations

import contextlib

import pytest
from ansible_collections.evenkeel.flask.plugins.module_utils._errors import (
    PreflightError,
    PreflightWarning,
)
from ansible_collections.evenkeel.flask.plugins.module_utils._services import (
    redis as services_redis,
)
from ansible_collections.evenkeel.flask.tests.unit.plugins.certificates import server_context
from ansible_collections.evenkeel.flask.tests.unit.plugins.loopback import serving, silent


class Redis:
    """A Redis as far as the proof needs one.

    @param answers: by command, instead of the right answer
    """

    def __init__(self, **answers: bytes) -> None:
        self.answers = answers
        self.asked: list[list[str]] = []
        self.kept: dict[str, str] = {}

    def __call__(self, conn, _request):
        with conn.makefile("rb") as stream:
            while line := stream.readline():
                words = []
                for _turn in range(int(line[1:])):
                    size = int(stream.readline()[1:])
                    words.append(stream.read(size + 2)[:-2].decode())
                self.asked.append(words)
                answer = self.answers.get(words[0], self._right(words))
                conn.sendall(answer)
                if not answer:
                    return

    def _right(self, words):
        if words[0] == "SET":
            self.kept[words[1]] = words[2]
        if words[0] == "GET":
            value = self.kept[words[1]].encode()
            return b"$%d\r\n%s\r\n" % (len(value), value)
        if words[0] == "DEL":
            return b":%d\r\n" % (self.kept.pop(words[1], None) is not None)
        if words[0] == "INFO":
            return b"$33\r\n# Server\r\nredis_version:7.0.15\r\n\r\n\r\n"
        return b"+PONG\r\n" if words[0] == "PING" else b"+OK\r\n"

    @contextlib.contextmanager
    def url(self, credentials="", scheme="redis", rest="", **serving_args):
        with serving(self, read=lambda _conn: b"", **serving_args) as server:
            host = server.url.split("://")[1]
            yield f"{scheme}://{credentials}{host}{rest}"


def prove(url, prefix="shop:"):
    return services_redis.check_connection(url, prefix, 5)


@pytest.mark.parametrize(
    ("credentials", "rest", "login"),
    [
        ("shop:s3%2Fcr%40t@", "/0", [["AUTH", "shop", "s3/cr@t"], ["SELECT", "0"]]),
        (":pw@", "", [["AUTH", "pw"]]),
        ("shop@", "?db=3", [["AUTH", "shop", ""], ["SELECT", "3"]]),
        ("", "/1?db=2", [["SELECT", "2"]]),
        ("", "?username=shop&password=pw", [["AUTH", "shop", "pw"]]),
    ],
)
def test_the_url_is_read_as_redis_py_reads_it(credentials, rest, login):
    redis = Redis()
    with redis.url(credentials, rest=rest) as url:
        prove(url)
    assert redis.asked[: redis.asked.index(["PING"])] == login


def test_a_key_with_the_prefix_is_kept_and_forgotten():
    redis = Redis()
    with redis.url() as url:
        assert prove(url).version == "7.0.15"
    (_set, key, _value, *expiry), (_get, read), (_del, deleted) = redis.asked[1:4]
    assert key.startswith("shop:preflight:")
    assert read == deleted == key
    assert expiry == ["EX", "10"]
    assert redis.kept == {}


@pytest.mark.parametrize(
    "info",
    [
        b"-NOPERM this user has no permissions to run the 'info' command\r\n",
        b"$0\r\n\r\n",
        b"$-1\r\n",
    ],
)
def test_the_version_may_be_hidden(info):
    with Redis(INFO=info).url() as url:
        assert prove(url) == services_redis.Server()


@pytest.mark.parametrize(
    ("limit", "policy", "warning"),
    [
        (0, "noeviction", "noeviction without maxmemory"),
        (1 << 30, "noeviction", None),
        (1 << 30, "volatile-ttl", None),
        (1 << 30, "volatile-lru", None),
        (1 << 30, "allkeys-lru", "maxmemory-policy allkeys-lru"),
        (1 << 30, "allkeys-random", "drops sessions"),
        (0, "allkeys-lfu", "drops sessions"),
    ],
)
def test_a_server_whose_memory_endangers_sessions_is_told(limit, policy, warning):
    info = (
        f"# Memory\r\nused_memory:1\r\nmaxmemory:{limit}\r\nmaxmemory_policy:{policy}\r\n".encode()
    )
    with Redis(INFO=b"$%d\r\n%s\r\n" % (len(info), info)).url() as url:
        server = prove(url)
    assert (server.max_memory, server.policy) == (limit, policy)
    if warning is None:
        services_redis.check_memory(server)
        return
    with pytest.raises(PreflightWarning, match=warning) as doubt:
        services_redis.check_memory(server)
    assert "volatile-ttl" in str(doubt.value)


@pytest.mark.parametrize(
    ("command", "answer", "message"),
    [
        ("AUTH", b"-WRONGPASS invalid username-password pair\r\n",
         "refused the password (WRONGPASS invalid username-password pair); check user and password."),
        ("PING", b"-NOAUTH Authentication required.\r\n",
         "refused PING (NOAUTH Authentication required.); put user and password into the URL"),
        ("SET", b"-NOPERM this user has no permissions\r\n", "allow the user the keys shop:* and"),
        ("PING", b"-LOADING Redis is loading the dataset in memory\r\n", "try again in a moment"),
        ("SET", b"-READONLY You can't write against a read only replica.\r\n", "name its primary"),
        ("SELECT", b"-ERR DB index is out of range\r\n", "(ERR DB index is out of range); check the URL"),
        ("GET", b"$-1\r\n", "does not come back"),
        ("PING", b"HTTP/1.1 400 Bad Request\r\n", "does not speak the Redis protocol; check the port"),
        ("PING", b"$x\r\n", "does not speak the Redis protocol; check the port"),
        ("PING", b"", "hangs up; check the port, and whether it wants TLS"),
    ],
)  # fmt: skip
def test_what_the_server_refuses_is_told_with_the_remedy(command, answer, message):
    with Redis(**{command: answer}).url("shop:pw@", rest="/0") as url:
        where = url.rpartition("@")[2].removesuffix("/0")
        with pytest.raises(PreflightError) as problem:
            prove(url)
    assert message in str(problem.value)
    assert where in str(problem.value)


def test_a_server_that_repeats_the_password_is_not_repeated():
    echo = b"-ERR unknown command 'AUTH', with args beginning with: 'shop' 'hunter2'\r\n"
    with Redis(AUTH=echo).url("shop:hunter2@") as url, pytest.raises(PreflightError) as problem:
        prove(url)
    assert "unknown command 'AUTH'" in str(problem.value)
    assert "hunter2" not in str(problem.value)


def test_a_server_that_says_nothing_is_told():
    with (
        serving(silent, read=lambda _conn: b"") as server,
        pytest.raises(PreflightError, match="says nothing for"),
    ):
        services_redis.check_connection(server.url.replace("http", "redis"), "shop:", 0.05)


def test_a_unix_socket_will_do(tmp_path):
    redis = Redis()
    with serving(redis, read=lambda _conn: b"", unix_socket=str(tmp_path / "r.sock")):
        assert prove(f"unix://shop:pw@{tmp_path}/r.sock?db=1").version == "7.0.15"
    assert redis.asked[:2] == [["AUTH", "shop", "pw"], ["SELECT", "1"]]


@pytest.mark.parametrize("query", ["?ssl_cert_reqs=none", "?ssl_ca_certs={ca}"])
def test_tls_is_spoken(tmp_path, query):
    context = server_context(tmp_path, days=1)
    rest = query.format(ca=tmp_path / "ca.pem")
    with Redis().url(scheme="rediss", rest=rest, tls=context) as url:
        assert prove(url).version == "7.0.15"


def test_a_name_that_is_not_in_the_certificate_is_refused_unless_told(tmp_path):
    context = server_context(tmp_path, days=1, name="other.example")
    rest = f"?ssl_ca_certs={tmp_path}/ca.pem"
    with Redis().url(scheme="rediss", rest=rest, tls=context) as url:
        with pytest.raises(PreflightError, match="is not trusted"):
            prove(url)
        assert prove(f"{url}&ssl_check_hostname=false").version == "7.0.15"


def test_an_authority_that_is_not_known_is_refused(tmp_path):
    context = server_context(tmp_path, days=1)
    with (
        Redis().url(scheme="rediss", tls=context) as url,
        pytest.raises(PreflightError, match="not trusted"),
    ):
        prove(url)


def test_a_file_of_authorities_that_is_not_there_is_told(tmp_path):
    rest = f"?ssl_ca_certs={tmp_path}/absent.pem"
    with (
        Redis().url(scheme="rediss", rest=rest) as url,
        pytest.raises(PreflightError, match="No such file"),
    ):
        prove(url)


def test_a_server_without_tls_is_told():
    def plain(conn, _request):
        conn.recv(1)
        return b"-ERR Protocol error\r\n"

    with (
        serving(plain, read=lambda _conn: b"") as server,
        pytest.raises(PreflightError, match="TLS"),
    ):
        prove(server.url.replace("http", "rediss"))
