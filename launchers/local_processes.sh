#!/usr/bin/env bash
# Several processes on this host, one for each GPU, or a number of them on the CPU:
#
#   launchers/local_processes.sh 4 preact_resnet --flagfile=flags/preact_resnet/sample.cfg --run_dir=/tmp/run
#
# For the GPUs of one host --strategy=mirrored, in one process, is simpler; this is how to try on one
# machine what will run on several. Ctrl-C asks all to save and end.
set -euo pipefail
[ $# -ge 2 ] || { echo "usage: $0 PROCESSES LAUNCHER FLAGS..." >&2; exit 2; }
processes=$1 launcher=$2
shift 2

port=${PORT:-29500}
workers=$(seq -s, "$port" $((port + processes - 1)) | sed 's/[0-9]\+/"127.0.0.1:&"/g')
# Without GPUs an empty list.
gpus=$(nvidia-smi --query-gpu=index --format=csv,noheader 2>/dev/null || true)

if [ -n "$gpus" ] && [ "$(wc -l <<<"$gpus")" -lt "$processes" ]; then
    echo "error: $processes processes, but $(wc -l <<<"$gpus") GPUs; take as many processes" >&2
    exit 2
fi

started=()
trap 'kill -TERM "${started[@]}" 2>/dev/null || true' INT TERM
for ((index = processes - 1; index >= 0; index--)); do
    gpu=$(sed -n "$((index + 1))p" <<<"$gpus")
    TF_CONFIG="{\"cluster\": {\"worker\": [$workers]}, \"task\": {\"type\": \"worker\", \"index\": $index}}" \
        CUDA_VISIBLE_DEVICES=$gpu \
        python -m "tfnets.launchers.$launcher" "$@" --strategy=multi_worker &
    started+=($!)
done

code=0
for process in "${started[@]}"; do
    ended=0
    wait "$process" || ended=$?
    if kill -0 "$process" 2>/dev/null; then  # it was this script that a signal woke
        ended=0
        wait "$process" || ended=$?
    fi
    # Of several codes the lowest, which says why: 75 and 76 (another is lost) are above an error's.
    if [ "$ended" -ne 0 ] && { [ "$code" -eq 0 ] || [ "$ended" -lt "$code" ]; }; then code=$ended; fi
done
exit "$code"
