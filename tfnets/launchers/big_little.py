"""Big-Little Net: trains a network of two branches, as the official code does, and tests it.

  python -m tfnets.launchers.big_little --flagfile=flags/big_little/sample.cfg

--model may name any other network, to be trained in the same way. Writes report.md, report.json and
the curves of training into --run_dir. By default it trains bl_resnet50 by the paper's recipe
(section 4; imagenet-train.py of IBM/BigLittleNet).
"""

from tfnets.data.presets import PRESETS
from tfnets.launchers import train_and_test

train_and_test.define_flags(
    PRESETS['big_little_train'],
    PRESETS['imagenet_eval'],
    epochs=110.0,
    learning_rate=0.1,
    model='bl_resnet50',
    batch_size=256,
    nesterov=True,
    schedule='cosine_per_epoch',
    weight_decay=1e-4,
)

if __name__ == '__main__':
    train_and_test.launch('big_little')
