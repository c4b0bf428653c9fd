# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The proof of a PostgreSQL, against a server on loopback that keeps to a script."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import socket
import ssl
import struct
from dataclasses import dataclass, field

import pytest
from ansible_collections.evenkeel.flask.plugins.module_utils._errors import (
    PreflightError,
    PreflightWarning,
)
from ansible_collections.evenkeel.flask.plugins.module_utils._services import (
    postgres as services_postgres,
)
from ansible_collections.evenkeel.flask.plugins.module_utils._services.postgres import (
    Server,
    Target,
)
from ansible_collections.evenkeel.flask.tests.unit.plugins.certificates import server_context
from ansible_collections.evenkeel.flask.tests.unit.plugins.loopback import serving, silent

PASSWORD = "s3/cr@t"
SALT, ROUNDS = b"salt", 4096
WRONG_PASSWORD = ("28P01", 'password authentication failed for user "shop"')
NO_ENTRY = ("28000", 'no pg_hba.conf entry for host "10.0.0.5"')


def message(kind: bytes, payload: bytes) -> bytes:
    return kind + struct.pack("!i", len(payload) + 4) + payload


def error(code: str, text: str) -> bytes:
    return message(b"E", f"SFATAL\0C{code}\0M{text}\0\0".encode())


def row(*values: str) -> bytes:
    cells = b"".join(struct.pack("!i", len(value)) + value.encode() for value in values)
    return message(b"D", struct.pack("!h", len(values)) + cells)


def login(method: int, payload: bytes = b"") -> bytes:
    return message(b"R", struct.pack("!i", method) + payload)


@dataclass
class Postgres:
    """A PostgreSQL as far as the proof needs one.

    C(method) is scram, md5, cleartext or trust; C(refuse_plain) and C(refuse_tls) are what those are told
    who come without TLS, or with it; C(signature) is whether its proof of the password is right, wrong or
    left out.
    """

    method: str = "scram"
    tls: ssl.SSLContext | None = None
    refuse_plain: tuple[str, str] | None = None
    refuse_tls: tuple[str, str] | None = None
    limits: bytes = row("100", "3", "0", "-1", "-1")
    signature: str = "right"
    startups: list[tuple[bool, dict[str, str]]] = field(default_factory=list)

    def __call__(self, conn, _request):
        Dialogue(self, conn).run()

    @contextlib.contextmanager
    def url(self, credentials="shop:s3%2Fcr%40t", rest="/shop"):
        with serving(self, read=lambda _conn: b"") as server:
            yield f"postgresql://{credentials}@{server.url.split('://')[1]}{rest}"


class Dialogue:
    """The server's side of one connection."""

    def __init__(self, server: Postgres, conn: socket.socket) -> None:
        self.server = server
        self.conn = conn

    def run(self):
        startup, secure = self._packet(), False
        if startup == struct.pack("!i", services_postgres.SSL_REQUEST):
            secure = self.server.tls is not None
            self.conn.sendall(b"S" if secure else b"N")
            if secure:
                self.conn = self.server.tls.wrap_socket(self.conn, server_side=True)
            startup = self._packet()
        words = startup[4:].decode().rstrip("\0").split("\0")
        self.server.startups.append((secure, dict(zip(words[::2], words[1::2]))))
        refusal = self.server.refuse_tls if secure else self.server.refuse_plain
        with self.conn:
            if refusal:
                self.conn.sendall(error(*refusal))
            elif not getattr(self, self.server.method)():
                self.conn.sendall(error(*WRONG_PASSWORD))
            else:
                told = message(b"S", b"server_version\x0015.18 (Debian 15.18-0)\0")
                self.conn.sendall(login(0) + told + message(b"Z", b"I"))
                self._answer(b"Q")
                self.conn.sendall(self.server.limits + message(b"Z", b"I"))
                self._answer(b"X")

    def _read(self, size):
        data = b""
        while len(data) < size:
            more = self.conn.recv(size - len(data))
            if not more:
                raise ConnectionError
            data += more
        return data

    def _packet(self):
        return self._read(struct.unpack("!i", self._read(4))[0] - 4)

    def _answer(self, kind=b"p"):
        assert self._read(1) == kind
        return self._packet()

    def trust(self):
        return True

    def cleartext(self):
        self.conn.sendall(login(3))
        return self._answer() == PASSWORD.encode() + b"\0"

    def md5(self):
        self.conn.sendall(login(5, SALT))
        inner = hashlib.md5(f"{PASSWORD}shop".encode()).hexdigest().encode()
        return self._answer() == b"md5" + hashlib.md5(inner + SALT).hexdigest().encode() + b"\0"

    def scram(self):
        """RFC 5802, with what a server keeps: not the password, but two keys."""
        salted = hashlib.pbkdf2_hmac("sha256", PASSWORD.encode(), SALT, ROUNDS)
        stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
        server_key = hmac.digest(salted, b"Server Key", "sha256")
        self.conn.sendall(login(10, b"SCRAM-SHA-256\0\0"))
        mechanism, _sep, rest = self._answer().partition(b"\0")
        assert mechanism == b"SCRAM-SHA-256"
        bare = rest[4:].decode().removeprefix("n,,")
        first = f"{bare.removeprefix('n=,')}server,s={base64.b64encode(SALT).decode()},i={ROUNDS}"
        self.conn.sendall(login(11, first.encode()))
        without_proof, _sep, proof = self._answer().decode().rpartition(",p=")
        said = ",".join([bare, first, without_proof]).encode()
        signature = hmac.digest(stored, said, "sha256")
        key = bytes(a ^ b for a, b in zip(base64.b64decode(proof), signature))
        if hashlib.sha256(key).digest() != stored:
            return False
        verifier = (
            hmac.digest(server_key, said, "sha256")
            if self.server.signature == "right"
            else b"guess"
        )
        if self.server.signature != "none":
            self.conn.sendall(login(12, b"v=" + base64.b64encode(verifier)))
        return True


def prove(url):
    return services_postgres.check_connection(url, 5)


@pytest.mark.parametrize("method", ["scram", "md5", "cleartext", "trust"])
def test_every_login_is_spoken(method):
    with Postgres(method).url() as url:
        assert prove(url) == Server("15.18", max_connections=100, reserved=3)


@pytest.mark.parametrize("method", ["scram", "md5", "cleartext"])
def test_a_wrong_password_is_told_once_and_not_shown(method):
    postgres = Postgres(method)
    with postgres.url("shop:hunter2") as url, pytest.raises(PreflightError) as problem:
        prove(url)
    assert "refused the login (password authentication failed" in str(problem.value)
    assert "check user and password" in str(problem.value)
    assert "hunter2" not in str(problem.value)
    assert len(postgres.startups) == 1


@pytest.mark.parametrize("signature", ["wrong", "none"])
def test_a_server_that_does_not_know_the_password_is_refused(signature):
    with (
        Postgres(signature=signature).url() as url,
        pytest.raises(PreflightError, match="does not prove that it knows the password"),
    ):
        prove(url)


@pytest.mark.parametrize(
    "challenge",
    [
        b"",
        b"r=other,s=AA==,i=4096",
        b"r=nonce,s=AA==,i=0",
        b"r=nonce,s=AA==,i=99999999",
        b"r=nonce,i=1",
        b"\xff=x",
    ],
)
def test_a_challenge_that_is_none_is_refused(challenge):
    with pytest.raises(ValueError, match=r"not SCRAM|decode|dictionary"):
        services_postgres.Scram("pw", nonce="nonce").final(challenge)


def test_scram_agrees_with_the_example_of_rfc_7677():
    scram = services_postgres.Scram("pencil", nonce="rOprNGfwEbeRWgbNEkqO")
    # PostgreSQL knows the user from the startup packet, so the name in SCRAM is empty there.
    scram.bare = "n=user,r=rOprNGfwEbeRWgbNEkqO"
    final = scram.final(
        b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    )
    assert final.endswith(b",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
    scram.verify(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")
    assert scram.proven


@pytest.mark.parametrize(
    ("password", "prepared"),
    [
        ("plain", b"plain"),
        ("I\u00adX", b"IX"),
        ("a\u00a0b", b"a b"),
        ("\u2168", b"IX"),
        ("é", "é".encode()),
    ],
)
def test_passwords_are_prepared_as_rfc_4013_says(password, prepared):
    assert services_postgres.prepared(password) == prepared


@pytest.mark.parametrize(
    ("code", "text", "remedy"),
    [
        ("28000", NO_ENTRY[1], "allow this host in the server's pg_hba.conf"),
        ("3D000", 'database "shop" does not exist', "create the database, or correct its name"),
        ("53300", "sorry, too many clients already", "all connections are taken"),
        (
            "57P03",
            "the database system\nis starting up",
            "the server starts or stops; try again in a moment",
        ),
        ("XX000", "oops", "see the server's log"),
    ],
)
def test_what_the_server_says_is_told_in_one_line_with_the_remedy(code, text, remedy):
    with Postgres(refuse_plain=(code, text)).url() as url, pytest.raises(PreflightError) as problem:
        prove(url)
    assert f"refused the login ({' '.join(text.split())}); {remedy}" in str(problem.value)
    assert url.split("@")[1].removesuffix("/shop") in str(problem.value)


@pytest.mark.parametrize(
    ("sslmode", "with_tls", "refused", "tried"),
    [
        ("disable", True, {}, [False]),
        ("prefer", True, {}, [True]),
        ("prefer", False, {}, [False]),
        ("prefer", True, {"refuse_tls": NO_ENTRY}, [True, False]),
        ("allow", True, {"refuse_plain": NO_ENTRY}, [False, True]),
        ("require", True, {}, [True]),
    ],
)
def test_tls_is_tried_as_libpq_does(tmp_path, sslmode, with_tls, refused, tried):
    tls = server_context(tmp_path, days=1) if with_tls else None
    postgres = Postgres(tls=tls, **refused)
    with postgres.url(rest=f"/shop?sslmode={sslmode}") as url:
        assert prove(url).version == "15.18"
    assert [secure for secure, _words in postgres.startups] == tried


def test_a_server_without_tls_is_refused_where_tls_is_wanted():
    with (
        Postgres().url(rest="/shop?sslmode=require") as url,
        pytest.raises(PreflightError) as problem,
    ):
        prove(url)
    assert "sslmode=require wants TLS" in str(problem.value)


def test_a_certificate_is_verified_where_that_is_wanted(tmp_path):
    tls = server_context(tmp_path, days=1)
    with Postgres(tls=tls).url() as url:
        assert prove(f"{url}?sslmode=verify-full&sslrootcert={tmp_path}/ca.pem").version == "15.18"
        with pytest.raises(PreflightError, match="is not trusted"):
            prove(f"{url}?sslmode=verify-full&sslrootcert=system")


@pytest.mark.parametrize(("sslmode", "passes"), [("verify-ca", True), ("verify-full", False)])
def test_only_verify_full_asks_for_the_name(tmp_path, sslmode, passes):
    tls = server_context(tmp_path, days=1, name="other.example")
    rest = f"/shop?sslmode={sslmode}&sslrootcert={tmp_path}/ca.pem"
    expected = (
        contextlib.nullcontext()
        if passes
        else pytest.raises(PreflightError, match="is not trusted")
    )
    with expected, Postgres(tls=tls).url(rest=rest) as url:
        prove(url)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("sslmode=sometimes", "sslmode=sometimes does not exist; there are disable, allow"),
        ("sslmode=verify-full", "sslmode=verify-full needs sslrootcert="),
    ],
)
def test_an_sslmode_that_cannot_work_is_told_before_any_packet(query, said):
    with pytest.raises(PreflightError, match=said):
        prove(f"postgresql://shop@nowhere.invalid/shop?{query}")


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("postgresql://u:p%40%2F@h:6432/d", ("h", 6432, "u", "p@/", "d")),
        ("postgresql+psycopg://u@h", ("h", 5432, "u", "", "u")),
        ("postgres://u:p@/d?host=/run/pg&port=6000", ("/run/pg", 6000, "u", "p", "d")),
        ("postgresql://u@[::1]/d", ("::1", 5432, "u", "", "d")),
        ("postgresql:///d?user=u&password=p", ("/var/run/postgresql", 5432, "u", "p", "d")),
    ],
)
def test_a_url_is_read_as_sqlalchemy_reads_it(url, target):
    found = Target.parse(url)
    assert (found.host, found.port, found.user, found.password, found.database) == target


def test_a_unix_socket_will_do_and_needs_no_tls(tmp_path):
    postgres = Postgres()
    with serving(postgres, read=lambda _conn: b"", unix_socket=str(tmp_path / ".s.PGSQL.5432")):
        prove(f"postgresql://shop:s3%2Fcr%40t@/shop?host={tmp_path}&sslmode=require")
    ((secure, words),) = postgres.startups
    assert secure is False
    assert (words["user"], words["database"]) == ("shop", "shop")


def test_a_login_by_system_user_is_a_doubt(tmp_path):
    postgres = Postgres(refuse_plain=("28000", 'Peer authentication failed for user "shop"'))
    with (
        serving(postgres, read=lambda _conn: b"", unix_socket=str(tmp_path / ".s.PGSQL.5432")),
        pytest.raises(PreflightWarning, match="lets in by the system user"),
    ):
        prove(f"postgresql://shop@/shop?host={tmp_path}")


def test_a_login_that_is_not_spoken_here_is_a_doubt():
    def kerberos(conn, _request):
        conn.recv(65536)
        conn.sendall(login(7))
        conn.recv(1)

    with (
        serving(kerberos, read=lambda _conn: b"") as server,
        pytest.raises(PreflightWarning, match="the login was not proven"),
    ):
        prove(server.url.replace("http", "postgresql") + "/shop?sslmode=disable")


def test_several_servers_are_a_doubt():
    with pytest.raises(PreflightWarning, match="names several servers"):
        prove("postgresql://u@a,b/d")


def test_limits_that_are_not_told_are_a_doubt():
    with (
        Postgres(limits=error("42501", "permission denied")).url() as url,
        pytest.raises(
            PreflightWarning, match="the login works, and the server does not tell its limits"
        ),
    ):
        prove(url)


@pytest.mark.parametrize(
    ("server", "allowed"),
    [
        (Server("15", 100, 3), (97, "max_connections 100 less 3 reserved")),
        (Server("15", 100, 3, user_limit=20), (20, "the CONNECTION LIMIT of the user")),
        (Server("15", 100, 3, 20, database_limit=10), (10, "the CONNECTION LIMIT of the database")),
    ],
)
def test_the_lowest_limit_counts(server, allowed):
    assert server.allowed() == allowed


def test_all_limits_are_read():
    with Postgres(limits=row("200", "3", "5", "50", "40")).url() as url:
        assert prove(url) == Server("15.18", 200, 8, user_limit=50, database_limit=40)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak the PostgreSQL protocol"),
        (b"R\0\0", "does not speak the PostgreSQL protocol"),
        (b"", "hangs up"),
        (login(0) + message(b"Z", b"I") + row("many") + message(b"Z", b"I"), "does not keep to"),
        (login(0) + message(b"Z", b"I") + row("1") + message(b"Z", b"I"), "does not keep to"),
        (message(b"R", b""), "does not prove"),
    ],
)
def test_what_is_no_postgresql_is_told(answer, said):
    def other(conn, _request):
        conn.recv(65536)
        conn.sendall(answer)

    with (
        serving(other, read=lambda _conn: b"") as server,
        pytest.raises(PreflightError, match=said),
    ):
        prove(server.url.replace("http", "postgresql") + "/shop?sslmode=disable")


def test_a_server_that_says_nothing_is_told():
    with (
        serving(silent, read=lambda _conn: b"") as server,
        pytest.raises(PreflightError, match="says nothing for"),
    ):
        services_postgres.check_connection(server.url.replace("http", "postgresql") + "/shop", 0.05)


@pytest.mark.parametrize(
    ("url", "speaks"),
    [
        ("postgresql://h", True),
        ("postgres://h", True),
        ("postgresql+psycopg2://h", True),
        ("mysql://h", False),
        ("sqlite:///x", False),
        ("postgresqlite://h", False),
    ],
)
def test_postgresql_is_told_by_its_scheme(url, speaks):
    assert services_postgres.is_postgres_url(url) is speaks
