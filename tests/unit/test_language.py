# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The language of the collection follows docs/style.md: no denied expression, no long sentence."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SUFFIXES = {".md", ".py", ".yml", ".j2", ".html", ".sh", ".toml"}
MAX_WORDS = 25

_OPENING = r'(?:^[ \t]*(?:(?:#+|\*|-|>)[ \t]+)?|"""|\. |: )'
DENIED = {
    "W1": r"\b[Ww](ho|hat)ever\b|\b(for|to|of|by|from|with) who\b",
    "W2": rf"{_OPENING}(?:(?:What|Who)\b(?![^.\n]*\?)|So (?:often|long|many|much|few)\b"
    r"|(?:Needed|Kept|Named) (?:is|are)\b)",
    "V1": r"\b(tell|tells|told|telling)\b",
    "V2": r"\bsaid\b|\bsays? of\b",
    "V3": r"\b(is|are|was|were|be|been) asked\b",
    "V4": r"\b(is|are|was|were) wanted\b|[;:] wanted\b|\bwanted e\.g\.",
    "V5": r"\bmend(s|ed|ing)?\b|\bfares?\b|\b[Ww]hat bec[ao]mes? of\b",
    "M1": r"in peace|on trial|speaks? against|la(y|ys|id)[ _]under|lets?[ _]go|gives? away"
    r"|take .* back|all is well|half way",
    "G1": r"(?<!here\s)\b(is|are|was) no (?!longer\b|more\b)[a-z]",
    "G2": r"\banew\b|\bbut for\b|\bnothing but\b|\ball the same\b|\bshall\b|, too[.,;:)]",
    "P1": r"This file is private to the collection",
}

_PATTERNS = {key: re.compile(pattern, re.MULTILINE) for key, pattern in DENIED.items()}

# A text with a hit has one of these parts. This search is quicker than the expressions.
_PARTS = {
    "W1": ("hoever", "hatever", " who"),
    "W2": ("What", "Who", "So ", "Needed", "Kept", "Named"),
    "V1": ("tell", "told"),
    "V2": ("said", "say"),
    "V3": (" asked",),
    "V4": ("wanted",),
    "V5": ("mend", "fare", "hat bec"),
    "M1": ("peace", "trial", "against", "under", "go", "away", "back", "well", "way"),
    "G1": (" no ",),
    "G2": ("anew", "but for", "nothing but", "all the same", "shall", ", too"),
    "P1": ("private",),
}

# Hits of today. A count may only fall, and the ceiling falls with it.
CEILINGS: dict[str, int] = {
    "W1": 11,
    "W2": 29,
    "V1": 104,
    "V2": 301,
    "V3": 7,
    "V4": 65,
    "V5": 9,
    "M1": 35,
    "G1": 74,
    "G2": 14,
    "P1": 0,
}

# "path: id: reason"; "*" is every id. At most ten.
EXCEPTIONS = [
    "tests/unit/test_language.py: *: has the deny-list itself",
    "docs/style.md: *: shows the deny-list, and examples of it",
]

# Its source is in another file, and is searched there.
_GENERATED = re.compile(
    r"<!-- (?P<name>[^>]+?): (?:written by the bench|begin) -->.*?<!-- (?:end of (?P=name)|(?P=name): end) -->",
    re.DOTALL,
)


def tracked() -> list[Path]:
    done = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, text=True, check=False
    )
    if not done.stdout:
        pytest.skip("git tracks nothing here", allow_module_level=True)
    paths = [ROOT / name for name in done.stdout.split("\0") if name]
    return [path for path in paths if path.suffix in SUFFIXES and path.is_file()]


PAGES = [path for path in tracked() if path.suffix == ".md"]


def prose(path: Path) -> str:
    """Return the text of a file without its generated parts."""
    text = path.read_text(encoding="utf-8")
    return _GENERATED.sub("", text) if path.suffix == ".md" else text


def hits(text: str) -> Iterator[tuple[str, int]]:
    """Yield the id and the line of each denied expression."""
    for key, pattern in _PATTERNS.items():
        if not any(part in text for part in _PARTS[key]):
            continue
        for found in pattern.finditer(text):
            line = text[text.rfind("\n", 0, found.end()) + 1 :].partition("\n")[0]
            if "# quote" not in line and "stream.tell()" not in line:
                yield key, text.count("\n", 0, found.end()) + 1


def sentences(markdown: str) -> Iterator[str]:
    """Yield the sentences of a page, without code, tables and headings. Code in a line is one word."""
    text = re.sub(
        r"^ *```.*?^ *```", "\n", _GENERATED.sub("\n", markdown), flags=re.DOTALL | re.MULTILINE
    )
    text = re.sub(r"<!--.*?-->", "\n", text, flags=re.DOTALL)
    text = re.sub(r"^ *(\||#).*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"`[^`]*`", "code", text)
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"^ *([-*]|\d+\.) ", "\n\n", text, flags=re.MULTILINE)
    for block in re.split(r"\n\s*\n", text):
        for sentence in re.split(
            r"(?<!e\.g)(?<!i\.e)[.!?][)\"*_]*\s+", " ".join(block.split()) + " "
        ):
            if sentence.strip():
                yield sentence


def words(sentence: str) -> int:
    return len(re.findall(r"\w[\w'.,/-]*", sentence))


def is_exempt(name: str, key: str) -> bool:
    return any(line.startswith((f"{name}: {key}: ", f"{name}: *: ")) for line in EXCEPTIONS)


def test_denied_expressions_only_become_fewer():
    where: dict[str, Counter[str]] = {key: Counter() for key in DENIED}
    for path in tracked():
        name = path.relative_to(ROOT).as_posix()
        for key, _line in hits(prose(path)):
            if not is_exempt(name, key):
                where[key][name] += 1
    found = {key: where[key].total() for key in DENIED}
    more = {key: where[key].most_common(5) for key in DENIED if found[key] > CEILINGS[key]}
    assert not more, (
        "more denied expressions than the ceilings; docs/style.md lists what to write instead"
    )
    assert found == CEILINGS, f"fewer denied expressions than the ceilings; set CEILINGS to {found}"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_page_has_no_denied_expression_and_no_long_sentence(path):
    name = path.relative_to(ROOT).as_posix()
    assert [hit for hit in hits(prose(path)) if not is_exempt(name, hit[0])] == []
    text = path.read_text(encoding="utf-8")
    assert [sentence for sentence in sentences(text) if words(sentence) > MAX_WORDS] == []


def test_exceptions_are_few_and_have_a_reason():
    assert len(EXCEPTIONS) <= 10
    for line in EXCEPTIONS:
        name, key, reason = line.split(": ", 2)
        assert (ROOT / name).exists()
        assert key in {"*", *DENIED}
        assert reason


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("Whoever reads", "W1"),
        ("for who has one", "W1"),
        ("What a host does.", "W2"),
        ("It ends. Who asks waits.", "W2"),
        ("it tells", "V1"),
        ("as it said", "V2"),
        ("it is asked", "V3"),
        ("a port; wanted 1", "V4"),
        ("it is mended", "V5"),
        ("takes it, and leaves it in peace", "M1"),
        ("it is no port", "G1"),
        ("read anew", "G2"),
    ],
)
def test_an_expression_is_found(text, key):
    assert key in {found for found, _line in hits(text)}


@pytest.mark.parametrize(
    "text",
    [
        "What is it?",
        "there is no port",
        "it is no longer there",
        "rollout_told_host",
        "stream.tell()",
    ],
)
def test_an_expression_that_is_allowed_is_not_found(text):
    assert list(hits(text)) == []


def test_a_page_is_split_into_sentences():
    page = "# Head\nOne two. `a.b c` three.\n\n- item (see [the x](y.md))\n- more\n\n| t | u |\n\n```\nno\n```\n"
    assert list(sentences(page)) == ["One two", "code three", "item (see the x) ", "more "]
