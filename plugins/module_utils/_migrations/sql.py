# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Split SQL into statements and tokens. Pure.

This file implements the lexical rules of PostgreSQL, MySQL and SQLite: nested comments, dollar quotes,
E-strings, backslashes and bodies of functions. No text raises an exception.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


WORD, NAME, STRING, BODY, NUMBER, SIGN, BROKEN = (
    "word",
    "name",
    "string",
    "body",
    "number",
    "sign",
    "broken",
)
SPACE = re.compile(r"\s+")
# An identifier can have any letter, and a dollar sign after the first one.
IDENTIFIER = re.compile(r"[^\W\d][\w$]*")
DOLLAR = re.compile(r"\$(?:[^\W\d]\w*)?\$")
NUMERAL = re.compile(r"\d[\w.]*|\.\d+")
# The placeholders of a driver or of SQLAlchemy for a value.
PARAMETER = re.compile(r"%\(\w+\)s|%s|(?<!:):[A-Za-z_]\w*|\$\d+|\?")
COMMENT_ENDS = re.compile(r"/\*|\*/")
# Statements that contain others, which end with their own semicolon.
ROUTINES = {"FUNCTION", "PROCEDURE", "TRIGGER", "EVENT"}
# https://www.postgresql.org/docs/current/sql-keywords-appendix.html: some of the reserved words.
RESERVED = words(
    "all analyse analyze and any array as asc both case cast check collate column constraint create "
    "default desc distinct do else end except false fetch for foreign from grant group having in "
    "initially intersect into leading limit not null offset on only or order placing primary "
    "references returning select some table then to trailing true union unique user using variadic "
    "when where window with"
)


@dataclass(frozen=True)
class Token:
    """A lexical element: C(text) is the value of a string or name, C(word) an upper-case keyword."""

    kind: str
    text: str
    line: int
    # Whether it is the first one of its line.
    leads: bool = False

    @property
    def word(self) -> str:
        return self.text.upper() if self.kind == WORD else ""

    def is_sign(self, text: str) -> bool:
        return self.kind == SIGN and self.text == text


@dataclass(frozen=True)
class Statement:
    """The tokens of one statement, without the semicolon."""

    tokens: tuple[Token, ...]

    @property
    def words(self) -> tuple[str, ...]:
        return tuple(token.word for token in self.tokens)

    @property
    def text(self) -> str:
        """Return the statement on one line, for messages."""
        return spell(self.tokens)


def spell(tokens: Sequence[Token]) -> str:
    """Write tokens as SQL, with one space where spaces are allowed."""
    spelled = ""
    for token in tokens:
        text = token.text
        if token.kind == NAME:
            text = quote(text)
        elif token.kind == STRING:
            text = literal(text)
        elif token.kind == BODY:
            text = "$$...$$"
        tight = text in {",", ")", ".", "::", "]", "["} or spelled.endswith(
            (".", "(", "::", "[", " ")
        )
        call = text == "(" and spelled[-1:].isalnum() and spelled.rpartition(" ")[2] not in {"IN"}
        spelled += text if tight or call or not spelled else f" {text}"
    return spelled


def quote(name: str) -> str:
    """Write an identifier, in quotes if necessary."""
    if re.fullmatch(r"[a-z_][a-z0-9_$]*", name) and name not in RESERVED:
        return name
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def tokens(text: str, dialect: str = "postgresql") -> Iterator[Token]:
    """Yield the tokens of C(text); an unterminated element is one BROKEN token.

    @param dialect: postgresql, mysql or sqlite
    """
    place, line, leads = 0, 1, True

    def token(kind: str, value: str) -> Token:
        return Token(kind, value, line, leads)

    while place < len(text):
        space = SPACE.match(text, place)
        if space:
            line += space.group().count("\n")
            leads = leads or "\n" in space.group()
            place = space.end()
            continue
        end = _comment(text, place, dialect)
        if end is not None:
            line += text.count("\n", place, end)
            leads = leads or "\n" in text[place:end]
            place = end
            continue
        kind, value, end = _token(text, place, dialect)
        yield token(kind, value)
        line += text.count("\n", place, end)
        leads = False
        place = end


def _comment(text: str, place: int, dialect: str) -> int | None:
    """Return the end of the comment that begins at C(place), if there is one."""
    if text.startswith("--", place) or (dialect == "mysql" and text[place] == "#"):
        end = text.find("\n", place)
        return len(text) if end < 0 else end
    # MySQL executes the content of /*! ... */.
    if not text.startswith("/*", place) or (dialect == "mysql" and text.startswith("/*!", place)):
        return None
    if dialect != "postgresql":
        end = text.find("*/", place + 2)
        return len(text) if end < 0 else end + 2
    depth = 0
    for mark in COMMENT_ENDS.finditer(text, place):
        depth += 1 if mark.group() == "/*" else -1
        if depth == 0:
            return mark.end()
    return len(text)


def _token(text: str, place: int, dialect: str) -> tuple[str, str, int]:
    """Return kind, value and end of the token at C(place)."""
    char = text[place]
    prefix = re.compile(r"(?:[EeBbXxNn]|[Uu]&)(?=')|[Uu]&(?=\")").match(text, place)
    if prefix and not (dialect == "mysql" and prefix.group() in "Ee"):
        backslash = prefix.group() in "Ee" or dialect == "mysql"
        return _quoted(text, prefix.end(), backslash, dialect)
    if char in "'\"`":
        return _quoted(text, place, dialect == "mysql", dialect)
    if dialect == "postgresql":
        opening = DOLLAR.match(text, place)
        if opening:
            end = text.find(opening.group(), opening.end())
            if end < 0:
                return BROKEN, text[place:], len(text)
            return BODY, text[opening.end() : end], end + len(opening.group())
    if dialect == "sqlite" and char == "[":
        end = text.find("]", place)
        return (
            (BROKEN, text[place:], len(text)) if end < 0 else (NAME, text[place + 1 : end], end + 1)
        )
    for kind, pattern in ((SIGN, PARAMETER), (WORD, IDENTIFIER), (NUMBER, NUMERAL)):
        found = pattern.match(text, place)
        if found:
            return kind, found.group(), found.end()
    if text.startswith("::", place):
        return SIGN, "::", place + 2
    if text.startswith("/*!", place):
        # The digits are the oldest version that executes it.
        end = place + 3
        while end < len(text) and text[end].isdigit():
            end += 1
        return SIGN, "/*!", end
    if text.startswith("*/", place):
        return SIGN, "*/", place + 2
    return SIGN, char, place + 1


def _quoted(text: str, place: int, backslash: bool, dialect: str) -> tuple[str, str, int]:
    mark = text[place]
    is_string = mark == "'" or (mark == '"' and dialect == "mysql")
    value, at = [], place + 1
    while at < len(text):
        char = text[at]
        if char == mark:
            if text.startswith(mark * 2, at):
                value.append(mark)
                at += 2
                continue
            return (STRING if is_string else NAME), "".join(value), at + 1
        if char == "\\" and backslash and is_string and at + 1 < len(text):
            value.append(text[at + 1])
            at += 2
            continue
        value.append(char)
        at += 1
    return BROKEN, text[place:], len(text)


def statements(text: str, dialect: str = "postgresql", nests: bool = True) -> list[Statement]:
    """Split C(text) at its semicolons.

    @param nests: whether those in the body of a routine are ignored
    """
    found: list[Statement] = []
    current: list[Token] = []
    depth = 0
    for token in tokens(text, dialect):
        if token.is_sign("/*!") or token.is_sign("*/"):
            continue
        if token.is_sign(";") and depth == 0:
            if current:
                found.append(Statement(tuple(current)))
            current = []
            continue
        current.append(token)
        if nests and token.word in {"BEGIN", "CASE", "END", "IF", "LOOP", "REPEAT", "WHILE"}:
            depth = _nested(depth, current, dialect)
    if depth:
        # An unterminated body would hide all later statements.
        return statements(text, dialect, nests=False)
    if current:
        found.append(Statement(tuple(current)))
    return found


def _nested(depth: int, current: Sequence[Token], dialect: str) -> int:
    """Return the number of open blocks of a routine after the last token of C(current)."""
    heads = {token.word for token in current[:8]}
    if not current or current[0].word != "CREATE" or not heads & ROUTINES:
        return 0
    word = current[-1].word
    before = current[-2].word if len(current) > 1 else ""
    if word == "END":
        return max(0, depth - 1)
    if word == "BEGIN":
        return depth + 1
    # END IF closes an IF; IF EXISTS and IF NOT EXISTS are in the head.
    if depth and before != "END" and (word == "CASE" or dialect == "mysql"):
        return depth + 1
    return depth
