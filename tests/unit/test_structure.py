# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The code is in packages, the packages are in levels, and imports go down.

EXCEPTIONS lists the violations. It can only get shorter: a row that is not needed fails too.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PLUGINS = ROOT / "plugins"
UTILS = PLUGINS / "module_utils"

# The files next to the packages have level 1.
FILES = {"_errors", "_module", "_printable", "_statistics", "_timing"}
LEVELS = {
    "_http": 2,
    "_system": 2,
    "_artifact": 3,
    "_bake": 3,
    "_front": 3,
    "_health": 3,
    "_services": 3,
    "_balancer": 4,
    "_build": 4,
    "_gate": 4,
    "_migrations": 4,
    "_preflight": 4,
    "_profile": 4,
    "_release": 4,
}
LEVELS.update(dict.fromkeys(FILES, 1))
# Imports that do not go down: importer and imported.
EXCEPTIONS = {
    # The base class of modules removes control characters from results.
    ("_module", "_printable"),
}
# Folders that are not packages: a file in them is found by its path.
NO_PACKAGES = {"_pytest"}


def modules(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.py") if path.parent.name not in NO_PACKAGES)


def imported(path: Path) -> Iterator[tuple[str, ...]]:
    """The imports of a file from the collection, as paths below plugins."""
    package = path.relative_to(PLUGINS).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            assert node.level <= len(package) + 1, f"{path}: line {node.lineno} leaves plugins"
            base = package[: len(package) - node.level + 1]
            base += tuple(node.module.split(".")) if node.module else ()
            for alias in node.names:
                yield (*base, alias.name)


def arrows() -> set[tuple[str, str]]:
    found = set()
    for path in modules(UTILS):
        if path.name != "__init__.py":
            own = path.relative_to(UTILS).with_suffix("").parts[0]
            found |= {(own, parts[1]) for parts in imported(path) if parts[0] == "module_utils"}
    return {(own, other) for own, other in found if own != other}


def test_module_utils_has_the_packages_and_files_that_were_agreed():
    # The sources decide: git leaves a folder if it has Python's bytecode of moved files.
    assert {path.relative_to(UTILS).parts[0] for path in UTILS.rglob("*.py")} == {
        f"{name}.py" if name in FILES else name for name in LEVELS
    }


def test_packages_import_only_from_lower_levels():
    up = {(own, other) for own, other in arrows() if LEVELS[other] >= LEVELS[own]}
    assert up == EXCEPTIONS


def test_no_packages_import_each_other_in_a_circle():
    left = {name: {other for own, other in arrows() if own == name} for name in LEVELS}
    while left:
        free = {name for name, others in left.items() if not others & set(left)}
        assert free, f"a circle: {left}"
        left = {name: others for name, others in left.items() if name not in free}


@pytest.mark.parametrize("path", modules(UTILS), ids=lambda path: str(path.relative_to(UTILS)))
def test_what_runs_on_hosts_imports_nothing_of_the_controller(path):
    assert {parts[0] for parts in imported(path)} <= {"module_utils"}


@pytest.mark.parametrize("path", modules(PLUGINS), ids=lambda path: str(path.relative_to(PLUGINS)))
def test_imports_are_relative_and_at_the_top(path):
    # Ansible sends to a host what import statements name. It does not find an import by importlib.
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {
        alias.name: node
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
        if (isinstance(node, ast.ImportFrom) and node.level)
        or alias.name.startswith("ansible_coll")
    }
    assert [name for name, node in names.items() if node not in tree.body] == []
    absolute = [
        node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ansible_coll")
    ]
    assert absolute + [name for name in names if name.startswith("ansible_coll")] == []
    if UTILS in path.parents:
        assert not {
            name
            for node in ast.walk(tree)
            if isinstance(node, (ast.Import, ast.ImportFrom))
            for name in (getattr(node, "module", None), *(alias.name for alias in node.names))
            if name and name.partition(".")[0] == "importlib"
        }


@pytest.mark.parametrize("top", ["module_utils", "plugin_utils"])
def test_each_package_has_an_init_file_and_all_but_one_are_empty(top):
    # With names in it the file is packed for each module that needs one file of the package, with all it imports.
    folders = {path.parent for path in modules(PLUGINS / top)} - {PLUGINS / top}
    assert [folder for folder in folders if not (folder / "__init__.py").exists()] == []
    # Programs that replay a log through the bake's judgement know it by one name. One module alone packs it, whole.
    bake = PLUGINS / "module_utils/_bake/__init__.py"
    assert [path for path in PLUGINS.rglob("__init__.py") if path.read_bytes()] == [bake]


@pytest.mark.parametrize("top", ["module_utils", "plugin_utils", "modules", "action", "filter"])
def test_unit_tests_lie_where_the_code_lies(top):
    tests = ROOT / "tests" / "unit" / "plugins"
    strange = [
        path
        for path in (tests / top).rglob("*")
        if path.is_dir() and path.name != "__pycache__" and any(path.glob("test_*.py"))
        if not (PLUGINS / path.relative_to(tests)).is_dir()
    ]
    assert strange == []
