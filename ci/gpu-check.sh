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
  --suites LIST   suites that are run, with commas (default: kernels-smoke,memory,dense,system,ml-ops)
  --seed N        of the inputs (default: from the clock, and printed)
  -h, --help      this text

In turn: the GPU and its driver; every op, in every variant and type, against its reference on fresh random inputs, in all
timing modes; the same of a small size under compute-sanitizer, where there is one; the measured ceilings beside the
datasheet; every suite; a training by one GPU and by two, where there are two, which must have the same losses to the bit;
that telemetry was recorded. NVRTC and NCCL are found through CUDA_HOME or ASSAY_CUDA, or by the loader.

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
suites=kernels-smoke,memory,dense,system,ml-ops
seed=$(date +%s)

while (($#)); do
    case $1 in
        -h | --help)
            usage
            exit 0
            ;;
        --assay | --worker | --out | --suites | --seed)
            [[ -n ${2-} ]] || die "$1 needs a value; see --help"
            case $1 in
                --assay) assay=$2 ;;
                --worker) worker=$2 ;;
                --out) out=$2 ;;
                --suites) suites=$2 ;;
                --seed) seed=$2 ;;
            esac
            shift 2
            ;;
        *) die "unknown option $1; see --help" ;;
    esac
done

assay=$(command -v "$assay") || die "no assay: give --assay PATH" 3
assay=$(realpath "$assay")
worker=${worker:-$(dirname "$assay")/assay-worker}
[[ -x $worker ]] || die "no assay-worker: give --worker PATH" 3
worker=$(realpath "$worker")
mkdir -p "$out" || die "$out: cannot be made"
out=$(realpath "$out")
cd "$out" || exit 2

results=()
failed=0

# check NAME COMMAND...: runs it into a log; a status other than 0 and those in $fine is a failure.
check() {
    local name=$1 status begin=$SECONDS log
    shift
    log=$out/${name//[^a-z0-9-]/_}.log
    printf '==> %s\n' "$name"
    "$@" >"$log" 2>&1
    status=$?
    tail -n "${lines:-3}" "$log"
    if ((status == 0)); then
        results+=("$(printf 'ok      %4d s  %s' $((SECONDS - begin)) "$name")")
    else
        results+=("$(printf 'FAILED  %4d s  %s (exit %d, %s)' $((SECONDS - begin)) "$name" "$status" "${log##*/}")")
        failed=1
    fi
}

gpu() { # what the driver says of the first GPU
    "$assay" fingerprint show --json | grep -oE "\"gpu\.0\.$1\": *\{\"value\": *\"[^\"]*\"" | head -n 1 | sed 's/.*"\([^"]*\)"$/\1/'
}

# shellcheck disable=SC2317 # called through `check`
ranks() { # that a training by two GPUs has all losses of one that one of them does, turn by turn
    local outputs
    "$assay" run training-smoke --filter train/ranks --quiet | tee ranks.txt || return
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

"$worker" check cuda "$seed" >ops.log 2>&1
if (($? == 3)); then
    tail -n 1 ops.log
    die "no CUDA device, driver or compiler: $(head -n 1 ops.log)" 3
fi

printf 'seed %s\n' "$seed"
lines=12 check fingerprint "$assay" fingerprint show
lines=8 check "every op against its reference" "$worker" check cuda "$seed"
if command -v compute-sanitizer >/dev/null; then
    check "compute-sanitizer memcheck" compute-sanitizer --error-exitcode 9 "$worker" check cuda "$seed" 67
    check "compute-sanitizer racecheck" compute-sanitizer --tool racecheck --error-exitcode 9 "$worker" check cuda "$seed" 67
else
    results+=("skipped         compute-sanitizer: not here")
fi
lines=40 check ceilings "$assay" ceilings
IFS=, read -ra names <<<"$suites"
for suite in "${names[@]}"; do
    lines=60 check "suite $suite" "$assay" run "$suite" --quiet
done
if "$assay" fingerprint show --json | grep -q '"gpu\.1\.name"'; then
    lines=20 check "training by two GPUs" ranks
else
    results+=("skipped         training by two GPUs: there is one")
fi
if command -v zstd >/dev/null; then
    check telemetry telemetry
else
    results+=("skipped         telemetry: no zstd to look into the records with")
fi

{
    printf '# GPU check\n\n'
    printf '| | |\n|---|---|\n'
    printf '| date | %s |\n' "$(date -u +%Y-%m-%d)"
    printf '| GPU | %s |\n' "$(gpu name)"
    printf '| Assay | %s |\n' "$("$assay" --version)"
    printf '| seed | %s |\n\n' "$seed"
    printf '```\n'
    printf '%s\n' "${results[@]}"
    # shellcheck disable=SC2016 # backquotes of Markdown
    printf '```\n\n## Ceilings\n\n```\n'
    "$assay" ceilings --show
    printf '```\n'
} >report.md

printf '\n%s\n' "${results[@]}"
printf 'report: %s/report.md; records: %s/assay-data/records\n' "$out" "$out"
exit "$failed"
