# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The images of a fleet: made here, once, out of Debian's archive alone.

Each is a recipe applied to the one before: a bare system, the base every host
is made of, and on that the data and load balancer hosts. An image remembers its
recipe, so a changed recipe is a new image and nothing has to be thrown away by hand.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from _plan import PREFIX, FleetError
from _podman import choose_settings, image_labels, locked, podman, run, say

LABEL = "evenkeel.recipe"
CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")

# An installed service does not start while an image is built. Many images for single processes
# have such a policy, and remove downloads of apt. A host has neither.
BEFORE = """\
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d
chmod 0755 /usr/sbin/policy-rc.d
rm -f /etc/apt/apt.conf.d/docker-*
apt-get -q update
install() { apt-get -q -y install --no-install-recommends "$@"; }
"""
AFTER = "rm /usr/sbin/policy-rc.d\n"

# The packages that the roles install are downloaded and not installed: the hosts stay bare, and
# tests do not wait for the network. Host keys are created at the first start, so that no two
# hosts share them.
BASE = """\
install systemd systemd-sysv dbus python3 python3-apt iproute2 procps ca-certificates \
    openssh-server sudo
apt-get clean
apt-get -q -y install --download-only nginx logrotate python3-venv
# Older releases have none.
apt-get -q -y install --download-only libnginx-mod-http-brotli-filter || true
id deploy 2>/dev/null || useradd --create-home --shell /bin/bash deploy
echo 'deploy ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/deploy
chmod 0440 /etc/sudoers.d/deploy
echo 'MaxStartups 100' > /etc/ssh/sshd_config.d/fleet.conf
rm -f /etc/ssh/ssh_host_*
mkdir -p /etc/systemd/system/ssh.service.d
cat > /etc/systemd/system/ssh.service.d/keys.conf <<'END'
[Service]
ExecStartPre=
ExecStartPre=/usr/bin/ssh-keygen -A
ExecStartPre=/usr/sbin/sshd -t
END
: > /etc/machine-id
"""

DATA = """\
install postgresql redis-server
apt-get clean
cluster=$(echo /etc/postgresql/*/main)
echo 'host all all samenet scram-sha-256' >> "$cluster/pg_hba.conf"
echo "listen_addresses = '*'" > "$cluster/conf.d/fleet.conf"
sed -i '/^bind /d; /^protected-mode /d' /etc/redis/redis.conf
cat >> /etc/redis/redis.conf <<'END'
bind 0.0.0.0
protected-mode no
aclfile /etc/redis/users.acl
END
echo 'user default off' > /etc/redis/users.acl
chown redis: /etc/redis/users.acl
chmod 0600 /etc/redis/users.acl
"""

# Debian's unit binds /dev/log into a chroot, which a container does not allow.
LB = """\
install haproxy
apt-get clean
mkdir -p /etc/systemd/system/haproxy.service.d
printf '[Service]\\nBindReadOnlyPaths=\\n' > /etc/systemd/system/haproxy.service.d/fleet.conf
"""


class Images:
    """The images of one kind of fleet: of a Debian release, or of an image that the user names."""

    def __init__(self, release: str, image: str | None) -> None:
        self.release = release
        self.image = image
        self.tag = f"on-{_digest(image)}" if image else release
        self.recipes = {
            "base": ("bare", BASE + _trust()),
            "data": ("base", DATA),
            "lb": ("base", LB),
        }
        self.labels = image_labels()

    def name(self, kind: str) -> str:
        return f"localhost/{PREFIX}{kind}:{self.tag}"

    def of(self, host: str) -> str:
        """The image of a host of a fleet, if need be because it was made."""
        return self.get("base" if host.startswith("app") else host)

    def get(self, kind: str) -> str:
        """The name of an image that is there, if need be because it was made."""
        if kind == "bare":
            return self._bare()
        name = self.name(kind)
        if self._is_current(kind):
            return name
        with locked(name):
            self.labels = image_labels()
            if not self._is_current(kind):
                self._make(kind)
        return name

    def _recipe(self, kind: str) -> str:
        """The inputs of an image, so that an outdated image can be recognized."""
        if kind == "bare":
            return self.image or self.release
        parent, script = self.recipes[kind]
        return _digest(self._recipe(parent) + BEFORE + script + AFTER)

    def _is_current(self, kind: str) -> bool:
        return self.labels.get(self.name(kind), {}).get(LABEL) == self._recipe(kind)

    def _make(self, kind: str) -> None:
        parent, script = self.recipes[kind]
        source = self.get(parent)
        say(f"making {self.name(kind)}, once; about half a minute")
        container = f"{PREFIX}make_{kind}_{self.tag}"
        try:
            podman(
                "run", "-i", "--replace", "--name", container, source, "/bin/sh", "-eu",
                text=BEFORE + script + AFTER,
            )  # fmt: skip
            podman(
                "commit", "-q", "--change", f"LABEL {LABEL}={self._recipe(kind)}",
                "--change", 'CMD ["/sbin/init"]', container, self.name(kind),
            )  # fmt: skip
        finally:
            podman("rm", "-f", "-i", "-t", "0", container)
        # The replaced image is removed, unless a container still needs it.
        podman("image", "prune", "-f", "--filter", f"label={LABEL}")

    def _bare(self) -> str:
        name = self.image or self.name("bare")
        if name not in self.labels:
            _pull(name) if self.image else _debootstrap(self.release, name)
        choose_settings(name)
        return name


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _trust() -> str:
    """Let the hosts trust whom this machine trusts."""
    if not CA_BUNDLE.exists():
        return ""
    return f"cat > {CA_BUNDLE} <<'END'\n{CA_BUNDLE.read_text(encoding='utf-8')}\nEND\n"


def _pull(name: str) -> None:
    say(f"pulling {name}")
    try:
        podman("pull", "-q", name)
    except FleetError as exc:
        raise FleetError(
            f"{exc}. Give --image another name, or leave it out to use debootstrap."
        ) from exc


def _debootstrap(release: str, name: str) -> None:
    if os.geteuid() != 0:
        raise FleetError("debootstrap needs root: use sudo, or name an image with --image.")
    say(f"making {name} with debootstrap, once; about half a minute")
    with tempfile.TemporaryDirectory(prefix=PREFIX) as folder:
        root = Path(folder, "root")
        try:
            run("debootstrap", "--variant=minbase", release, str(root))
        except FleetError as exc:
            raise FleetError(f"{exc}. Check --release, and the way to Debian's archive.") from exc
        for package in root.glob("var/cache/apt/archives/*.deb"):
            package.unlink()
        archive = Path(folder, "root.tar")
        run("tar", "-C", str(root), "-cf", str(archive), ".")
        podman("import", "-q", str(archive), name)
