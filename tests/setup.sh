#!/bin/sh
# Makes .venv, and installs what Debian needs for it: its python3 comes without
# ensurepip. Quick when there is nothing to do; PYTHON names another interpreter.
set -eu
cd "$(dirname "$0")/.."
unset PYTHONHOME PYTHONPATH PIP_PREFIX PIP_TARGET PIP_USER
python=${PYTHON:-python3}

fail() {
    echo "setup: $*" >&2
    exit 1
}

# Before python is called: an old python cannot run the check itself.
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
    fail "Python 3.11 or newer is needed, and $python is not: make PYTHON=/path/to/python3.11 ..."

# Without the other two a few tests are skipped, so nobody has to have them.
missing=
"$python" -c 'import ensurepip, venv' 2>/dev/null || missing=python3-venv
PATH=$PATH:/usr/sbin command -v logrotate >/dev/null || missing="$missing logrotate"
command -v shellcheck >/dev/null || missing="$missing shellcheck"
if [ -n "$missing" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "setup: installing $missing"
    export DEBIAN_FRONTEND=noninteractive
    apt-get -q update >/dev/null
    # shellcheck disable=SC2086
    apt-get -q -y install --no-install-recommends $missing >/dev/null
elif [ "${missing#python3-venv}" != "$missing" ]; then
    fail "$python has no ensurepip: install python3-venv, or run this as root on Debian."
fi

# nginx is unpacked and not installed: as a package it would start, and take port 80. Without it a few tests are skipped.
if ! PATH=$PATH:/usr/sbin command -v nginx >/dev/null && [ ! -e .cache/nginx/usr/sbin/nginx ] && [ "$(id -u)" = 0 ] &&
    command -v apt-get >/dev/null; then
    echo "setup: unpacking nginx"
    mkdir -p .cache/nginx
    (cd .cache/nginx && apt-get -q update && apt-get -q download nginx && dpkg -x nginx_*.deb . && rm nginx_*.deb) \
        >/dev/null 2>&1 || echo "setup: there is no nginx to be had" >&2
fi

collection=.cache/collections/ansible_collections/evenkeel/flask
if [ ! -e $collection ]; then
    mkdir -p "$(dirname $collection)"
    ln -sfn ../../../.. $collection
fi

# The scripts of a venv contain its path, so a moved one is created again.
made_of="$PWD $("$python" -V) $(sha256sum <tests/requirements.txt)"
[ "$(cat .venv/made-of 2>/dev/null)" = "$made_of" ] && exit
echo "setup: making .venv"
"$python" -m venv --clear .venv
.venv/bin/pip -qq install -r tests/requirements.txt
echo "$made_of" >.venv/made-of
