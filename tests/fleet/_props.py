# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The services around the app hosts: real PostgreSQL, Redis and a load balancer.

They are tools of the tests and not roles of the collection, so scripts set them up. Each script
can run any number of times.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from _plan import REDIS_ACL, haproxy_config
from _podman import shell

DATA = """\
umask 077
cat > /etc/redis/users.acl.new <<'END'
{acl}END
chown redis: /etc/redis/users.acl.new
if cmp -s /etc/redis/users.acl.new /etc/redis/users.acl; then
    rm /etc/redis/users.acl.new
    systemctl start redis-server
else
    mv /etc/redis/users.acl.new /etc/redis/users.acl
    systemctl restart redis-server
fi
systemctl start "postgresql@$(ls /etc/postgresql)-main"
su postgres -c 'psql -q -v ON_ERROR_STOP=1' <<'END'
SELECT 'CREATE ROLE storefront LOGIN'
    WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'storefront')\\gexec
ALTER ROLE storefront PASSWORD '{password}';
SELECT 'CREATE DATABASE storefront OWNER storefront'
    WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'storefront')\\gexec
END
"""

LB = """\
cat > /etc/haproxy/haproxy.cfg.new <<'END'
{config}END
if cmp -s /etc/haproxy/haproxy.cfg.new /etc/haproxy/haproxy.cfg; then
    rm /etc/haproxy/haproxy.cfg.new
    systemctl start haproxy
else
    haproxy -c -q -f /etc/haproxy/haproxy.cfg.new
    mv /etc/haproxy/haproxy.cfg.new /etc/haproxy/haproxy.cfg
    systemctl reload-or-restart haproxy
fi
"""


def set_up_data(container: str, words: Mapping[str, str]) -> None:
    acl = REDIS_ACL.format(digest=hashlib.sha256(words["redis_password"].encode()).hexdigest())
    shell(container, DATA.format(acl=acl, password=words["postgres_password"]))


def set_up_lb(container: str, hosts: Sequence[str]) -> None:
    shell(container, LB.format(config=haproxy_config(hosts)))
