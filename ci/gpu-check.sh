#!/usr/bin/env bash
# Checks Assay on a machine with a GPU, in one command and without a Rust toolchain there: the two executables are
# carried along. Prints a table, exits non-zero on any failure, and leaves a record of it all.
set -uo pipefail

usage() {
    cat <<'TEXT'
usage: ci/gpu-check.sh [options]

  --assay PATH    the assay executable (default: $ASSAY, else assay on PATH)
  --worker PATH   the assay-worker executable (default: beside assay)
  --out DIR       where records and the report go (default: gpu-check)
  --suites LIST   suites that are run, with commas (default: kernels-smoke,kernels,memory,dense,system,ml-ops,training-smoke)
  --rounds N      rounds of every case of these, an even number (default: 2; `suite` takes as many as suites say)
  --seed N        of the inputs (default: from the clock, and printed)
  --limit N       seconds after which a step is ended, and has failed (default: 1800)
  --lacking       let ops pass unchecked whose library is not here; without it that is a failure
  -h, --help      this text

In turn: the GPU and its driver; every op, in every variant and type, against its reference on fresh random inputs, in all
timing modes, each size by a process of its own; the same of a small size under compute-sanitizer, where there is one; the
measured ceilings beside the datasheet; every suite, in short form; a training by one GPU and by two, where there are two,
which must have the same losses to the bit; that telemetry was recorded. NVRTC and NCCL are found through CUDA_HOME or
ASSAY_CUDA, or by the loader. The report, DIR/report.md, is written however this ends.

Exit code: 0 all passed; 1 something failed; 2 bad usage; 3 there is no GPU to check.
TEXT
}

die() {
    printf 'gpu-check.sh: %s\n' "$1" >&2
    exit "${2:-2}"
}

assay=${ASSAY:-assay}
worker=
out=gpu-check
suites=kernels-smoke,kernels,memory,dense,system,ml-ops,training-smoke
rounds=2
seed=$(date +%s)
limit=1800
lacking=

while (($#)); do
    [[ $1 != --*=* ]] || set -- "${1%%=*}" "${1#*=}" "${@:2}"
    case $1 in
        -h | --help)
            usage
            exit 0
            ;;
        --lacking)
            lacking=1
            shift
            ;;
        --assay | --worker | --out | --suites | --rounds | --seed | --limit)
            [[ -n ${2-} ]] || die "$1 needs a value; see --help"
            printf -v "${1#--}" %s "$2"
            shift 2
            ;;
        *) die "unknown option $1; see --help" ;;
    esac
done

[[ $seed =~ ^[0-9]{1,18}$ ]] || die "--seed $seed: expected a whole number"
[[ $limit =~ ^[1-9][0-9]{0,5}$ ]] || die "--limit $limit: expected seconds, a whole number above 0"
assay=$(command -v "$assay") || die "no assay: give --assay PATH"
assay=$(realpath "$assay")
worker=${worker:-$(dirname "$assay")/assay-worker}
[[ -x $worker ]] || die "no assay-worker: give --worker PATH"
worker=$(realpath "$worker")
if [[ $rounds == suite ]]; then short=(); else short=(--rounds "$rounds"); fi
IFS=, read -ra names <<<"$suites"
mkdir -p "$out" || die "$out: cannot be made"
out=$(realpath "$out")
cd "$out" || exit 2
# What could be wrong with the words of the command line is told before an hour of checks.
for suite in "${names[@]}"; do
    "$assay" plan "$suite" "${short[@]}" >/dev/null 2>plan.log || die "suite $suite: $(head -n 3 plan.log)"
done

results=()
failed=0
job=
# Each step is a group of processes, so that a signal to this script ends all of it.
set -m

# note WORD SECONDS TEXT: a line of the table.
note() {
    results+=("$(printf '%-7s %5s s  %s' "$@")")
}

# check NAME COMMAND...: runs it into a log; any status but 0 is a failure.
check() {
    local name=$1 status begin=$SECONDS log
    shift
    log=$out/${name//[^a-z0-9-]/_}.log
    printf '==> %s\n' "$name"
    "$@" >"$log" 2>&1 &
    job=$!
    wait "$job"
    status=$?
    job=
    tail -n "${lines:-3}" "$log"
    case $status in
        0) note ok $((SECONDS - begin)) "$name${said:+: $(grep -E "$said" "$log" | tail -n 1)}" ;;
        124 | 137) note FAILED $((SECONDS - begin)) "$name (ended after $limit s, ${log##*/})" ;;
        *) note FAILED $((SECONDS - begin)) "$name (exit $status, ${log##*/})" ;;
    esac
    ((status == 0)) || failed=1
    return "$status"
}

# shellcheck disable=SC2317 # called through `check`
limited() { # a command that is ended after the limit
    timeout --foreground --kill-after=30 "$limit" "$@"
}

# A GPU of another generation, a type that a variant does not have, a block that is too large, so little that it is no measure of
# memory (which ceilings check): no check is missing there.
fine='is not for sm_|of shared memory|the shared memory of a block|does not multiply|do not lie in'
# Products of 8 bits are of whole lines of 16 bytes, which only this size has: there cuBLASLt does all that a GPU can, and what it
# calls unsupported is a wrong call. Which types an older GPU lacks, the worker says itself.
whole=67
unaligned='NOT_SUPPORTED|ARCH_MISMATCH'

# shellcheck disable=SC2317 # called through `check`
ops() { # ops SIZE: all ops of a size, of which none is left unchecked for want of a library
    local status
    limited "$worker" check cuda "$seed" "$1" >"ops-$1.txt" 2>&1
    status=$?
    cat "ops-$1.txt"
    ((status == 0)) || return "$status"
    local passed=$fine
    (($1 == whole)) || passed+="|$unaligned"
    if [[ -z $lacking ]] && grep '^skipped' "ops-$1.txt" | grep -vE "$passed" | sort | head -n 5 | grep .; then
        echo "these and more of their kind were not checked: what they need is not here (--lacking lets that pass)"
        return 1
    fi
}

# shellcheck disable=SC2317 # called through `check`
ranks() { # that a training by two GPUs has all losses of one that one of them does, turn by turn
    local outputs
    limited "$assay" run training-smoke --filter train/ranks --quiet | tee ranks.txt || return
    if ! grep -q '^2 ok' ranks.txt; then
        echo "not both were trained: the reason is above"
        return 1
    fi
    outputs=$("$assay" show --json | grep -oE '"output": *"sha256:[0-9a-f]+"' | sort -u)
    if [[ $(wc -l <<<"$outputs") != 1 ]]; then
        echo "two GPUs have other losses than one: $outputs"
        return 1
    fi
    echo "one GPU and two have the same losses: $outputs"
}

# shellcheck disable=SC2317 # called through `check`
telemetry() { # that some run recorded the clock or power of a GPU
    local record
    for record in assay-data/records/*.zst; do
        if zstd -dcq "$record" | grep -qE '"name":"gpu\.[0-9]+\.(power|sm_clock)"'; then
            echo "$record has telemetry"
            return 0
        fi
    done
    echo "no record holds telemetry of a GPU"
    return 1
}

# shellcheck disable=SC2317 # called when this ends
report() {
    {
        printf '# GPU check\n\n'
        printf '| | |\n|---|---|\n'
        printf '| date | %s |\n' "$(date -u +%Y-%m-%d)"
        printf '| GPU | %s |\n' "$("$assay" fingerprint show | awk '$1 == "gpu.0.name" { $1 = ""; print substr($0, 2) }')"
        printf '| Assay | %s |\n' "$("$assay" --version)"
        printf '| seed | %s |\n' "$seed"
        printf '| ended | %s |\n\n' "$1"
        printf '```\n'
        printf '%s\n' "${results[@]}"
        # shellcheck disable=SC2016 # backquotes of Markdown
        printf '```\n\n## Ceilings\n\n```\n'
        "$assay" ceilings --show
        printf '```\n'
    } >report.md
    printf '\n%s\n' "${results[@]}"
    printf 'report: %s/report.md; records: %s/assay-data/records\n' "$out" "$out"
}

probe() { # whether there is a GPU at all: of the smallest size, since without one nothing passes
    lines=2 said=passed check "every op against its reference, of size 1" ops 1
    if (($? == 3)); then
        die "no CUDA device, driver or compiler: $(head -n 1 ops-1.txt)" 3
    fi
}

printf 'seed %s\n' "$seed"
probe
# shellcheck disable=SC2317 # called by a signal
stopped() {
    [[ -z $job ]] || kill -- "-$job"
    report "early, by a signal"
    exit 1
}
trap stopped INT TERM HUP
for size in 67 300; do
    lines=8 said=passed check "every op against its reference, of size $size" ops "$size"
done
lines=12 check fingerprint limited "$assay" fingerprint show
if command -v compute-sanitizer >/dev/null; then
    # By the host's clock: a gate that waits for the host would stop where the tool makes launches wait.
    for tool in memcheck racecheck; do
        check "compute-sanitizer $tool" limited compute-sanitizer --tool "$tool" --error-exitcode 9 "$worker" check cuda "$seed" 67 host
    done
else
    note skipped - "compute-sanitizer: not here"
fi
lines=40 check ceilings limited "$assay" ceilings
for suite in "${names[@]}"; do
    lines=60 said='^[0-9]+ ok' check "suite $suite" limited "$assay" run "$suite" "${short[@]}" --quiet
done
if "$assay" fingerprint show | grep -q '^ *gpu\.1\.name '; then
    lines=20 check "training by two GPUs" ranks
else
    note skipped - "training by two GPUs: there is one"
fi
if command -v zstd >/dev/null; then
    check telemetry telemetry
else
    note skipped - "telemetry: no zstd to look into the records with"
fi
report "after all steps"
exit "$failed"
