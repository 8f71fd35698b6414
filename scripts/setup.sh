#!/bin/sh
# Makes .venv with everything pinned and hashed. Called by make; safe to run again. Usage: scripts/setup.sh [dev]
set -eu
cd "$(dirname "$0")/.."
kind="${1:-runtime}"
stamp=".venv/.installed-$kind"
lock="requirements/$kind.txt"

if [ -f "$stamp" ] && [ "$stamp" -nt "$lock" ] && [ "$stamp" -nt pyproject.toml ]; then
    exit 0
fi

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null; then sudo "$@"; else return 1; fi; }

install() { # install PACKAGE...: with the system's package manager, where there is one that we know
    if command -v apt-get >/dev/null; then
        as_root apt-get update -qq && as_root apt-get install -y -qq --no-install-recommends "$@" >/dev/null
    else
        return 1
    fi
}

python=""
for candidate in python3 python3.15 python3.14 python3.13 python3.12 python3.11; do
    if command -v "$candidate" >/dev/null && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
        python="$candidate"
        break
    fi
done
if [ -z "$python" ]; then
    echo "sternway: Python 3.11 or newer is needed and was not found on PATH" >&2
    exit 1
fi
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    install python3-venv || { echo "sternway: $python lacks venv; install the package python3-venv" >&2; exit 1; }
fi
if ! command -v git >/dev/null; then
    install git || { echo "sternway: git is needed; install it and try again" >&2; exit 1; }
fi
if [ "$kind" = dev ] && ! command -v ssh-keygen >/dev/null; then
    install openssh-client || { echo "sternway: the tests need ssh-keygen; install the package openssh-client" >&2; exit 1; }
fi
if [ "$kind" = dev ] && ! command -v openssl >/dev/null; then
    install openssl || { echo "sternway: the tests make certificates with openssl; install the package openssl" >&2; exit 1; }
fi
if [ "$kind" = dev ] && ! command -v prometheus >/dev/null; then
    install prometheus || { echo "sternway: the tests need Prometheus; install the package prometheus" >&2; exit 1; }
fi
if [ "$kind" = dev ] && ! command -v prometheus-alertmanager >/dev/null; then
    install prometheus-alertmanager || { echo "sternway: the tests need Alertmanager; install the package prometheus-alertmanager" >&2; exit 1; }
fi

echo "sternway: setting up .venv ($kind), once; about half a minute" >&2
[ -x .venv/bin/python ] || "$python" -m venv .venv
.venv/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r "$lock"
.venv/bin/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
.venv/bin/python -m compileall -q src # pip compiles all but this; half a second of a start where Python may not do it itself
touch "$stamp"
