#!/bin/sh
# Make the virtual environment and fill it: called by make with VENV, READY and perhaps PYTHON set.
#
# Runs again when pyproject.toml has changed since, and continues where it was interrupted. Two at once take turns.
set -eu

cd "$(dirname "$0")/.."
: "${VENV:=.venv}" "${READY:=$VENV/.ready}" "${PYTHON:=}"
LOCK=".setup-lock"

say() { printf '%s\n' "$*" >&2; }

# --- one at a time ---------------------------------------------------------------------------------------------------

take_turns() {
    waited=0
    until mkdir "$LOCK" 2>/dev/null; do
        owner=$(cat "$LOCK/pid" 2>/dev/null || true)
        if [ -n "$owner" ] && ! kill -0 "$owner" 2>/dev/null; then
            rm -rf "$LOCK" # its owner was killed
            continue
        fi
        if [ $((waited % 30)) -eq 0 ]; then say "setup: another make is setting up $VENV; waiting for it (if there is none, remove $LOCK)"; fi
        waited=$((waited + 1))
        sleep 1
    done
    echo $$ >"$LOCK/pid"
    trap 'rm -rf "$LOCK"' EXIT
    trap 'exit 130' INT TERM HUP
}

up_to_date() {
    [ -e "$READY" ] && [ -z "$(find pyproject.toml scripts/setup.sh -newer "$READY")" ]
}

# --- the interpreter -------------------------------------------------------------------------------------------------

recent() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

find_python() {
    if [ -n "$PYTHON" ]; then
        recent "$PYTHON" && return
        say "setup: PYTHON=$PYTHON is not a Python 3.11 or later; give the path of one, make PYTHON=/path/to/python3.12"
        exit 1
    fi
    for PYTHON in python3.13 python3.12 python3.11 python3 python; do
        recent "$PYTHON" && return
    done
    found=$(python3 --version 2>/dev/null || echo "no Python 3")
    say "setup: saliscope needs Python 3.11 or later, and the PATH has $found."
    say "       Install a newer one (Debian, Ubuntu: apt-get install python3 python3-venv), or name it: make PYTHON=/path/to/python3.12"
    exit 1
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}

may_install() {
    command -v apt-get >/dev/null 2>&1 || return 1
    [ "$(id -u)" -eq 0 ] || { command -v sudo >/dev/null 2>&1 && sudo -n true >/dev/null 2>&1; }
}

apt_install() {
    quick="-o Acquire::http::Timeout=20 -o Acquire::Retries=1 -o DPkg::Lock::Timeout=120 -qq"
    # shellcheck disable=SC2086 # several options in one variable
    as_root env DEBIAN_FRONTEND=noninteractive apt-get $quick update </dev/null >&2 &&
        as_root env DEBIAN_FRONTEND=noninteractive apt-get $quick install -y --no-install-recommends "$@" </dev/null >&2
}

make_venv() {
    if [ -e "$VENV" ] && recent "$VENV/bin/python" && "$VENV/bin/python" -m pip --version >/dev/null 2>&1; then
        return # there already, perhaps half filled
    fi
    rm -rf "$VENV"
    find_python
    say "setup: making $VENV with $("$PYTHON" --version) ($PYTHON)"
    "$PYTHON" -m venv "$VENV" >/dev/null 2>&1 && return
    # Debian keeps the module venv in a package of its own.
    rm -rf "$VENV"
    version=$("$PYTHON" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    if may_install && apt_install "$version" && "$PYTHON" -m venv "$VENV"; then return; fi
    say "setup: $PYTHON cannot make a virtual environment; install its venv module (Debian, Ubuntu: apt-get install $version)"
    exit 1
}

# --- what goes in ----------------------------------------------------------------------------------------------------

check_disk() {
    free=$(df -Pk . | awk 'NR == 2 { print int($4 / 1048576) }')
    if [ "${free:-99}" -lt 8 ]; then
        say "setup: only $free GB are free here; the packages need about 7 (torch brings its GPU libraries along on Linux)"
    fi
}

install_packages() {
    pip="$VENV/bin/python -m pip --disable-pip-version-check --no-input"
    quiet=""
    [ -t 2 ] || quiet="--quiet --progress-bar off"
    say "setup: installing saliscope, its dependencies and the test tools; this takes some minutes the first time"
    # shellcheck disable=SC2086 # words on purpose
    { $pip install $quiet --upgrade "pip>=25.1" &&
        $pip install $quiet --editable . --group lint --group test; } </dev/null >&2 || {
        say "setup: the packages could not be installed (see above); check the connection to the package registry, then run make again"
        exit 1
    }
}

find_browser() {
    for name in chromium chromium-browser google-chrome; do
        command -v "$name" >/dev/null 2>&1 && return
    done
    if may_install; then
        say "setup: installing chromium for the tests that look at pages"
        if apt_install chromium && command -v chromium >/dev/null 2>&1; then return; fi
    fi
    say "setup: no Chromium here, so tests that need a browser will be skipped; to have them, install chromium and put it on the PATH"
}

take_turns
if up_to_date; then exit 0; fi
[ ! -e "$READY" ] || say "setup: pyproject.toml has changed; bringing $VENV up to date"
check_disk
make_venv
install_packages
find_browser
date >"$READY"
say "setup: done"
