# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run all checks of this collection, also after a failure, and count: make check, make test."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OUTPUT = ROOT / "tests" / "output"
CACHE = ROOT / ".cache"
LONG_SECONDS = 4 * 3600
MINUTE = 60


@dataclass(frozen=True)
class Stage:
    """One command. It counts as one test, unless it writes what it counted itself."""

    name: str
    command: str
    junit: Path | None = None
    timeout: float = 40 * 60


UNIT = OUTPUT / "unit.xml"
UNITS = "python tests/ansible_test.py units"
LONG_UNITS = Stage("units", f"{UNITS} 'tests/unit/plugins/.*' --venv")
LINT = [
    Stage("mypy", "mypy -p ansible_collections.evenkeel.flask.plugins && mypy tests/*.py tests/fleet tests/bench"),
    Stage("yamllint", "yamllint --strict ."),
    Stage("ruff check", "ruff check"),
    Stage("ruff format", "ruff format --check"),
]  # fmt: skip

# Quick, since make test has every test and every example.
QUICK = "pytest -n 2 --dist worksteal --junit-xml=tests/output/unit.xml -m 'not slow' --hypothesis-profile=quick"
CHECK = [
    [Stage("unit tests", QUICK, UNIT)],
    # Each playbook takes it a second, and the tests have as many as the collection.
    [Stage("ansible-lint", "ansible-lint roles playbooks plugins molecule")],
    *([stage] for stage in LINT),
]

# Stages in one list share a folder, or need the earlier ones. A stage that can put its log or its
# work only into the home gets another home.
TEST = [
    [
        Stage("sanity", "python tests/ansible_test.py sanity --venv"),
        # Modules, actions and filters with all that they import, under what Ansible itself takes for
        # granted. make test-long runs all unit tests of plugins in this way.
        Stage("units", f"{UNITS} 'tests/unit/plugins/(action|filter|modules)/.*' --venv"),
        Stage("integration", "python tests/ansible_test.py integration --venv"),
    ],
    [Stage("unit tests", "pytest --junit-xml=tests/output/unit.xml", UNIT)],
    [Stage("ansible-lint", "ansible-lint")],
    *([stage] for stage in LINT),
    [
        Stage(
            "docs",
            'HOME="$PWD/.cache" antsibull-docs lint-collection-docs --plugin-docs'
            " --validate-collection-refs=dependent --disallow-unknown-collection-refs .",
        )
    ],
    [Stage("changelog", "antsibull-changelog lint")],
    [
        Stage(
            "build",
            "rm -rf .cache/build && ansible-galaxy collection build --output-path .cache/build",
        ),
        Stage(
            "galaxy-importer",
            'cd .cache/build && HOME="$PWD/.." python -m galaxy_importer.main *.tar.gz',
        ),
    ],
]

# Scenarios that take too long to wait for before each change. make test has a part of each.
LONG = ("drained", "faults", "killed", "world")
# Scenarios with wrong verdicts in earlier runs, while another one kept the machine busy.
ALONE: tuple[str, ...] = ()

# Variables of the user's shell that would affect the tools.
FOREIGN = ("ANSIBLE_", "COVERAGE_", "MOLECULE_", "MYPY", "PYTEST_", "PYTHON", "RUFF_", "YAMLLINT_")


@dataclass(frozen=True)
class Tally:
    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped
        )

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed"


def in_junit(text: str) -> Tally:
    suites = [*ET.fromstring(text).iter("testsuite")]

    def total(word: str) -> int:
        return sum(int(suite.get(word, 0)) for suite in suites)

    failed, skipped = total("failures") + total("errors"), total("skipped")
    return Tally(total("tests") - failed - skipped, failed, skipped)


def tally(status: int, junit: str | None) -> Tally:
    """Return the tests of a stage, or the stage itself if its tests do not report their results."""
    own = in_junit(junit) if junit else Tally()
    if status != 0 and own.failed == 0:
        return own + Tally(failed=1)
    return own if own != Tally() else Tally(passed=1)


def scenarios(root: Path, are_long: bool = False) -> list[Stage]:
    """Every scenario, those that take the longest first; or the long forms of those that have one."""
    found = sorted(path.parent.name for path in root.glob("molecule/*/molecule.yml"))
    stages = []
    for name in sorted(found, key=lambda name: (name != "rollout", name not in LONG)):
        junit = OUTPUT / f"molecule-{name}.xml"
        command = f"PYTEST_ADDOPTS=--junit-xml={junit} molecule test -s {name}"
        if not are_long:
            stages.append(Stage(f"molecule {name}", command, junit))
        elif name in LONG:
            stages.append(Stage(f"molecule {name}", f"LONG=1 {command}", junit, LONG_SECONDS))
    return stages


def environment(outer: Mapping[str, str]) -> dict[str, str]:
    """The user's environment less what would change the results, and with every cache in .cache."""
    return {
        **{name: value for name, value in outer.items() if not name.startswith(FOREIGN)},
        "PATH": f"{ROOT / '.venv' / 'bin'}:{outer.get('PATH', os.defpath)}",
        "LC_ALL": "C.UTF-8",
        "NO_COLOR": "1",
        "ANSIBLE_COLLECTIONS_PATH": str(CACHE / "collections"),
        "ANSIBLE_HOME": str(CACHE / "ansible"),
        "HYPOTHESIS_STORAGE_DIRECTORY": str(CACHE / "hypothesis"),
    }


class Runner:
    """Runs stages in processes of their own, and ends what they started when it is ended."""

    def __init__(self) -> None:
        self.environment = environment(os.environ)
        self.running: dict[subprocess.Popen[bytes], tuple[Stage, float]] = {}
        self.printing = threading.Lock()
        self.stopped = False
        self.lines: list[str] = []
        self.total = Tally()

    def run(self, chains: Iterable[Sequence[Stage]], at_once: int = 2) -> None:
        """Run stages in the order of their chain, and several chains at a time."""
        with ThreadPoolExecutor(at_once) as pool:
            left = {pool.submit(self._run_chain, chain) for chain in chains}
            try:
                while left:
                    done, left = wait(left, MINUTE, return_when=FIRST_EXCEPTION)
                    for future in done:
                        future.result()
                    self._tell_what_runs()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                self.stop()
                raise

    def stop(self) -> None:
        self.stopped = True
        for process in [*self.running]:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    def _run_chain(self, chain: Sequence[Stage]) -> None:
        for stage in chain:
            if self.stopped:
                return
            output, status, seconds = self._run(stage)
            with self.printing:
                print(f"\n== {stage.name}: {stage.command}\n{output}", end="")
                self._end(stage, status, seconds)

    def _run(self, stage: Stage) -> tuple[str, int, float]:
        if stage.junit:
            stage.junit.unlink(missing_ok=True)
        began = time.monotonic()
        # A file and not a pipe: a persistent SSH connection would hold a pipe open for a minute.
        path = OUTPUT / f"{stage.name.replace(' ', '-')}.log"
        with path.open("wb") as log, subprocess.Popen(
            stage.command, shell=True, cwd=ROOT, env=self.environment, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
        ) as process:  # fmt: skip
            self.running[process] = stage, began
            try:
                process.wait(stage.timeout)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                log.write(f"\nIt was not done in {stage.timeout} s.\n".encode())
            finally:
                del self.running[process]
        output = path.read_text(encoding="utf-8", errors="replace")
        return output, process.returncode, time.monotonic() - began

    def _tell_what_runs(self) -> None:
        now = time.monotonic()
        running = [f"{stage.name} {now - began:.0f} s" for stage, began in self.running.values()]
        if running:
            with self.printing:
                print(f"== running: {', '.join(running)}", flush=True)

    def _end(self, stage: Stage, status: int, seconds: float) -> None:
        known = stage.junit.read_text() if stage.junit and stage.junit.exists() else None
        found = tally(status, known)
        self.total += found
        skipped = f", {found.skipped} skipped" if found.skipped else ""
        line = (
            f"{'FAILED' if status else 'passed'}  {seconds:6.1f} s  {stage.name}: {found}{skipped}"
        )
        print(f"== {line}", flush=True)
        self.lines.append(line)


def main(suite: str) -> int:
    OUTPUT.mkdir(parents=True, exist_ok=True)
    runner = Runner()
    if suite == "check":
        runner.run(CHECK)
    elif suite == "test":
        chains = [[stage] for stage in scenarios(ROOT)]
        alone = [chain for chain in chains if chain[0].name.partition(" ")[2] in ALONE]
        # The longest stage comes first, and with it the processor is always busy.
        runner.run([*TEST, *(chain for chain in chains if chain not in alone)])
        runner.run(alone, at_once=1)
    else:
        runner.run([[LONG_UNITS, *scenarios(ROOT, are_long=True)]])
    print("\n" + "\n".join(runner.lines))
    print(runner.total)
    return 1 if runner.total.failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
