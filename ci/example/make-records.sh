#!/usr/bin/env bash
# Makes the records of the example site anew: nights of a small project whose commits make one part slower and another
# faster, on a machine whose GPU driver is replaced meanwhile. They are measured here; the project, the GPU and the dates
# are made up. Run it on a quiet machine, from a clone:
#
#     ci/example/make-records.sh ASSAY
#
# ASSAY is the program. The records take the place of those in ci/example/records.
set -euo pipefail

assay=$(realpath "${1:?name the program: ci/example/make-records.sh target/release/assay}")
here=$(cd "$(dirname "$0")" && pwd)
place=/tmp/assay-example
project=$place/project
nights=14

rm -rf "$place"
mkdir -p "$project"
cp "$assay" "$place/assay"

# A date of our choosing, and an NVML in two versions.
cc -shared -fPIC -O2 -o "$place/shift_clock.so" "$here/shift_clock.c" -ldl
fake() { # fake VERSION: an NVML whose driver has this version
    sed "s/550\.54\.15/$1/" "$here/../../harness/machine/tests/fake_nvml.c" >"$place/nvml.c"
    cc -shared -fPIC "-DCONTROL=\"$place/control\"" -o "$place/nvml-$1.so" "$place/nvml.c"
}
fake 570.86.15
fake 580.65.06
: >"$place/control"

cd "$project"
git init -q -b main
git config user.name "Example"
git config user.email "example@example.org"

worker() { # worker NAME PERMILLE: the worker of a part that does this much more work than it must
    printf '#!/bin/sh\nexec env ASSAY_SPIN_EXTRA_PERMILLE=%s %s/assay worker\n' "$2" "$place" >"$1.sh"
}

commit() { # commit NIGHT WORDS
    git add -A
    GIT_AUTHOR_DATE="2026-10-$(printf '%02d' "$1")T15:00:00Z" GIT_COMMITTER_DATE="2026-10-$(printf '%02d' "$1")T15:00:00Z" \
        git commit -q -m "$2"
}

night() { # night N DRIVER: the nightly run of that day, at two in the morning
    local now wanted
    now=$(date +%s)
    wanted=$(date -u -d "2026-10-$(printf '%02d' "$(($1 + 1))") 02:00:00" +%s)
    # 1: a regression was found, which is what is shown.
    LD_PRELOAD=$place/shift_clock.so SHIFT_SECONDS=$((wanted - now)) ASSAY_NVML=$place/nvml-$2.so \
        PATH=/usr/bin:/bin HOME=$place XDG_CACHE_HOME=$place/cache ASSAY_LOCK_DIR=$place \
        "$place/assay" nightly ./suite.toml -q >"$place/night-$1.log" 2>&1 || (($? == 1))
}

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

for ((n = 1; n <= nights; n++)); do
    case $n in
    5)
        worker codec 120
        commit $n "codec: check every bound"
        ;;
    9)
        worker parser 0
        commit $n "parser: read words instead of bytes"
        ;;
    14)
        worker codec 330
        printf 'echo "check.sh: 1 of 212 pages has no title" >&2\nexit 1\n' >check.sh
        commit $n "codec: copy before decoding"
        ;;
    *)
        printf '%s\n' "$n" >notes.txt
        commit $n "notes: night $n"
        ;;
    esac
    driver=570.86.15
    ((n < 11)) || driver=580.65.06
    night $n $driver
    printf 'night %s of %s\n' $n $nights
done

rm -rf "$here/records"
mkdir "$here/records"
cp assay-data/records/*.jsonl.zst "$here/records/"
du -sh "$here/records"
