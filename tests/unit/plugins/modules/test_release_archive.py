# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module as a task sees it; what it builds is in the tests of _build/pipeline.py."""

from __future__ import annotations

import pytest
import yaml
from ansible_collections.evenkeel.flask.plugins.module_utils._artifact import archive
from ansible_collections.evenkeel.flask.plugins.module_utils._artifact.archive import Manifest
from ansible_collections.evenkeel.flask.plugins.module_utils._build import pipeline
from ansible_collections.evenkeel.flask.plugins.module_utils._errors import ArchiveError
from ansible_collections.evenkeel.flask.plugins.modules import release_archive
from ansible_collections.evenkeel.flask.tests.unit.plugins.run_module import run_module

TARGET = {
    "python_version": "3.11.2",
    "python_tag": "cp311",
    "machine": "x86_64",
    "libc": "glibc-2.36",
}
BUILT = {
    "path": "/cache/shop-1a2b.tar",
    "wheels": "/cache/shop-3c4d.wheels.tar",
    "digest": "9f86d081",
    "version": "2.0",
    "archive_sha256": "sha256 of /cache/shop-1a2b.tar",
    "wheels_sha256": "sha256 of /cache/shop-3c4d.wheels.tar",
}


@pytest.fixture(name="builds", autouse=True)
def _builds(monkeypatch):
    """Return the requested builds; only the first is new."""
    builds = []

    def build(*args):
        builds.append(args)
        manifest = Manifest(
            "shop", BUILT["version"], "cp311", BUILT["digest"], "shop-3c4d.wheels.tar"
        )
        return BUILT["path"], manifest, len(builds) == 1

    monkeypatch.setattr(pipeline, "build", build)
    monkeypatch.setattr(archive, "file_digest", lambda path: f"sha256 of {path}")
    return builds


def build(check_mode=False, **params):
    good = {"name": "shop", "entry": "shop:app", "target": TARGET, "cache": "/cache"}
    return run_module(release_archive, check_mode, **{**good, **params})


@pytest.mark.parametrize("check_mode", [False, True])
def test_an_archive_is_built_in_check_mode_too(builds, check_mode):
    result = build(check_mode)
    assert {name: result[name] for name in BUILT} == BUILT
    assert len(builds) == 1


def test_only_a_new_archive_is_a_change():
    assert [build()["changed"], build()["changed"]] == [True, False]


def test_what_was_asked_for_is_built(builds):
    build(requirements=["flask"], runtime_requirements=["gunicorn"], environment={"WORKERS": 5})
    ((recipe, cache, environment, _warn),) = builds
    assert recipe == pipeline.Recipe(
        "shop",
        "shop:app",
        pipeline.Target(**TARGET),
        requirements=("flask",),
        runtime=("gunicorn",),
    )
    assert cache == "/cache"
    assert environment == {"WORKERS": "5"}


def test_a_warning_of_the_build_is_shown(monkeypatch):
    def warns(_recipe, _cache, _environment, warn):
        warn("flask_app_source: new.py is not tracked by git")
        return BUILT["path"], Manifest("shop", "", "cp311", "d", "w"), False

    shown = []
    monkeypatch.setattr(pipeline, "build", warns)
    monkeypatch.setattr(
        release_archive.AnsibleModule, "warn", lambda _module, text: shown.append(text)
    )
    build()
    assert shown == ["flask_app_source: new.py is not tracked by git"]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (
            {"target": {"libc": "x"}},
            "arguments: machine, python_tag, python_version found in target",
        ),
        ({"requirement": ["flask"]}, "Unsupported parameters"),
        ({"source": "/nowhere/shop"}, "flask_app_source: /nowhere/shop is not there"),
        ({"exclude": ["!keep"]}, "flask_app_exclude: '!keep' is not a usable pattern; negation"),
        ({"include": ["../x"]}, "flask_app_include: '../x' is not a usable pattern; it leaves"),
        ({"requirements": ["/nowhere/prod.txt"]}, "/nowhere/prod.txt is not there"),
    ],
)
def test_a_bad_argument_builds_nothing(builds, params, message):
    result = build(**params)
    assert result["failed"] is True
    assert message in result["msg"]
    assert builds == []


def test_values_of_the_environment_are_never_shown(monkeypatch):
    secret = {"TOKEN": "hunter2", "PIN": "17"}
    result = build(environment=secret)
    assert "hunter2" not in str(result)
    assert result["invocation"]["module_args"]["environment"] == ["PIN", "TOKEN"]

    def refuse(*_args):
        raise ArchiveError("the app said: hunter2 does not open")

    monkeypatch.setattr(pipeline, "build", refuse)
    result = build(environment=secret)
    assert result["msg"] == "the app said: ******** does not open"
    assert "hunter2" not in str(result)


@pytest.mark.parametrize("value", ["1", "shop", "2.0", "/cache", "9f86d081"])
def test_a_value_that_is_part_of_a_path_by_chance_does_not_spoil_it(value):
    result = build(environment={"VALUE": value})
    assert {name: result[name] for name in BUILT} == BUILT


def test_every_value_that_is_returned_is_documented():
    returned = set(build()) - {"changed", "invocation", "warnings"}
    assert returned == set(yaml.safe_load(release_archive.RETURN))
    assert yaml.safe_load(release_archive.EXAMPLES)
