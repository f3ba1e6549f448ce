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
expect 2 'give --assay PATH' 'no assay' "$check" --assay "$work/none"
expect 2 '--seed abc: expected a whole number' 'a seed that is none' "$check" --assay="$assay" --seed=abc
expect 2 '--limit 0: expected seconds' 'no time at all' "$check" --assay "$assay" --limit 0
expect 2 'suite kernel: ' 'a suite that is not there' "$check" --assay "$assay" --suites dense,kernel
expect 2 'option --rounds' 'rounds that make no blocks' "$check" --assay "$assay" --rounds 3
cp "$assay" lonely
expect 2 'give --worker PATH' 'no worker beside it' "$check" --assay "$work/lonely"
if "$assay" fingerprint | grep -q 'gpu\.0\.'; then
    printf 'skipped no GPU: there is one here\n'
else
    expect 3 'no CUDA device' 'no GPU' "$check" --assay "$assay" --out "$work/checked"
    expect 3 'no CUDA device' 'no GPU, a second time' "$check" --assay "$assay" --out "$work/checked"
fi

# What becomes of a worker's answers, by programs that only answer: there is no GPU here to fail.
mkdir fake
cat >fake/assay <<'FAKE'
#!/usr/bin/env bash
case $1 in
    --version) echo "assay 0.0.0" ;;
    fingerprint) printf 'machine m\n  gpu.0.name                               Some GPU 9\n' ;;
    run) echo "3 ok, 0 failed" ;;
esac
FAKE
cat >fake/assay-worker <<'FAKE'
#!/usr/bin/env bash
[[ ${FAKE_SLOW-} != "$4" ]] || sleep 60
[[ -z ${FAKE_SKIPS-} ]] || echo "skipped  gemm[size=$4]@cuda+hot: $FAKE_SKIPS"
echo "9 passed, 0 failed, 1 skipped; seed $3"
FAKE
chmod +x fake/assay fake/assay-worker
ran=("$check" --assay "$work/fake/assay" --out "$work/faked" --suites dense --limit 2)

# table WORDS NAME: that the report's table has a line.
table() {
    grep -qF -- "$1" "$work/faked/report.md" || { cat "$work/faked/report.md" >&2; fail "$2: no '$1' in the report"; }
    printf 'ok      %s\n' "$2"
}

code=0
"${ran[@]}" >out 2>&1 || code=$?
# Telemetry of a GPU is missing, or nothing can look for it.
[[ $code == "$(command -v zstd >/dev/null && echo 1 || echo 0)" ]] || { cat out >&2; fail "all passed: exit code $code"; }
table 'every op against its reference, of size 300: 9 passed, 0 failed, 1 skipped' 'what passed is counted'
table 'suite dense: 3 ok' 'what a suite said is told'
table '| GPU | Some GPU 9 |' 'the GPU is named'
export FAKE_SKIPS='cuBLASLt is not there: install it'
expect 1 'were not checked' 'a library that is missing' "${ran[@]}"
table 'FAILED' 'a library that is missing, in the table'
if command -v zstd >/dev/null; then wanted=1; else wanted=0; fi
expect "$wanted" '1 skipped' 'a library that may be missing' "${ran[@]}" --lacking
export FAKE_SKIPS='cuBLASLt: 67 by 272 by 80 of f8: CUBLAS_STATUS_NOT_SUPPORTED'
expect 1 'were not checked' 'a call that a library refuses, of whole lines' "${ran[@]}"
table 'of size 300: 9 passed' 'a call that a library refuses, of other lines'
export FAKE_SKIPS='gemm_wgmma.cu is not for sm_80'
expect "$wanted" '1 skipped' 'what a GPU does not have' "${ran[@]}"
export FAKE_SLOW=67
expect 1 'of size 67 (ended after 2 s' 'a kernel that hangs' "${ran[@]}"
table 'of size 300: 9 passed' 'a kernel that hangs, and what comes after it'
rm "$work/faked/report.md"
"${ran[@]}" --limit 60 >out 2>&1 &
sleep 2
kill "$!"
code=0
wait "$!" || code=$?
[[ $code == 1 ]] || { cat out >&2; fail "stopped: exit code $code"; }
table '| ended | early, by a signal |' 'stopped in the middle'
pgrep -f "$work/fake/assay-worker" >/dev/null && fail 'stopped in the middle: its worker goes on'
printf 'ok      %s\n' 'stopped in the middle, and its worker with it'
