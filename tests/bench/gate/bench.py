# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much faster is one call of the gate than tasks that use uri? make bench-gate.

Both run on storefront on a host of a fleet, over the same SSH connection, in turn.
The start of Ansible is measured separately and subtracted.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1] / "fleet"), str(HERE.parent)]

import page  # noqa: E402
from demo import Demo  # noqa: E402

PLAYBOOKS = {
    "none": "nothing but the connection",
    "ping": "one task that does nothing (`ping`)",
    "uri": "eight `uri` tasks, one request each",
    "uri_same": "the gate's questions, each by `uri`",
    "gate": "one `rollout_gate` with seven checks",
}


def seconds(playbook: str, folder: Path) -> float:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ANSIBLE_")}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    begun = time.monotonic()
    done = subprocess.run(
        ["ansible-playbook", str(HERE / f"{playbook}.yml")],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(f"bench: {playbook}.yml failed:\n{done.stdout}{done.stderr}")
    return time.monotonic() - begun


def main(args: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--turns", type=int, default=9, help="of each, in turn (9)")
    turns = parser.parse_args(args).turns
    measured = page.machine()
    demo = Demo(hosts=1, name="bench")
    demo.make_fleet()
    try:
        demo.lay_out("v1")
        demo.play("site")
        taken: dict[str, list[float]] = {name: [] for name in PLAYBOOKS}
        for _turn in range(turns):
            for name, seen in taken.items():
                seen.append(seconds(name, demo.folder))
    finally:
        demo.fleet.down()
    start = statistics.median(taken["none"])
    rows = []
    for name, what in PLAYBOOKS.items():
        # Each turn by itself, so that a busy moment disturbs what is compared alike.
        ratios = [(it - start) / (gate - start) for it, gate in zip(taken[name], taken["gate"])]
        milliseconds = (statistics.median(taken[name]) - start) * 1000
        rows.append([what, f"{milliseconds:.0f}", f"{statistics.median(ratios):.1f}"])
    page.write(
        "gate",
        [
            f"Medians of {turns} turns; Ansible's own start, {start * 1000:.0f} ms, is taken off.",
            "",
            *page.table(["what", "ms", "times the gate"], rows[1:]),
        ],
        measured,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
