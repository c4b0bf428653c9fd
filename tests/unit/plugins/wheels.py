# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wheels made by hand, and a pip that only unpacks them: what needs pip is tested in no time and without an index."""

from __future__ import annotations

import ensurepip
import glob
import os
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

# The options that our venvs are made with are what it knows; it leaves them where they can be read.
PIP = """\
import json
import pathlib
import sys
import sysconfig
import zipfile

args = sys.argv[1:]
value = dict(zip(args, args[1:]))
place = pathlib.Path(value.get("--target", sysconfig.get_path("purelib")))
wheels = [arg for arg in args if arg.endswith(".whl")]
if "--requirement" in value:
    for line in pathlib.Path(value["--requirement"]).read_text().splitlines():
        name = line.split()[0].replace("-", "_").replace("==", "-")
        found = [*pathlib.Path(value["--find-links"]).glob(f"{name}-*.whl")]
        if not found:
            sys.exit(f"ERROR: No matching distribution found for {name}")
        wheels += found
for wheel in wheels:
    zipfile.ZipFile(wheel).extractall(place)
(place / "pip-args.json").write_text(json.dumps(args))
"""


def make_wheel(
    folder: Path,
    name: str,
    version: str = "1.0",
    files: Mapping[str, str] | None = None,
    requires: Iterable[str] = (),
) -> Path:
    """A wheel that pip takes, with C(files), or else with one empty module."""
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    about = f"{name}-{version}.dist-info"
    content = {
        **({f"{name}.py": ""} if files is None else files),
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        + "".join(f"Requires-Dist: {requirement}\n" for requirement in requires),
        f"{about}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{about}/RECORD": "",
    }
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in content.items():
            archive.writestr(path, text)
    return wheel


def make_pip(folder: Path, code: str = PIP) -> Path:
    return make_wheel(folder, "pip", "0", {"pip/__main__.py": code})


def real_pip() -> Path | None:
    """The pip that Python itself brings along, or Debian in its stead."""
    places = (f"{os.path.dirname(ensurepip.__file__)}/_bundled", "/usr/share/python-wheels")
    found = [path for place in places for path in glob.glob(f"{place}/pip-*.whl")]
    return Path(found[0]) if found else None
