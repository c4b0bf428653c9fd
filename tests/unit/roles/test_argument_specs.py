# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation, the defaults and the argument specs of a role agree."""

from __future__ import annotations

import pathlib
import re

import pytest
import yaml

ROLES = pathlib.Path(__file__).resolve().parents[3] / "roles"
NAMES = sorted(path.name for path in ROLES.iterdir() if path.is_dir() and path.name[0] not in "_.")


class Role:
    """The variables in the documentation of a role."""

    def __init__(self, name: str) -> None:
        self.folder = ROLES / name
        spec = yaml.safe_load((self.folder / "meta" / "argument_specs.yml").read_text())
        self.entries = {
            key: entry.get("options", {}) for key, entry in spec["argument_specs"].items()
        }
        self.options = self.entries["main"]
        self.defaults = yaml.safe_load((self.folder / "defaults" / "main.yml").read_text()) or {}
        self.required = {name for name, option in self.options.items() if option.get("required")}


@pytest.fixture(params=NAMES)
def role(request):
    return Role(request.param)


def described(options, path=""):
    """Each option of a spec with its path, however deep."""
    for name, option in options.items():
        yield f"{path}{name}", option
        yield from described(option.get("options", {}), f"{path}{name}.")


def test_there_are_roles():
    assert NAMES


def test_every_variable_has_a_default_or_is_required_and_never_both(role):
    assert set(role.defaults) | role.required == set(role.options)
    assert not set(role.defaults) & role.required


def test_every_default_is_the_documented_one(role):
    documented = {n: option["default"] for n, option in role.options.items() if "default" in option}
    # A spec accepts a template only for text, so the description contains such a default.
    templates = {n for n, value in role.defaults.items() if "{{" in str(value)}
    assert documented == {
        n: v for n, v in role.defaults.items() if n in documented or n not in templates
    }


def test_every_option_is_typed_and_described(role):
    for options in role.entries.values():
        for path, option in described(options):
            assert option.get("type"), path
            assert option.get("description"), path
            assert option["type"] != "list" or option.get("elements"), path


def test_every_entry_point_is_described(role):
    spec = yaml.safe_load((role.folder / "meta" / "argument_specs.yml").read_text())
    for name, entry in spec["argument_specs"].items():
        assert entry.get("short_description"), name


def test_every_variable_begins_with_its_roles_name(role):
    for options in role.entries.values():
        assert [name for name in options if not name.startswith(f"{role.folder.name}_")] == []


def test_secrets_are_marked_as_such(role):
    secret = re.compile(r"_(secrets?|password|token|url)$")
    assert [
        n for n, option in role.options.items() if secret.search(n) and not option.get("no_log")
    ] == []


def test_the_readme_names_every_variable(role):
    readme = (role.folder / "README.md").read_text()
    assert [name for name in role.options if f"`{name}`" not in readme] == []
