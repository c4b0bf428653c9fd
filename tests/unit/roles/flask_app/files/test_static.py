# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Published files under the app's own names: the same response as the app's, without a call of the app."""

from __future__ import annotations

import gzip

import evenkeel_static
import flask
import pytest
from werkzeug.test import Client

CSS = b"body { color: navy }\n" * 100


@pytest.fixture
def app(tmp_path):
    """An app with static files, as it is when it is staged."""
    folder = tmp_path / "app" / "static"
    folder.mkdir(parents=True)
    (folder / "shop.css").write_bytes(CSS)
    (folder / "ä b.txt").write_bytes(b"small")
    return flask.Flask("shop", root_path=str(tmp_path / "app"))


@pytest.fixture
def files(app, tmp_path):
    """The published files, and the notes that staging made of them."""
    types = {"css": "text/css", "txt": "text/plain"}
    found, _refused = evenkeel_static.listed(app, app, types)
    for file in found:
        place = tmp_path / "static" / file["version"] / "static" / file["name"]
        place.parent.mkdir(parents=True)
        place.write_bytes((tmp_path / "app" / "static" / file["name"]).read_bytes())
        if file["name"] == "shop.css":
            place.with_name("shop.css.gz").write_bytes(gzip.compress(CSS))
    return found


@pytest.fixture
def site(app, files, tmp_path):
    """The layer around an app that must not be called."""
    return around(app, files, tmp_path)


def around(app, files, tmp_path, **options):
    asked = []

    def inner(environ, start_response):
        asked.append(environ["PATH_INFO"])
        return app(environ, start_response)

    root = str(tmp_path / "static")
    client = Client(evenkeel_static.StaticFiles(inner, root, files, **options))
    client.asked = asked
    return client


def test_the_app_is_not_woken_and_nobody_sees_a_difference(app, site):
    plain, ours = app.test_client().get("/static/shop.css"), site.get("/static/shop.css")
    assert site.asked == []
    assert ours.get_data() == plain.get_data() == CSS
    own = {"etag", "last-modified", "vary", "date"}
    response, usual = (
        {(name, value) for name, value in answer.headers if name.lower() not in own}
        for answer in (ours, plain)
    )
    assert response == usual
    assert {"ETag", "Last-Modified"} <= set(ours.headers.keys())


def test_a_name_that_a_url_quotes_is_found(site):
    assert site.get("/static/%C3%A4%20b.txt").get_data() == b"small"
    assert site.asked == []


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [("gzip, br", "gzip"), ("gzip;q=0", None), ("identity", None), ("br", None)],
)
def test_it_is_compressed_for_who_takes_it(site, accepted, encoding):
    answer = site.get("/static/shop.css", headers={"Accept-Encoding": accepted})
    assert answer.headers.get("Content-Encoding") == encoding
    assert answer.headers["Vary"] == "Accept-Encoding"
    body = answer.get_data()
    assert (gzip.decompress(body) if encoding else body) == CSS
    assert answer.headers["Content-Length"] == str(len(body))


def test_compression_can_be_switched_off(app, files, tmp_path):
    site = around(app, files, tmp_path, compresses=False)
    answer = site.get("/static/shop.css", headers={"Accept-Encoding": "gzip"})
    assert answer.get_data() == CSS
    assert "Vary" not in answer.headers


def test_what_is_not_compressed_beside_does_not_vary(site):
    answer = site.get("/static/%C3%A4%20b.txt", headers={"Accept-Encoding": "gzip"})
    assert "Vary" not in answer.headers
    assert "Content-Encoding" not in answer.headers


@pytest.mark.parametrize("accepted", ["gzip", "identity"])
def test_who_has_it_is_told_so(site, accepted):
    headers = {"Accept-Encoding": accepted}
    first = site.get("/static/shop.css", headers=headers)
    for name, value in (
        ("If-None-Match", first.headers["ETag"]),
        ("If-Modified-Since", first.headers["Last-Modified"]),
    ):
        again = site.get("/static/shop.css", headers={**headers, name: value})
        assert (again.status_code, again.get_data()) == (304, b"")
        assert again.headers["ETag"] == first.headers["ETag"]
        assert "Content-Encoding" not in again.headers


def test_each_encoding_is_another_thing_to_have(site):
    plain, packed = (
        site.get("/static/shop.css", headers={"Accept-Encoding": accepted}).headers["ETag"]
        for accepted in ("identity", "gzip")
    )
    assert plain != packed


def test_head_has_no_body(site):
    answer = site.head("/static/shop.css")
    assert (answer.get_data(), answer.headers["Content-Length"]) == (b"", str(len(CSS)))
    assert site.asked == []


def test_all_else_is_the_apps(site):
    asked = [
        ("/static/other.css", {}),
        ("/static/shop.css?v=0123456789abcdef", {}),
        ("/static/shop.css", {"headers": {"Range": "bytes=0-3"}}),
        ("/static/shop.css", {"method": "POST"}),
    ]
    statuses = [site.open(path, **request).status_code for path, request in asked]
    assert statuses == [404, 200, 206, 405]
    assert len(site.asked) == len(asked)


def test_a_file_that_is_gone_is_the_apps(site, tmp_path):
    for place in tmp_path.glob("static/*/static/shop.css"):
        place.unlink()
    assert site.get("/static/shop.css").get_data() == CSS
    assert site.asked == ["/static/shop.css"]
