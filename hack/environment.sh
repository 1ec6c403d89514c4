#!/usr/bin/env bash
# Makes the virtual environment from the lock file. Usage: environment.sh PYTHON VENV
set -euo pipefail
python=$1
venv=$2

if ! "$python" -c 'import sys; sys.exit(sys.version_info[:2] < (3, 11))' 2>/dev/null; then
  echo "$python is not Python 3.11 or newer; install it, or name another: make PYTHON=python3.11 …" >&2
  exit 1
fi
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing python3-venv"
    apt-get update -qq && apt-get install -y -qq --no-install-recommends python3-venv >/dev/null
  else
    echo "Python's venv module is missing; install it: sudo apt-get install python3-venv" >&2
    exit 1
  fi
fi
echo "installing the locked Python packages into $venv (about a minute)"
"$python" -m venv "$venv"
# Python compiles what is imported, and keeps it; to compile all of it here would take as long as the rest.
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile --require-hashes -r requirements/dev.txt
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
