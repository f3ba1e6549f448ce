#!/usr/bin/env bash
# One night: ingests the records of earlier nights, runs a suite, checks it, publishes the site. For cron, GitHub
# Actions, GitLab, Slurm: whoever can call a script and keep a folder. Exits as `assay nightly` does.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: ci/nightly.sh [options] [SUITE] [-- ASSAY_NIGHTLY_OPTION...]

Ingests the records of earlier nights, runs SUITE (default: smoke; a name, a path, or a manifest.json),
checks it against earlier nights, and publishes the site. Options after -- go to `assay nightly`, such as
--filter TEXT, --wait SECONDS, --junit FILE or --markdown FILE.

  --records DIR   records of earlier nights, to which this night's is added: the one folder to keep
                  from night to night (default: assay-data/records)
  --site DIR      where the site is published (default: assay-data/site)
  --also DIR      a further folder of records to read, of another machine, say; may be given again
  --project DIR   the project that is measured, with its assay.toml if it has one (default: here)
  --assay PATH    the assay executable (default: $ASSAY, else assay on PATH)
  -h, --help      this text

Relative paths are from the current folder. Where every night gets a fresh machine, put a line
`machine = "NAME"` into the project's assay.toml: nights of one name make one history.

Exit code: that of `assay nightly`. 0 fine; 1 a case failed, gave a wrong output, or is slower than its
baseline, confirmed; 2 bad input; 3 could not run; 130 interrupted. Record and site are left in their folders in each case, as far as
there are any. A record that cannot be read is named on stderr and left out; it stops nothing.
TEXT
}

die() {
    printf 'nightly.sh: %s\n' "$*" >&2
    exit 2
}

records='assay-data/records'
site='assay-data/site'
project=.
assay=${ASSAY:-assay}
also=()
suite=

while (($#)); do
    case $1 in
        -h | --help)
            usage
            exit 0
            ;;
        --records | --site | --also | --project | --assay)
            [[ -n ${2-} ]] || die "$1 needs a value; see --help"
            case $1 in
                --records) records=$2 ;;
                --site) site=$2 ;;
                --also) also+=("$2") ;;
                --project) project=$2 ;;
                --assay) assay=$2 ;;
            esac
            shift 2
            ;;
        --)
            shift
            break
            ;;
        -*) die "unknown option $1; see --help" ;;
        *)
            [[ -z $suite ]] || die "two suites, $suite and $1: one night runs one"
            suite=$1
            shift
            ;;
    esac
done
suite=${suite:-smoke}

# From here on paths are absolute, since assay runs in the project's folder.
found=$(command -v -- "$assay") || die "no executable $assay: build it with \`cargo build --release\` and name it with --assay"
assay=$(realpath -- "$found")
[[ -d $project ]] || die "--project $project: no such folder"
mkdir -p -- "$records" "$(dirname -- "$site")"
records=$(realpath -- "$records")
site=$(realpath -m -- "$site")
folders=("$records")
for folder in "${also[@]}"; do
    [[ -d $folder ]] || die "--also $folder: no such folder"
    folders+=("$(realpath -- "$folder")")
done
[[ $suite != */* && ! -f $suite ]] || suite=$(realpath -- "$suite")
cd -- "$project"

scratch=$(mktemp -d)
trap 'rm -rf -- "$scratch"' EXIT

# Runs assay; a request to end this script becomes one to assay, which then keeps what it has measured.
run() {
    "$assay" "$@" &
    local child=$! status=0 again=1
    trap 'again=1; kill -TERM "$child" 2>/dev/null || true' TERM
    trap 'again=1' INT # the terminal has told assay too
    while ((again)); do # a signal ends `wait` before assay has ended
        again=0
        status=0
        wait "$child" || status=$?
    done
    trap - TERM INT
    return "$status"
}

# Copies a record to the folder that is kept; whoever looks there sees a whole one or none.
keep() {
    local name
    name=$(basename -- "$1")
    [[ ! $1 -ef $records/$name ]] || return 0
    cp -- "$1" "$records/.$name.part"
    mv -f -- "$records/.$name.part" "$records/$name"
}

run ingest "${folders[@]}" || echo "nightly.sh: going on without the records named above" >&2

touch "$scratch/begin"
status=0
run nightly "$suite" "$@" >"$scratch/summary" || status=$?
cat "$scratch/summary"

mapfile -t written < <(sed -n 's/^record: *//p' "$scratch/summary")
if ((${#written[@]})); then
    # The night's, and that of what was run to confirm its suspects.
    for record in "${written[@]}"; do
        keep "$record"
    done
elif [[ -d assay-data/records ]]; then
    # It did not come so far as to name its record.
    while IFS= read -r -d '' partial; do
        keep "$partial"
    done < <(find assay-data/records -name '*.jsonl*' -newer "$scratch/begin" -print0)
fi

published=0
run report --out "$site" || published=$?
((status != 0)) || status=$published
exit "$status"
