# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build the archive of a release on the controller: resolve, lock, check the entry's import, pack."""

from __future__ import annotations

import contextlib
import email
import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib

from . import requirements as build_requirements, source as build_source
from .._artifact import archive as artifact_archive
from .._system import process
from .._artifact import venv as artifact_venv
from .._artifact import wheel as artifact_wheel
from .._errors import ArchiveError
from .._artifact.archive import Manifest
from .._system import untrusted

# Part of every digest: increase it if the same input gives another archive.
FORMAT = 3
KEPT_ARCHIVES = 5
# An import that takes longer waits for something that never comes.
IMPORT_SECONDS = 60.0
# Another run can build for this long.
BUILD_SECONDS = untrusted.MAX_RUN_SECONDS

# The parts of pip's output that describe a cause: an error with the list below it, the last line of a subprocess, and
# the context of a project. The error that announces a traceback has no cause itself.
ERROR = re.compile(r"^( *)ERROR: (?!Exception:$)(.+(?:\n\1 {4}.*\S.*)*)$", re.MULTILINE)
CONFLICT = re.compile(r"^The conflict is caused by:(?:\n {4}.*\S.*)+", re.MULTILINE)
INNER = re.compile(r"^(.+)\n *\[end of output\]$", re.MULTILINE)
CONTEXT = re.compile(r"^╰─> (?!\[|See above)(.+(?:\n {4}.+)*)", re.MULTILINE)
REMARKS = ("note: ", "hint: ")
LISTED = 10
# Arguments of pip for the user's requirements that must not apply to those of the collection.
OWN_ARGS = ("--require-hashes", "--no-deps", "--no-dependencies")
OWN_SETTINGS = {"PIP_REQUIRE_HASHES": "0", "PIP_NO_DEPS": "0"}
# Restricts pip to the content of a folder.
ALONE = ("--isolated", "--no-index")
NO_CONFIG = {"PIP_CONFIG_FILE": os.devnull}
# The timeout for a repository's list of branches.
GIT_SECONDS = 60.0
# Wheels from the same source have the same bytes (reproducible-builds.org). A zip cannot be older.
EPOCH = "315532800"
# Before PEP 600, platforms had names with a year, and many wheels still have.
OLD_PLATFORMS = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}


@dataclass(frozen=True)
class Target:
    """The Python for which the wheels are."""

    python_version: str
    python_tag: str
    machine: str
    libc: str

    def is_here(self) -> bool:
        """Return whether wheels built by the controller's own Python run there."""
        tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
        here, there = _glibc(_controller_libc()), _glibc(self.libc)
        return (
            tag == self.python_tag
            and os.uname().machine == self.machine
            and here is not None
            and there is not None
            and here <= there
        )


@dataclass(frozen=True)
class Recipe:
    """All settings that determine the content of an archive."""

    name: str
    entry: str
    target: Target
    source: str | None = None
    requirements: tuple[str, ...] = ()
    requirements_file: str | None = None
    runtime: tuple[str, ...] = ()
    pip_args: tuple[str, ...] = ()
    version: str = ""
    exclude: tuple[str, ...] = ()
    include: tuple[str, ...] = ()

    @property
    def rules(self) -> build_source.Rules:
        return build_source.Rules(self.exclude, self.include)


def _glibc(libc: str) -> tuple[int, int] | None:
    match = re.fullmatch(r"glibc-(\d+)\.(\d+)", libc)
    return (int(match.group(1)), int(match.group(2))) if match else None


def _controller_libc() -> str:
    try:
        name, _space, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    except (ValueError, OSError):
        return ""
    return f"{name}-{version}"


def recipe(params: Mapping[str, Any]) -> Recipe:
    """Parse the arguments of C(release_archive).

    @raises ArchiveError: for input that does not exist
    """
    source = os.path.abspath(params["source"]) if params["source"] else None
    if source and not os.path.exists(source):
        raise ArchiveError(f"flask_app_source: {source} is not there. Name a directory or a wheel.")
    requirements = params["requirements"]
    single = requirements[0] if len(requirements) == 1 else ""
    named = single if single.endswith(".txt") or os.path.isfile(single) else ""
    file = next((path for path in _requirements_files(source, named) if os.path.isfile(path)), None)
    if named and file is None:
        raise ArchiveError(f"flask_app_requirements: {named} is not there.")
    listed = [] if named else requirements
    for name in ("exclude", "include"):
        for pattern in params.get(name) or ():
            why = build_source.problem(pattern)
            if why:
                raise ArchiveError(
                    f"flask_app_{name}: {pattern!r} is not a usable pattern; {why}. "
                    "Write a name, or a path from the top of the source, with * and ?."
                )
    return Recipe(
        name=params["name"],
        entry=params["entry"],
        target=Target(**params["target"]),
        source=source,
        requirements=tuple(listed),
        requirements_file=file if not listed else None,
        runtime=tuple(params["runtime_requirements"]),
        pip_args=tuple(params["pip_args"]),
        version=params["version"],
        exclude=tuple(params.get("exclude") or ()),
        include=tuple(params.get("include") or ()),
    )


def _requirements_files(source: str | None, named: str) -> list[str]:
    """Return where the requirements file can be: as named, else next to the source."""
    folder = source if source and os.path.isdir(source) else ""
    if named:
        return [os.path.abspath(named), os.path.join(folder, named)]
    return [os.path.join(folder, "requirements.txt")] if folder else []


def platform_args(target: Target) -> list[str]:
    """Return the options that make pip choose wheels for another Python than its own.

    Wheels for an older glibc run on a newer one (PEP 600), so all of them are named, the
    newest first.
    """
    glibc = _glibc(target.libc)
    if glibc is None:
        raise ArchiveError(
            f"The hosts run {target.libc or 'an unknown C library'}; wheels for it can only be made "
            "by a controller of the same kind."
        )
    major, newest = glibc
    platforms = []
    for minor in range(newest, 4, -1):
        platforms.append(f"manylinux_{major}_{minor}")
        platforms += [OLD_PLATFORMS[minor]] if minor in OLD_PLATFORMS else []
    args = ["--only-binary", ":all:", "--implementation", "cp"]
    args += ["--python-version", ".".join(target.python_version.split(".")[:2])]
    for platform in [*platforms, "linux"]:
        args += ["--platform", f"{platform}_{target.machine}"]
    return args


def _say_nothing(_warning: str) -> None:
    pass


def build(
    recipe: Recipe,
    cache: str,
    environment: Mapping[str, str],
    warn: Callable[[str], None] = _say_nothing,
) -> tuple[str, Manifest, bool]:
    """Return archive, manifest and whether it had to be built.

    @param cache: folder that stores archives by the digest of their input
    @param environment: the environment of the entry's import; never stored
    @param warn: shows a warning on the input to the user
    """
    with tempfile.TemporaryDirectory(prefix=f"evenkeel-{recipe.name}-") as work:
        folder = os.path.join(work, "archive")
        app = os.path.join(folder, "app")
        os.mkdir(folder)
        if recipe.source and os.path.isdir(recipe.source):
            for warning in _copy_source(recipe.source, app, recipe.rules):
                warn(warning)
        inputs = _inputs(recipe, app, work, warn)
        key = _key(recipe, folder, inputs)
        archive = _archive_path(recipe, cache, key)
        with _locked(cache, recipe.name):
            if not inputs.unpinned and _is_whole(archive):
                return archive, _used_again(archive), False
            manifest = _populate(recipe, inputs, folder, work, cache, environment, warn)
            if inputs.unpinned:
                warn(_unpinned_warning(inputs.unpinned))
                # Without pinned input, the output identifies the archive.
                archive = _archive_path(recipe, cache, _digest([key, asdict(manifest)]))
                if _is_whole(archive):
                    return archive, _used_again(archive), False
            artifact_archive.write(archive, folder, manifest)
            _prune_cache(cache, recipe.name)
    return archive, manifest, True


def _archive_path(recipe: Recipe, cache: str, key: str) -> str:
    return os.path.join(cache, f"{recipe.name}-{key}.tar")


def _wheels_path(archive: str) -> str:
    return os.path.join(os.path.dirname(archive), Manifest.read(archive).wheels)


def _is_whole(archive: str) -> bool:
    """Return whether an archive and its wheels exist."""
    return os.path.exists(archive) and os.path.exists(_wheels_path(archive))


def _used_again(archive: str) -> Manifest:
    """Mark an archive as recently used, so that it is not removed as the oldest, and read it."""
    os.utime(archive)
    os.utime(_wheels_path(archive))
    return Manifest.read(archive)


def _unpinned_warning(unpinned: Sequence[str]) -> str:
    named = ", ".join(dict.fromkeys(unpinned))
    return (
        f"flask_app_requirements: {named} can become another thing while nothing changes here, so the requirements "
        "are resolved again at each run. Name a commit, or append #sha256=<digest> to a URL."
    )


@contextlib.contextmanager
def _locked(cache: str, name: str) -> Iterator[None]:
    """Run one build at a time: another could build the same, or remove old files."""
    os.makedirs(cache, mode=0o700, exist_ok=True)
    lock = os.path.join(os.path.abspath(cache), f"{name}.lock")
    with untrusted.locked(lock, BUILD_SECONDS, private=False):
        yield


def _copy_source(source: str, folder: str, rules: build_source.Rules | None = None) -> list[str]:
    """Copy the shipped files of the source, and return warnings.

    @raises ArchiveError: for a link that leads out of the source
    """
    warnings = build_source.copy(source, folder, rules)
    why = artifact_archive.check_members(list(_entries(folder)))
    if why:
        raise ArchiveError(
            f"flask_app_source: {why}. A release holds all it needs; correct the link, "
            "or name it in flask_app_exclude."
        )
    return warnings


def _entries(top: str) -> Iterator[tuple[str, str, str]]:
    """Yield the arguments of C(archive.judge) for all entries below a directory."""
    for place, folders, files in os.walk(top):
        for name in folders + files:
            full = os.path.join(place, name)
            mode = os.lstat(full).st_mode
            kinds = {stat.S_IFLNK: "link", stat.S_IFDIR: "dir", stat.S_IFREG: "file"}
            kind = kinds.get(stat.S_IFMT(mode), "other")
            yield os.path.relpath(full, top), kind, os.readlink(full) if kind == "link" else ""


@dataclass
class _Inputs:
    """All inputs of the wheels besides the recipe, copied to where they are built from.

    @param content: all that determines which wheels there are
    @param pip: its part that also determines the build environment of a project
    @param copies: the copy of each project that the requirements name
    @param commits: the current commit of a branch or tag
    @param unpinned: references that can change until the next run without a local change
    """

    read: build_requirements.Inputs
    content: list[Any] = field(default_factory=list)
    pip: list[Any] = field(default_factory=list)
    copies: dict[str, str] = field(default_factory=dict)
    commits: dict[str, str] = field(default_factory=dict)
    unpinned: list[str] = field(default_factory=list)


def _inputs(recipe: Recipe, app: str, work: str, warn: Callable[[str], None]) -> _Inputs:
    """Find all inputs of the wheels.

    The invariant: if a change of a local file, of a branch or of pip's settings changes the result of a clean build, it
    changes C(content), or C(unpinned) names it.
    """
    bases = [os.path.dirname(recipe.requirements_file or "") or os.getcwd(), recipe.source or ""]
    of_pip = build_requirements.Reader(bases, os.environ)
    of_pip.arguments(recipe.pip_args)
    files = build_requirements.pip_files(os.environ, sys.prefix)
    settings = build_requirements.pip_settings(os.environ, files)
    reader = build_requirements.Reader(bases, os.environ)
    if recipe.requirements_file:
        reader.file(recipe.requirements_file)
    for spec in recipe.requirements:
        reader.inputs.content.append(spec)
        reader.requirement(spec)
    if os.path.isdir(app):
        reader.project(app)
    for found in [*reader.inputs.references]:
        if found.kind == "project" and not _is_itself(recipe, found):
            reader.project(found.place)
    read = reader.inputs
    read.needs_hashes |= of_pip.inputs.needs_hashes or settings.needs_hashes
    inputs = _Inputs(read)
    named = [path for path in settings.files if os.path.isfile(path)]
    inputs.pip = [
        *settings.content,
        *map(artifact_archive.file_digest, named),
        *of_pip.inputs.content,
        *map(build_requirements.digest_place, of_pip.inputs.folders),
    ]
    inputs.unpinned = [*of_pip.inputs.unpinned, *read.unpinned]
    inputs.content = [*inputs.pip, *read.content]
    inputs.content += map(build_requirements.digest_place, read.folders)
    for found in (*of_pip.inputs.references, *read.references):
        inputs.content.append(_pin(recipe, found, inputs, app, work, warn))
    return inputs


def _pin(
    recipe: Recipe,
    found: build_requirements.Reference,
    inputs: _Inputs,
    app: str,
    work: str,
    warn: Callable[[str], None],
) -> str:
    """Return the current digest or commit of a reference."""
    if found.kind == "archive":
        return artifact_archive.file_digest(found.place)
    if found.kind == "project":
        if _is_itself(recipe, found):
            return ""
        if found.place not in inputs.copies:
            inputs.copies[found.place] = _copy_project(recipe, found.place, app, work, warn)
        return artifact_archive.tree_digest(inputs.copies[found.place])
    if build_requirements.is_pinned(found):
        return found.place
    commit = build_requirements.resolve_git(found, _git)
    if commit is None:
        inputs.unpinned.append(found.place)
        return found.place
    if not found.revision.startswith("refs/"):
        inputs.commits[found.spec] = commit
    return f"{found.place}@{commit}"


def _git(words: Sequence[str]) -> str | None:
    try:
        done = process.run(["git", *words], build_source.environment(), timeout=GIT_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def _is_itself(recipe: Recipe, found: build_requirements.Reference) -> bool:
    """Return whether a requirement names the released project itself."""
    return (
        found.kind == "project"
        and recipe.source is not None
        and os.path.realpath(found.place) == os.path.realpath(recipe.source)
    )


def _copy_project(
    recipe: Recipe, place: str, app: str, work: str, warn: Callable[[str], None]
) -> str:
    """Copy a project that the requirements name, by the same rule as the source.

    It is built from the copy. So a build writes nothing into it, and the remains of an earlier build do not count as its
    code.
    """
    local = os.path.join(work, "local")
    os.makedirs(local, exist_ok=True)
    folder = os.path.join(tempfile.mkdtemp(dir=local), os.path.basename(place))
    inside = os.path.relpath(place, recipe.source) if recipe.source else os.pardir
    copied = os.path.join(app, inside)
    if not inside.startswith(os.pardir) and _is_project(copied):
        shutil.copytree(copied, folder, symlinks=True)
    else:
        for warning in build_source.copy(place, folder, recipe.rules, place):
            warn(warning)
    build = os.path.join(folder, "build")
    if any(os.path.isdir(os.path.join(build, name)) for name in ("lib", "bdist.linux-x86_64")):
        shutil.rmtree(build)
    return folder


def _is_project(folder: str) -> bool:
    return any(os.path.exists(os.path.join(folder, it)) for it in ("pyproject.toml", "setup.py"))


def _key(recipe: Recipe, folder: str, inputs: _Inputs) -> str:
    """Return a digest of the input, so that unchanged input builds nothing."""
    app = os.path.join(folder, "app")
    source = None
    if os.path.isdir(app):
        source = artifact_archive.tree_digest(app)
    elif recipe.source:
        source = artifact_archive.file_digest(recipe.source)
    return _digest(
        {
            "format": FORMAT,
            "name": recipe.name,
            "entry": recipe.entry,
            "target": asdict(recipe.target),
            "source": source,
            "runtime": recipe.runtime,
            "version": recipe.version,
            "inputs": inputs.content,
        }
    )


def _digest(content: Any) -> str:
    """Return the digest by which C(_prune_cache) recognizes files of this cache."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _populate(
    recipe: Recipe,
    inputs: _Inputs,
    folder: str,
    work: str,
    cache: str,
    environment: Mapping[str, str],
    warn: Callable[[str], None],
) -> Manifest:
    app, own = os.path.join(folder, "app"), os.path.join(work, "own")
    os.mkdir(own)
    wheel = _own_wheel(recipe, inputs, app, own, work, cache)
    if wheel:
        # Outside of the venv, which releases share. Without programs: they would run with the controller's Python.
        artifact_wheel.install_flat(wheel, os.path.join(folder, "lib"))
    key = _wheels_key(recipe, inputs, wheel)
    packed = os.path.join(cache, f"{recipe.name}-{key}.wheels.tar")
    unpacked = os.path.join(work, "packed")
    wheels = os.path.join(unpacked, "wheels")
    if not inputs.unpinned and os.path.exists(packed):
        os.utime(packed)
        artifact_archive.unpack(packed, unpacked)
        lock = _lock_of(wheels)
    else:
        os.makedirs(wheels)
        _download_wheels(recipe, inputs, wheel, wheels, work, warn)
        inputs.unpinned += _unpinned_by(inputs, wheels, wheel)
        lock = _lock_of(wheels)
        if inputs.unpinned:
            key = _digest([key, lock])
            packed = os.path.join(cache, f"{recipe.name}-{key}.wheels.tar")
        if not os.path.exists(packed):
            artifact_archive.write(packed, unpacked)
        os.utime(packed)
    with open(os.path.join(folder, artifact_archive.LOCK), "w", encoding="utf-8") as stream:
        stream.write(lock)
    # A wheel built from the source has no more information than the source, and its bytes
    # can differ from one build to the next.
    code = (
        artifact_archive.tree_digest(app)
        if os.path.isdir(app)
        else artifact_archive.tree_digest(own)
    )
    if recipe.target.is_here():
        shutil.copy(os.path.join(folder, artifact_archive.LOCK), unpacked)
        venv = _check_venv(packed, unpacked)
        _prove_entry(recipe, venv, folder, work, environment)
    return Manifest(
        name=recipe.name,
        version=recipe.version or (os.path.basename(wheel).split("-")[1] if wheel else ""),
        python_tag=recipe.target.python_tag,
        digest=hashlib.sha256(f"{code}\n{lock}".encode()).hexdigest(),
        wheels=os.path.basename(packed),
    )


def _lock_of(wheels: str) -> str:
    """Return a line for each file that a host installs: the archive of the wheels has no others."""
    return "".join(
        artifact_archive.lock_line(name, artifact_archive.file_digest(os.path.join(wheels, name)))
        + "\n"
        for name in sorted(os.listdir(wheels))
    )


def _wheels_key(recipe: Recipe, inputs: _Inputs, wheel: str | None) -> str:
    """Digest all that determines the required wheels, so that a change of code alone moves no dependency."""
    content = {
        "format": FORMAT,
        "target": asdict(recipe.target),
        "runtime": recipe.runtime,
        "inputs": inputs.content,
        "own": own_requirements(wheel) if wheel else None,
    }
    return _digest(content)


def _unpinned_by(inputs: _Inputs, wheels: str, wheel: str | None) -> Iterator[str]:
    """Yield the requirements by URL of built wheels that were not known before the build."""
    known = {build_requirements.url_of(found.spec) for found in inputs.read.references}
    paths = [os.path.join(wheels, name) for name in sorted(os.listdir(wheels))]
    for path in [*paths, *filter(None, [wheel])]:
        for spec in own_requirements(path)[1:]:
            url = build_requirements.url_of(spec)
            found = build_requirements.reference(spec, []) if url else None
            is_pinned = found and found.kind in ("vcs", "url") and build_requirements.is_pinned(found)
            if url and url not in known and not is_pinned:
                yield f"{url}, which {os.path.basename(path)} requires,"


def own_requirements(wheel: str) -> list[str]:
    """Return the name of a wheel and its requirements (Core metadata specifications)."""
    with zipfile.ZipFile(wheel) as archive:
        path = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = email.message_from_bytes(archive.read(path))
    return [str(metadata["Name"]), *map(str, metadata.get_all("Requires-Dist", []))]


def _own_wheel(
    recipe: Recipe, inputs: _Inputs, app: str, own: str, work: str, cache: str
) -> str | None:
    """Return the app itself as a wheel, if it is a Python project or already a wheel."""
    if recipe.source and os.path.isfile(recipe.source):
        return shutil.copy(recipe.source, own)
    if not _is_project(app):
        return None
    requires = build_requires(os.path.join(app, "pyproject.toml"))
    if not requires or not _built_by_kept(recipe, inputs, requires, app, own, work, cache):
        _build_wheel(recipe, app, own, work)
    return os.path.join(own, os.listdir(own)[0])


def build_requires(pyproject: str) -> list[str]:
    """Return the build requirements of a project (PEP 518); [] if pip has to determine them.

    Python 3.10 cannot read them.

    @raises ArchiveError: for a file that is not TOML
    """
    requires = None
    if sys.version_info >= (3, 11):
        try:
            with open(pyproject, "rb") as stream:
                requires = tomllib.load(stream)["build-system"]["requires"]
        except (OSError, KeyError, TypeError):
            return []
        except ValueError as exc:
            raise ArchiveError(f"flask_app_source: its pyproject.toml is not TOML: {exc}.") from exc
    return requires if isinstance(requires, list) and all(isinstance(it, str) for it in requires) else []


def _built_by_kept(
    recipe: Recipe,
    inputs: _Inputs,
    requires: Sequence[str],
    app: str,
    own: str,
    work: str,
    cache: str,
) -> bool:
    """Return whether the stored build environment of an earlier release built it. pip's own takes longer than the build.

    Errors are not reported here: pip reports them when it builds in its own environment.
    """

    # The content behind a URL can change, and pip installs it again.
    if any(map(build_requirements.url_of, requires)):
        return False

    def create(venv: str) -> None:
        install = ["install", *requires]
        artifact_venv.make(sys.executable, venv, lambda: _pip_own(install, recipe, venv))

    try:
        venv = _cached_venv(cache, recipe.name, [*requires, *inputs.pip], create)
        _build_wheel(recipe, app, own, work, "--no-build-isolation", venv=venv)
    except ArchiveError:
        return False
    return True


def _build_wheel(
    recipe: Recipe, app: str, own: str, work: str, *options: str, venv: str = ""
) -> None:
    # Build backends leave build/ and *.egg-info in the tree that they build.
    copy = os.path.join(work, "source")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(app, copy, symlinks=True)
    command = ["wheel", *options, "--no-deps", "--wheel-dir", own, copy]
    _pip_own(command, recipe, venv)


def _pip_own(args: Sequence[str], recipe: Recipe, venv: str = "") -> None:
    """Run pip for the app itself, which has no hash because it is built here."""
    pip_args = build_requirements.without(
        recipe.pip_args, ("--require-hashes",), ("-r", "--requirement")
    )
    settings = {"PIP_REQUIRE_HASHES": "0"}
    _pip(args, recipe, "flask_app_source", venv, pip_args, settings)


def _download_wheels(
    recipe: Recipe,
    inputs: _Inputs,
    wheel: str | None,
    wheels: str,
    work: str,
    warn: Callable[[str], None],
) -> None:
    """Resolve the user's requirements, and then those of the collection, each alone.

    The invariant: no two parties share a command line of pip. So pip verifies hashes in the user's file in the same way
    as without the collection, and no later wheel replaces one of the user.
    """
    _collect_users(recipe, inputs, wheel, wheels, work, warn)
    if wheel and inputs.read.needs_hashes:
        # The wheel was built here and has no hash to verify. Its requirements must be verified already.
        extras = next((it.extras for it in inputs.read.references if _is_itself(recipe, it)), "")
        own = os.path.join(work, "own-required")
        try:
            _resolve(
                recipe,
                [*ALONE, "--find-links", wheels, f"{wheel}{extras}"],
                own,
                work,
                (),
                NO_CONFIG,
            )
        except ArchiveError as exc:
            raise ArchiveError(
                f"{exc} The requirements have hashes, so they must also have those of all that the app "
                "itself requires: write them anew, and include the app's own dependencies."
            ) from exc
        _add_new(own, wheels)
    if wheel:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(wheels, os.path.basename(wheel)))
    if recipe.runtime:
        _collect_runtime(recipe, inputs, wheels, work, warn)


def _collect_users(
    recipe: Recipe,
    inputs: _Inputs,
    wheel: str | None,
    wheels: str,
    work: str,
    warn: Callable[[str], None],
) -> None:
    """Resolve the user's requirements. Local projects are built from their copies, or else in place."""
    local = [
        it.place
        for it in inputs.read.references
        if it.kind == "project" and it.place in inputs.copies
    ]
    try:
        _resolve_users(recipe, inputs, wheel, wheels, work, inputs.copies)
        return
    except ArchiveError:
        if not local:
            raise
    # A project can need files outside of the copy: its history, or its neighbours.
    shutil.rmtree(wheels)
    os.mkdir(wheels)
    _resolve_users(recipe, inputs, wheel, wheels, work, {})
    inputs.unpinned += local
    warn(
        f"flask_app_requirements: {', '.join(local)} cannot be built from a copy of the shipped files, so it was built "
        "in place. What an earlier build left there can be in the release."
    )


def _resolve_users(
    recipe: Recipe,
    inputs: _Inputs,
    wheel: str | None,
    wheels: str,
    work: str,
    copies: Mapping[str, str],
) -> None:
    put: dict[str, str | None] = {}
    for found in inputs.read.references:
        if _is_itself(recipe, found) and wheel:
            # pip would build it a second time, inside its source, and find two of it.
            own = build_requirements.replaced(found, wheel)
            put[found.spec] = None if inputs.read.needs_hashes else own
        elif found.kind in ("project", "archive"):
            place = copies.get(found.place, found.place)
            put[found.spec] = build_requirements.replaced(found, place)
        elif found.spec in inputs.commits:
            put[found.spec] = build_requirements.replaced(found, inputs.commits[found.spec])
    args = [put.get(spec, spec) for spec in recipe.requirements]
    names = {copy: place for place, copy in copies.items()}
    if recipe.requirements_file and put:
        folder = tempfile.mkdtemp(dir=work)
        written = build_requirements.write(inputs.read, put, folder)
        names.update(written)
        args += ["--requirement", next(iter(written))]
    elif recipe.requirements_file:
        args += ["--requirement", recipe.requirements_file]
    if wheel and not inputs.read.needs_hashes:
        args.append(wheel)
    given = [it for it in args if it is not None]
    if not given:
        return
    try:
        _resolve(recipe, given, wheels, work)
    except ArchiveError as exc:
        message = str(exc)
        for new, path in names.items():
            message = message.replace(new, path)
        raise ArchiveError(message) from exc


def _collect_runtime(
    recipe: Recipe, inputs: _Inputs, wheels: str, work: str, warn: Callable[[str], None]
) -> None:
    """Resolve the collection's requirements, constrained by the user's."""
    pins, options = os.path.join(work, "pins.txt"), os.path.join(work, "indexes.txt")
    for path, content in ((pins, _pins(wheels)), (options, inputs.read.index_options)):
        with open(path, "w", encoding="utf-8") as stream:
            stream.writelines(f"{line}\n" for line in content)
    dest = os.path.join(work, "runtime")
    runtime_args = ["--find-links", wheels, "--constraint", pins, *recipe.runtime]
    named = ", ".join(recipe.runtime)
    about = "flask_app_requirements"
    if os.listdir(wheels):
        about += f": they can be installed, but not with what the collection needs ({named})"

    def resolve(indexes: Sequence[str]) -> None:
        args = build_requirements.without(recipe.pip_args, OWN_ARGS, ("-r", "--requirement"))
        _resolve(recipe, [*indexes, *runtime_args], dest, work, args, OWN_SETTINGS, about)

    if not inputs.read.index_options:
        resolve([])
    else:
        try:
            resolve(["--requirement", options])
        except ArchiveError as refused:
            shutil.rmtree(dest, ignore_errors=True)
            try:
                resolve([])
            except ArchiveError:
                raise refused from None
            warn(
                f"flask_app_requirements: the indexes that they name do not have {named}. Those came from the indexes "
                "of pip's own configuration on the controller. To allow no others, name yours in flask_app_pip_args."
            )
    _add_new(dest, wheels)


def _pins(wheels: str) -> list[str]:
    """Return a constraint for each wheel."""
    return [
        artifact_archive.lock_line(name, "").partition(" ")[0]
        for name in sorted(os.listdir(wheels))
    ]


def _add_new(folder: str, wheels: str) -> None:
    """Move the wheels of distributions that are not there yet."""
    there = {pin.partition("==")[0] for pin in _pins(wheels)}
    for name, pin in zip(sorted(os.listdir(folder)), _pins(folder)):
        if pin.partition("==")[0] not in there:
            shutil.move(os.path.join(folder, name), wheels)


def _resolve(
    recipe: Recipe,
    requirements: Sequence[str],
    dest: str,
    work: str,
    pip_args: Sequence[str] | None = None,
    settings: Mapping[str, str] | None = None,
    about: str = "flask_app_requirements",
) -> None:
    """Run pip to store the wheels of requirements, and of all their dependencies, in a folder."""
    os.makedirs(dest, exist_ok=True)
    options = ["--src", os.path.join(work, "src")]
    if recipe.target.is_here():
        command = ["wheel", *options, "--wheel-dir", dest, *requirements]
    else:
        command = ["download", *options, *platform_args(recipe.target), "--dest", dest, *requirements]
    _pip(command, recipe, about, pip_args=pip_args, settings=settings)


def _pip(
    args: Sequence[str],
    recipe: Recipe,
    about: str = "flask_app_requirements",
    venv: str = "",
    pip_args: Sequence[str] | None = None,
    settings: Mapping[str, str] | None = None,
) -> None:
    """Run the controller's pip.

    @param venv: the venv in which it works, and whose programs a build finds, instead of the controller's Python
    @param pip_args: replace the user's
    @param settings: environment variables with priority over pip's configuration
    """
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input"]
    folder = os.path.dirname(recipe.requirements_file) if recipe.requirements_file else None
    environment = {"SOURCE_DATE_EPOCH": EPOCH, **os.environ, **(settings or {})}
    if venv:
        programs = os.path.join(venv, "bin")
        command += ["--python", os.path.join(programs, "python")]
        environment["PATH"] = f"{programs}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    arguments = recipe.pip_args if pip_args is None else pip_args
    done = process.run([*command, *args, *arguments], environment, folder)
    if done.returncode != 0:
        raise ArchiveError(f"{about}: {pip_reason(done.stdout)}")


def pip_reason(output: str) -> str:
    """Return the cause in pip's output that a user can fix: a sentence, and the requirements that pip lists."""
    if "No module named pip" in output:
        return (
            "the controller's Python has no pip to resolve them with. Install it (Debian: "
            "apt install python3-pip, a venv: python -m ensurepip)."
        )
    errors = [error for _indent, error in ERROR.findall(output)]
    specific = [line for line in errors if "No matching distribution" in line or "conflict" in line]
    # The subprocess of a build reports the cause itself; pip's own message has only the fact.
    causes = [*INNER.findall(output), *CONTEXT.findall(output)][-1:]
    rest = "".join(line for line in output.splitlines(True) if not line.startswith(REMARKS))
    if not specific and errors and causes:
        reason = f"{errors[0]} ({causes[0].strip()})"
    else:
        reason = (specific or causes or errors or [process.last_line(rest)])[0]
    sentence = _listed(reason)
    conflict = CONFLICT.search(output)
    if specific and conflict:
        sentence = f"{sentence}. {_listed(conflict[0])}"
    return f"{sentence}. pip on the controller must be able to resolve and build it; change what it names."


def _listed(reason: str) -> str:
    """Return one line with pip's sentence and the list below it."""
    sentence, *below = (" ".join(line.split()) for line in reason.splitlines())
    if not below or not sentence.endswith((":", ".")):
        return " ".join([sentence, *below]).rstrip(".")
    more = f"; and {len(below) - LISTED} more" if len(below) > LISTED else ""
    listed = "; ".join(below[:LISTED]).replace(":; ", ": ")
    return f"{sentence} {listed}{more}".rstrip(".")


def _check_venv(packed: str, unpacked: str) -> str:
    """Return a venv of the wheels for the controller's Python, stored next to their archive."""
    cache, archive = os.path.split(packed)
    name, _hyphen, _rest = archive.rpartition("-")
    return _cached_venv(
        cache, name, [archive], lambda venv: artifact_venv.create(sys.executable, venv, unpacked)
    )


def _cached_venv(cache: str, name: str, content: Sequence[str], create: Callable[[str], None]) -> str:
    """Return a venv of the controller's Python, stored for later builds.

    @param content: all that determines the content of the venv
    """
    key = _digest([*content, sys.version, sys.executable])
    venv = os.path.join(cache, f"{name}-{key}.venv")
    if not artifact_venv.is_complete(venv):
        create(venv)
    os.utime(venv)
    return venv


def _prove_entry(
    recipe: Recipe, venv: str, folder: str, work: str, environment: Mapping[str, str]
) -> None:
    """Import the entry here, so that a wrong one is reported before any change of a host."""
    lib = os.path.join(folder, "lib")
    # The app can write next to itself during the import; the packed files stay unchanged.
    app, place = os.path.join(folder, "app"), os.path.join(work, "import")
    if os.path.isdir(app):
        shutil.copytree(app, place, symlinks=True)
    else:
        os.mkdir(place)
    module, _colon, attribute = recipe.entry.partition(":")
    name = re.split(r"[^A-Za-z0-9_.]", attribute or "application")[0]
    code = (
        "import functools, importlib\n"
        f"functools.reduce(getattr, {name!r}.split('.'), importlib.import_module({module!r}))\n"
    )
    variables = {
        "PATH": os.defpath,
        "LC_ALL": "C.UTF-8",
        "PYTHONPATH": f"{place}:{lib}",
        "PYTHONDONTWRITEBYTECODE": "1",
        **environment,
    }
    python = os.path.join(venv, "bin", "python")
    try:
        done = process.run_and_clean_up(
            [python, "-c", code], variables, place, IMPORT_SECONDS
        )
        problem = process.last_line(done.stdout) if done.returncode != 0 else None
    except subprocess.TimeoutExpired:
        problem = f"it was not done within {IMPORT_SECONDS:g} s"
    if problem:
        raise ArchiveError(
            f"flask_app_entry: {recipe.entry} cannot be imported: {problem}. "
            "Mend the app, or name its entry as gunicorn writes it: package.module:app or "
            "package.module:create_app()."
        )


def commit(source: str | None) -> str:
    """Return the commit of the source, with a C(+) if it was changed since; "" if it is not known."""
    if not source:
        return ""
    folder = source if os.path.isdir(source) else os.path.dirname(source)
    try:
        git, environment = ["git", *build_source.TRUSTING], build_source.environment()
        # A copy of the app inside another project's work tree belongs to none of its commits.
        listed = process.run([*git, "ls-files"], environment, folder)
        if listed.returncode != 0 or not listed.stdout.strip():
            return ""
        described = ["describe", "--always", "--abbrev=12", "--exclude=*", "--dirty=+"]
        done = process.run([*git, *described], environment, folder)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _prune_cache(cache: str, name: str) -> None:
    for kind, remove in (
        ("tar", os.unlink),
        (r"wheels\.tar", os.unlink),
        ("venv", shutil.rmtree),
    ):
        pattern = re.compile(re.escape(name) + rf"-[0-9a-f]{{16}}\.{kind}")
        found = [os.path.join(cache, file) for file in os.listdir(cache) if pattern.fullmatch(file)]
        for path in sorted(found, key=os.path.getmtime, reverse=True)[KEPT_ARCHIVES:]:
            remove(path)
