#!/usr/bin/env bash
# On a TPU VM, or on each VM of a slice:
#
#   gcloud compute tpus tpu-vm ssh NAME --worker=all --command='cd tfnets && launchers/tpu_vm.sh fixres FLAGS...'
#
# Not proved: at the time of writing there is no tensorflow-tpu of TensorFlow 2.21, the newest is 2.20.
# --run_dir may be a mounted bucket (gcsfuse).
set -euo pipefail
launcher=$1
shift
pip list 2>/dev/null | grep -q '^tensorflow-tpu ' || pip install tensorflow-tpu -f https://storage.googleapis.com/libtpu-tf-releases/index.html
exec python -m "tfnets.launchers.$launcher" --strategy=tpu --tpu=local --precision=mixed_bfloat16 "$@"
