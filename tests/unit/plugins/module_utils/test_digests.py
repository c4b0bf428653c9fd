# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two inputs have the same digest only if they are the same."""

from __future__ import annotations

import os
import tempfile

from ansible_collections.evenkeel.flask.plugins.module_utils._artifact import archive
from ansible_collections.evenkeel.flask.plugins.module_utils._build import pipeline
from ansible_collections.evenkeel.flask.plugins.module_utils._release import layout
from hypothesis import example, given
from hypothesis import strategies as st

TEXTS = st.one_of(st.sampled_from(["", "a", "b", "a=b", '", "', "\n", "\0"]), st.text(max_size=3))
FILES = st.dictionaries(TEXTS, TEXTS, max_size=2)
INPUTS = st.tuples(TEXTS, FILES, FILES, st.lists(TEXTS, max_size=2))


@given(INPUTS, INPUTS)
def test_two_releases_have_one_id_only_if_they_are_the_same(one, other):
    ids = [layout.release_id("1.0", *each) for each in (one, other)]
    assert (ids[0] == ids[1]) == (one == other)


NAMES = st.text("a\nlink\\ ", min_size=1, max_size=8)
LINKS = st.dictionaries(NAMES, NAMES, max_size=3)


def tree_of(links):
    with tempfile.TemporaryDirectory() as folder:
        for name, target in links.items():
            os.symlink(target, os.path.join(folder, name))
        return archive.tree_digest(folder)


@given(LINKS, LINKS)
@example({"a": "x", "b\nc": "y"}, {"a": "x\nb", "c": "y"})
@example({"a": "x\nb", "c": "y"}, {"a": "x", "b\nc": "y"})
def test_two_trees_have_one_digest_only_if_they_are_the_same(one, other):
    assert (tree_of(one) == tree_of(other)) == (one == other)


@given(FILES, FILES)
def test_two_builds_have_one_key_only_if_they_are_the_same(one, other):
    assert (pipeline._digest(one) == pipeline._digest(other)) == (one == other)
