"""Pre-activation ResNet: trains on a folder of your own photos, or on any data set, and tests it.

  python -m tfnets.launchers.preact_resnet --flagfile=flags/preact_resnet/sample.cfg

--model may name any other network, to be trained in the same way. Writes report.md, report.json and
the curves of training into --run_dir. By default images are augmented as in the
DeepLearning_MiniProjects on Caltech-256, with that project's batch and first learning rate, and
tested by their centre, where it squashes them; the flagfiles have its schedules.
"""

from tfnets.data.presets import PRESETS
from tfnets.launchers import train_and_test

train_and_test.define_flags(
    PRESETS['caltech256_train'],
    PRESETS['caltech256_eval'],
    epochs=120.0,
    learning_rate=0.01,
    model='preact_resnet26',
    batch_size=128,
    nesterov=True,
    weight_decay=1e-4,
    pixel_statistics='training',
)

if __name__ == '__main__':
    train_and_test.launch('preact_resnet')
