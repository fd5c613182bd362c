#!/usr/bin/env bash
# Build the Collector that a manifest beside this file describes (builder.yaml, or the one named), once, and print the
# path of its binary: `build.sh [--path] [MANIFEST]`.
#
# The binary is kept outside the checkout, under a name made of the manifest's hash: a changed manifest is a new one.
# Needs Go and access to Go modules; a first build takes a few minutes. Only the path goes to standard output.
# With --path it prints the path and builds nothing.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
only_path=
[[ ${1-} != --path ]] || { only_path=yes; shift; }
manifest=$here/${1-builder.yaml}
release=$(sed -n 's/^  version: //p' "$manifest")
hash=$(grep -v '^ *#' "$manifest" | sha256sum | cut -c1-16) # a new comment makes no new Collector
cache=${XDG_CACHE_HOME:-$HOME/.cache}/otel-audit
binary=$cache/otelcol-$hash

if [[ $only_path ]]; then
    echo "$binary"
    exit
fi
if [[ ! -x $binary ]]; then
    mkdir -p "$cache"
    exec 9>"$cache/otelcol.lock"
    flock 9 # two builds at once would only slow each other
fi
if [[ ! -x $binary ]]; then
    work=$(mktemp -d "$cache/build.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    cd "$work"
    {
        GOBIN=$work go install "go.opentelemetry.io/collector/cmd/builder@v$release"
        ./builder --config "$manifest"
        ./build/otelcol --version
    } >&2
    mv build/otelcol "$binary"
fi
echo "$binary"
