#!/usr/bin/env bash
# On the one VM of a TPU (not on a slice of several):
#
#   gcloud compute tpus tpu-vm ssh NAME --command='cd tfnets && launchers/tpu_vm.sh fixres FLAGS...'
#
# --precision=mixed_bfloat16 suits a TPU. Not proved: at the time of writing there is no tensorflow-tpu
# of TensorFlow 2.21, the newest is 2.20.
set -euo pipefail
launcher=$1
shift
pip show -q tensorflow-tpu 2>/dev/null || pip install tensorflow-tpu -f https://storage.googleapis.com/libtpu-tf-releases/index.html
exec python -m "tfnets.launchers.$launcher" "$@" --strategy=tpu --tpu=local
