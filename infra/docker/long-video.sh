#!/usr/bin/env bash
# One task of a long video that many machines work on, between a bucket and this container: infra/lambda/long-videos.asl.json calls it, and
# anything else that runs containers can. Each task fetches what it needs, runs one command of halfpipe, and stores what came of it; doing one
# twice does no harm.
#
#   long-video split     fetches the video, plans its windows, stores the plan and the list of windows
#   long-video window    fetches video and plan, works on one window, stores its part
#   long-video join      fetches everything, joins it, stores the results, removes the parts
#
#   LONG_VIDEO_STORE     BUCKET/PREFIX
#   LONG_VIDEO_ID        name of this piece of work: letters, digits, - and _
#   LONG_VIDEO_INPUT     key of the video below the prefix, for split and join
#   LONG_VIDEO_WINDOWS   how many windows, for split
#   LONG_VIDEO_WINDOW    number of the window, for window
#   LONG_VIDEO_ENDPOINT  S3 endpoint, where it is not AWS
set -euo pipefail

say() { echo "[long-video] $*" >&2; }
die() { say "$*"; exit 3; }
need() { [ -n "${!1:-}" ] || die "$1 is not set; this script's first lines say what it is"; }

need LONG_VIDEO_STORE
need LONG_VIDEO_ID
[[ $LONG_VIDEO_ID =~ ^[A-Za-z0-9_-]{1,80}$ ]] || die "LONG_VIDEO_ID is \"$LONG_VIDEO_ID\"; it can have letters, digits, - and _"
remote=":s3,env_auth=true,provider=AWS,region=${AWS_REGION:-us-east-1},no_check_bucket=true"
[ -z "${LONG_VIDEO_ENDPOINT:-}" ] || remote=":s3,env_auth=true,provider=Other,region=${AWS_REGION:-us-east-1},no_check_bucket=true,endpoint=\"$LONG_VIDEO_ENDPOINT\""
work=$remote:$LONG_VIDEO_STORE/windows/$LONG_VIDEO_ID
results=$remote:$LONG_VIDEO_STORE/results/long/$LONG_VIDEO_ID
scratch=$(mktemp -d "${HALFPIPE_SPOOL:-${TMPDIR:-/tmp}}/long-video-XXXXXX")
trap 'rm -rf "$scratch"' EXIT
# retried with back-off by rclone itself; checksums are compared
fetch() { rclone copyto --retries 5 --retries-sleep 2s "$1" "$2" || die "cannot fetch ${1##*:}"; }
store() { rclone copyto --retries 5 --retries-sleep 2s "$1" "$2" || die "cannot store ${2##*:}"; }

video() {
  need LONG_VIDEO_INPUT
  # the plan is for exactly this file: its digest is checked by every command
  fetch "$remote:$LONG_VIDEO_STORE/$LONG_VIDEO_INPUT" "$scratch/video"
}

case ${1:-} in
  split)
    need LONG_VIDEO_WINDOWS
    video
    halfpipe split "$scratch/video" --windows "$LONG_VIDEO_WINDOWS" -o "$scratch/plan.json"
    jq --arg input "$LONG_VIDEO_INPUT" '[.windows[] | {name: (.index | tostring), input: $input}]' "$scratch/plan.json" >"$scratch/windows.json"
    store "$scratch/plan.json" "$work/plan.json"
    # last: who sees the list finds the plan
    store "$scratch/windows.json" "$work/windows.json"
    ;;
  window)
    need LONG_VIDEO_WINDOW
    [[ $LONG_VIDEO_WINDOW =~ ^[0-9]{1,6}$ ]] || die "LONG_VIDEO_WINDOW is \"$LONG_VIDEO_WINDOW\"; it is a number"
    video
    fetch "$work/plan.json" "$scratch/plan.json"
    k=$LONG_VIDEO_WINDOW
    halfpipe run "$scratch/video" --window "$scratch/plan.json:$k" -q -o "$scratch/out_$k.mp4" --poses "$scratch/poses_$k.jsonl"
    store "$scratch/out_$k.mp4" "$work/parts/out_$k.mp4"
    store "$scratch/poses_$k.jsonl" "$work/parts/poses_$k.jsonl"
    ;;
  join)
    video
    fetch "$work/plan.json" "$scratch/plan.json"
    rclone copy --retries 5 --retries-sleep 2s "$work/parts" "$scratch/parts" || die 'cannot fetch the parts'
    mkdir "$scratch/joined"
    halfpipe join "$scratch/plan.json" --parts "$scratch/parts" --source "$scratch/video" -o "$scratch/joined/overlay.mp4" \
      --poses "$scratch/joined/poses.jsonl" --glb "$scratch/joined/motion.glb" --bvh "$scratch/joined/motion.bvh" --report "$scratch/joined/report.json"
    for file in "$scratch"/joined/*; do store "$file" "$results/$(basename "$file")"; done
    # what is left behind costs storage and nothing else: the bucket's lifecycle removes it
    rclone purge "$work/parts" || say 'the parts could not be removed'
    ;;
  *) die "\"${1:-}\" is no task; there are split, window and join" ;;
esac
