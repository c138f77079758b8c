"""What a network costs: parameters, multiply-adds and sizes, stage by stage, side by side.

  python -m tfnets.launchers.summary --model=mbconv_c --compare=mbconv_c:phi=4:beta=1.05

It needs no data, and weights make no difference.
"""

import dataclasses

from absl import flags

from tfnets.launchers import app, common_flags, named_networks

FLAGS = flags.FLAGS

common_flags.define_network()
flags.DEFINE_integer(
    'num_classes', 1000, 'Classes of the output.', lower_bound=1, allow_override=True
)
flags.DEFINE_integer(
    'resolution', 0, "Side of the image in pixels; 0 for each model's own.", lower_bound=0
)
flags.DEFINE_list(
    'compare',
    [],
    'Further networks, as bl_resnet50:alpha=2:beta=4, or bl_resnet50:2:4 in the order in which '
    '--model lists the options; one with a comma in it in double quotes. Option flags are for '
    '--model alone.',
)
flags.DEFINE_bool('layers', False, 'Show each layer, not each stage.')
flags.DEFINE_string('picture', None, 'Also draw the stages of --model into this PNG.')
flags.DEFINE_string(
    'graph', None, "Also write --model's graph into this folder, for tensorboard --logdir."
)
flags.DEFINE_string('output', None, 'Also write stages and layers to this JSON file.')
flags.adopt_module_key_flags(common_flags)


def check():
    """Refuses flags that cannot be right."""
    _networks()


def _networks():
    """--model, then those of --compare."""
    others = [named_networks.parse('compare', text) for text in FLAGS.compare]
    return [named_networks.from_flags(), *others]


def main():
    """Builds the networks, prints a table."""
    networks = _networks()
    app.import_tensorflow()
    from tfnets.analysis import cost_table, flops
    from tfnets.files import write_json

    built = [network.build(FLAGS.num_classes) for network in networks]
    named = [
        (network.label, flops.cost(model, FLAGS.resolution or network.resolution))
        for network, model in zip(networks, built, strict=True)
    ]
    sizes = '; '.join(f'{label} at {cost.resolution} px' for label, cost in named)
    print(f'{sizes}; {FLAGS.num_classes} classes\n')
    if len(named) == 1:
        print(cost_table.table(named[0][1], FLAGS.layers))
    else:
        print(cost_table.comparison(named, FLAGS.layers))
    if FLAGS.picture:
        _draw(*named[0])
    if FLAGS.graph:
        _write_graph(built[0], named[0][1].resolution)
    if FLAGS.output:
        write_json(FLAGS.output, [_facts(*pair) for pair in zip(networks, named, strict=True)])


def _draw(label, cost):
    from tfnets.analysis import architecture_picture
    from tfnets.analysis.figures import drawing

    with drawing(FLAGS.picture, (7, architecture_picture.height(cost))) as axes:
        architecture_picture.draw(axes, label, cost)
    print(f'written: {FLAGS.picture}')


def _write_graph(network, resolution):
    import tensorflow as tf

    from tfnets.training.logging import write_graph

    writer = tf.summary.create_file_writer(FLAGS.graph)
    write_graph(writer, network, resolution)
    writer.close()
    print(f'written: {FLAGS.graph}')


def _facts(network, named):
    from tfnets.analysis import flops

    _, cost = named
    return {
        'model': network.name,
        'options': network.options,
        'num_classes': FLAGS.num_classes,
        'resolution': cost.resolution,
        'counted': flops.COUNTED,
        'parameters': cost.parameters,
        'trainable': cost.trainable,
        'macs': cost.macs,
        'not_counted': cost.not_counted,
        'stages': [dataclasses.asdict(stage) for stage in flops.stages(cost)],
        'layers': [dataclasses.asdict(layer) for layer in cost.layers],
    }


if __name__ == '__main__':
    app.launch(main, check)
