#!/usr/bin/env bash
# What `make image-test` proves of an image: without a network, with nothing to write to but /tmp
# and /outputs, and not as root, it makes a job's MP4, serves as a pod, and leaves when told to.
set -euo pipefail

outputs=$(mktemp -d)
chmod 777 "$outputs"  # the container's user is another
pod="onetake-test-$$"
trap '"$ENGINE" rm --force "$pod" >/dev/null 2>&1 || true; rm -rf "$outputs"' EXIT
strict=(--network=none --read-only --tmpfs "/tmp:rw,size=2g" --cap-drop=ALL
  --security-opt=no-new-privileges --volume "$outputs:/outputs:z")

echo "== one job, without the queue"
"$ENGINE" run --rm "${strict[@]}" "$IMAGE"
"$ENGINE" run --rm "${strict[@]}" "$IMAGE" python3 -c '
from pathlib import Path
from onetake.media.probe import probe_video
video = probe_video(Path("/outputs/local_test.mp4"))
print(video)
assert video.num_frames == 64, video'

echo "== not root, no compiler, nothing to write to"
"$ENGINE" run --rm "${strict[@]}" "$IMAGE" sh -c '
test "$(id -u)" -ne 0 || exit 1
for tool in cc gcc g++ clang tcc; do
  if command -v "$tool"; then exit 1; fi
done
for folder in / /app /opt/packages /opt/torch /models; do
  if touch "$folder/x" 2>/dev/null; then echo "$folder"; exit 1; fi
done'

echo "== a pod"
"$ENGINE" run --detach --name "$pod" "${strict[@]}" --env MODE_TO_RUN=pod \
  --env ONETAKE_API_KEY=a-key-of-the-test "$IMAGE" >/dev/null
started=$SECONDS
until "$ENGINE" exec "$pod" python3 healthcheck.py; do
  running=$("$ENGINE" inspect --format '{{.State.Running}}' "$pod")
  if [[ $running != true ]] || ((SECONDS - started > 120)); then
    "$ENGINE" logs "$pod"
    exit 1
  fi
  sleep 1
done
echo "ready after $((SECONDS - started)) s"
"$ENGINE" exec "$pod" python3 -c '
import json, urllib.request
body = json.dumps({"input": {"prompt": "a red bottle", "duration": 1}}).encode()
headers = {"authorization": "Bearer a-key-of-the-test", "content-type": "application/json"}
asked = urllib.request.Request("http://127.0.0.1:8000/runsync", body, headers)
print(json.load(urllib.request.urlopen(asked))["status"])'

stopped=$SECONDS
"$ENGINE" stop --time 40 "$pod" >/dev/null
code=$("$ENGINE" inspect --format '{{.State.ExitCode}}' "$pod")
echo "SIGTERM: exit code $code after $((SECONDS - stopped)) s"
test "$code" -eq 0
