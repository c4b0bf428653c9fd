# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A longer way from the database to its users; Redis, on the same host, is as near as before."""

from __future__ import annotations

from pathlib import Path

from _plan import FleetError
from _podman import in_its, podman, shell

RELAY = Path(__file__).with_name("relay.py")
DATABASE_PORT, RELAY_PORT = 5432, 5433
# Without netem, the parts that were set up to try it are removed.
NETEM = f"""\
tc qdisc add dev eth0 root handle 1: prio bands 4 priomap 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0
tc qdisc add dev eth0 parent 1:4 netem delay {{milliseconds}}ms || {{{{ tc qdisc del dev eth0 root; exit 1; }}}}
tc filter add dev eth0 parent 1: protocol ip u32 match ip sport {DATABASE_PORT} 0xffff flowid 1:4
"""
START_RELAY = f"""\
systemd-run -q --unit=bench-relay python3 /root/{RELAY.name} {RELAY_PORT} {DATABASE_PORT} {{seconds}}
timeout 20 sh -c 'until ss -ltn | grep -q :{RELAY_PORT}; do sleep 0.05; done'
"""


def delay(data: str, milliseconds: float) -> str:
    """Delay all responses of the database by this time, and return a description of the method.

    It affects connections that are made from now on.
    """
    try:
        in_its(data, "-n", "sh", "-ec", NETEM.format(milliseconds=milliseconds))
    except FleetError:
        podman("cp", str(RELAY), f"{data}:/root/")
        shell(data, START_RELAY.format(seconds=milliseconds / 1000))
        redirect = f"-p tcp --dport {DATABASE_PORT} -j REDIRECT --to-ports {RELAY_PORT}"
        in_its(data, "-n", "iptables", "-t", "nat", "-A", "PREROUTING", *redirect.split())
        return (
            "`tc netem` cannot be set on this kernel, so a small relay on the database's host holds back "
            "what the database says. Unlike a network it computes, on the same cores."
        )
    return "`tc netem` holds back what the database says."
