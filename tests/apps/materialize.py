# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lay out a version of the sample app, good or broken, for a test or a demo to release.

Each version is a patch against the app, so that a reader sees in a few lines
what a release changes or what is wrong with it. A patch holds only that; the
version's number stands in its first line and is written into the copy here,
which lets a fault be laid on a later version too: once a database has seen
v2's migration, an app without it can no longer migrate.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
APP = HERE / "storefront"
VERSIONS = HERE / "versions"
FAULTS = HERE.parent / "faults"
FIRST_NUMBER = "1.0.0"
NUMBERED = {
    "pyproject.toml": 'version = "{}"\n',
    "storefront/__init__.py": '__version__ = "{}"\n',
}
LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc", ".*_cache", "*.egg-info", "instance")


class VersionError(Exception):
    """The version cannot be created; the message has the cause and the action."""


class Version(NamedTuple):
    """The name of a release of the sample app, and its content."""

    number: str
    about: str
    patch: Path | None


def versions() -> dict[str, Version]:
    """Return every version by its name, in the order of their numbers."""
    found = {"v1": Version(FIRST_NUMBER, "the app as it is", None)}
    for patch in (*VERSIONS.glob("*.patch"), *FAULTS.glob("*.patch")):
        with patch.open(encoding="utf-8") as lines:
            number, _space, about = next(lines).lstrip("# ").strip().partition(" ")
        found[patch.stem] = Version(number, about, patch)
    return dict(sorted(found.items(), key=lambda item: [*map(int, item[1].number.split("."))]))


def materialize(version: str, dest: str | os.PathLike[str], on: str = "v1") -> Path:
    """Lay out a version in a folder, in place of an earlier one.

    @param on: the version that the patch is laid on
    @raises VersionError: for a name that is not known, a folder that holds
        anything else, or a patch that does not apply
    """
    known = versions()
    for name in (version, on):
        if name not in known:
            raise VersionError(f"There is no version {name}. Known are: {', '.join(known)}.")
    if known[version].patch is None and on != version:
        raise VersionError(f"{version} is the app as it is; nothing of it can be laid on {on}.")
    target = Path(dest).resolve()
    _check_target(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as work:
        copy = Path(work) / "storefront"
        shutil.copytree(APP, copy, ignore=LEFT_OUT)
        for name in dict.fromkeys((on, version)):
            _apply(name, known[name].patch, copy)
        _write_number(copy, known[version].number)
        if target.exists():
            shutil.rmtree(target)
        copy.rename(target)
    return target


def _check_target(target: Path) -> None:
    if target == APP or target in APP.parents or APP in target.parents:
        raise VersionError(f"{target} is the sample app's own place. Name a folder elsewhere.")
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    project = target / "pyproject.toml"
    if not project.is_file() or 'name = "storefront"' not in project.read_text(encoding="utf-8"):
        raise VersionError(f"{target} holds something else. Name a new folder, or empty it first.")


def _apply(name: str, patch: Path | None, folder: Path) -> None:
    if patch is None:
        return
    # Inside a work tree, git would take the paths as the work tree's own.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    environment["GIT_CEILING_DIRECTORIES"] = str(folder.parent)
    done = subprocess.run(
        ["git", "apply", "--whitespace=nowarn", str(patch)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        why = done.stderr.strip().splitlines()[0].removeprefix("error: ")
        raise VersionError(f"{name} does not apply any more: {why}. Make its patch anew.")


def _write_number(folder: Path, number: str) -> None:
    for name, line in NUMBERED.items():
        path = folder / name
        text = path.read_text(encoding="utf-8")
        path.write_text(
            text.replace(line.format(FIRST_NUMBER), line.format(number)), encoding="utf-8"
        )


def main(args: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("version", nargs="?", help="name of the version, as --list shows it")
    parser.add_argument("dest", nargs="?", help="folder to lay it out in")
    parser.add_argument("--on", default="v1", metavar="VERSION", help="lay it on this one (v1)")
    parser.add_argument("--list", action="store_true", help="list the versions")
    options = parser.parse_args(args)
    if options.list:
        for name, version in versions().items():
            print(f"{name:24}{version.number:8}{version.about}")
        return 0
    if not options.dest:
        parser.error("name a version and a folder, or --list")
    try:
        print(materialize(options.version, options.dest, options.on))
    except VersionError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
