# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The compression of nginx, on hosts with and without brotli."""

from __future__ import annotations

import re

import pytest
from front import render

# Results of the package module in check mode.
HAS = {"changed": False}
REFUSES = {"changed": False, "msg": "No package matching 'x' is available"}
SKIPPED = {"changed": False, "skipped": True}


def rendered(compression, answer):
    return render(nginx_compression=compression, __nginx_brotli=answer)


def locations(text):
    """The directives in each location of the live host."""
    live = text.split("\nserver {")[1]
    found = re.findall(r"location (\S+) \{\n(.*?)\n    \}", live, re.DOTALL)
    return {name: {line.strip() for line in lines.splitlines()} for name, lines in found}


def test_with_brotli_both_are_on_for_the_app_and_off_where_nothing_is_compressed():
    found = locations(rendered(True, HAS))
    assert {"gzip on;", "brotli on;"} <= found["@app"]
    assert {"gzip off;", "brotli off;"} <= found["@uncompressed"]
    assert {"gzip_static on;", "brotli on;"} <= found["/"]


def test_both_compress_the_same():
    text = rendered(True, HAS)
    for what in ("comp_level", "min_length", "types"):
        assert len(set(re.findall(rf"(?:gzip|brotli)_{what} (.*);", text))) == 1


def test_without_brotli_the_configuration_does_not_know_of_it():
    text = rendered(True, REFUSES)
    assert "gzip on;" in locations(text)["@app"]
    assert "brotli" not in text


@pytest.mark.parametrize("answer", [HAS, SKIPPED])
def test_nothing_is_compressed_when_compression_is_off(answer):
    text = rendered(False, answer)
    assert set(locations(text)) == {"/", "@app"}
    assert "gzip off;" in locations(text)["@app"]
    assert not re.search(r"brotli|gzip on|gzip_static", text)
