#!/usr/bin/env bash
# Flame graphs of a job, as SVG: of everything that runs (the program, its libraries, ffmpeg), and of the guest alone.
#
#   flamegraph.sh HALFPIPE GUESTS FOLDER CLIP [argument of `halfpipe run` ...]
#
# HALFPIPE  the program; GUESTS  a folder of components that still have their functions' names; FOLDER  where process.svg, guest.svg and
# the stacks they are drawn from (*.folded: one stack and its samples a line) go.
#
# Needs Linux's perf and the right to use it (root, or kernel.perf_event_paranoid at 1 or less). inferno, which draws, and rustfilt, which
# makes names readable, are installed with cargo into the cache. The job runs twice: stacks of native code are unwound by their tables,
# those of guests by frame pointers.
set -euo pipefail

[[ $# -ge 4 ]] || { echo "usage: $0 HALFPIPE GUESTS FOLDER CLIP [argument of 'halfpipe run' ...]" >&2; exit 2; }
halfpipe=$1 guests=$2 folder=$3 clip=$4
shift 4
inferno=0.12.8 rustfilt=0.2.2
cache=${XDG_CACHE_HOME:-$HOME/.cache}/halfpipe

say() { echo "[flamegraph] $*" >&2; }
if ! perf stat -e task-clock true >/dev/null 2>&1; then
  say "perf is missing or may not be used: install it (Debian's name: linux-perf), and be root or set kernel.perf_event_paranoid to 1"
  exit 1
fi
tools=$cache/flamegraph-$inferno-$rustfilt
if [[ ! -e $tools/complete ]]; then
  say "installing inferno $inferno and rustfilt $rustfilt into $tools"
  cargo install --quiet --locked --root "$tools" --target-dir "$tools/build" "inferno@$inferno" "rustfilt@$rustfilt"
  rm -rf "$tools/build"
  touch "$tools/complete"
fi

scratch=$(mktemp -d)
# perf finds the names of a guest's functions only under the name that it knows
trap 'rm -rf "$scratch"; rm -f "/tmp/perf-$(cat "$scratch/pid" 2>/dev/null || echo none).map"' EXIT
mkdir -p "$folder"

# record STACKS FREQUENCY NAME: runs the job and folds its stacks
record() {
  say "$3: a job under perf, stacks by $1"
  # the inner shell's process id becomes the program's, which is in the map's name
  # shellcheck disable=SC2016
  HALFPIPE_GUESTS=$guests perf record --quiet --freq "$2" --call-graph "$1" --output "$scratch/$3.data" -- \
    sh -c 'echo $$ >"$0"; exec "$@"' "$scratch/pid" "$halfpipe" run "$clip" -y -q --perf-map -o "$scratch/out.mp4" "${options[@]}" >"$folder/$3.txt"
  perf script --input "$scratch/$3.data" --max-stack 127 2>"$scratch/$3.log" >"$scratch/$3.stacks" || { tail -n 3 "$scratch/$3.log" >&2; exit 1; }
  rm -f "/tmp/perf-$(cat "$scratch/pid").map" "$scratch/$3.data"
  "$tools/bin/inferno-collapse-perf" <"$scratch/$3.stacks" | "$tools/bin/rustfilt" >"$folder/$3.folded"
}
# draw NAME TITLE
draw() { "$tools/bin/inferno-flamegraph" --title "$2" --hash <"$folder/$1.folded" >"$folder/$1.svg"; }

options=("$@")
record dwarf,16384 199 process
draw process "halfpipe run $(basename "$clip"): all threads and processes"
record fp 4999 guest
# from the first frame that a guest owns
sed -n 's/^.*;\(wasm\[[^;]*.*\)$/\1/p' "$folder/guest.folded" >"$scratch/guest.folded"
mv "$scratch/guest.folded" "$folder/guest.folded"
[[ -s $folder/guest.folded ]] || { say "no sample fell into a guest; take a longer clip"; exit 1; }
draw guest "halfpipe run $(basename "$clip"): the guest"
rm -f "$folder/process.txt" "$folder/guest.txt"
say "written: $folder/process.svg, $folder/guest.svg"
