# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real PostgreSQL on loopback, for tests that need its own word."""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

# ansible-test has its own environment, without it.
psycopg = pytest.importorskip("psycopg")

PASSWORD = "s3/cr@t"


@dataclass(frozen=True)
class RealPostgres:
    """A server with the user and the database shop."""

    port: int

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://shop:s3%2Fcr%40t@127.0.0.1:{self.port}/shop"

    def connect(self, user: str = "shop", **options: object) -> psycopg.Connection:
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user=user,
            password=PASSWORD,
            dbname="shop",
            **{"autocommit": True, **options},
        )


def _binary(name: str) -> str:
    found = sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"))
    path = shutil.which(name) or (found[-1] if found else None)
    if not path:
        pytest.skip(f"no {name}: apt-get install postgresql")
    return path


@contextlib.contextmanager
def serving(**settings: object) -> Iterator[RealPostgres]:
    """Run a server with these settings as long as the block lasts."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # Not in pytest's own folder, which no other user can enter; PostgreSQL refuses to run as root.
    folder = Path(tempfile.mkdtemp(prefix="evenkeel-postgres-"))
    becomes = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
    becomes = becomes if os.getuid() == 0 else []
    (folder / "password").write_text(PASSWORD)
    data = folder / "data"
    if becomes:
        for path in (folder, folder / "password"):
            shutil.chown(path, "nobody", "nogroup")
    try:
        subprocess.run(
            [
                *becomes, _binary("initdb"), "--no-sync", "--no-instructions", "-D", data, "-U", "root",
                "-A", "scram-sha-256", "--pwfile", folder / "password", "--locale=C", "-E", "UTF8",
            ],
            check=True, cwd=folder, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        fixed = {
            "fsync": "off",
            "port": port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "shared_buffers": "16MB",
            "autovacuum": "off",
        }
        options = [f"-c{name}={value}" for name, value in {**fixed, **settings}.items()]
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(
                [*becomes, _binary("postgres"), "-D", data, *options],
                cwd=folder, stdout=log, stderr=log,
            )  # fmt: skip
        try:
            with _answering(server, port, folder / "log") as root:
                root.execute(f"CREATE ROLE shop LOGIN PASSWORD '{PASSWORD}'")
                root.execute("CREATE DATABASE shop OWNER shop")
            yield RealPostgres(port)
        finally:
            server.terminate()
            server.wait()
    finally:
        shutil.rmtree(folder)


def _answering(server: subprocess.Popen, port: int, log: Path) -> psycopg.Connection:
    while True:
        try:
            return psycopg.connect(
                host="127.0.0.1", port=port, user="root", password=PASSWORD, dbname="postgres",
                autocommit=True,
            )  # fmt: skip
        except psycopg.OperationalError:
            if server.poll() is not None:
                raise RuntimeError(log.read_text()) from None
