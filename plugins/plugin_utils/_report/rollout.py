# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the gate found on a fleet, as files: one for people, one for CI, one for programs.

Everything here is pure, and on the controller only.
"""

from __future__ import annotations

import json
import os
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ...module_utils._printable import TAB, printable, printable_all
from ...module_utils._statistics import percentile
from . import timeline as report_timeline

WIDTH, HEIGHT = 560, 120


@dataclass(frozen=True)
class Curve:
    """The latencies of one release at one path: a line from its fastest answer to its slowest."""

    name: str
    points: str
    p50: float
    p95: float


@dataclass(frozen=True)
class Plot:
    """The releases' latencies at one path, in one picture."""

    path: str
    limit: float
    curves: list[Curve]


@dataclass(frozen=True)
class Trial:
    """What the gate found on a host. C(results) are those of the module rollout_gate."""

    host: str
    verdict: str
    msg: str
    results: Sequence[Mapping[str, Any]] = ()
    summary: Sequence[str] = ()

    @property
    def plots(self) -> list[Plot]:
        measured = (result.get("measured") or {} for result in self.results)
        return [
            plot(path, sides)
            for one in measured
            for path, found in one.items()
            if (sides := quantiles(found))
        ]


@dataclass(frozen=True)
class Run:
    """One rollout: an app's release, and what came of it on each host that proved it."""

    app: str
    release: str
    at: str
    trials: list[Trial] = field(default_factory=list)
    timeline: list[report_timeline.Row] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        """V(passed) only if it is on every host that was asked."""
        said = {trial.verdict for trial in self.trials}
        return next(
            (word for word in ("failed", "inconclusive") if word in said),
            "passed" if said else "none",
        )


def quantiles(found: Mapping[str, Any]) -> dict[str, list[float]]:
    sides = {"live": "live_quantiles_ms", "candidate": "quantiles_ms"}
    return {side: list(found[key]) for side, key in sides.items() if found.get(key)}


def plot(path: str, sides: Mapping[str, Sequence[float]]) -> Plot:
    """Lay the quantiles out as lines: time to the right, share of the answers upwards."""
    limit = max(max(values) for values in sides.values()) or 1.0
    curves = []
    for name, values in sides.items():
        last = max(len(values) - 1, 1)
        points = " ".join(
            f"{value / limit * WIDTH:.1f},{HEIGHT - index / last * HEIGHT:.1f}"
            for index, value in enumerate(values)
        )
        curves.append(Curve(name, points, percentile(values, 50), percentile(values, 95)))
    return Plot(path, limit, curves)


def as_json(run: Run) -> str:
    content = printable_all({**asdict(run), "verdict": run.verdict})
    return json.dumps(content, indent=2, sort_keys=True) + "\n"


def as_junit(run: Run) -> str:
    """A suite for each host, a case for each check, as JUnit's readers (Jenkins, GitLab, GitHub) take it."""
    root = ET.Element("testsuites", name=printable(f"{run.app} {run.release}"))
    for trial in run.trials:
        outcomes = [result["outcome"] for result in trial.results]
        suite = ET.SubElement(
            root,
            "testsuite",
            name=printable(trial.host),
            timestamp=printable(run.at),
            tests=str(len(outcomes)),
            failures=str(outcomes.count("failed")),
            errors=str(outcomes.count("inconclusive")),
            skipped=str(outcomes.count("skipped")),
        )
        for result in trial.results:
            _case(suite, trial.host, result)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _case(suite: ET.Element, host: str, result: Mapping[str, Any]) -> None:
    case = ET.SubElement(
        suite,
        "testcase",
        classname=printable(f"rollout_gate.{host}"),
        name=printable(result["title"]),
        time=f"{result['elapsed_ms'] / 1000:.3f}",
    )
    tags = {"failed": "failure", "inconclusive": "error", "skipped": "skipped"}
    if result["outcome"] in tags:
        ET.SubElement(case, tags[result["outcome"]], message=printable(result["reason"]))
    if result["warnings"]:
        ET.SubElement(case, "system-out").text = printable("\n".join(result["warnings"]))


def page(template: str, **content: Any) -> str:
    """One page that needs nothing else, with everything in it escaped and printable."""
    environment = Environment(
        loader=FileSystemLoader(os.path.dirname(__file__)),
        autoescape=True,
        undefined=StrictUndefined,
    )
    text = environment.get_template(template).render(content, width=WIDTH, height=HEIGHT) + "\n"
    return printable(text, len(text) * len(TAB))


def as_html(run: Run) -> str:
    return page("report.html.j2", run=run, picture=report_timeline.picture(run.timeline))


FILES = {"report.html": as_html, "report.json": as_json, "junit.xml": as_junit}


def trials(verdicts: Mapping[str, Mapping[str, Any] | None]) -> Iterable[Trial]:
    """Read what hosts registered of rollout_gate; a host without a verdict was not asked."""
    for host, said in verdicts.items():
        if said and said.get("verdict"):
            yield Trial(host, said["verdict"], said["msg"], said["results"], said["summary"])
