#!/usr/bin/env bash
# Runs the commands whose tables METHODOLOGY.md shows, and puts their output between its markers.
#   ci/methodology.sh [FOLDER_OF_LABELLED_SERIES]
# Without a folder of labelled series (see the README beside the Turing Change Point Dataset) that table stays as it is.
set -euo pipefail
cd "$(dirname "$0")/.."
page=harness/stats/METHODOLOGY.md

output=$(mktemp)
trap 'rm -f "$output"' EXIT

# Puts what a command says between <!-- NAME --> and <!-- /NAME -->; where it fails, the page stays as it is.
between() {
    local name=$1
    shift
    grep -q "<!-- $name -->" "$page" || { echo "$page: no marker $name" >&2; exit 1; }
    "$@" > "$output"
    OUTPUT=$(cat "$output") awk -v name="$name" '
        $0 == "<!-- /" name " -->" { skipping = 0 }
        !skipping { print }
        $0 == "<!-- " name " -->" { print ""; print ENVIRON["OUTPUT"]; print ""; skipping = 1 }
    ' "$page" > "$page.new"
    mv "$page.new" "$page"
}

example() {
    cargo run --release --quiet -p "$1" --example "${@:2}"
}

# What it prints is no Markdown.
fenced() {
    echo '```'
    "$@"
    echo '```'
}

between OPERATING-CHARACTERISTICS example assay-stats operating_characteristics
between LIVE example assay live_proof
if [ $# -gt 0 ]; then
    between CHANGEPOINT-SCORE fenced example assay-stats changepoint_score -- "$1"
fi
