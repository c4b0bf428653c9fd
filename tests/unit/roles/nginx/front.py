# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role's configuration in a real nginx, with a real gunicorn behind it, all below a folder of the test."""

from __future__ import annotations

import contextlib
import http.client
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jinja2
import jinja2.nativetypes
import pytest
import yaml
from ansible.plugins.filter import core
from ansible.plugins.test import core as tests
from ansible_collections.evenkeel.flask.plugins.filter import url_path_pattern

ROOT = pathlib.Path(__file__).parents[4]
ROLE = ROOT / "roles" / "nginx"
UNPACKED = ROOT / ".cache" / "nginx" / "usr" / "sbin"
NGINX = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin:{UNPACKED}") or ""
needs_nginx = pytest.mark.skipif(not NGINX, reason="needs nginx")
PATIENCE_SECONDS = 60

MAIN = """\
user {user};
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/log/error.log;
events {{ worker_connections 256; }}
http {{
    access_log {folder}/log/access.log;
    client_body_temp_path {folder}/tmp/body;
    proxy_temp_path {folder}/tmp/proxy;
    fastcgi_temp_path {folder}/tmp/fastcgi;
    uwsgi_temp_path {folder}/tmp/uwsgi;
    scgi_temp_path {folder}/tmp/scgi;
    include conf.d/*.conf;
}}
"""

# As evenkeel_wsgi.py has it around an app that believes its proxy itself, as Flask's documentation shows.
APP = """
import json
from evenkeel_limit import FleetLimit
from flask import Flask, jsonify, redirect, request, url_for
from werkzeug.middleware.proxy_fix import ProxyFix

app = Flask(__name__, static_folder=None)
app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1, x_port=1, x_prefix=1)
limit = FleetLimit(None, None, "", 1, exempt_paths=["/health"], exempt_files=["/static/a.css"])


@app.get("/health")
def health():
    return "healthy"


@app.get("/<path:rest>")
@app.get("/")
def page(rest=""):
    return "page"


@app.get("/where")
def where():
    return jsonify(
        url=url_for("where", _external=True),
        root=request.url_root,
        base=request.base_url,
        scheme=request.scheme,
        host=request.host,
        prefix=request.script_root,
        headers=sorted(request.headers.keys()),
    )


@app.after_request
def endpoint(answer):
    answer.headers["X-Endpoint"] = request.endpoint or "none"
    answer.headers["X-Seen-Path"] = request.environ["PATH_INFO"].encode("latin-1").hex()
    answer.headers["X-Fleet-Exempt"] = str(limit._is_exempt(request.environ))
    answer.headers["X-Release"] = "1.0-0f1e2d3c4b"
    return answer


application = ProxyFix(app, x_for=1, x_proto=1, x_host=1)
"""


def environment(kind: type[jinja2.Environment] = jinja2.Environment) -> jinja2.Environment:
    made = kind(undefined=jinja2.StrictUndefined, trim_blocks=True, keep_trailing_newline=True)
    made.filters.update(core.FilterModule().filters())
    # Ansible's own filter also keeps the order.
    made.filters["unique"] = lambda values: list(dict.fromkeys(values))
    made.filters["evenkeel.flask.url_path_pattern"] = url_path_pattern.url_path_pattern
    made.tests.update(tests.TestModule().tests())
    return made


def known_variables(**variables: Any) -> dict[str, Any]:
    """The role's own variables, as a host would have them."""
    known: dict[str, Any] = {
        "ansible_managed": "Ansible managed",
        "flask_app_name": "shop",
        "flask_app_port": 8000,
        "flask_app_rate_limit": 0,
        "flask_app_rate_limit_exempt": [],
        "flask_app_rate_limit_scope": "host",
        "rollout_health_path": "/health",
        "__nginx_brotli": {"msg": "no such package"},
        **variables,
    }
    native = environment(jinja2.nativetypes.NativeEnvironment)
    for part in ("defaults", "vars"):
        for name, value in yaml.safe_load((ROLE / part / "main.yml").read_text()).items():
            if name not in known:
                is_template = isinstance(value, str) and "{{" in value
                known[name] = native.from_string(value).render(known) if is_template else value
    return known


def render(**variables: Any) -> str:
    """The app's file, as a host would get it."""
    known = known_variables(**variables)
    return environment().from_string((ROLE / "templates" / "app.conf.j2").read_text()).render(known)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage | Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")


def ask_raw(port: int, request: bytes, source: str = "127.0.0.1", method: str = "GET") -> Answer:
    """Send bytes and read one answer; the status is 0 where the connection is closed without one."""
    with socket.create_connection(("127.0.0.1", port), 20, (source, 0)) as connection:
        connection.sendall(request)
        answer = http.client.HTTPResponse(connection, method=method)
        try:
            answer.begin()
        except (http.client.HTTPException, ConnectionError):
            return Answer(0, {}, b"")
        return Answer(answer.status, answer.headers, answer.read())


def ask(
    port: int,
    path: str = "/",
    headers: Mapping[str, str] | None = None,
    method: str = "GET",
    source: str = "127.0.0.1",
    body: bytes = b"",
) -> Answer:
    given = {"Host": f"127.0.0.1:{port}", "Connection": "close", **(headers or {})}
    if body:
        given["Content-Length"] = str(len(body))
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items())]
    return ask_raw(port, "\r\n".join([*lines, "", ""]).encode("latin-1") + body, source, method)


class Front:
    """An nginx with the role's file, and an app behind it.

    @param app: the source of a module that has an C(application)
    """

    def __init__(self, folder: pathlib.Path, app: str = "", **variables: Any) -> None:
        self.folder = folder
        self.port, self.candidate_port, self.probe_port = (free_port() for _turn in range(3))
        self.variables = {
            "nginx_listen_addresses": ["127.0.0.1"],
            **variables,
            "flask_app_port": self.port,
            "nginx_candidate_port": self.candidate_port,
        }
        self.app = app
        for name in ("conf.d", "log", "tmp", "srv/shop/static"):
            folder.joinpath(name).mkdir(parents=True)
        self.config = folder / "nginx.conf"
        user = "root" if os.getuid() == 0 else "nobody"
        self.config.write_text(MAIN.format(folder=folder, user=user))
        self._running: list[subprocess.Popen[bytes]] = []

    @property
    def site(self) -> pathlib.Path:
        return self.folder / "conf.d" / "shop.conf"

    def content(self, **variables: Any) -> str:
        text = render(**{**self.variables, **variables})
        text = text.replace("/srv/shop", f"{self.folder}/srv/shop")
        return text.replace("/var/log/nginx", f"{self.folder}/log")

    def nginx(self, *args: str) -> subprocess.CompletedProcess[str]:
        command = [NGINX, "-c", str(self.config), "-p", str(self.folder), *args]
        return subprocess.run(command, text=True, capture_output=True, check=False)

    def __enter__(self) -> Front:
        if not self.site.exists():
            self.site.write_text(self.content())
        with contextlib.ExitStack() as stack:
            stack.push(self.__exit__)
            if self.app:
                self._start_app()
            done = self.nginx()
            assert done.returncode == 0, done.stderr
            self.started = done.stderr
            stack.pop_all()
        return self

    def _start_app(self) -> None:
        place = self.folder / "srv" / "shop"
        (self.folder / "served.py").write_text(self.app)
        slot = place / "slot.sock"
        for link in ("live.sock", "candidate.sock"):
            (place / link).symlink_to(slot)
        files = [str(ROOT / "roles" / role / "files") for role in ("flask_app", "redis_client")]
        self._running.append(
            subprocess.Popen(
                [
                    sys.executable, "-m", "gunicorn", "--bind", f"unix:{slot}", "--forwarded-allow-ips=*",
                    "--forwarder-headers=", "--log-level=error", "--no-control-socket",
                    "--threads=4", "served:application",
                ],
                cwd=self.folder,
                env={**os.environ, "PYTHONPATH": os.pathsep.join([str(self.folder), *files])},
            )
        )  # fmt: skip
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not slot.exists():
            assert time.monotonic() < deadline
            assert self._running[0].poll() is None
            time.sleep(0.02)

    @property
    def pid(self) -> int:
        return int((self.folder / "nginx.pid").read_text())

    def __exit__(self, *_exception: object) -> None:
        with contextlib.suppress(FileNotFoundError, ValueError, ProcessLookupError):
            pid = self.pid
            os.kill(pid, signal.SIGTERM)
            deadline = time.monotonic() + PATIENCE_SECONDS
            while (self.folder / "nginx.pid").exists() and time.monotonic() < deadline:
                time.sleep(0.01)
        for process in self._running:
            process.terminate()
            process.wait(PATIENCE_SECONDS)

    def logs(self) -> dict[str, str]:
        return {
            str(path): path.read_text(errors="replace")
            for path in self.folder.rglob("*.log")
            if path.is_file()
        }


def without_comments(text: str) -> str:
    return re.sub(r"^\s*#.*$", "", text, flags=re.MULTILINE)
