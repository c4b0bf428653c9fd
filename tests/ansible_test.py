# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run ansible-test: tests/ansible_test.py sanity --test pep8

ansible-test requires a collection at ansible_collections/evenkeel/flask without links, and a pip from
a host that not every machine can reach. It also ignores the settings of pip in the environment. This
script provides all three in a home in .cache, and does not change the user's own home.
"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HOME = ROOT / ".cache" / "ansible-test"
COPY = HOME / "ansible_collections" / "evenkeel" / "flask"

# The packages that the ansible-core in requirements.txt installs into its venvs.
PIP = "24.2"
GET_PIP = """\
import sys

sys.path.insert(0, {wheel!r})
from pip._internal.cli.main import main

sys.exit(main(["install", "--no-index", {wheel!r}]))
"""


def output_of(*command: str) -> str:
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def pip_conf(listed: Iterable[str]) -> str:
    """Return C(pip config list) as a file: of two settings of one kind, that of the environment."""
    settings: dict[str, dict[str, str]] = {}
    # The environment's come first.
    for line in reversed([*listed]):
        name, _sep, value = line.partition("=")
        section, _sep, key = name.replace(":env:", "global", 1).partition(".")
        settings.setdefault(section, {})[key] = ast.literal_eval(value).replace("\n", "\n    ")
    return "".join(
        f"[{section}]\n" + "".join(f"{key} = {value}\n" for key, value in pairs.items())
        for section, pairs in settings.items()
    )


def copy_collection() -> None:
    """Copy the files that git tracks or would add; keep ignored ones: results and venvs of earlier runs."""
    # A repository of its own, or ansible-test finds ours, where the copy is ignored.
    output_of("git", "init", "-q", str(COPY))
    output_of("git", "-C", str(COPY), "clean", "-dfq")
    for name in output_of("git", "ls-files", "-z", "-c", "-o", "--exclude-standard").split("\0"):
        # A file that was removed is listed until that is committed.
        if (ROOT / name).is_file():
            (COPY / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, COPY / name)


def prepare_pip() -> None:
    conf = HOME / ".config" / "pip" / "pip.conf"
    conf.parent.mkdir(parents=True, exist_ok=True)
    conf.write_text(pip_conf(output_of(sys.executable, "-m", "pip", "config", "list").splitlines()))
    wheel = HOME / f"pip-{PIP}-py3-none-any.whl"
    if not wheel.exists():
        output_of(
            sys.executable,
            "-m",
            "pip",
            "-qq",
            "download",
            "--no-deps",
            "-d",
            str(HOME),
            f"pip=={PIP}",
        )
    script = HOME / ".ansible" / "test" / "cache" / f"get_pip_{PIP.replace('.', '_')}.py"
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text(GET_PIP.format(wheel=str(wheel)))


def main() -> None:
    HOME.mkdir(parents=True, exist_ok=True)
    copy_collection()
    prepare_pip()
    os.chdir(COPY)
    tools = Path(sys.executable).parent
    # The system's PATH: ansible-test tries every Python it finds, and stumbles over pyenv's shims.
    path = f"{tools}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
    os.execve(
        tools / "ansible-test",
        ["ansible-test", *sys.argv[1:]],
        {**os.environ, "HOME": str(HOME), "PATH": path},
    )


if __name__ == "__main__":
    main()
