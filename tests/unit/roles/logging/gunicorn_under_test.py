# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A gunicorn of one's own, on a socket that takes connections before it runs."""

from __future__ import annotations

import contextlib
import http.client
import pathlib
import socket
import subprocess
import sys
import textwrap
from dataclasses import dataclass

import evenkeel_logging

CONFIGURATION = """
import sys
sys.path[:0] = [{files!r}, {directory!r}]
import evenkeel_logging
evenkeel_logging.install(evenkeel_logging.LogSettings({directory!r}, release="r1", slot="blue"))
logger_class = evenkeel_logging.JsonLogger
wsgi_app = "shop_under_test:application"
control_socket_disable = True
"""

WRAPPED = """
import evenkeel_logging
application = evenkeel_logging.RequestIdMiddleware(app)
"""


@dataclass
class Gunicorn:
    """One that runs; its stderr can be read once it has stopped."""

    socket: str
    stderr: str = ""

    def get(self, path: str, **headers: str) -> http.client.HTTPResponse:
        client = http.client.HTTPConnection("shop", timeout=30)
        client.sock = socket.socket(socket.AF_UNIX)
        client.sock.settimeout(30)
        client.sock.connect(self.socket)
        client.request(
            "GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()}
        )
        answer = client.getresponse()
        with contextlib.suppress(http.client.IncompleteRead):
            answer.body = answer.read()
        client.close()
        return answer


@contextlib.contextmanager
def gunicorn(directory: pathlib.Path, app: str, *options: str):
    """Serve `app`, the text of a module, as a release does; the logs are in `directory`."""
    (directory / "shop_under_test.py").write_text(textwrap.dedent(app) + WRAPPED)
    configuration = directory / "gunicorn.conf.py"
    files = str(pathlib.Path(evenkeel_logging.__file__).parent)
    configuration.write_text(CONFIGURATION.format(files=files, directory=str(directory)))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(directory / "slot.sock"))
        listener.listen(256)
        listener.set_inheritable(True)
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "gunicorn",
                "-c",
                str(configuration),
                "-b",
                f"fd://{listener.fileno()}",
                *options,
            ],
            pass_fds=[listener.fileno()],
            stderr=subprocess.PIPE,
            text=True,
        )
        running = Gunicorn(str(directory / "slot.sock"))
        try:
            yield running
        finally:
            process.terminate()
            running.stderr = process.communicate(timeout=60)[1]
