# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parse requirements as pip does, find their dependencies outside of an index, and write them with replacements.

The invariant: each input of a build is in C(Inputs.content), or C(Inputs.unpinned) names it. The exceptions are the
content of package indexes, and credentials.
"""

from __future__ import annotations

import codecs
import configparser
import locale
import optparse
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn
from urllib.parse import quote, unquote, urlsplit, urlunsplit

if sys.version_info >= (3, 11):
    import tomllib

from .._artifact import archive
from .. import _errors

# As pip reads a file (pip._internal.req.req_file).
COMMENT = re.compile(r"(^|\s+)#.*$")
VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)\}")
CODING = re.compile(rb"coding[:=]\s*([-\w.]+)")
BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
ARCHIVES = (
    ".whl",
    ".zip",
    ".tar",
    ".tar.gz",
    ".tgz",
    ".tar.bz2",
    ".tbz",
    ".tar.xz",
    ".txz",
    ".tlz",
    ".tar.lz",
    ".tar.lzma",
)
DIRECT = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(\[[^\]]*\])?\s*@\s*(\S.*)", re.DOTALL)
EXTRAS = re.compile(r"(.*?)(\[[^\[\]]*\])", re.DOTALL)
SCHEME = re.compile(r"([a-z][a-z0-9+.-]*):", re.IGNORECASE)
CREDENTIALS = re.compile(r"(?<=://)[^/@\s]*@")
COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}", re.IGNORECASE)
ABBREVIATED = re.compile(r"[0-9a-f]{7,40}", re.IGNORECASE)
PINNED = re.compile(r"(?:^|&)(?:sha256|sha384|sha512)=[0-9a-fA-F]+")

# pip's options for indexes; the collection's own requirements need these also.
INDEX_OPTIONS = (
    "index_url", "extra_index_url", "no_index", "find_links", "trusted_host", "prefer_binary", "no_binary", "only_binary",
)  # fmt: skip
# Settings of pip that do not change what it resolves or builds.
HARMLESS = (
    "cache-dir", "cert", "client-cert", "default-timeout", "timeout", "retries", "resume-retries", "proxy", "no-input",
    "disable-pip-version-check", "no-python-version-warning", "no-color", "progress-bar", "quiet", "verbose", "log",
    "log-file", "debug", "trusted-host", "keyring-provider", "exists-action", "no-cache-dir", "root-user-action",
    "break-system-packages", "require-virtualenv", "user", "no-warn-script-location", "no-warn-conflicts", "help",
    "version", "src", "build", "no-clean", "dest", "wheel-dir", "target", "prefix", "root", "report", "format",
    "config-file", "require-hashes",
)  # fmt: skip


# Settings that name files.
NAMING = ("constraint", "build-constraint", "requirement")


class _Unreadable(Exception):
    """The option does not exist in a requirements file of pip."""


class _Parser(optparse.OptionParser):
    def error(self, msg: str) -> NoReturn:
        raise _Unreadable(msg)

    def get_default_values(self) -> optparse.Values:
        # optparse appends to the lists of these defaults.
        return optparse.Values(
            {
                name: [*value] if isinstance(value, list) else value
                for name, value in self.defaults.items()
            }
        )


def _option_parser() -> optparse.OptionParser:
    parser = _Parser(add_help_option=False)
    for names, dest in (
        (("-i", "--index-url", "--pypi-url"), "index_url"),
        (("--extra-index-url",), "extra_index_url"),
        (("-f", "--find-links"), "find_links"),
        (("-r", "--requirement"), "requirement"),
        (("-c", "--constraint"), "constraint"),
        (("-e", "--editable"), "editable"),
        (("--no-binary",), "no_binary"),
        (("--only-binary",), "only_binary"),
        (("--trusted-host",), "trusted_host"),
        (("--use-feature",), "other"),
        (("--hash",), "hash"),
        (("-C", "--config-settings", "--config-setting"), "other"),
        (("--global-option", "--install-option", "--build-option"), "other"),
    ):
        parser.add_option(*names, dest=dest, action="append", default=[])
    for names, dest in (
        (("--no-index",), "no_index"),
        (("--prefer-binary",), "prefer_binary"),
        (("--require-hashes",), "require_hashes"),
        (("--pre",), "other_flag"),
    ):
        parser.add_option(*names, dest=dest, action="store_true", default=False)
    return parser


PARSER = _option_parser()


@dataclass(frozen=True)
class Line:
    """A line of a requirements file as pip reads it."""

    number: int
    physical: int
    text: str
    expanded: str

    def parsed(self) -> tuple[str, Any]:
        """Return the requirement, and the options."""
        words = self.expanded.split(" ")
        at = next((at for at, word in enumerate(words) if word.startswith("-")), len(words))
        try:
            options, _rest = PARSER.parse_args(shlex.split(" ".join(words[at:])))
        except (_Unreadable, ValueError):
            # pip itself reports the error.
            options = PARSER.get_default_values()
        return " ".join(words[:at]).strip(), options


def decode(data: bytes) -> tuple[str, str]:
    """Return the text of a requirements file, and its encoding (pip._internal.utils.encoding)."""
    for bom, encoding in BOMS:
        if data.startswith(bom):
            return data.decode(encoding, "replace"), encoding
    for line in data.split(b"\n")[:2]:
        match = CODING.search(line)
        if line.startswith(b"#") and match:
            return data.decode(match[1].decode(), "replace"), match[1].decode()
    try:
        return data.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        encoding = locale.getpreferredencoding(False)
        return data.decode(encoding, "replace"), encoding


def lines(text: str, environ: Mapping[str, str]) -> Iterator[Line]:
    """Join, strip and expand the lines of a requirements file."""
    pieces: list[str] = []
    begin = 0
    physical = text.splitlines()
    for number, line in enumerate(physical):
        is_comment = COMMENT.match(line) is not None
        if not pieces:
            begin = number
        if line.endswith("\\") and not is_comment:
            pieces.append(line.strip("\\"))
            if number < len(physical) - 1:
                continue
        else:
            # A comment ends a continued line.
            pieces.append(" " + line if is_comment else line)
        bare = COMMENT.sub("", "".join(pieces)).strip()
        pieces = []
        if bare:
            expanded = VARIABLE.sub(lambda match: environ.get(match[1]) or match[0], bare)
            yield Line(begin, number - begin + 1, bare, expanded)


@dataclass(frozen=True)
class Reference:
    """An object outside of an index that a requirement names."""

    # project, archive, vcs or url
    kind: str
    # A path, or a URL without credentials and without the branch.
    place: str
    spec: str
    name: str = ""
    extras: str = ""
    marker: str = ""
    fragment: str = ""
    url: str = ""
    revision: str = ""
    is_editable: bool = False
    is_hashed: bool = False


def reference(
    spec: str, bases: Sequence[str], is_editable: bool = False, is_hashed: bool = False
) -> Reference | None:
    """Return the object to which a requirement refers; V(None) for an index.

    @param bases: directories at which a relative path can start
    """
    direct = DIRECT.fullmatch(spec)
    name, extras, target = direct.groups("") if direct and ":" in direct[3] else ("", "", spec)
    is_url = SCHEME.match(target) is not None
    separator = re.search(r"\s;|;\s", target) if is_url else re.search(";", target)
    marker = target[separator.end() :].strip() if separator else ""
    target = (target[: separator.start()] if separator else target).strip()
    common: dict[str, Any] = {
        "spec": spec,
        "name": name,
        "marker": marker,
        "is_editable": is_editable,
        "is_hashed": is_hashed,
    }
    scheme = SCHEME.match(target)
    if scheme and scheme[1].lower() != "file":
        return _remote(target, extras, common)
    fragment = ""
    if scheme:
        target, _hash, fragment = target.partition("#")
        path = re.sub(r"^file:(//(localhost)?(?=/))?", "", target, flags=re.IGNORECASE)
        target = unquote(path)
    found = EXTRAS.fullmatch(target)
    if found:
        target, extras = found.groups()
    looks_like_path = bool(scheme) or is_editable or os.sep in target or target.startswith(".")
    for base in bases:
        full = os.path.normpath(os.path.join(base, target))
        if looks_like_path and _is_project(full):
            return Reference("project", full, extras=extras, fragment=fragment, **common)
        if os.path.isfile(full) and (scheme or target.lower().endswith(ARCHIVES)):
            return Reference("archive", full, extras=extras, fragment=fragment, **common)
    if looks_like_path and any(os.path.isdir(os.path.join(base, target)) for base in bases):
        full = next(
            os.path.normpath(os.path.join(base, target))
            for base in bases
            if os.path.isdir(os.path.join(base, target))
        )
        return Reference("project", full, extras=extras, fragment=fragment, **common)
    return None


def _is_project(folder: str) -> bool:
    return any(
        os.path.isfile(os.path.join(folder, name)) for name in ("pyproject.toml", "setup.py")
    )


def _remote(target: str, extras: str, common: dict[str, Any]) -> Reference:
    target, _hash, fragment = target.partition("#")
    vcs, plus, rest = target.partition("+")
    if not (plus and vcs.lower() in ("git", "hg", "svn", "bzr")):
        return Reference(
            "url",
            CREDENTIALS.sub("", target),
            url=target,
            extras=extras,
            fragment=fragment,
            **common,
        )
    parts = urlsplit(rest)
    path, at, revision = parts.path.rpartition("@")
    if not at:
        path, revision = parts.path, ""
    url = urlunsplit(parts._replace(path=path))
    # urlunsplit writes file:/x for file:///x.
    if parts.scheme == "file" and not url.startswith("file://"):
        url = f"file://{path}"
    return Reference(
        "vcs",
        f"{vcs}+{CREDENTIALS.sub('', url)}",
        url=url,
        revision=revision,
        extras=extras,
        fragment=fragment,
        **common,
    )


@dataclass
class File:
    """A parsed requirements file."""

    path: str
    encoding: str
    physical: list[str]
    lines: list[Line]
    nested: dict[str, str] = field(default_factory=dict)


@dataclass
class Inputs:
    """The inputs of a build.

    @param content: all inputs, without credentials
    @param references: the objects outside of indexes, in the order in which they were found
    @param folders: directories in which pip looks for archives
    @param unpinned: references that can change without a local change
    @param index_options: the options for indexes in the requirements file, as lines of such a file
    """

    content: list[Any] = field(default_factory=list)
    references: list[Reference] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    unpinned: list[str] = field(default_factory=list)
    index_options: list[str] = field(default_factory=list)
    files: dict[str, File] = field(default_factory=dict)
    needs_hashes: bool = False


class Reader:
    """A collector of the inputs of requirements."""

    def __init__(self, bases: Sequence[str], environ: Mapping[str, str]) -> None:
        self.bases = [base for base in dict.fromkeys(bases) if base]
        self.environ = environ
        self.inputs = Inputs()

    def file(self, path: str, is_constraint: bool = False) -> None:
        """Read a requirements file, and those that it includes.

        @raises OSError: for a file that cannot be read
        @raises ArchiveError: for an unknown encoding
        """
        path = os.path.normpath(path)
        if path in self.inputs.files:
            return
        try:
            with open(path, "rb") as stream:
                text, encoding = decode(stream.read())
        except LookupError as exc:
            # pip itself ends with a traceback.
            raise _errors.ArchiveError(
                f"{path}: its first lines name an encoding that Python does not have ({exc}); write it as UTF-8."
            ) from exc
        found = File(path, encoding, text.splitlines(), [*lines(text, self.environ)])
        self.inputs.files[path] = found
        for line in found.lines:
            self.inputs.content.append(CREDENTIALS.sub("", line.expanded))
            self._line(line, found, is_constraint)

    def _line(self, line: Line, file: File, is_constraint: bool) -> None:
        spec, options = line.parsed()
        if options.require_hashes or (options.hash and not is_constraint):
            self.inputs.needs_hashes = True
        if spec:
            self.requirement(spec, is_hashed=bool(options.hash))
            return
        if options.editable:
            self.requirement(options.editable[0], is_editable=True)
            return
        for name, constrains in (("requirement", is_constraint), ("constraint", True)):
            for value in getattr(options, name)[:1]:
                self._include(value, file, constrains)
        self._links(options, os.path.dirname(file.path))
        if any(getattr(options, name) for name in INDEX_OPTIONS):
            self.inputs.index_options.append(_absolute_links(line.text, file))

    def _include(self, value: str, file: File, is_constraint: bool) -> None:
        if SCHEME.match(value) and not value.lower().startswith("file:"):
            self.inputs.unpinned.append(CREDENTIALS.sub("", value))
            return
        full = os.path.normpath(os.path.join(os.path.dirname(file.path), _as_path(value)))
        if os.path.isfile(full):
            file.nested[value] = full
            self.file(full, is_constraint)

    def _links(self, options: Any, folder: str) -> None:
        for value in (*options.find_links, *options.index_url, *options.extra_index_url):
            self.place(_as_path(value), [folder, *self.bases])

    def requirement(self, spec: str, is_editable: bool = False, is_hashed: bool = False) -> None:
        """Record the object to which a requirement refers."""
        found = reference(spec, self.bases, is_editable, is_hashed)
        if found and found not in self.inputs.references:
            self.inputs.references.append(found)

    def place(self, path: str, bases: Sequence[str]) -> None:
        """Record a file or a directory that pip reads."""
        full = next(
            (
                os.path.normpath(os.path.join(base, path))
                for base in bases
                if os.path.exists(os.path.join(base, path))
            ),
            None,
        )
        if path and full and full not in self.inputs.folders:
            self.inputs.folders.append(full)

    def arguments(self, args: Sequence[str]) -> None:
        """Record all existing files and directories in arguments of pip."""
        self.inputs.content += [CREDENTIALS.sub("", arg) for arg in args]
        previous = ""
        for arg in args:
            value = arg.partition("=")[2] if arg.startswith("--") else arg
            if re.match(r"-[a-zA-Z].", arg):
                value = arg[2:].lstrip("=")
            if arg == "--require-hashes":
                self.inputs.needs_hashes = True
            path = _as_path(value)
            files = [
                os.path.join(base, path)
                for base in self.bases
                if os.path.isfile(os.path.join(base, path))
            ]
            option = arg if arg.startswith("-") else previous
            if path and files and not path.lower().endswith((*ARCHIVES, ".html")):
                self.file(files[0], option.startswith(("-c", "--c")))
            elif path and not arg.startswith("-") and not previous.startswith("-"):
                self.requirement(arg)
            elif path and (not SCHEME.match(value) or value.startswith("file:")):
                self.place(path, self.bases)
            previous = arg

    def project(self, folder: str) -> None:
        """Record the requirements by URL in a project's static metadata (PEP 621)."""
        for spec in direct_requirements(folder):
            known = len(self.inputs.references)
            self.requirement(spec)
            for found in self.inputs.references[known:]:
                if found.kind == "project":
                    self.project(found.place)


def with_includes(files: Iterable[str]) -> list[str]:
    """Return requirements files, and those that they include.

    @raises OSError: for a file that cannot be read
    @raises ArchiveError: for an unknown encoding
    """
    reader = Reader([], os.environ)
    for path in files:
        reader.file(path)
    return [*reader.inputs.files]


def _as_path(value: str) -> str:
    if not value.lower().startswith("file:"):
        return value
    return unquote(
        re.sub(r"^file:(//(localhost)?(?=/))?", "", value, flags=re.IGNORECASE).partition("#")[0]
    )


def direct_requirements(folder: str) -> list[str]:
    """Return the requirements by URL in a project's static metadata; Python 3.10 cannot read it."""
    content: dict[str, Any] = {}
    if sys.version_info >= (3, 11):
        try:
            with open(os.path.join(folder, "pyproject.toml"), "rb") as stream:
                content = tomllib.load(stream)
        except (OSError, ValueError):
            return []
    about, build = content.get("project"), content.get("build-system")
    groups = []
    if isinstance(about, dict):
        optional = about.get("optional-dependencies")
        groups.append(about.get("dependencies"))
        groups += optional.values() if isinstance(optional, dict) else []
    if isinstance(build, dict):
        groups.append(build.get("requires"))
    specs = [spec for group in groups if isinstance(group, list) for spec in group]
    return [spec for spec in specs if isinstance(spec, str) and url_of(spec)]


def url_of(requirement: str) -> str:
    """Return the URL of a requirement, without credentials and marker; "" if it has none."""
    match = DIRECT.fullmatch(requirement)
    if not match or ":" not in match[3]:
        return ""
    return CREDENTIALS.sub("", re.split(r"\s;|;\s", match[3])[0].strip())


@dataclass(frozen=True)
class PipSettings:
    """The settings in pip's environment and configuration files that determine what is resolved and built.

    @param content: names and values, without credentials
    @param files: the requirements and constraints files that they name
    """

    content: list[str]
    files: list[str]
    needs_hashes: bool


def pip_settings(environ: Mapping[str, str], files: Iterable[str]) -> PipSettings:
    found: dict[str, str] = {}
    for path in files:
        parser = configparser.RawConfigParser(strict=False)
        try:
            parser.read(path, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError):
            # pip itself reports the error.
            continue
        for section in parser.sections():
            for name, value in parser.items(section):
                found[f"{section}.{name.replace('_', '-')}"] = value
    for variable, value in environ.items():
        if variable.startswith("PIP_"):
            found[f":env:.{variable[4:].lower().replace('_', '-')}"] = value
    by_name = [(name, name.rpartition(".")[2], value) for name, value in sorted(found.items())]
    return PipSettings(
        content=[
            f"{name}={CREDENTIALS.sub('', value)}"
            for name, option, value in by_name
            if option not in HARMLESS
        ],
        files=[
            word for _name, option, value in by_name if option in NAMING for word in value.split()
        ],
        needs_hashes=any(
            option == "require-hashes" and value.lower() in ("1", "true", "yes", "on", "y", "t")
            for _name, option, value in by_name
        ),
    )


def pip_files(environ: Mapping[str, str], prefix: str) -> list[str]:
    """Return the paths of pip's configuration, in its order (pip._internal.configuration)."""
    own = environ.get("PIP_CONFIG_FILE")
    if own == os.devnull:
        return []
    home = os.path.expanduser("~")
    shared = (environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(os.pathsep)
    found = [os.path.join(folder, "pip", "pip.conf") for folder in shared]
    found.append("/etc/pip.conf")
    found.append(os.path.join(home, ".pip", "pip.conf"))
    found.append(
        os.path.join(
            environ.get("XDG_CONFIG_HOME") or os.path.join(home, ".config"), "pip", "pip.conf"
        )
    )
    found.append(os.path.join(prefix, "pip.conf"))
    return [*found, *([own] if own else [])]


def without(args: Sequence[str], flags: Sequence[str], options: Sequence[str]) -> list[str]:
    """Return arguments of pip without some flags, and without some options and their values."""
    kept: list[str] = []
    skip = False
    for arg in args:
        name = arg.partition("=")[0]
        joined = any(arg.startswith(it) and len(it) == 2 for it in options)
        if skip:
            skip = False
        elif arg in options:
            skip = True
        elif arg not in flags and name not in options and not joined:
            kept.append(arg)
    return kept


def digest_place(path: str) -> str:
    """Digest a file, or a directory in which pip looks for archives."""
    return archive.tree_digest(path) if os.path.isdir(path) else archive.file_digest(path)


def is_pinned(found: Reference) -> bool:
    """Return whether a reference by URL always means the same bytes, or the same commit."""
    if found.kind == "url":
        return found.is_hashed or PINNED.search(found.fragment) is not None
    return COMMIT.fullmatch(found.revision) is not None


def resolve_git(found: Reference, run: Callable[[Sequence[str]], str | None]) -> str | None:
    """Return the current commit of a branch, a tag or no revision, as pip does; V(None) if it is not known.

    @param run: runs git, and returns its output or V(None)
    """
    if not found.place.startswith("git+"):
        return None
    revision = found.revision or "HEAD"
    listed = run(["ls-remote", "--", found.url])
    if listed is None:
        return None
    refs = {
        name: commit
        for commit, _tab, name in (line.partition("\t") for line in listed.splitlines())
    }
    names = (
        [revision]
        if revision == "HEAD" or revision.startswith("refs/")
        else [f"refs/heads/{revision}", f"refs/tags/{revision}^{{}}", f"refs/tags/{revision}"]
    )
    commit = next((refs[name] for name in names if name in refs), None)
    if commit is None and ABBREVIATED.fullmatch(revision):
        return revision
    return commit


def replaced(found: Reference, target: str) -> str:
    """Return the same requirement with the target C(target): a path, or for version control a commit."""
    marker = f" ; {found.marker}" if found.marker else ""
    fragment = f"#{found.fragment}" if found.fragment else ""
    named = f"{found.name}{found.extras} @ " if found.name else ""
    if found.kind == "vcs":
        vcs = found.place.partition("+")[0]
        editable = "-e " if found.is_editable else ""
        return f"{editable}{named}{vcs}+{found.url}@{target}{fragment}{marker}"
    if named or fragment:
        return f"{named}file://{quote(target)}{fragment}{marker}"
    return f"{target}{found.extras}{marker}"


def write(inputs: Inputs, put: Mapping[str, str | None], folder: str) -> dict[str, str]:
    """Write requirements files with replacements. Return their former paths by the new ones; pip gets the first one.

    @param put: the replacement of a requirement, by its text; V(None) leaves it out
    """
    new = {
        path: os.path.join(folder, f"{at}-{os.path.basename(path)}")
        for at, path in enumerate(inputs.files)
    }
    for file in inputs.files.values():
        physical = [*file.physical]
        for line in file.lines:
            text = _rewritten(line, file, put, new)
            if text is not None:
                physical[line.number : line.number + line.physical] = [
                    text,
                    *[""] * (line.physical - 1),
                ]
        with open(new[file.path], "w", encoding=file.encoding) as stream:
            stream.write("\n".join(physical) + "\n")
    return {written: path for path, written in new.items()}


def _rewritten(
    line: Line, file: File, put: Mapping[str, str | None], new: Mapping[str, str]
) -> str | None:
    """Return the replacement of a line; V(None) if it is unchanged."""
    spec, options = line.parsed()
    for value in [spec] if spec else options.editable[:1]:
        if value in put:
            other = put[value]
            if other is None:
                return ""
            rest = line.text[line.text.index(" -") :] if spec and " -" in line.text else ""
            return f"{other}{rest}"
        return None
    for value in (*options.requirement[:1], *options.constraint[:1]):
        option = "--requirement" if options.requirement else "--constraint"
        if value in file.nested:
            return f"{option} {shlex.quote(new[file.nested[value]])}"
    absolute = _absolute_links(line.text, file)
    return absolute if absolute != line.text else None


def _absolute_links(text: str, file: File) -> str:
    """Return a line of options in a form that is valid in a file at another place."""
    try:
        words = shlex.split(text)
    except ValueError:
        return text
    absolute: list[str] = []
    changed = False
    for word in words:
        option, equals, value = word.partition("=")
        if absolute[-1:] in (["-f"], ["--find-links"]):
            value = word
        elif equals and option.startswith("--f") and "--find-links".startswith(option):
            absolute.append("--find-links")
        elif re.match("-f.", word):
            value = word[2:]
            absolute.append("-f")
        else:
            absolute.append(word)
            continue
        full = os.path.join(os.path.dirname(file.path), value)
        is_there = bool(value) and os.path.exists(full)
        absolute.append(full if is_there else value)
        changed |= is_there
    return " ".join(map(_quoted, absolute)) if changed else text


def _quoted(word: str) -> str:
    """Quote a word for pip, which looks for the first word with a hyphen, and then splits as a shell does.

    pip expands variables before that, so their names need no quotes.
    """
    if not re.search(r"[\s'\"\\]", word):
        return word
    option, equals, value = word.partition("=")
    if equals and option.startswith("--"):
        return f"{option}={shlex.quote(value)}"
    return shlex.quote(word)
