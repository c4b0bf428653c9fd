# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the README and the documentation promise is tested where they say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ansible_collections.evenkeel.flask.tests.faults import catalogue

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROMISED = README.partition("## What is promised")[2].partition("\n## ")[0]
PROMISES = PROMISED + "".join(
    (ROOT / "docs" / page).read_text(encoding="utf-8") for page in ("production.md", "security.md")
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
    said = f"[{len(catalogue.FAULTS)} ways to be broken](docs/faults.md), {short} of them in `make test`"
    assert said in PROMISED
