# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A pool that is shared across a fork, over a real PostgreSQL: what it does under plain gunicorn, and not here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

APP = Path(__file__).parents[1] / "files" / "forked.py"
WORKERS = 5

# As many requests at once as there are workers; an answer that is none is null.
ASK = f"""\
import json, sys, urllib.request
from concurrent.futures import ThreadPoolExecutor
def ask(path):
    try:
        with urllib.request.urlopen("http://127.0.0.1:9000" + path, timeout=60) as answer:
            return json.load(answer)
    except OSError:
        return None
with ThreadPoolExecutor({WORKERS}) as pool:
    print(json.dumps(list(pool.map(ask, sys.argv[1:] * {WORKERS}))))
"""


@pytest.fixture(name="serve")
def _serve(host):
    """Serve the app by the live release's own gunicorn, next to the release; return a client of all workers."""

    def ask(path):
        return json.loads(host.see.check_output("python3 -c %s %s", ASK, path))

    def serve(*options):
        release = host.live_folder
        gunicorn = [
            *(f"{release}/venv/bin/gunicorn", "--preload", "--workers", str(WORKERS)),
            *("--bind", "127.0.0.1:9000", "--pythonpath", "/opt"),
            *(option.format(release=release) for option in options),
            "forked:application",
        ]
        host.see.check_output(
            "systemd-run --quiet --collect --unit forked --service-type notify --uid storefront"
            f" --property EnvironmentFile={release}/env --setenv WORKERS={WORKERS} "
            + " ".join(gunicorn)
        )
        return ask

    host.put(APP, "/opt")
    yield serve
    # It is unknown where it could not be started.
    host.see.run("systemctl stop forked.service")
    host.see.check_output("rm /opt/forked.py")


def test_workers_of_plain_gunicorn_talk_over_each_other(serve):
    # A worker that waits for an answer which another one has read would do so for ever.
    ask = serve("--timeout", "10")
    backends = ask("/backend")
    assert {each["own"] for each in backends} == {backends[0]["first"]}
    assert set(ask("/wrong")) != {0}


def test_workers_of_a_release_have_a_connection_each(serve):
    ask = serve("--config", "{release}/config/gunicorn.conf.py")
    backends = ask("/backend")
    own = {each["own"] for each in backends}
    assert len(own) == WORKERS
    assert backends[0]["first"] not in own
    assert ask("/wrong") == [0] * WORKERS
