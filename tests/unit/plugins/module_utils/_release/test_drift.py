# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drift: the manual changes on a host since the last run."""

from __future__ import annotations

import os

import pytest
from ansible_collections.evenkeel.flask.plugins.module_utils._release import drift as release_drift
from ansible_collections.evenkeel.flask.plugins.module_utils._release.layout import Layout

FILES = {
    "srv/shop/releases/a/env": "KEY=1",
    "srv/shop/releases/a/config/gunicorn.conf.py": "workers = 5",
    "srv/shop/releases/a/app/shop.py": "app = 1",
    "srv/shop/releases/b/app/shop.py": "app = 2",
    "etc/systemd/system/shop@.service": "[Service]",
    "etc/systemd/system/shop@.socket": "[Socket]",
    "etc/systemd/system/shop.service": "[Unit]",
    "etc/nginx/conf.d/shop.conf": "server {}",
}


@pytest.fixture(name="layout")
def _layout(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return Layout("shop", str(tmp_path / "srv"), etc=str(tmp_path / "etc"))


def drift(layout, live="a"):
    return release_drift.differences(
        release_drift.read(layout), release_drift.fingerprint(layout, live)
    )


@pytest.fixture(name="left")
def _left(layout):
    release_drift.write(layout, release_drift.fingerprint(layout, "a"))
    return layout


def test_what_was_left_is_no_drift(left):
    assert drift(left) == []


def test_where_nothing_was_left_nothing_is_known(layout):
    assert drift(layout) == []


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("srv/shop/releases/a/env", "env"),
        ("srv/shop/releases/a/config/gunicorn.conf.py", "config/gunicorn.conf.py"),
        ("srv/shop/releases/a/config/new.py", "config/new.py"),
        ("srv/shop/releases/a/app/shop.py", "app"),
        ("etc/systemd/system/shop@.service", "/etc/systemd/system/shop@.service"),
        (
            "etc/systemd/system/shop@.service.d/own.conf",
            "/etc/systemd/system/shop@.service.d/own.conf",
        ),
        ("etc/nginx/conf.d/shop.conf", "/etc/nginx/conf.d/shop.conf"),
    ],
)
def test_what_was_changed_by_hand_is_named(left, tmp_path, file, name):
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text("by hand")
    assert [one.replace(str(tmp_path), "") for one in drift(left)] == [name]


def test_what_was_removed_is_named(left, tmp_path):
    (tmp_path / "etc/nginx/conf.d/shop.conf").unlink()
    assert [one.replace(str(tmp_path), "") for one in drift(left)] == [
        "/etc/nginx/conf.d/shop.conf"
    ]


def test_another_live_release_is_told_alone(left):
    assert drift(left, "b") == ["live release"]
    assert drift(left, None) == ["live release"]


def test_what_python_compiles_is_no_drift(left, tmp_path):
    cache = tmp_path / "srv/shop/releases/a/app/__pycache__"
    cache.mkdir()
    (cache / "shop.cpython-311.pyc").write_text("")
    assert drift(left) == []


def test_files_elsewhere_and_another_release_are_no_drift(left, tmp_path):
    (tmp_path / "srv/shop/releases/b/app/shop.py").write_text("by hand")
    (tmp_path / "etc/systemd/system/other.service").write_text("by hand")
    assert drift(left) == []


@pytest.mark.parametrize("text", ["", "{", "[]", "\0"])
def test_what_a_crash_left_is_nothing(left, text):
    with open(left.left, "w", encoding="utf-8") as stream:
        stream.write(text)
    assert drift(left) == []


def test_only_root_reads_the_fingerprints(left):
    assert os.stat(left.left).st_mode & 0o777 == 0o600
