# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The routes that are found in a real app under real gunicorn."""

from __future__ import annotations

import subprocess
import sys

import pytest
from ansible_collections.evenkeel.flask.plugins.module_utils._errors import ArgumentError
from ansible_collections.evenkeel.flask.plugins.module_utils._profile import measure

CONFIG = """
import os, sys
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
wsgi_app = "evenkeel_wsgi:application"
"""
WSGI = "import shop\napp = shop.app\napplication = app\n"
SHOP = """
import flask
app = flask.Flask(__name__)
print("loading")
shop = flask.Blueprint("shop", __name__, url_prefix="/shop")
def view(**values): return "x"
app.add_url_rule("/", "main", view)
app.add_url_rule("/items/<int:number>", "item", view)
app.add_url_rule("/orders", "orders", view, methods=["POST"])
app.add_url_rule("/page", "page", view, defaults={"number": 1})
app.add_url_rule("/page/<int:number>", "page", view)
app.add_url_rule("/old", "old", view, redirect_to="/")
app.add_url_rule("/outside", "outside", view, build_only=True)
shop.add_url_rule("/about", "about", view)
app.register_blueprint(shop)
"""


@pytest.fixture(name="routes")
def _routes(tmp_path):
    def read(shop):
        (tmp_path / "config").mkdir()
        for name, text in (
            ("gunicorn.conf.py", CONFIG),
            ("evenkeel_wsgi.py", WSGI),
            ("shop.py", shop),
        ):
            (tmp_path / "config" / name).write_text(text)
        command = [sys.executable, "-c", measure.ROUTES, str(tmp_path), measure.MARK]
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        return measure.read_routes(done.returncode, done.stdout)

    return read


def test_routes_for_get_without_arguments_are_found(routes):
    assert routes(SHOP) == ["/", "/page", "/shop/about"]


def test_an_app_without_a_url_map_is_told_what_to_do(routes):
    with pytest.raises(
        ArgumentError, match=r"'function' object has no attribute 'url_map'\); name what"
    ):
        routes("def app(environ, start_response): ...\n")
