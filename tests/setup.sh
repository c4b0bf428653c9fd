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

may_install() {
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null
}

install() {
    echo "setup: installing $*"
    export DEBIAN_FRONTEND=noninteractive
    apt-get -q update >/dev/null
    apt-get -q -y install --no-install-recommends "$@" >/dev/null
}

# Before python is asked: an old one cannot run what asks.
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
    fail "Python 3.11 or newer is needed, and $python is not: make PYTHON=/path/to/python3.11 ..."

if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    may_install || fail "$python has no ensurepip: install python3-venv, or run this as root on Debian."
    install python3-venv
fi
# Without these a few tests are skipped, so nobody has to have them.
missing=
for tool in logrotate shellcheck; do
    PATH=$PATH:/usr/sbin command -v $tool >/dev/null || missing="$missing $tool"
done
if [ -n "$missing" ] && may_install; then
    # shellcheck disable=SC2086
    install $missing
fi

collection=.cache/collections/ansible_collections/evenkeel/flask
if [ ! -e $collection ]; then
    mkdir -p "$(dirname $collection)"
    ln -sfn ../../../.. $collection
fi

# The scripts of a venv name its place, so one that was moved is made anew.
made_of="$PWD $("$python" -V) $(sha256sum <tests/requirements.txt)"
[ "$(cat .venv/made-of 2>/dev/null)" = "$made_of" ] && exit
echo "setup: making .venv"
"$python" -m venv --clear .venv
.venv/bin/pip -qq install -r tests/requirements.txt
echo "$made_of" >.venv/made-of
