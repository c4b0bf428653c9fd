# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role's runtime code finds its neighbours by plain names, as in a release, and a Redis that may go away."""

from __future__ import annotations

import pathlib
import sys

import fakeredis
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[4] / "roles" / "redis_client" / "files"))
sys.path.insert(0, str(pathlib.Path(__file__).parents[4] / "roles" / "flask_app" / "files"))

import evenkeel_cache
import evenkeel_effects
import evenkeel_redis
import flask
from werkzeug.middleware.proxy_fix import ProxyFix


@pytest.fixture(scope="module")
def taught():
    """For these tests alone, what evenkeel_wsgi.py does once."""
    kept = [(flask.Request, "__init__"), (ProxyFix, "__call__")]
    before = [getattr(owner, name) for owner, name in kept]
    evenkeel_cache.teach_frameworks()
    # Ansible, which other tests import, has semaphores in shared memory.
    shared = evenkeel_effects._shared_memory
    inherited = set(shared())
    evenkeel_effects._shared_memory = lambda: (name for name in shared() if name not in inherited)
    yield
    evenkeel_effects._shared_memory = shared
    for (owner, name), value in zip(kept, before):
        setattr(owner, name, value)
    del flask.Request.remote_addr


class Store:
    """A Redis for a whole fleet, which counts its round trips and can be stopped."""

    def __init__(self):
        self.server = fakeredis.FakeServer()
        self.inside = fakeredis.FakeRedis(server=self.server)
        self.asked = 0
        store = self

        class Counted(self.inside.connection_pool.connection_class):
            def send_packed_command(self, *args, **kwargs):
                store.asked += 1
                return super().send_packed_command(*args, **kwargs)

        self.connection_class = Counted

    def guarded(self):
        """The way that one process has to it."""
        guarded = evenkeel_redis.Guarded(
            "redis://nowhere.invalid", timeout=1, clock=lambda: self.time
        )
        guarded.redis = fakeredis.FakeRedis(server=self.server)
        guarded.redis.connection_pool.connection_class = self.connection_class
        # The handshake is not counted.
        guarded.redis.ping()
        self.asked = 0
        return guarded

    time = 0.0

    @property
    def sessions(self):
        """The keys of live sessions."""
        return [key for key in self.inside.scan_iter() if b"session:" in key]

    def go(self):
        self.server.connected = False

    def come_back(self):
        self.server.connected = True
        self.time += evenkeel_redis.RETRY_SECONDS


@pytest.fixture
def store():
    return Store()
