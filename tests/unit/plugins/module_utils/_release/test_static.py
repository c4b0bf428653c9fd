# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Static files where nginx finds them, and nothing else there."""

from __future__ import annotations

import gzip
import hashlib
import json
import os

import pytest
from ansible_collections.evenkeel.flask.plugins.module_utils._errors import ArchiveError
from ansible_collections.evenkeel.flask.plugins.module_utils._release import (
    layout as release_layout,
)
from ansible_collections.evenkeel.flask.plugins.module_utils._release import static

CSS = b"body { color: navy }\n" * 100


@pytest.fixture
def layout(tmp_path):
    return release_layout.Layout("shop", str(tmp_path))


@pytest.fixture
def release(layout):
    """The folder of a release, with a function that adds a file and lists it as the app does."""

    class Folder:
        path = layout.release("r1")

        def has(self, name, content, url=None):
            path = os.path.join(self.path, "app", "static", name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as stream:
                stream.write(content)
            version = hashlib.sha256(content).hexdigest()[:16]
            url = url or f"/static/{name}?v=x"
            return {
                "endpoint": "static",
                "name": name,
                "url": url,
                "headers": [["Cache-Control", "no-cache"]],
                "path": path,
                "version": version,
            }

    return Folder()


def files(root):
    return {
        os.path.relpath(os.path.join(place, name), root)
        for place, _folders, names in os.walk(root)
        for name in names
    }


def published(layout):
    return {one for one in files(layout.path("static")) if not one.startswith("published/")}


def marked(layout):
    """The paths that nginx counts no requests for."""
    return files(layout.path("static", "published"))


def test_a_file_lies_under_its_version_where_its_url_leads_compressed_beside(layout, release):
    found = release.has("shop.css", CSS)
    static.publish(layout, release.path, [found])
    place = f"{found['version']}/static/shop.css"
    assert published(layout) == {place, f"{place}.gz"}
    with gzip.open(layout.path("static", f"{place}.gz")) as stream:
        assert stream.read() == CSS


@pytest.mark.parametrize(("name", "content"), [("small.css", b"a{}"), ("logo.png", CSS)])
def test_what_is_small_or_compressed_already_is_not_compressed(layout, release, name, content):
    found = release.has(name, content)
    static.publish(layout, release.path, [found])
    assert published(layout) == {f"{found['version']}/static/{name}"}


def test_a_name_that_a_url_quotes_is_found_by_nginx(layout, release):
    found = release.has("a b.css", b"x", url="/static/a%20b.css")
    static.publish(layout, release.path, [found])
    assert published(layout) == {f"{found['version']}/static/a b.css"}


def test_everybody_may_read_it_whatever_roots_umask_is(layout, release):
    found = release.has("deep/shop.css", CSS)
    before = os.umask(0o077)
    try:
        static.publish(layout, release.path, [found])
        assert os.umask(0o077) == 0o077
    finally:
        os.umask(before)
    root = layout.path("static", found["version"], "static", "deep")
    assert os.stat(root).st_mode & 0o777 == 0o755
    assert os.stat(os.path.join(root, "shop.css")).st_mode & 0o777 == 0o644


def test_the_app_is_told_which_they_are(layout, release):
    found = release.has("shop.css", CSS)
    static.publish(layout, release.path, [found])
    with open(os.path.join(release.path, "static.json"), encoding="utf-8") as stream:
        (files,) = json.load(stream)["files"]
    assert files == {
        name: found[name] for name in ("endpoint", "name", "url", "headers", "version")
    }


def test_a_release_without_any_says_so(layout, release):
    os.makedirs(release.path)
    static.publish(layout, release.path, [])
    assert published(layout) == set()


@pytest.mark.parametrize("version", ["../../../etc/cron.d", "short", ""])
def test_a_version_is_nothing_but_a_digest(layout, release, version):
    found = {**release.has("shop.css", CSS), "version": version}
    with pytest.raises(ArchiveError, match="no place for a static file"):
        static.publish(layout, release.path, [found])


@pytest.mark.parametrize("url", ["/static/../../x", "/static/%2e%2e/x", "static/x", "/a//b"])
def test_a_url_leads_nowhere_else(layout, release, url):
    with pytest.raises(ArchiveError, match="no place for a static file"):
        static.publish(layout, release.path, [release.has("shop.css", CSS, url)])


def test_what_lies_elsewhere_is_not_given_to_everybody(layout, release, tmp_path):
    (tmp_path / "shadow").write_bytes(CSS)
    found = release.has("shop.css", CSS)
    os.unlink(found["path"])
    os.symlink(tmp_path / "shadow", found["path"])
    with pytest.raises(ArchiveError, match="no file of the release"):
        static.publish(layout, release.path, [found])
    assert published(layout) == set()


def test_a_package_s_own_files_lie_in_the_venv(layout, release, tmp_path):
    (tmp_path / "venv" / "lib").mkdir(parents=True)
    (tmp_path / "venv" / "lib" / "kit.css").write_bytes(CSS)
    os.makedirs(release.path)
    os.symlink(tmp_path / "venv", os.path.join(release.path, "venv"))
    found = release.has("kit.css", CSS)
    found["path"] = os.path.join(release.path, "venv", "lib", "kit.css")
    static.publish(layout, release.path, [found])
    assert f"{found['version']}/static/kit.css" in published(layout)


def test_a_file_that_is_another_one_by_now_is_refused(layout, release):
    found = release.has("shop.css", CSS)
    release.has("shop.css", b"other")
    with pytest.raises(ArchiveError, match="another file than a moment ago"):
        static.publish(layout, release.path, [found])


@pytest.mark.parametrize("name", ["env", "release.json", "config/production_optimized.py"])
def test_what_a_release_has_beside_its_code_is_not_given_to_everybody(layout, release, name):
    found = release.has("shop.css", CSS)
    path = os.path.join(release.path, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    os.rename(found["path"], path)
    with pytest.raises(ArchiveError, match="no file of the release"):
        static.publish(layout, release.path, [{**found, "path": path}])


@pytest.mark.parametrize("url", ["/static/\0", "/static/%00", "/static/\ud800", "http://["])
def test_a_url_that_is_none_is_refused(layout, release, url):
    with pytest.raises(ArchiveError, match="no place for a static file"):
        static.publish(layout, release.path, [release.has("shop.css", CSS, url)])


def test_what_no_release_refers_to_goes(layout, release):
    old, new = release.has("shop.css", CSS), release.has("logo.png", b"x")
    static.publish(layout, release.path, [old])
    release.has("shop.css", CSS)
    static.publish(layout, release.path, [new])
    static.prune(layout, [release.path, layout.release("older")])
    assert published(layout) == {f"{new['version']}/static/logo.png"}


def test_nginx_finds_which_paths_are_published_without_their_versions(layout, release):
    names = {
        "shop.css": "/static/shop.css?v=x",
        "a b.css": "/static/a%20b.css",
        "x/y.js": "/js/x/y.js",
    }
    static.publish(
        layout,
        release.path,
        [release.has(*one) for one in [(name, CSS, url) for name, url in names.items()]],
    )
    assert marked(layout) == {"static/shop.css", "static/a b.css", "js/x/y.js"}
    static.prune(layout, [release.path])
    assert marked(layout) == {"static/shop.css", "static/a b.css", "js/x/y.js"}
    static.prune(layout, [])
    assert marked(layout) == set()


@pytest.mark.parametrize(
    ("before", "after"), [("/a", "/a/b"), ("/a/b", "/a"), ("/a/b", "/a/b/c"), ("/a", "/a")]
)
def test_a_folder_may_become_a_file_from_one_release_to_the_next(layout, release, before, after):
    static.publish(layout, release.path, [release.has("one.css", b"1", before)])
    static.publish(layout, release.path, [release.has("two.css", b"2", after)])
    assert after[1:] in marked(layout)
