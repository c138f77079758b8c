"""The networks that a flag can name. To add one, write its builder and add a line to MODELS.

Builders stand here as text, so that --help can list them without importing TensorFlow.
"""

import dataclasses
import importlib

from tfnets.errors import InputError

KERAS_PREFIX = 'keras:'


@dataclasses.dataclass(frozen=True)
class Entry:
    """How a named network is built.

    Attributes:
        builder: 'module:function', called as function(**arguments, num_classes=..., **options).
        about: a line for --help; networks that stand together may share it.
        arguments: what the name fixes.
        options: the builder's other arguments, of OPTIONS.
        resolution: side in pixels of the images that the network is meant for.
        config: 'module:function' that answers what the network is as plain data, its `resolution`
            too, for the same arguments and options; networks that are scaled by phi have one.
    """

    builder: str
    about: str
    arguments: dict = dataclasses.field(default_factory=dict)
    options: tuple[str, ...] = ()
    resolution: int = 224
    config: str | None = None


# The kind of each option that networks have, and what --help says of the flag of its name.
OPTIONS = {
    'alpha': (
        float,
        'bl_*: channels of the big branch over the little one (2). Others: depth grows by '
        'alpha**phi.',
    ),
    'beta': (
        float,
        'bl_*: units of a stage over those of the little branch (4). Others: width grows by '
        'beta**phi.',
    ),
    'gamma': (float, 'Resolution grows by gamma**phi.'),
    'phi': (float, 'Compound coefficient, at least 0 (0).'),
    'upsampling': (str, 'bl_*: nearest (official code, the default) or bilinear (paper).'),
    'width_multiplier': (float, 'resnet*, cifar_resnet*, bl_resnet*: factor of the channels (1).'),
    'block_width': (
        str,
        'resnet*, cifar_resnet*: which channels: inner (of the 3x3 convolutions, the default) or '
        'all.',
    ),
    'stem': (
        str,
        'resnet*: imagenet, cifar (3x3 of stride 1), cifar_pool (and max-pooling). bl_resnet*, '
        'preact_resnet: imagenet, cifar.',
    ),
    'stages': (str, 'preact_resnet: width and units of each stage, as 128x2,256x2.'),
    'unit': (
        str,
        'preact_resnet*: bn_relu_conv (the paper, the default) or bn_conv_relu (the '
        'DeepLearning_MiniProjects).',
    ),
    'initializer': (
        str,
        'preact_resnet*: of the convolutions: he (the default of bn_relu_conv) or xavier (of '
        'bn_conv_relu).',
    ),
}


def _big_little():
    module = 'tfnets.models.big_little'
    options = ('alpha', 'beta', 'upsampling')
    for depth in (26, 50, 101, 152):
        entry = Entry(
            f'{module}:bl_resnet',
            'Big-Little ResNet',
            {'depth': depth},
            (*options, 'width_multiplier', 'stem'),
        )
        yield f'bl_resnet{depth}', entry
    for kind, title in {'resnext': 'ResNeXt', 'seresnext': 'SE-ResNeXt'}.items():
        for depth, cardinality in ((50, 32), (101, 32), (101, 64)):
            yield (
                f'bl_{kind}{depth}_{cardinality}x4d',
                Entry(
                    f'{module}:bl_{kind}',
                    f'Big-Little {title}',
                    {'depth': depth, 'cardinality': cardinality, 'basewidth': 4},
                    options,
                ),
            )


def _resnets():
    for depth in (14, 26, 50, 101, 152):
        yield (
            f'resnet{depth}',
            Entry(
                'tfnets.models.resnet:resnet',
                'bottleneck ResNet as torchvision has it',
                {'depth': depth},
                ('width_multiplier', 'block_width', 'stem'),
            ),
        )


def _cifar_resnets():
    for depth in (20, 29, 56, 110, 164):
        yield (
            f'cifar_resnet{depth}',
            Entry(
                'tfnets.models.resnet:cifar_resnet',
                'bottleneck ResNet of three stages from 16 channels, for CIFAR',
                {'depth': depth},
                ('width_multiplier', 'block_width'),
                resolution=32,
            ),
        )


def _preact_resnets():
    module = 'tfnets.models.preact_resnet'
    for depth in (20, 26, 29, 38, 50):
        yield (
            f'preact_resnet{depth}',
            Entry(
                f'{module}:preact_resnet_by_depth',
                'pre-activation ResNet of the DeepLearning_MiniProjects',
                {'depth': depth},
                ('unit', 'initializer'),
            ),
        )
    for depth in (164, 1001):
        yield (
            f'preact_resnet{depth}',
            Entry(
                f'{module}:preact_resnet_cifar',
                "He's pre-activation ResNet for CIFAR",
                {'depth': depth},
                ('initializer',),
                resolution=32,
            ),
        )
    yield (
        'preact_resnet',
        Entry(
            f'{module}:preact_resnet',
            'pre-activation ResNet of your own stages',
            options=('stages', 'stem', 'unit', 'initializer'),
        ),
    )


def _mbconvs():
    module = 'tfnets.models.mbconv'
    options = ('alpha', 'beta', 'gamma', 'phi')
    for letter, parameters in {'a': 49_394, 'b': 49_262, 'c': 49_760}.items():
        yield (
            f'mbconv_{letter}',
            Entry(
                f'{module}:hand_made',
                f'hand-made MBConv network of {parameters:,} parameters, scaled (by 1, 1, 1, 0)',
                {'letter': letter},
                options,
                config=f'{module}_config:hand_made',
            ),
        )
    for number in range(8):
        yield (
            f'efficientnet_b{number}',
            Entry(
                f'{module}:efficientnet',
                'EfficientNet as published',
                {'variant': f'b{number}'},
                config=f'{module}_config:efficientnet',
            ),
        )
    yield (
        'efficientnet',
        Entry(
            f'{module}:efficientnet_phi',
            'EfficientNet-B0, scaled (by 1.2, 1.1, 1.15, 0)',
            options=options,
            config=f'{module}_config:efficientnet_phi',
        ),
    )


MODELS = dict([*_big_little(), *_resnets(), *_cifar_resnets(), *_preact_resnets(), *_mbconvs()])


def about():
    """Lists the networks for --help, those of one kind together."""
    kinds = {}
    for name, entry in MODELS.items():
        text = ' '.join([entry.about, *(f'--{option}' for option in entry.options)])
        kinds.setdefault(text, []).append(name)
    listed = [f'{", ".join(names)}: {text}' for text, names in kinds.items()]
    return '; '.join([*listed, f'{KERAS_PREFIX}NAME: those of keras.applications'])


def check(name, **options):
    """Refuses a network or an option that does not exist; imports nothing.

    Args:
        name: as in `build`.
        **options: as in `build`.

    Raises:
        InputError: says what there is.
    """
    if name not in MODELS and not name.startswith(KERAS_PREFIX):
        network = name.partition(':')[0]
        if network in MODELS:
            options = ', '.join(f'--{option}' for option in MODELS[network].options)
            raise InputError(
                f'--model={name}: expected the name alone, --model={network}; its options are '
                f'flags of their own: {options or "none"}'
            )
        raise InputError(
            f'--model={name}: no such network; there are {", ".join(sorted(MODELS))}, '
            f'and {KERAS_PREFIX}NAME for those of keras.applications'
        )
    known = () if name.startswith(KERAS_PREFIX) else MODELS[name].options
    for key, value in options.items():
        if value is not None and key not in known:
            raise InputError(
                f'--{key}={value}: network {name} has no such option; '
                f'it has {", ".join(known) or "none"}'
            )


def build(name, num_classes, *, weights=None, new_head=False, **options):
    """Builds a network by name.

    Args:
        name: a key of MODELS, or 'keras:NAME'.
        num_classes: size of the output.
        weights: path of a file, see `weights.load`; 'imagenet' for a keras.applications network;
            or None for random weights.
        new_head: whether the classifier stays random, so that the weights may be those of another
            number of classes.
        **options: the builder's own arguments; those that are None are left out.

    Returns:
        keras.Model from uint8 pixels to float32 logits.

    Raises:
        InputError: if there is no such network, it has no such option, or the weights do not fit.
    """
    check(name, **options)
    if name.startswith(KERAS_PREFIX):
        from tfnets.models.keras_applications import keras_application

        network = name.removeprefix(KERAS_PREFIX)
        return keras_application(network, num_classes, weights=weights, new_head=new_head)
    try:
        model = _call(name, 'builder', options, num_classes=num_classes)
    except InputError as error:
        raise InputError(f'--model={name}: {error}') from None
    if weights:
        from tfnets.models import weights as files

        files.load(model, weights, new_head=new_head, name=name)
    return model


def resolution(name, **options):
    """The side in pixels of the images that a network is meant for."""
    check(name, **options)
    if name.startswith(KERAS_PREFIX):
        from tfnets.models import keras_applications

        return keras_applications.resolution(name.removeprefix(KERAS_PREFIX))
    if options.get('stem') in ('cifar', 'cifar_pool'):
        return 32
    if MODELS[name].config is None:
        return MODELS[name].resolution
    return config(name, **options).resolution


def config(name, **options):
    """What a network is, as plain data; imports no TensorFlow.

    Args:
        name: of a network that is scaled by phi, see `scalable`.
        **options: as in `build`.

    Returns:
        mbconv_config.MBConvConfig.

    Raises:
        InputError: as `check`, or if the network has no such description.
    """
    check(name, **options)
    if name.startswith(KERAS_PREFIX) or MODELS[name].config is None:
        described = [known for known, entry in MODELS.items() if entry.config]
        raise InputError(
            f'--model={name}: it has no compound scaling; expected one of {", ".join(described)}'
        )
    return _call(name, 'config', options)


def scalable():
    """The names of the networks that alpha, beta, gamma and phi scale."""
    return [name for name, entry in MODELS.items() if entry.config and 'phi' in entry.options]


def _call(name, what, options, **arguments):
    """Calls the function that an entry names, with the options that were given."""
    entry = MODELS[name]
    module, function = getattr(entry, what).split(':')
    function = getattr(importlib.import_module(module), function)
    given = {key: value for key, value in options.items() if value is not None}
    return function(**entry.arguments, **arguments, **given)
