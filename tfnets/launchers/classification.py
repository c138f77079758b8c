"""Trains any network on labels and tests it, by no paper's recipe but the flags'.

  python -m tfnets.launchers.classification --model=mbconv_c --dataset=./photos --resolution=64

Writes report.md, report.json and the curves of training into --run_dir. The trials of
`compound_scaling` are such runs.
"""

from tfnets.data.presets import PRESETS
from tfnets.launchers import train_and_test

train_and_test.define_flags(
    PRESETS['imagenet_train'], PRESETS['imagenet_eval'], epochs=90.0, learning_rate=0.1
)

if __name__ == '__main__':
    train_and_test.launch('classification')
