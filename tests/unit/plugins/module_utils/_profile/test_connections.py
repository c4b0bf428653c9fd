# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The targets of connections, read from the app's environment and the kernel's tables."""

from __future__ import annotations

import os
import socket

import pytest
from ansible_collections.evenkeel.flask.plugins.module_utils._profile import connections as servers
from ansible_collections.evenkeel.flask.plugins.module_utils._system import envfile
from hypothesis import given
from hypothesis import strategies as st

NAMES = {"data": ["10.0.0.5", "fd00::5"], "other": ["10.0.0.6"]}


def lookup(host, port, type):
    if host not in NAMES:
        raise socket.gaierror
    return [(socket.AF_INET, type, 0, "", (address, port)) for address in NAMES[host]]


@given(
    st.dictionaries(
        st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True),
        st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",))),
    )
)
def test_an_environment_is_read_as_it_was_written(variables):
    assert servers.environment(envfile.environment_file(variables)) == variables


@pytest.mark.parametrize(
    ("variables", "found"),
    [
        (
            {"DATABASE_URL": "postgresql+psycopg://u:s3cret@data/shop"},
            {("10.0.0.5", 5432): "database", ("fd00::5", 5432): "database"},
        ),
        ({"DATABASE_URL": "mysql://u:p@other/shop"}, {("10.0.0.6", 3306): "database"}),
        ({"SQLALCHEMY_DATABASE_URI": "mysql://other:1/shop"}, {("10.0.0.6", 1): "database"}),
        ({"REDIS_URL": "rediss://:p@other"}, {("10.0.0.6", 6379): "redis"}),
        (
            {"DATABASE_URL": "postgresql:///shop?host=nowhere,other&port=6000"},
            {("10.0.0.6", 6000): "database"},
        ),
        ({"DATABASE_URL": "sqlite:///shop.db", "REDIS_URL": "unix:///run/redis.sock"}, {}),
        ({"DATABASE_URL": "postgresql:///shop", "REDIS_URL": "redis://[s3cret"}, {}),
        ({"DATABASE_URL": "postgresql://nowhere/shop", "PORT": "8000"}, {}),
        ({}, {}),
    ],
)
def test_servers_are_known_by_their_addresses(variables, found):
    assert servers.addresses(variables, lookup) == found


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_a_real_connection_is_told_by_its_server(family, tmp_path):
    """An IPv6 socket is connected to an IPv4 address, as many a driver does it."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(family) as client:
        port = server.getsockname()[1]
        client.connect(("127.0.0.1" if family == socket.AF_INET else "::ffff:127.0.0.1", port))
        connections = servers.Connections("", {("127.0.0.1", port): "database"})
        link = os.readlink(f"/proc/self/fd/{client.fileno()}")
        assert connections.kind(os.getpid(), link) == "database"
        assert connections.count([link.strip("socket:[]")], "database") == 1
        assert connections.count([], "redis") is None


def test_other_descriptors_are_told_by_what_they_are(tmp_path):
    path = str(tmp_path / "blue.sock")
    with (
        socket.socket(socket.AF_UNIX) as listener,
        socket.socket(socket.AF_UNIX) as user,
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as other,
        open(tmp_path / "file", "w") as file,
    ):
        listener.bind(path)
        listener.listen()
        user.connect(path)
        accepted, _peer = listener.accept()
        reading, writing = os.pipe()
        connections = servers.Connections(path, {})

        def kind(fd):
            return connections.kind(os.getpid(), os.readlink(f"/proc/self/fd/{fd}"))

        assert kind(listener.fileno()) == "idle"
        assert kind(accepted.fileno()) == "client"
        assert kind(user.fileno()) == "unknown"
        assert kind(other.fileno()) == "other server"
        assert kind(file.fileno()) == "disk"
        assert kind(reading) == "unknown"
        accepted.close()
        os.close(reading)
        os.close(writing)
