#!/bin/sh
# Every op of the host beside what bounds it, by turns in one process, since the ceiling of a shared machine is another a minute later.
# Usage: kernels/benches/ops.sh [PATTERN] [SECONDS] [THREADS]. PATTERN is of the op with its parameters, and a basic regular
# expression. Prints the rates and ratio of the medians, and of the best samples.
set -eu
pattern=${1:-.}
seconds=${2:-1}
threads=${3:-$(nproc)}
here=$(cd "$(dirname "$0")" && pwd)
if [ -z "${TIME_CASE:-}" ]; then
    cargo build --quiet --release --manifest-path "$here/../Cargo.toml" --example time_case
    TIME_CASE=${CARGO_TARGET_DIR:-$here/../../target}/release/examples/time_case
fi

printf '%-75s %-28s %9s %9s %6s %6s\n' op beside rate bound ratio best
grep -v '^#' "$here/ops.txt" | grep -e "$pattern" | while IFS='|' read -r op beside; do
    # Those that say how many threads they have keep them.
    case $op in
    *threads=*) team= ;;
    *) team=threads=$threads ;;
    esac
    # The words of all are words.
    # shellcheck disable=SC2086
    if [ -n "${beside## }" ]; then
        out=$("$TIME_CASE" $op $team seconds="$seconds" beside $beside $team 2>&1) || true
    else
        out=$("$TIME_CASE" $op $team seconds="$seconds" beside=ceiling 2>&1) || true
        beside=ceiling
    fi
    case $out in
    *" verified best "*) ;;
    *)
        printf '%-75s %s\n' "$op" "$out"
        continue
        ;;
    esac
    echo "$out" | awk -v op="$op" -v beside="$beside" '{
        for (i = 1; i < NF; ++i) if ($i == "median") { rate = $(i + 1); bound = $(i + 3); ratio = $(i + 4) }
        sub(":", "", bound)
        printf "%-75s %-28.28s %9s %9s %6s %6s\n", op, beside, rate, bound, ratio, $(NF - 5) }'
done
