#!/bin/sh
# Write build.lock and test.lock from build.in and test.in: `make lock`. What is pinned stays;
# `make lock LOCK=--upgrade` takes the newest versions.
#
# pip-compile reads the user's own pip configuration; nothing of it is written to the locks,
# so that they install from any index that has the same files.
set -eu
cd "$(dirname "$0")"

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT INT TERM
/usr/bin/python3 -m venv "$scratch/venv"
"$scratch/venv/bin/python" -m pip install --quiet pip-tools

for name in build test; do
    # --allow-unsafe: pip and setuptools would be pinned too, were they asked for.
    # --strip-extras: a constraints file may not hold extras, and test.in reads build.lock.
    "$scratch/venv/bin/pip-compile" --quiet --no-config --no-header --generate-hashes \
        --allow-unsafe --strip-extras \
        --no-emit-index-url --no-emit-trusted-host --no-emit-find-links \
        --output-file "$name.lock" "$@" "$name.in"
done
