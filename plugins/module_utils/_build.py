# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build the archive of a release on the controller: resolve, lock, prove that the entry imports, pack.

This file is private to the collection.
"""

from __future__ import annotations

import contextlib
import email
import fnmatch
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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib

from ansible_collections.evenkeel.flask.plugins.module_utils import _archive, _untrusted, _venv
from ansible_collections.evenkeel.flask.plugins.module_utils._archive import ArchiveError, Manifest

# What a work tree holds that is not the app: history, environments, caches,
# local secrets and local data.
EXCLUDED = (
    ".git",
    ".hg",
    ".svn",
    ".venv",
    ".env",
    ".tox",
    ".nox",
    "node_modules",
    "__pycache__",
    "*.pyc",
    "*.egg-info",
    ".pytest_cache",
    ".mypy_cache",
    ".ruff_cache",
    ".DS_Store",
)
# Below the top these may be packages of the app.
EXCLUDED_AT_TOP = ("instance", "venv")
# Part of every digest: raise it when the same input makes another archive.
FORMAT = 2
KEPT_ARCHIVES = 5
# What is longer at being imported waits for something that never comes.
IMPORT_SECONDS = 60.0
# Another run may build all that time.
BUILD_SECONDS = _untrusted.MAX_RUN_SECONDS

# How a requirements file names the project that it lies in.
ITSELF = re.compile(r"\s*(?:(?:-e|--editable)[\s=]+)?\./?(\[[^\]]*\])?\s*(?:#.*)?")
# What a requirements file says to read another one.
INCLUDE = re.compile(r"\s*(?:-r|-c|--requirement|--constraint)[\s=]*(\S+)")
# What pip's output has of a cause: an error, the last line of what it ran, and what it says of a project. A traceback
# is announced by an error that says nothing.
ERROR = re.compile(r"^ *ERROR: (?!Exception:$)(.+)$", re.MULTILINE)
INNER = re.compile(r"^(.+)\n *\[end of output\]$", re.MULTILINE)
CONTEXT = re.compile(r"^╰─> (?!\[|See above)(.+(?:\n {4}.+)*)", re.MULTILINE)
REMARKS = ("note: ", "hint: ")
# Before PEP 600 a platform was called by a year, and many a wheel still is.
OLD_PLATFORMS = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}


@dataclass(frozen=True)
class Target:
    """The Python that the wheels are for."""

    python_version: str
    python_tag: str
    machine: str
    libc: str

    def is_here(self) -> bool:
        """Whether wheels built by the controller's own Python run there."""
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
    """All that decides what is in an archive."""

    name: str
    entry: str
    target: Target
    source: str | None = None
    requirements: tuple[str, ...] = ()
    requirements_file: str | None = None
    runtime: tuple[str, ...] = ()
    pip_args: tuple[str, ...] = ()
    version: str = ""


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
    """Read the arguments of C(release_archive).

    @raises ArchiveError: for input that is not there
    """
    source = os.path.abspath(params["source"]) if params["source"] else None
    if source and not os.path.exists(source):
        raise ArchiveError(f"flask_app_source: {source} is not there. Name a directory or a wheel.")
    wanted = params["requirements"]
    single = wanted[0] if len(wanted) == 1 else ""
    named = single if single.endswith(".txt") or os.path.isfile(single) else ""
    file = next((path for path in _requirements_files(source, named) if os.path.isfile(path)), None)
    if named and file is None:
        raise ArchiveError(f"flask_app_requirements: {named} is not there.")
    listed = [] if named else wanted
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
    )


def _requirements_files(source: str | None, named: str) -> list[str]:
    """Where the requirements file may be: as named, else next to the source."""
    folder = source if source and os.path.isdir(source) else ""
    if named:
        return [os.path.abspath(named), os.path.join(folder, named)]
    return [os.path.join(folder, "requirements.txt")] if folder else []


def platform_args(target: Target) -> list[str]:
    """The options that make pip choose wheels for another Python than its own.

    Wheels for an older glibc run on a newer one (PEP 600), so all of them are
    named, the newest first.
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


def build(recipe: Recipe, cache: str, environment: Mapping[str, str]) -> tuple[str, Manifest, bool]:
    """Return archive, manifest and whether it had to be built.

    @param cache: folder that keeps archives by the digest of their input
    @param environment: what the entry is imported with; never kept
    """
    with tempfile.TemporaryDirectory(prefix=f"evenkeel-{recipe.name}-") as work:
        folder = os.path.join(work, "archive")
        os.mkdir(folder)
        if recipe.source and os.path.isdir(recipe.source):
            _copy_source(recipe.source, os.path.join(folder, "app"))
        key = _key(recipe, folder)
        archive = os.path.join(cache, f"{recipe.name}-{key}.tar")
        with _locked(cache, recipe.name):
            if os.path.exists(archive):
                manifest = Manifest.read(archive)
                wheels = os.path.join(cache, manifest.wheels)
                if os.path.exists(wheels):
                    os.utime(archive)
                    os.utime(wheels)
                    return archive, manifest, False
            manifest = _fill(recipe, folder, work, cache, environment)
            _archive.write(archive, folder, manifest)
            _forget_old(cache, recipe.name)
    return archive, manifest, True


@contextlib.contextmanager
def _locked(cache: str, name: str) -> Iterator[None]:
    """One run at a time: another may build the same, or remove what is old."""
    os.makedirs(cache, mode=0o700, exist_ok=True)
    lock = os.path.join(os.path.abspath(cache), f"{name}.lock")
    with _untrusted.locked(lock, BUILD_SECONDS, private=False):
        yield


def _copy_source(source: str, folder: str) -> None:
    def ignore(folder: str, names: list[str]) -> list[str]:
        patterns = (*EXCLUDED, *EXCLUDED_AT_TOP) if folder == source else EXCLUDED
        return [name for name in names if any(fnmatch.fnmatch(name, p) for p in patterns)]

    shutil.copytree(source, folder, symlinks=True, ignore=ignore)
    why = _archive.judge(list(_entries(folder)))
    if why:
        raise ArchiveError(f"flask_app_source: {why}. A release holds all it needs; mend the link.")


def _entries(top: str) -> Iterator[tuple[str, str, str]]:
    """What C(_archive.judge) takes, of all that is below a directory."""
    for place, folders, files in os.walk(top):
        for name in folders + files:
            full = os.path.join(place, name)
            mode = os.lstat(full).st_mode
            kinds = {stat.S_IFLNK: "link", stat.S_IFDIR: "dir", stat.S_IFREG: "file"}
            kind = kinds.get(stat.S_IFMT(mode), "other")
            yield os.path.relpath(full, top), kind, os.readlink(full) if kind == "link" else ""


def _key(recipe: Recipe, folder: str) -> str:
    """Digest the input, so that unchanged input builds nothing."""
    content = asdict(recipe)
    app = os.path.join(folder, "app")
    content["format"] = FORMAT
    content["source"] = _archive.tree_digest(app) if os.path.isdir(app) else None
    if recipe.source and os.path.isfile(recipe.source):
        content["source"] = _archive.file_digest(recipe.source)
    content["requirements_file"] = [_archive.file_digest(path) for path in _files_for_pip(recipe)]
    return _digest(content)


def _digest(content: Any) -> str:
    """What C(_forget_old) knows our files by."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _files_for_pip(recipe: Recipe) -> list[str]:
    """The files that pip is told to read, and those that these include."""
    file = recipe.requirements_file or ""
    named = [arg.rpartition("=")[2] for arg in (*recipe.requirements, *recipe.pip_args)]
    wanted = [file, *(os.path.join(os.path.dirname(file), name) for name in named)]
    return included(path for path in wanted if os.path.isfile(path))


def included(files: Iterable[str]) -> list[str]:
    """Requirements files, and those that these include."""
    found = list(files)
    # It grows as it is read.
    for path in found:
        with open(path, encoding="utf-8", errors="replace") as lines:
            names = [match.group(1) for match in map(INCLUDE.match, lines) if match]
        for name in names:
            full = os.path.normpath(os.path.join(os.path.dirname(path), name))
            if os.path.isfile(full) and full not in found:
                found.append(full)
    return found


def _fill(
    recipe: Recipe, folder: str, work: str, cache: str, environment: Mapping[str, str]
) -> Manifest:
    app, own = os.path.join(folder, "app"), os.path.join(work, "own")
    os.mkdir(own)
    wheel = _own_wheel(recipe, app, own, work, cache)
    if wheel:
        _install_own(recipe, wheel, os.path.join(folder, "lib"))
    packed = os.path.join(cache, f"{recipe.name}-{_wheels_key(recipe, wheel)}.wheels.tar")
    unpacked = os.path.join(work, "packed")
    wheels = os.path.join(unpacked, "wheels")
    if os.path.exists(packed):
        os.utime(packed)
        _archive.unpack(packed, unpacked)
    else:
        os.makedirs(wheels)
        _collect(recipe, wheel, wheels, work)
        _pip(["download", "--no-deps", *_for(recipe.target), "--dest", wheels, "pip"], recipe)
        _archive.write(packed, unpacked)
    lock = "".join(
        _archive.lock_line(name, _archive.file_digest(os.path.join(wheels, name))) + "\n"
        for name in sorted(os.listdir(wheels))
        if not name.startswith("pip-")
    )
    with open(os.path.join(folder, _archive.LOCK), "w", encoding="utf-8") as stream:
        stream.write(lock)
    # A wheel built from the source says no more than the source, and its bytes
    # may differ from one build to the next.
    code = _archive.tree_digest(app) if os.path.isdir(app) else _archive.tree_digest(own)
    if recipe.target.is_here():
        shutil.copy(os.path.join(folder, _archive.LOCK), unpacked)
        venv = _proving_venv(packed, unpacked)
        _prove_entry(recipe, venv, folder, work, environment)
    return Manifest(
        name=recipe.name,
        version=recipe.version or (os.path.basename(wheel).split("-")[1] if wheel else ""),
        python_tag=recipe.target.python_tag,
        digest=hashlib.sha256(f"{code}\n{lock}".encode()).hexdigest(),
        wheels=os.path.basename(packed),
    )


def _wheels_key(recipe: Recipe, wheel: str | None) -> str:
    """Digest all that decides which wheels are needed, so that a change of code alone moves no dependency."""
    content = {
        "format": FORMAT,
        "target": asdict(recipe.target),
        "wanted": [*recipe.runtime, *recipe.requirements, *recipe.pip_args],
        "files": [_archive.file_digest(path) for path in _files_for_pip(recipe)],
        "own": own_requirements(wheel) if wheel else None,
    }
    return _digest(content)


def own_requirements(wheel: str) -> list[str]:
    """What a wheel requires, and its name (Core metadata specifications)."""
    with zipfile.ZipFile(wheel) as archive:
        path = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = email.message_from_bytes(archive.read(path))
    return [str(metadata["Name"]), *map(str, metadata.get_all("Requires-Dist", []))]


def _own_wheel(recipe: Recipe, app: str, own: str, work: str, cache: str) -> str | None:
    """The app itself as a wheel, if it is a Python project or already a wheel."""
    if recipe.source and os.path.isfile(recipe.source):
        return shutil.copy(recipe.source, own)
    if not any(os.path.exists(os.path.join(app, name)) for name in ("pyproject.toml", "setup.py")):
        return None
    requires = build_requires(os.path.join(app, "pyproject.toml"))
    if not requires or not _built_by_kept(recipe, requires, app, own, work, cache):
        _build_wheel(recipe, app, own, work)
    return os.path.join(own, os.listdir(own)[0])


def build_requires(pyproject: str) -> list[str]:
    """What a project names to be built with (PEP 518); nothing where pip has to find that out.

    Python 3.10 cannot read it.

    @raises ArchiveError: for a file that is no TOML
    """
    wanted = None
    if sys.version_info >= (3, 11):
        try:
            with open(pyproject, "rb") as stream:
                wanted = tomllib.load(stream)["build-system"]["requires"]
        except (OSError, KeyError, TypeError):
            return []
        except ValueError as exc:
            raise ArchiveError(f"flask_app_source: its pyproject.toml is not TOML: {exc}.") from exc
    return wanted if isinstance(wanted, list) and all(isinstance(it, str) for it in wanted) else []


def _built_by_kept(
    recipe: Recipe, requires: Sequence[str], app: str, own: str, work: str, cache: str
) -> bool:
    """Whether it could be built with what was installed for an earlier release; pip takes longer for that than to build.

    What went wrong here is not told: pip tells it when it builds in a place of its own.
    """

    def create(venv: str) -> None:
        install = ["install", *requires]
        _venv.make(sys.executable, venv, lambda: _pip(install, recipe, "flask_app_source", venv))

    try:
        venv = _kept_venv(cache, recipe.name, [*requires, *recipe.pip_args], create)
        _build_wheel(recipe, app, own, work, "--no-build-isolation", venv=venv)
    except ArchiveError:
        return False
    return True


def _build_wheel(
    recipe: Recipe, app: str, own: str, work: str, *options: str, venv: str = ""
) -> None:
    # Build backends leave build/ and *.egg-info in the tree they build from.
    copy = os.path.join(work, "source")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(app, copy, symlinks=True)
    command = ["wheel", *options, "--no-deps", "--wheel-dir", own, copy]
    _pip(command, recipe, "flask_app_source", venv)


def _install_own(recipe: Recipe, wheel: str, lib: str) -> None:
    """Install the app's own wheel into a folder of the release, for releases share their venvs."""
    options = ["--no-deps", "--no-compile", *_for(recipe.target), "--target", lib]
    _pip(["install", *options, wheel], recipe, "flask_app_source")
    # They would run with the controller's Python.
    shutil.rmtree(os.path.join(lib, "bin"), ignore_errors=True)


def _collect(recipe: Recipe, wheel: str | None, wheels: str, work: str) -> None:
    wanted = [*recipe.runtime, *recipe.requirements]
    if recipe.requirements_file:
        wanted += ["--requirement", _with_wheel(recipe.requirements_file, wheel, work)]
    if wheel:
        wanted.append(wheel)
    if recipe.target.is_here():
        _pip(["wheel", "--wheel-dir", wheels, *wanted], recipe)
    else:
        _pip(["download", *_for(recipe.target), "--dest", wheels, *wanted], recipe)
    if wheel:
        os.unlink(os.path.join(wheels, os.path.basename(wheel)))


def _with_wheel(path: str, wheel: str | None, work: str) -> str:
    """The requirements file, or one in its place that names the wheel where it names the project."""
    with open(path, encoding="utf-8") as stream:
        text = stream.read()
    named = name_itself(text, path, wheel)
    if named == text:
        return path
    file = os.path.join(work, "requirements.txt")
    with open(file, "w", encoding="utf-8") as stream:
        stream.write(named)
    return file


def name_itself(text: str, path: str, wheel: str | None) -> str:
    """Put the app's own wheel where its requirements name the project that they lie in.

    pip would build the project a second time, inside its source, and find two of it.
    What is put in makes a file that may lie elsewhere.
    """
    lines = text.splitlines()
    own = [ITSELF.fullmatch(line) for line in lines]
    if not wheel or not any(own):
        return text

    def elsewhere(line: str) -> str:
        found = INCLUDE.match(line)
        if not found:
            return line
        return line.replace(found[1], os.path.join(os.path.dirname(path), found[1]))

    put = [
        f"{wheel}{match[1] or ''}" if match else elsewhere(line) for line, match in zip(lines, own)
    ]
    return "\n".join(put) + "\n"


def _for(target: Target) -> list[str]:
    return ["--only-binary", ":all:"] if target.is_here() else platform_args(target)


def _pip(
    args: Sequence[str],
    recipe: Recipe,
    about: str = "flask_app_requirements",
    venv: str = "",
) -> None:
    """Run the controller's pip.

    @param venv: that it works in, and whose programs a build finds, instead of the controller's Python
    """
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input"]
    folder = os.path.dirname(recipe.requirements_file) if recipe.requirements_file else None
    environment = None
    if venv:
        programs = os.path.join(venv, "bin")
        command += ["--python", os.path.join(programs, "python")]
        path = os.environ.get("PATH", os.defpath)
        environment = {**os.environ, "PATH": f"{programs}{os.pathsep}{path}"}
    done = _venv.run([*command, *args, *recipe.pip_args], environment, folder)
    if done.returncode != 0:
        raise ArchiveError(f"{about}: {pip_reason(done.stdout)}")


def pip_reason(output: str) -> str:
    """The sentence of pip's output that tells a person what to change."""
    if "No module named pip" in output:
        return (
            "the controller's Python has no pip to resolve them with. Install it (Debian: "
            "apt install python3-pip, a venv: python -m ensurepip)."
        )
    errors = ERROR.findall(output)
    telling = [line for line in errors if "No matching distribution" in line or "conflict" in line]
    # What pip ran for a build says why itself; pip's own words are only that it did.
    causes = [*INNER.findall(output), *CONTEXT.findall(output)][-1:]
    rest = "".join(line for line in output.splitlines(True) if not line.startswith(REMARKS))
    if not telling and errors and causes:
        reason = f"{errors[0]} ({causes[0].strip()})"
    else:
        reason = (telling or causes or errors or [_venv.last_line(rest)])[0]
    return (
        f"{' '.join(reason.split()).rstrip('.')}. pip on the controller must be able to resolve "
        "and build it; mend what it names."
    )


def _proving_venv(packed: str, unpacked: str) -> str:
    """A venv of the wheels for our own Python, kept beside their archive."""
    cache, archive = os.path.split(packed)
    name, _hyphen, _rest = archive.rpartition("-")
    return _kept_venv(
        cache, name, [archive], lambda venv: _venv.create(sys.executable, venv, unpacked)
    )


def _kept_venv(cache: str, name: str, content: Sequence[str], create: Callable[[str], None]) -> str:
    """A venv of our own Python, kept for later builds.

    @param content: all that decides what is in it
    """
    key = _digest([*content, sys.version, sys.executable])
    venv = os.path.join(cache, f"{name}-{key}.venv")
    if not _venv.is_complete(venv):
        create(venv)
    os.utime(venv)
    return venv


def _prove_entry(
    recipe: Recipe, venv: str, folder: str, work: str, environment: Mapping[str, str]
) -> None:
    """Import the entry here, so that a wrong one is told before any host is touched."""
    lib = os.path.join(folder, "lib")
    # The app may write next to itself when imported; what is packed stays clean.
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
        done = _venv.run([python, "-c", code], variables, place, IMPORT_SECONDS)
        problem = _venv.last_line(done.stdout) if done.returncode != 0 else None
    except subprocess.TimeoutExpired:
        problem = f"it was not done within {IMPORT_SECONDS:g} s"
    if problem:
        raise ArchiveError(
            f"flask_app_entry: {recipe.entry} cannot be imported: {problem}. "
            "Mend the app, or name its entry as gunicorn writes it: package.module:app or "
            "package.module:create_app()."
        )


def commit(source: str | None) -> str:
    """The commit that the source is of, with a C(+) if it was changed since; empty where that is not known."""
    if not source:
        return ""
    folder = source if os.path.isdir(source) else os.path.dirname(source)
    try:
        # The environment may point git elsewhere, as it does in a hook.
        environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"}
        # A copy of the app inside another project's work tree is of none of its commits.
        listed = _venv.run(["git", "ls-files"], environment, folder)
        if listed.returncode != 0 or not listed.stdout.strip():
            return ""
        described = ["describe", "--always", "--abbrev=12", "--exclude=*", "--dirty=+"]
        done = _venv.run(["git", *described], environment, folder)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _forget_old(cache: str, name: str) -> None:
    for kind, remove in (
        ("tar", os.unlink),
        (r"wheels\.tar", os.unlink),
        ("venv", shutil.rmtree),
    ):
        pattern = re.compile(re.escape(name) + rf"-[0-9a-f]{{16}}\.{kind}")
        found = [os.path.join(cache, file) for file in os.listdir(cache) if pattern.fullmatch(file)]
        for path in sorted(found, key=os.path.getmtime, reverse=True)[KEPT_ARCHIVES:]:
            remove(path)
