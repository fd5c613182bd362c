#!/usr/bin/env bash
# Build a C2SP witness, litewitness of filippo.io/torchwood, once, and print the path of its binary.
#
# It is kept outside the checkout, under the version's name. Needs Go and access to Go modules; a first build takes a
# minute or two. Only the path goes to standard output. With --path it prints the path and builds nothing.
set -euo pipefail

version=v0.6.1 # the last one that Go 1.24 to 1.26 build
cache=${XDG_CACHE_HOME:-$HOME/.cache}/otel-audit
binary=$cache/litewitness-$version

if [[ ${1-} == --path ]]; then
    echo "$binary"
    exit
fi
if [[ ! -x $binary ]]; then
    mkdir -p "$cache"
    exec 9>"$cache/litewitness.lock"
    flock 9 # two builds at once would only slow each other
fi
if [[ ! -x $binary ]]; then
    work=$(mktemp -d "$cache/build.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    GOBIN=$work go install "filippo.io/torchwood/cmd/litewitness@$version" >&2
    mv "$work/litewitness" "$binary"
fi
echo "$binary"
