r"""Turns weights of the papers' official PyTorch code into a Keras file, all of them or none.

python -m tfnets.launchers.convert --source=ImageNet-bLResNet-50-a2-b4.pth.tar \
    --model=bl_resnet50 --alpha=2 --beta=4 --output=bl_resnet50.weights.h5
"""

import pathlib

from absl import flags

from tfnets.errors import InputError
from tfnets.launchers import app, common_flags, named_networks
from tfnets.models import registry

FLAGS = flags.FLAGS

common_flags.define_network()
flags.DEFINE_integer(
    'num_classes', 1000, 'Classes of the weights.', lower_bound=1, allow_override=True
)
flags.DEFINE_string('source', None, 'File of weights: .pth, .pth.tar, .safetensors, .h5, .keras.')
flags.DEFINE_string(
    'output', None, 'File to write: .weights.h5 for weights alone, .keras for the whole network.'
)
flags.adopt_module_key_flags(common_flags)


def check():
    """Refuses flags that cannot be right."""
    if not FLAGS['model'].present:
        raise InputError('--model: expected the network that the weights are of; --help lists them')
    named_networks.from_flags()
    if not FLAGS.source or not pathlib.Path(FLAGS.source).is_file():
        raise InputError(f'--source={FLAGS.source}: expected a file of weights')
    output = FLAGS.output or ''
    if not output.endswith(('.weights.h5', '.keras')):
        raise InputError(f'--output={output}: expected a name that ends in .weights.h5 or .keras')


def main():
    """Builds the network, loads all weights, writes them."""
    app.import_tensorflow()
    from tfnets.files import replacing

    network = registry.build(
        FLAGS.model, FLAGS.num_classes, weights=FLAGS.source, **common_flags.model_options()
    )
    whole = FLAGS.output.endswith('.keras')
    with replacing(pathlib.Path(FLAGS.output)) as temporary:
        (network.save if whole else network.save_weights)(temporary)
    tensors, numbers = len(network.weights), network.count_params()
    print(f'{FLAGS.output}: {FLAGS.model}, {tensors} tensors, {numbers:,} numbers')


if __name__ == '__main__':
    app.launch(main, check)
