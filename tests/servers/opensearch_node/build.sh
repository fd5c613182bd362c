#!/usr/bin/env bash
# Gather a genuine OpenSearch from its published jars, once, and print the directory to run it from:
# `java -cp "DIRECTORY/*" OpenSearchNode <data directory> <port>`. `--path` prints it and builds nothing.
# Kept outside the checkout, under a name made of the sources' hash. Needs Maven, a JDK (17) and access to Maven Central.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
hash=$(cat "$here/pom.xml" "$here/OpenSearchNode.java" | sha256sum | cut -c1-16)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/otel-audit
built=$cache/opensearch-$hash

if [[ ${1-} == --path ]]; then
    echo "$built"
    exit
fi
mkdir -p "$cache"
exec 9>"$cache/opensearch.lock"
flock 9
if [[ ! -d $built ]]; then
    work=$(mktemp -d "$cache/build.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    {
        mvn -q -B -f "$here/pom.xml" dependency:copy-dependencies -DoutputDirectory="$work/node"
        javac -cp "$work/node/*" -d "$work/classes" "$here/OpenSearchNode.java"
        jar --create --file "$work/node/node.jar" -C "$work/classes" .
    } >&2
    mv "$work/node" "$built"
fi
echo "$built"
