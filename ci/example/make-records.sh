#!/usr/bin/env bash
# Makes the records of the example site anew: nights of a small project whose commits make one part slower and another
# faster, on a machine whose GPU driver is replaced meanwhile; its ceilings; and a night that was run again. They are measured
# here; the project, the GPU and the dates are made up. Run it on a quiet machine, from a clone:
#
#     ci/example/make-records.sh ASSAY [STEP...]
#
# ASSAY is the program. Without a step all of them are made, one after the other; each may also be made by itself, in this
# order, where the machine is quiet for a short while only:
#
#     begin, ceilings, 1 to 14 (a night), reproduce (after night 8 and before the next), finish
#
# At the end the records take the place of those in ci/example/records.
set -euo pipefail

assay=$(realpath "${1:?name the program: ci/example/make-records.sh target/release/assay}")
shift
here=$(cd "$(dirname "$0")" && pwd)
place=/tmp/assay-example
project=$place/project
nights=14
reproduced=8

begin() {
    rm -rf "$place"
    mkdir -p "$project"
    cp "$assay" "$place/assay"
    # A date of our choosing, and an NVML in two versions.
    cc -shared -fPIC -O2 -o "$place/shift_clock.so" "$here/shift_clock.c" -ldl
    fake 570.86.15
    fake 580.65.06
    : >"$place/control"
    cd "$project"
    git init -q -b main
    git config user.name "Example"
    git config user.email "example@example.org"
    cp "$here/suite.toml" .
    { cat "$here/assay.toml" && printf 'machine = "bench-01"\n'; } >assay.toml
    printf 'assay-data/\n' >.gitignore
    cat >check.sh <<'CHECK'
i=0
while [ $i -lt 40000 ]; do i=$((i + 1)); done
CHECK
    worker parser 400
    worker codec 0
    commit 1 "parser, codec and their suite"
}

fake() { # fake VERSION: an NVML whose driver has this version
    sed "s/550\.54\.15/$1/" "$here/../../harness/machine/tests/fake_nvml.c" >"$place/nvml.c"
    cc -shared -fPIC "-DCONTROL=\"$place/control\"" -o "$place/nvml-$1.so" "$place/nvml.c"
}

worker() { # worker NAME PERMILLE: the worker of a part that does this much more work than it must
    printf '#!/bin/sh\nexec env ASSAY_SPIN_EXTRA_PERMILLE=%s %s/assay worker\n' "$2" "$place" >"$1.sh"
}

commit() { # commit NIGHT WORDS
    git add -A
    GIT_AUTHOR_DATE="2026-10-$(printf '%02d' "$1")T15:00:00Z" GIT_COMMITTER_DATE="2026-10-$(printf '%02d' "$1")T15:00:00Z" \
        git commit -q -m "$2"
}

at() { # at TIME DRIVER ARGUMENT...: Assay at a time of its own, with an NVML of this version
    local shift driver=$2
    shift=$(($(date -u -d "$1" +%s) - $(date +%s)))
    # 1: something got worse, which is what is shown.
    (
        cd "$project"
        LD_PRELOAD=$place/shift_clock.so SHIFT_SECONDS=$shift ASSAY_NVML=$place/nvml-$driver.so \
            PATH=/usr/bin:/bin HOME=$place XDG_CACHE_HOME=$place/cache ASSAY_LOCK_DIR=$place \
            "$place/assay" "${@:3}" -q >>"$place/log" 2>&1 || (($? == 1))
    )
}

# What its commit changes, then the nightly run of that day, at two in the morning.
night() { # night N
    local driver=570.86.15
    (($1 < 13)) || driver=580.65.06
    cd "$project"
    case $1 in
    5)
        worker codec 120
        commit "$1" "codec: check every bound"
        ;;
    14)
        worker codec 330
        worker parser 0
        printf 'echo "check.sh: 1 of 212 pages has no title" >&2\nexit 1\n' >check.sh
        commit "$1" "parser: read words instead of bytes; codec: copy before decoding"
        ;;
    *)
        printf '%s\n' "$1" >notes.txt
        commit "$1" "notes: night $1"
        ;;
    esac
    at "2026-10-$(printf '%02d' "$(($1 + 1))") 02:00:00" $driver nightly ./suite.toml --tag "night-$1"
}

finish() {
    rm -rf "$here/records"
    mkdir "$here/records"
    cp "$project"/assay-data/records/*.jsonl.zst "$here/records/"
    du -sh "$here/records"
}

make() { # make STEP
    case $1 in
    begin | finish) "$1" ;;
    ceilings) at "2026-10-01 09:00:00" 570.86.15 ceilings ;;
    reproduce) at "2026-10-$(printf '%02d' $((reproduced + 1))) 14:00:00" 570.86.15 reproduce "tag:night-$reproduced" ;;
    [1-9] | 1[0-4]) night "$1" ;;
    *)
        echo "make-records.sh: no step $1: begin, ceilings, 1 to $nights, reproduce, finish" >&2
        exit 2
        ;;
    esac
    printf '%s done\n' "$1"
}

steps=("$@")
if ((${#steps[@]} == 0)); then
    mapfile -t before < <(seq 1 $reproduced)
    mapfile -t after < <(seq $((reproduced + 1)) $nights)
    steps=(begin ceilings "${before[@]}" reproduce "${after[@]}" finish)
fi
for step in "${steps[@]}"; do
    make "$step"
done
