# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each test that the documentation names exists, and so does each page that it links to."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ansible_collections.evenkeel.flask.tests.faults import catalogue

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("roles/*/README.md")]
PROMISED = (ROOT / "docs" / "promises.md").read_text(encoding="utf-8")
PROMISES = PROMISED + "".join(
    (ROOT / "docs" / page).read_text(encoding="utf-8")
    for page in ("production.md", "security.md", "decisions.md", "architecture.md")
)
FILES = [*ROOT.glob("tests/unit/**/test_*.py"), *ROOT.glob("molecule/*/tests/test_*.py")]
TESTS = {
    name
    for path in FILES
    for name in re.findall(
        r"^ *(?:def )?(test_\w+)(?:\(| = )", path.read_text(encoding="utf-8"), re.MULTILINE
    )
}


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(test_\w+…?)`", PROMISES))))
def test_each_test_that_it_names_is_there(name):
    start = name.removesuffix("…")
    assert [test for test in TESTS if test == name or (start != name and test.startswith(start))]


@pytest.mark.parametrize("file", sorted(set(re.findall(r"`(?:\w+/)*(test_\w+\.py)`", PROMISES))))
def test_each_file_that_it_names_is_there(file):
    assert file in {path.name for path in FILES}


@pytest.mark.parametrize("scenario", sorted(set(re.findall(r"`([a-z_]+)`: ", PROMISED))))
def test_each_scenario_that_it_names_is_there(scenario):
    assert (ROOT / "molecule" / scenario / "molecule.yml").exists()


def test_the_faults_are_as_many_as_it_says():
    short = sum(one.in_short for one in catalogue.FAULTS)
    count = (
        f"[{len(catalogue.FAULTS)} ways to be broken](faults.md), {short} of them in `make test`"
    )
    assert count in PROMISED


def test_every_promise_names_its_test():
    rows = [line for line in PROMISED.splitlines() if line.startswith("| ")][1:]
    assert len(rows) >= 50
    tests = [row.strip("| ").rpartition(" | ")[2] for row in rows]
    assert [
        test for test in tests if not re.search(r"`\w+`: |unit: |integration target", test)
    ] == []


def anchors(page):
    """The anchors of a page's headings, as GitHub makes them."""
    heads = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_link_leads_to_a_page_and_a_heading(page):
    text = re.sub(
        r"^ *```.*?^ *```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.M | re.S
    )
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", text):
        name, _hash, anchor = target.partition("#")
        path = page.parent / name if name else page
        assert path.exists(), target
        assert not anchor or anchor in anchors(path), target


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120
