#!/usr/bin/env bash
# Build Loki from its published Go module, once, and print the path of its binary; `--path` prints it and builds nothing.
# Kept outside the checkout. Needs Go and access to Go modules; a first build takes about five minutes.
set -euo pipefail

release=v3.5.0
cache=${XDG_CACHE_HOME:-$HOME/.cache}/otel-audit
binary=$cache/loki-$release

if [[ ${1-} == --path ]]; then
    echo "$binary"
    exit
fi
mkdir -p "$cache"
exec 9>"$cache/loki.lock"
flock 9
if [[ ! -x $binary ]]; then
    work=$(mktemp -d "$cache/build.XXXXXX")
    trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
    {
        cd "$work"
        go mod init build
        module=$(go mod download -json "github.com/grafana/loki/v3@$release" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
        cp -r "$module" source
        chmod -R u+w source
        cd source
        # Its nested module is published on its own; the module's archive does not hold the directory.
        go mod edit -dropreplace=github.com/grafana/loki/pkg/push
        go build -mod=mod -trimpath -ldflags=-s -o "$work/loki" ./cmd/loki
        "$work/loki" --version
    } >&2
    mv "$work/loki" "$binary"
fi
echo "$binary"
