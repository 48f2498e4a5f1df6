#!/usr/bin/env bash
# Halfpipe as it stands on many machines, on this one: S3 and SQS, a server as the front door, and workers. Uploads clips the way a browser
# does, lets the bucket's event start the jobs, waits for the results, shows them, and takes everything down again.
#
#   infra/local/stack.sh [CLIP...]          default: a short clip of tests/fixtures, twice
#
#   HALFPIPE           the program (default: target/release/halfpipe)
#   WORKERS=2          how many workers
#   S3_ENDPOINT, SQS_ENDPOINT
#                      services that are there already, with AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION for them; without
#                      them, moto serves both
#   KEEP=DIR           folder for logs and results, which stays
#
# Prints one line for each result, and how many requests the store was sent. Fails, with the logs, if a job does not complete or its
# video has not the frames of its report.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
halfpipe=${HALFPIPE:-${CARGO_TARGET_DIR:-$root/target}/release/halfpipe}
clips=("$@")
[ ${#clips[@]} -gt 0 ] || clips=("$root/tests/fixtures/clips/tfjs_pose_squats.mp4" "$root/tests/fixtures/clips/tfjs_pose_squats.mp4")
patience=600 # seconds until something that is waited for counts as failed
bucket=halfpipe-stack-$$-$RANDOM
prefix=halfpipe
say() { echo "[stack] $*"; }
[ -x "$halfpipe" ] || { say "$halfpipe is missing; run make build guests models" >&2; exit 1; }

scratch=$(mktemp -d)
logs=${KEEP:-$scratch}
mkdir -p "$logs"
pids=()
down() {
  local status=$?
  trap - EXIT INT TERM
  # the last one started is the first to leave, so that nobody loses what it stands on
  for ((i = ${#pids[@]} - 1; i >= 0; i--)); do
    kill "${pids[i]}" 2>/dev/null || true
    wait "${pids[i]}" 2>/dev/null || true
  done
  if [ $status -ne 0 ]; then
    say "failed; the ends of the logs:" >&2
    tail -n 25 "$logs"/*.log >&2 || true
  fi
  rm -rf "$scratch"
  exit $status
}
trap down EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# start NAME COMMAND...: in the background, with a log
start() {
  local name=$1
  shift
  : >"$logs/$name.log"
  "$@" >>"$logs/$name.log" 2>&1 &
  pids+=($!)
}
# until_said NAME EXPRESSION: what the first group of the expression finds in the log of NAME, as soon as it does
until_said() {
  local found
  for ((i = 0; i < patience * 5; i++)); do
    found=$(sed -nE "s#.*$2.*#\\1#p" "$logs/$1.log" | head -n 1)
    [ -z "$found" ] || { echo "$found"; return; }
    kill -0 "${pids[-1]}" 2>/dev/null || break
    sleep 0.2
  done
  say "$1 did not start" >&2
  return 1
}
# ready ADDRESS: waits until it answers well
ready() { curl -fs --retry "$patience" --retry-delay 1 --retry-all-errors --retry-max-time "$patience" -o /dev/null "$1" || { say "$1 does not answer well" >&2; return 1; }; }
# aws SERVICE CURL-ARGUMENTS...: a signed request
aws() {
  local service=$1
  shift
  curl -fsS --aws-sigv4 "aws:amz:$AWS_REGION:$service" --user "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY" "$@"
}

# ---- S3 and SQS ----------------------------------------------------------------------------------------------------------------------

if [ -z "${S3_ENDPOINT:-}${SQS_ENDPOINT:-}" ]; then
  export AWS_ACCESS_KEY_ID=stack AWS_SECRET_ACCESS_KEY=stack-secret AWS_REGION=us-east-1
  unset AWS_SESSION_TOKEN AWS_PROFILE
  moto=$("$root/infra/local/moto.sh")
  start moto "$moto" -H 127.0.0.1 -p 0
  S3_ENDPOINT=$(until_said moto 'Running on (http://127\.0\.0\.1:[0-9]+)')
  SQS_ENDPOINT=$S3_ENDPOINT
fi
aws s3 -X PUT "$S3_ENDPOINT/$bucket" >/dev/null
# sqs ACTION PARAMETERS...: one call
sqs() {
  local action=$1 parameters=()
  shift
  for parameter in "$@"; do parameters+=(--data-urlencode "$parameter"); done
  aws sqs "$SQS_ENDPOINT/" --data "Action=$action" --data Version=2012-11-05 "${parameters[@]}" | tr -d '\n'
}
# make_queue NAME PARAMETERS...: its address
make_queue() { sqs CreateQueue "QueueName=$1" "${@:2}" | sed -nE 's#.*<QueueUrl>([^<]+)</QueueUrl>.*#\1#p'; }
dead=$(make_queue "$bucket-dead")
account=$(sed -nE 's#.*/([0-9]+)/[^/]+$#\1#p' <<<"$dead")
redrive="{\"deadLetterTargetArn\": \"arn:aws:sqs:$AWS_REGION:$account:$bucket-dead\", \"maxReceiveCount\": \"5\"}"
queue=$(make_queue "$bucket" Attribute.1.Name=RedrivePolicy "Attribute.1.Value=$redrive")
aws s3 -X PUT "$S3_ENDPOINT/$bucket?notification" -H 'content-type: application/xml' --data "<NotificationConfiguration><QueueConfiguration>
  <Queue>arn:aws:sqs:$AWS_REGION:$account:$bucket</Queue><Event>s3:ObjectCreated:*</Event>
  <Filter><S3Key><FilterRule><Name>prefix</Name><Value>$prefix/incoming/</Value></FilterRule></S3Key></Filter>
</QueueConfiguration></NotificationConfiguration>" >/dev/null
say "bucket $bucket and queue $queue"

# ---- The front door, and workers -----------------------------------------------------------------------------------------------------

export HALFPIPE_STORE=s3://$bucket/$prefix HALFPIPE_S3_ENDPOINT=$S3_ENDPOINT HALFPIPE_S3_REGION=$AWS_REGION HALFPIPE_QUEUE_URL=$queue
export HALFPIPE_WAIT_SECONDS=1 HALFPIPE_LISTEN=127.0.0.1:0
start server env HALFPIPE_SPOOL="$scratch/server" "$halfpipe" serve
server=$(until_said server 'halfpipe listens on (http://[0-9.:]+)')
workers=()
for ((n = 1; n <= ${WORKERS:-2}; n++)); do
  start "worker$n" env HALFPIPE_SPOOL="$scratch/worker$n" HALFPIPE_LOG=info HALFPIPE_LOG_JSON=true "$halfpipe" worker
  probes=$(until_said "worker$n" 'probes on (http://[0-9.:]+)')
  ready "$probes/readyz"
  workers+=("$probes")
  say "worker $n is ready, probes on $probes"
done
ready "$server/readyz"
say "server on $server"

# ---- Uploads, and what comes of them -------------------------------------------------------------------------------------------------

python=$("$root/infra/local/python.sh")
# json EXPRESSION: its value, with the JSON on stdin as `it`
json() { "$python" -c 'import json, sys; it = json.load(sys.stdin); print(eval(sys.argv[1]))' "$1"; }
# how many requests for objects or listings of the bucket moto has seen, by method; nothing where it is not moto
requests() { [ ! -e "$logs/moto.log" ] || sed -nE "s#\x1b\[[0-9;]*m##g; s#.*\"([A-Z]+) /${bucket}[/?].*#\\1#p" "$logs/moto.log" | sort | uniq -c; }
requests >"$scratch/before"
keys=()
for ((n = 0; n < ${#clips[@]}; n++)); do
  wish="{\"name\": \"clip$n.mp4\", \"size\": $(stat -Lc %s "${clips[n]}")}"
  curl -fsS "$server/uploads" -H 'content-type: application/json' --data "$wish" >"$scratch/ticket"
  keys+=("$(json 'it["key"]' <"$scratch/ticket")")
  curl -fsS -o /dev/null -T "${clips[n]}" "$(json 'it["url"]' <"$scratch/ticket")"
  say "uploaded ${clips[n]} as ${keys[n]}"
done

# The workers' own counts tell when all is done, so that the store is asked by nobody but those at work.
ended() { for probes in "${workers[@]}"; do curl -fsS "$probes/metrics"; done | awk '/^halfpipe_jobs_total/ { sum += $2 } END { print sum + 0 }'; }
for ((i = 0; i < patience; i++)); do
  [ "$(ended)" -lt ${#clips[@]} ] || break
  sleep 1
done
requests >"$scratch/after"

curl -fsS "$server/jobs" >"$scratch/jobs"
for ((n = 0; n < ${#clips[@]}; n++)); do
  record="next((job for job in it['jobs'] if job['spec']['input'] == '${keys[n]}'), {})"
  id=$(json "$record.get('id', '')" <"$scratch/jobs")
  state=$(json "$record.get('state', 'without a job')" <"$scratch/jobs")
  [ "$state" = complete ] || { say "${keys[n]} is $state after $i s: $(json "$record.get('error')" <"$scratch/jobs")" >&2; exit 1; }
  curl -fsS -o "$logs/clip$n.overlay.mp4" "$server/jobs/$id/video"
  curl -fsS -o "$logs/clip$n.report.json" "$server/jobs/$id/report"
  said=$(json 'it["counts"]["frames"]' <"$logs/clip$n.report.json")
  seen=$(ffprobe -v error -count_packets -select_streams v:0 -show_entries stream=nb_read_packets -of csv=p=0 "$logs/clip$n.overlay.mp4")
  [ "${seen%,}" = "$said" ] || { say "clip$n.overlay.mp4 has $seen frames, its report says $said" >&2; exit 1; }
  worker=$(grep -l "$id" "$logs"/worker*.log | sed -E 's#.*/(worker[0-9]+)\.log#\1#' | tr '\n' ' ')
  seconds=$(json "(it['finished_ms'] - it['started_ms']) / 1000" < <(json "json.dumps($record)" <"$scratch/jobs"))
  say "result $n: job $id by ${worker:-an unknown worker }in $seconds s, $said frames, $(json 'it["counts"]["people"]' <"$logs/clip$n.report.json") bodies"
done

left=$(sqs GetQueueAttributes "QueueUrl=$queue" AttributeName.1=All \
  | sed -nE 's#.*<Name>ApproximateNumberOfMessages</Name>[^<]*<Value>([0-9]+).*#\1#p')
say "messages left in the queue: $left"
if [ -s "$scratch/after" ]; then
  counts=$(join -2 2 -1 2 -a 2 -e 0 -o 0,1.1,2.1 "$scratch/before" "$scratch/after" | awk '{ printf "%s %d  ", $1, $3 - $2 }')
  say "requests to S3 from the first upload to the last result, for ${#clips[@]} jobs: $counts"
fi
say 'all done'
