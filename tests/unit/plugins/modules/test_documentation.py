# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each module accepts exactly the options that its documentation describes."""

from __future__ import annotations

import importlib
import pkgutil

import pytest
import yaml
from ansible_collections.evenkeel.flask.plugins import doc_fragments, modules

MODULES = [
    module
    for found in pkgutil.iter_modules(modules.__path__, f"{modules.__name__}.")
    # A module without an argument spec only documents its action.
    if hasattr(module := importlib.import_module(found.name), "ARGUMENT_SPEC")
]


def documented(module):
    """The options of its own documentation, and of the fragments that this names."""
    docs = yaml.safe_load(module.DOCUMENTATION)
    options = dict(docs.get("options", {}))
    for name in docs["extends_documentation_fragment"]:
        _namespace, _collection, file, *part = name.split(".")
        fragment = importlib.import_module(f"{doc_fragments.__name__}.{file}").ModuleDocFragment
        text = getattr(fragment, part[0].upper() if part else "DOCUMENTATION")
        options.update(yaml.safe_load(text)["options"])
    return options


def comparable(options):
    """The part of the options that documentation and argument spec have in common."""
    return {
        name: {
            "type": option.get("type"),
            "elements": option.get("elements"),
            "default": option.get("default"),
            "required": option.get("required", False),
            "choices": option.get("choices"),
            "options": comparable(option.get("suboptions") or option.get("options") or {}),
        }
        for name, option in options.items()
    }


def test_modules_are_found():
    assert len(MODULES) > 10


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__.rpartition(".")[2])
def test_the_documentation_is_the_argument_spec(module):
    assert comparable(documented(module)) == comparable(module.ARGUMENT_SPEC)
