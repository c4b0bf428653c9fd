# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Render the verdicts of a fleet as HTML, JUnit XML and JSON.

Pure; on the controller only.
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
    """The latencies of one release at one path, as a line from the fastest to the slowest response."""

    name: str
    points: str
    p50: float
    p95: float


@dataclass(frozen=True)
class Plot:
    """The latencies of the releases at one path, in one picture."""

    path: str
    limit: float
    curves: list[Curve]


@dataclass(frozen=True)
class HostVerdict:
    """The verdict of a host. C(results) are those of the module rollout_gate."""

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
class RolloutReport:
    """One rollout: the release of an app, and the verdict of each host that checked it."""

    app: str
    release: str
    at: str
    trials: list[HostVerdict] = field(default_factory=list)
    timeline: list[report_timeline.Row] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        """Return V(passed) only if all hosts with a verdict passed."""
        verdicts = {trial.verdict for trial in self.trials}
        return next(
            (word for word in ("failed", "inconclusive") if word in verdicts),
            "passed" if verdicts else "none",
        )


def quantiles(found: Mapping[str, Any]) -> dict[str, list[float]]:
    sides = {"live": "live_quantiles_ms", "candidate": "quantiles_ms"}
    return {side: list(found[key]) for side, key in sides.items() if found.get(key)}


def plot(path: str, sides: Mapping[str, Sequence[float]]) -> Plot:
    """Convert quantiles to lines: time to the right, share of the responses upwards."""
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


def as_json(run: RolloutReport) -> str:
    content = printable_all({**asdict(run), "verdict": run.verdict})
    return json.dumps(content, indent=2, sort_keys=True) + "\n"


def as_junit(run: RolloutReport) -> str:
    """Return a suite per host with a case per check, in the form that Jenkins, GitLab and GitHub read."""
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
    """Render one self-contained page. All content is escaped and printable."""
    environment = Environment(
        loader=FileSystemLoader(os.path.dirname(__file__)),
        autoescape=True,
        undefined=StrictUndefined,
    )
    text = environment.get_template(template).render(content, width=WIDTH, height=HEIGHT) + "\n"
    return printable(text, len(text) * len(TAB))


def as_html(run: RolloutReport) -> str:
    return page("report.html.j2", run=run, picture=report_timeline.picture(run.timeline))


FILES = {"report.html": as_html, "report.json": as_json, "junit.xml": as_junit}


def trials(verdicts: Mapping[str, Mapping[str, Any] | None]) -> Iterable[HostVerdict]:
    """Parse the registered results of rollout_gate. Hosts without a verdict are left out."""
    for host, result in verdicts.items():
        if result and result.get("verdict"):
            yield HostVerdict(
                host, result["verdict"], result["msg"], result["results"], result["summary"]
            )
