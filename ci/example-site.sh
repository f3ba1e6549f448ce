#!/usr/bin/env bash
# Builds the small site that README's picture shows, from the records that lie in ci/example/records.
#
#     ci/example-site.sh ASSAY DIR
#
# ASSAY is the program, DIR the folder of the site. Nothing is measured: the same records give the same site.
set -euo pipefail

if (($# != 2)); then
    echo "usage: ci/example-site.sh ASSAY DIR" >&2
    exit 2
fi
assay=$(realpath "$1")
out=$(realpath -m "$2")
example=$(cd "$(dirname "$0")/example" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# Settings and database lie apart from whatever is here.
cp "$example/assay.toml" "$scratch"
cd "$scratch"
"$assay" ingest "$example/records"
# All of it is made up: there is nothing to keep back.
"$assay" report --out "$out" --publish-source
