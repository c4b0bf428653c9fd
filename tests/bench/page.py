# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the measurements of a bench into its own section of docs/benchmarks.md."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"


def write(section: str, lines: Iterable[str], measured: str, page: Path = PAGE) -> None:
    """Put C(lines) between the marks of C(section), and print them; the text around them stays.

    @param measured: time and machine, as C(machine) returned them at the start of the bench
    """
    text = "\n".join([*lines, "", f"*{measured}*"])
    print(f"\n{text}")
    begin, end = f"<!-- {section}: written by the bench -->", f"<!-- end of {section} -->"
    before, found, rest = page.read_text(encoding="utf-8").partition(begin)
    _old, closed, after = rest.partition(end)
    if not found or not closed:
        raise SystemExit(
            f"bench: {page.name} has no place for {section}. It is between: {begin} {end}"
        )
    page.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}", encoding="utf-8")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    shown = ([cell.replace("|", r"\|") for cell in cells] for cells in rows)
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *shown)]


def machine() -> str:
    """When, of which commit and on what it is measured from now on."""
    commit = subprocess.run(
        ["git", "-C", str(PAGE.parent), "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    return (
        f"{datetime.now(timezone.utc):%Y-%m-%d}, commit {commit or 'unknown'}, {os.cpu_count()} cores "
        f"({processor()}), Linux {platform.release()}, Python {platform.python_version()}"
    )


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        name, _colon, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()
