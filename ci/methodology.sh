#!/usr/bin/env bash
# Runs the commands whose tables METHODOLOGY.md shows, and puts their output between its markers.
#   ci/methodology.sh [FOLDER_OF_LABELLED_SERIES]
# Without a folder of labelled series (see the README beside the Turing Change Point Dataset) that table stays as it is.
set -euo pipefail
cd "$(dirname "$0")/.."
page=harness/stats/METHODOLOGY.md

# Puts standard input between <!-- NAME --> and <!-- /NAME -->.
between() {
    local name=$1 output
    output=$(cat)
    grep -q "<!-- $name -->" "$page" || { echo "$page: no marker $name" >&2; exit 1; }
    OUTPUT=$output awk -v name="$name" '
        $0 == "<!-- /" name " -->" { skipping = 0 }
        !skipping { print }
        $0 == "<!-- " name " -->" { print ""; print ENVIRON["OUTPUT"]; print ""; skipping = 1 }
    ' "$page" > "$page.new"
    mv "$page.new" "$page"
}

cargo run --release --quiet -p assay-stats --example operating_characteristics | between OPERATING-CHARACTERISTICS
cargo run --release --quiet -p assay --example live_proof | between LIVE
if [ $# -gt 0 ]; then
    { echo '```'; cargo run --release --quiet -p assay-stats --example changepoint_score -- "$1"; echo '```'; } |
        between CHANGEPOINT-SCORE
fi
