#!/usr/bin/env bash
# Tests of ci/nightly.sh with the real program: ci/tests/nightly.sh [ASSAY]. About 10 seconds.
set -euo pipefail
assay=$(realpath "${1:-target/release/assay}")
nightly=$(realpath "$(dirname "$0")/../nightly.sh")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export ASSAY_LOCK_DIR=$work # these runs are no measurements: they wait for nobody's, and nobody for them
cd "$work"

fail() {
    printf 'FAULT   %s\n' "$*" >&2
    exit 1
}

# expect CODE NAME COMMAND...: output in $work/out
expect() {
    local wanted=$1 name=$2 code=0
    shift 2
    "$@" >out 2>&1 || code=$?
    [[ $code == "$wanted" ]] || { cat out >&2; fail "$name: exit code $code, expected $wanted"; }
    printf 'ok      %s\n' "$name"
}

count() { find "$1" -name '*.jsonl.zst' | wc -l; }

suite() { # suite NAME WORKLOAD PARAMS
    cat >"$1.toml" <<TOML
schema = 1
name = "$1"
[policy]
rounds = 2
max_rounds = 2
min_samples = 2
max_samples = 4
warmup_ms = 1
round_ms = 1
[[benchmark]]
name = "$1"
workload = "$2"
params = { $3 }
TOML
}
suite good spin 'steps = 1000'
suite bad fault 'mode = "wrong"'
suite slow fault 'mode = "hang"'

# A fresh checkout each night, as on a hosted runner: what is kept is the folder of records alone.
for night in 1 2; do
    mkdir "checkout-$night"
    expect 0 "night $night" "$nightly" --assay "$assay" --project "checkout-$night" --records kept --site "site-$night" good.toml
    [[ $(count kept) == "$night" ]] || fail "night $night: $(count kept) records are kept"
    [[ $(find "site-$night/runs" -name '*.html' | wc -l) == "$night" ]] || fail "night $night: the site has not $night runs"
done
(cd checkout-2 && "$assay" db verify ../kept >/dev/null) || fail "a record that was kept is damaged"

mkdir other
mv "$(find kept -name '*.jsonl.zst' -print -quit)" other/
mkdir checkout-3
expect 0 "records of another folder" "$nightly" --assay "$assay" --project checkout-3 --records kept --also other --site site-3 good.toml
[[ $(count kept) == 2 && $(find site-3/runs -name '*.html' | wc -l) == 3 ]] || fail "two folders do not make one history"

echo rubbish >kept/20260101-000000-0123abcd.jsonl
expect 0 "a record that cannot be read stops nothing" "$nightly" --assay "$assay" --project checkout-1 --records kept --site site-1 good.toml
grep -q 20260101-000000-0123abcd.jsonl out || fail "the record that cannot be read is not named"
rm kept/20260101-000000-0123abcd.jsonl

mkdir checkout-4
expect 1 "exit code of a failing suite" "$nightly" --assay "$assay" --project checkout-4 --records failed --site site-4 bad.toml
[[ $(count failed) == 1 && -s site-4/index.html ]] || fail "a failing night leaves no record or no site"

expect 2 "exit code of bad input" "$nightly" --assay "$assay" --project checkout-4 --records failed --site site-4 missing.toml
expect 2 "an unknown option" "$nightly" --colour good.toml
expect 2 "two suites" "$nightly" good.toml bad.toml
expect 2 "no executable" "$nightly" --assay ./no-such good.toml
expect 0 "help" "$nightly" --help
expect 0 "options after --" "$nightly" --assay "$assay" --project checkout-4 --records tagged --site site-4 good.toml -- --tag first --quiet

# A CI system that cancels a night sends SIGTERM to the script.
mkdir checkout-5
(
    "$nightly" --assay "$assay" --project checkout-5 --records cancelled --site site-5 slow.toml &
    night=$!
    until compgen -G 'checkout-5/assay-data/records/*.jsonl' >/dev/null; do sleep 0.1; done
    sleep 0.5
    kill -TERM "$night"
    wait "$night"
) >out 2>&1 && code=0 || code=$?
[[ $code == 130 ]] || { cat out >&2; fail "cancelled: exit code $code, expected 130"; }
[[ $(count cancelled) == 1 ]] || fail "a cancelled night leaves no record"
printf 'ok      cancelled\n'
