#!/bin/sh
# Compares our triad with the same loop in C (gcc -O3 -march=native -fopenmp), from L1 to memory.
# Usage: kernels/benches/triad_vs_c.sh [ROUNDS] [SECONDS]. Runs alternate; the best of each side is compared, since
# interference only ever makes a run slower. Prints GB/s (3 n sizeof T bytes) and the ratio ours / C.
set -eu
rounds=${1:-5}
seconds=${2:-1}
here=$(cd "$(dirname "$0")" && pwd)
target=${CARGO_TARGET_DIR:-$here/../../target}
cargo build --quiet --release --manifest-path "$here/../Cargo.toml" --example time_case
ours=$target/release/examples/time_case
theirs=$(mktemp)
trap 'rm -f "$theirs"' EXIT
"${CC:-gcc}" -O3 -march=native -fopenmp -o "$theirs" "$here/triad.c"

smaller() { awk -v a="$1" -v b="$2" 'BEGIN { print (a == "" || b < a) ? b : a }'; }

cpus=$(nproc)
printf '%-4s %-7s %10s %12s %12s %12s %8s\n' type threads elements bytes 'ours GB/s' 'C GB/s' ratio
for dtype in f32 f64; do
    size=4
    [ "$dtype" = f64 ] && size=8
    for threads in $(printf '1\n%s\n' "$cpus" | sort -nu); do
        # Bytes of all three arrays: half of a 48 KiB L1, half of a 2 MiB L2 (per thread), 24 MiB, 768 MiB.
        for bytes in $((24576 * threads)) $((1048576 * threads)) 25165824 805306368; do
            n=$((bytes / 3 / size))
            best_ours=''
            best_theirs=''
            round=0
            while [ "$round" -lt "$rounds" ]; do
                best_ours=$(smaller "$best_ours" "$("$ours" stream-triad elements=$n dtype=$dtype threads="$threads" seconds="$seconds" | cut -d' ' -f1)")
                best_theirs=$(smaller "$best_theirs" "$("$theirs" $n $dtype "$threads" "$seconds" | cut -d' ' -f1)")
                round=$((round + 1))
            done
            awk -v d=$dtype -v t="$threads" -v n=$n -v b=$((3 * n * size)) -v o="$best_ours" -v c="$best_theirs" 'BEGIN {
                printf "%-4s %-7d %10d %12d %12.1f %12.1f %8.3f\n", d, t, n, b, b / o, b / c, c / o }'
        done
    done
done
