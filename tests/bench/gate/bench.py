# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much faster is one call of the gate than a uri task for each check? make bench-gate.

Both run on storefront on a host of a fleet, over the same SSH connection, in turn.
What Ansible takes for its own start is measured beside them and taken off.
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
sys.path[:0] = [str(HERE.parents[1] / "fleet")]

from demo import Demo  # noqa: E402

PLAYBOOKS = ("none", "uri", "gate")


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
    # Each turn by itself, so that a busy moment disturbs what is compared alike.
    ratios = [
        (uri - start) / (gate - start)
        for uri, gate in zip(taken["uri"], taken["gate"], strict=True)
    ]
    print(f"\nAnsible's own start: {start * 1000:.0f} ms, taken off. Medians of {turns} turns:\n")
    print("| what | ms |\n|---|---|")
    print(f"| eight uri tasks | {(statistics.median(taken['uri']) - start) * 1000:.0f} |")
    print(
        f"| one rollout_gate, seven checks | {(statistics.median(taken['gate']) - start) * 1000:.0f} |"
    )
    print(
        f"\n{statistics.median(ratios):.1f} times faster (from {min(ratios):.1f} to {max(ratios):.1f})."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
