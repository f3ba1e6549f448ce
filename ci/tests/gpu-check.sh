#!/usr/bin/env bash
# Tests of what ci/gpu-check.sh does before there is a GPU: ci/tests/gpu-check.sh [ASSAY]. Seconds.
# On a machine with a GPU its own run is the test.
set -euo pipefail
assay=$(realpath "${1:-target/release/assay}")
check=$(realpath "$(dirname "$0")/../gpu-check.sh")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

fail() {
    printf 'FAULT   %s\n' "$*" >&2
    exit 1
}

# expect CODE WORDS NAME COMMAND...
expect() {
    local wanted=$1 words=$2 name=$3 code=0
    shift 3
    "$@" >out 2>&1 || code=$?
    [[ $code == "$wanted" ]] || { cat out >&2; fail "$name: exit code $code, expected $wanted"; }
    grep -qF -- "$words" out || { cat out >&2; fail "$name: does not say '$words'"; }
    printf 'ok      %s\n' "$name"
}

expect 0 'usage: ci/gpu-check.sh' 'help' "$check" --help
expect 2 'unknown option --speed' 'an unknown option' "$check" --speed
expect 2 '--suites needs a value' 'an option without its value' "$check" --suites
expect 3 'give --assay PATH' 'no assay' "$check" --assay "$work/none"
cp "$assay" lonely
expect 3 'give --worker PATH' 'no worker beside it' "$check" --assay "$work/lonely"
if "$assay" fingerprint | grep -q 'gpu\.0\.'; then
    printf 'skipped no GPU: there is one here\n'
else
    expect 3 'no CUDA device' 'no GPU' "$check" --assay "$assay" --out "$work/checked"
    expect 3 'no CUDA device' 'no GPU, a second time' "$check" --assay "$assay" --out "$work/checked"
fi
