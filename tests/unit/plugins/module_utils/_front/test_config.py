# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A port belongs to the app only if the app's own file defines it."""

from __future__ import annotations

import fnmatch
import os
import pathlib
import shutil
import socket
import subprocess

import pytest
from ansible_collections.evenkeel.flask.plugins.module_utils._front import config as nginx_config
from ansible_collections.evenkeel.flask.plugins.module_utils._front.config import Listen
from hypothesis import assume, given, settings
from hypothesis import strategies as st

ROOT = "/etc/nginx/nginx.conf"
OWN = "/etc/nginx/conf.d/shop.conf"
OTHER = "/etc/nginx/conf.d/blog.conf"
NAMES = {"localhost": ["127.0.0.1", "::1"], "app1": ["10.0.0.7"]}
MAIN = "events {}\nhttp { include conf.d/*.conf; include /etc/nginx/sites-enabled/*; }\n"


def parse(files):
    def read(path):
        if path not in files:
            raise FileNotFoundError(path)
        return files[path]

    def expand(pattern):
        parts = pattern.count("/")
        return sorted(
            path for path in files if fnmatch.fnmatch(path, pattern) and path.count("/") == parts
        )

    return nginx_config.parse(ROOT, read, expand, lambda host: NAMES.get(host, []))


def owner(other, addresses=("0.0.0.0", "[::]"), port=8000, main=MAIN, **files):
    known = {ROOT: main, OTHER: other, OWN: "server { listen 8000; listen 8001; }", **files}
    listens = nginx_config.app_listens(addresses, port, lambda host: NAMES.get(host, []))
    return nginx_config.owner(parse(known).servers, listens, OWN)


CONFLICTS = [
    # The text of another file, and whether it has port 8000 of 0.0.0.0 and [::].
    ("server { listen 8000; }", True),
    ("server{listen 8000;}", True),
    ("server { listen *:8000; }", True),
    ("server { listen 0.0.0.0:8000; }", True),
    ("server { listen 127.0.0.1:8000; }", True),
    ("server { listen 10.0.0.7:8000; }", True),
    ("server { listen localhost:8000; }", True),
    ("server { listen app1:8000; }", True),
    ("server { listen [::]:8000; }", True),
    ("server { listen [::]:8000 ipv6only=off; }", True),
    ("server { listen [::1]:8000; }", True),
    ("server { listen [::ffff:10.0.0.7]:8000; }", True),
    ("server { listen 8000 default_server; server_name other.example; }", True),
    ("server { listen 8000 ssl http2 proxy_protocol; }", True),
    ("server { listen 7990-8010; }", True),
    ("server { listen 127.0.0.1:8000-8001; }", True),
    ("server { listen 8001-8010; }", False),
    ("server { listen 08000; }", True),
    ('server { listen "8000"; }', True),
    ("server { listen '127.0.0.1:8000'; }", True),
    ("server { listen\n\t8000\n; }", True),
    ("server { listen # 9000;\n 8000; }", True),
    ("server { server_name a; listen 9000; listen 8000; }", True),
    ("server { listen 9000; }\nserver { listen 8000; }", True),
    ("server { listen 9000; location / { return 200 'it''s }'; } } server { listen 8000; }", True),
    ('server { set $a "}"; listen 8000; }', True),
    ("server { set $a ${b}c; listen 8000; }", True),
    ("server { location ~ ^/a#b { } listen 8000; }", True),
    ("server { content_by_lua_block { if x then -- it's {\n say('}') end } listen 8000; }", True),
    ("map $a $b { default 1; listen 8000; } server { listen 8000; }", True),
    ("# server { listen 8000; }", False),
    ("server { # listen 8000;\n listen 9000; }", False),
    ("server { listen 9000; add_header X 'listen 8000;'; }", False),
    ('server { listen 9000; return 200 "server { listen 8000; }"; }', False),
    ("server { listen 9000; location /listen { proxy_pass http://127.0.0.1:8000; } }", False),
    ("upstream u { server 127.0.0.1:8000; }", False),
    ("map $a $listen { 8000 1; }", False),
    ("server { listen unix:/run/a.sock; }", False),
    ("server { listen unix:/run/8000:8000; }", False),
    ("server { listen 8000 quic; }", False),
    ("server { listen 18000; }", False),
    ("server { listen 800; }", False),
    ("server { server_name x; }", False),
    ("server { listen 10.0.0.7; }", False),
    ("server { listen [::1]; }", False),
    ("server { listen nowhere.invalid:8000; }", False),
    ("", False),
]


@pytest.mark.parametrize(("text", "is_taken"), CONFLICTS)
def test_another_file_that_has_the_port_is_named(text, is_taken):
    assert owner(text) == (OTHER if is_taken else None)


@pytest.mark.parametrize(
    ("text", "is_taken"),
    [
        ("server { }", True),
        ("server { listen 127.0.0.1; }", True),
        ("server { listen [::]:80; }", True),
    ],
)
def test_a_server_that_names_no_port_has_port_80(text, is_taken):
    assert owner(text, port=80) == (OTHER if is_taken else None)


@pytest.mark.parametrize(
    ("text", "addresses", "is_taken"),
    [
        ("server { listen 8000; }", ["127.0.0.1"], True),
        ("server { listen 10.0.0.7:8000; }", ["127.0.0.1"], False),
        ("server { listen 127.0.0.1:8000; }", ["127.0.0.1"], True),
        ("server { listen [::]:8000; }", ["127.0.0.1"], False),
        ("server { listen [::]:8000 ipv6only=off; }", ["127.0.0.1"], True),
        ("server { listen [::1]:8000; }", ["0.0.0.0"], False),
        ("server { listen localhost:8000; }", ["10.0.0.7"], False),
        ("server { listen 8000; }", ["app1"], True),
    ],
)
def test_what_counts_is_the_address_and_not_the_port_alone(text, addresses, is_taken):
    assert owner(text, addresses) == (OTHER if is_taken else None)


def test_a_server_is_found_in_whatever_file_it_stands():
    site, part = "/etc/nginx/sites-enabled/x", "/etc/nginx/parts/listen"
    assert owner("", **{site: "server { listen 8000; }"}) == site
    assert owner("server { include parts/listen; }", **{part: "listen 8000;"}) == OTHER
    assert owner("include parts/*;", **{part: "server { listen 8000; }"}) == part
    assert owner("", main=MAIN + "stream { server { listen 8000; proxy_pass u; } }") == ROOT
    assert owner("", main=MAIN + "stream { server { listen 8000 udp; } }") is None
    assert owner("", main=MAIN + "mail { server { listen 8000; } }") == ROOT
    assert owner("", main="http { server { listen 8000; } }") == ROOT
    # A file that no include names is not in force.
    assert owner("", **{"/etc/nginx/sites-available/x": "server { listen 8000; }"}) is None
    assert owner("", **{"/etc/nginx/conf.d/blog.conf.old": "server { listen 8000; }"}) is None


def test_a_file_that_includes_itself_ends():
    assert owner("include conf.d/blog.conf; server { listen 8000; }") == OTHER


def test_the_apps_own_file_is_no_conflict():
    assert owner("") is None


@pytest.mark.parametrize("state", ["unmodified", "modified", "absent"])
@pytest.mark.parametrize("default_site", ["auto", "keep"])
def test_debians_default_site_makes_room_only_as_it_was_installed(state, default_site):
    site = "server { listen 80 default_server; listen [::]:80 default_server; server_name _; }"
    servers = parse({ROOT: MAIN, nginx_config.DEFAULT_SITE: site}).servers
    listens = [Listen("0.0.0.0", 80, 80)]
    verdict = nginx_config.evaluate(servers, listens, OWN, default_site, lambda: state)
    if (default_site, state) == ("auto", "unmodified"):
        assert verdict == nginx_config.Verdict(links=(nginx_config.DEFAULT_SITE,))
    else:
        assert verdict.problem.startswith(f"port 80 belongs to {nginx_config.DEFAULT_SITE}")
        assert verdict.problem.endswith("remove it or choose another port.")
    elsewhere = [Listen("0.0.0.0", 8000, 8000)]
    assert (
        nginx_config.evaluate(servers, elsewhere, OWN, default_site, lambda: state)
        == nginx_config.Verdict()
    )


@pytest.mark.parametrize(
    ("running", "wanted", "is_clash"),
    [
        # An app's port becomes its candidate's, or the other way round.
        ("127.0.0.1", "0.0.0.0", True),
        ("0.0.0.0", "127.0.0.1", True),
        ("0.0.0.0", "0.0.0.0", False),
        ("127.0.0.1", "127.0.0.1", False),
        ("127.0.0.1", "10.0.0.7", False),
        ("::", "0.0.0.0", False),
        ("::1", "::", True),
    ],
)
def test_a_socket_that_a_reload_cannot_bind_is_known_before(running, wanted, is_clash):
    found = nginx_config.clash([Listen(running, 8000, 8000)], [Listen(wanted, 8000, 8000)])
    assert bool(found) == is_clash


def test_a_wildcard_covers_an_address_of_its_own_kind():
    found = nginx_config.app_listens(["127.0.0.1", "0.0.0.0", "[::1]"], 8000, lambda _host: [])
    assert [one.text for one in found] == ["0.0.0.0:8000", "[::1]:8000"]


NGINX = shutil.which(
    "nginx",
    path=f"{os.environ['PATH']}:/usr/sbin:{pathlib.Path(__file__).parents[5]}/.cache/nginx/usr/sbin",
)
TEMPORARY = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
ADDRESSES = ["", "*:", "0.0.0.0:", "127.0.0.1:", "127.0.0.2:", "[::]:", "[::1]:", "localhost:"]


@pytest.mark.parametrize(
    ("stated", "pid", "error_log"),
    [
        ("", "/opt/run/nginx.pid", "/opt/nginx/logs/error.log"),
        ("pid nginx.pid; error_log error.log;", "/opt/nginx/nginx.pid", "/opt/nginx/error.log"),
        ("pid /srv/pid; error_log /srv/log warn;", "/srv/pid", "/srv/log"),
    ],
)
def test_the_master_is_looked_for_where_this_nginx_was_built_to_leave_its_pid(
    tmp_path, monkeypatch, stated, pid, error_log
):
    root = tmp_path / "nginx.conf"
    root.write_text(f"{stated} events {{}} http {{}}")
    program = tmp_path / "nginx"
    program.write_text(
        "#!/bin/sh\necho 'configure arguments: --prefix=/opt/nginx --pid-path=/opt/run/nginx.pid "
        f"--error-log-path=logs/error.log --conf-path={root}' >&2\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    config = nginx_config.Disk().config()
    assert (config.pid, config.error_log) == (pid, error_log)


@pytest.mark.slow
@pytest.mark.skipif(not NGINX, reason="needs nginx")
@settings(max_examples=25)
@given(
    st.sampled_from(ADDRESSES),
    st.sampled_from(["", " default_server", " ipv6only=off"]),
    st.sampled_from(
        ["{listen}", "# x {{\n{listen} # y\n", "set $a '}}'; {listen}", "include {part};"]
    ),
    st.sampled_from(["127.0.0.1", "0.0.0.0", "::1", "::"]),
)
def test_whatever_file_real_nginx_would_answer_from_is_the_one_that_is_named(
    tmp_path_factory, address, option, form, ours
):
    assume(option != " ipv6only=off" or address == "[::]:")
    folder = tmp_path_factory.mktemp("nginx")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    listen = f"listen {address}{port}{option};"
    part, other, root = folder / "part", folder / "other.conf", folder / "nginx.conf"
    part.write_text(listen)
    body = form.format(listen=listen, part=part)
    other.write_text(f"server {{ {body} return 200 other; }}\n")
    root.write_text(
        f"user root; pid {folder}/pid; error_log {folder}/error.log; events {{}}\n"
        f"http {{ access_log off; include {folder}/*.conf.d; include {other};\n"
        + "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in TEMPORARY)
        + "}\n"
    )
    listens = nginx_config.app_listens(
        [f"[{ours}]" if ":" in ours else ours], port, nginx_config.resolve
    )
    config = nginx_config.Disk(str(root)).config()
    named = nginx_config.owner(config.servers, listens, "/own")
    command = [NGINX, "-c", str(root), "-p", str(folder)]
    done = subprocess.run([*command, "-t", "-q"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    subprocess.run(command, check=True)
    try:
        # The kernel's own word: whether both could listen.
        family = socket.AF_INET6 if ":" in ours else socket.AF_INET
        with socket.socket(family) as bound:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                bound.bind((ours, port))
                bound.listen()
                is_free = True
            except OSError:
                is_free = False
    finally:
        subprocess.run([*command, "-s", "stop"], check=False)
    assert (named is None) == is_free
    assert named in (None, str(other), str(part))
