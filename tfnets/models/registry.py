"""The networks that a flag can name. To add one, write its builder and add a line to MODELS.

Builders stand here as text, so that --help can list them without importing TensorFlow.
"""

import dataclasses
import importlib
import inspect

from tfnets.errors import InputError

KERAS_PREFIX = 'keras:'


@dataclasses.dataclass(frozen=True)
class Entry:
    """How a named network is built.

    Attributes:
        builder: 'module:function', called as function(**arguments, num_classes=..., **options).
        about: a line for --help; networks that stand together may share it.
        arguments: what the name fixes. The builder's other arguments are its options.
        resolution: side in pixels of the images that the network is meant for, or
            'module:function' that answers it for the same arguments and options.
    """

    builder: str
    about: str
    arguments: dict = dataclasses.field(default_factory=dict)
    resolution: int | str = 224


# What --help says of the options that networks have; each is a flag of the same name.
OPTIONS = {
    'alpha': (
        float,
        'bl_*: channels of the big branch over the little one (2). Others: depth '
        'grows by alpha**phi.',
    ),
    'beta': (
        float,
        'bl_*: units of a stage over those of the little branch (4). Others: width '
        'grows by beta**phi.',
    ),
    'gamma': (float, 'Resolution grows by gamma**phi.'),
    'phi': (float, 'Compound coefficient, at least 0 (0).'),
    'upsampling': (str, 'bl_*: nearest (official code, the default) or bilinear (paper).'),
    'width_multiplier': (float, 'resnet*: factor of the channels (1).'),
    'block_width': (
        str,
        'resnet*: which channels: inner (of the 3x3 convolutions, the default) or all.',
    ),
    'stem': (
        str,
        'resnet*: imagenet, cifar (3x3 of stride 1), cifar_pool (and max-pooling). '
        'preact_resnet: imagenet, cifar.',
    ),
    'stages': (str, 'preact_resnet: width and units of each stage, as 128x2,256x2.'),
    'unit': (
        str,
        'preact_resnet*: bn_relu_conv (the paper, the default) or bn_conv_relu (the '
        'DeepLearning_MiniProjects).',
    ),
}


def _big_little():
    module = 'tfnets.models.big_little'
    about = 'Big-Little {}; --alpha --beta --upsampling'
    for depth in (50, 101, 152):
        yield (
            f'bl_resnet{depth}',
            Entry(f'{module}:bl_resnet', about.format('ResNet'), {'depth': depth}),
        )
    for kind, title in {'resnext': 'ResNeXt', 'seresnext': 'SE-ResNeXt'}.items():
        for depth, cardinality in ((50, 32), (101, 32), (101, 64)):
            yield (
                f'bl_{kind}{depth}_{cardinality}x4d',
                Entry(
                    f'{module}:bl_{kind}',
                    about.format(title),
                    {'depth': depth, 'cardinality': cardinality, 'basewidth': 4},
                ),
            )


def _resnets():
    about = 'bottleneck ResNet as torchvision has it; --width_multiplier --block_width --stem'
    for depth in (14, 26, 50, 101, 152):
        yield f'resnet{depth}', Entry('tfnets.models.resnet:resnet', about, {'depth': depth})


def _preact_resnets():
    module = 'tfnets.models.preact_resnet'
    for depth in (20, 26, 29, 38, 50):
        about = 'pre-activation ResNet of the DeepLearning_MiniProjects; --unit'
        yield (
            f'preact_resnet{depth}',
            Entry(f'{module}:preact_resnet_by_depth', about, {'depth': depth}),
        )
    for depth in (164, 1001):
        about = "He's pre-activation ResNet for CIFAR"
        yield (
            f'preact_resnet{depth}',
            Entry(f'{module}:preact_resnet_cifar', about, {'depth': depth}, 32),
        )
    about = 'pre-activation ResNet of your own --stages; --stem --unit'
    yield 'preact_resnet', Entry(f'{module}:preact_resnet', about)


def _mbconvs():
    module = 'tfnets.models.mbconv'
    for letter, parameters in {'a': 49_394, 'b': 49_262, 'c': 49_760}.items():
        yield (
            f'mbconv_{letter}',
            Entry(
                f'{module}:hand_made',
                f'hand-made MBConv network {letter.upper()} of {parameters:,} parameters; '
                '--alpha --beta --gamma --phi (1, 1, 1, 0) scale it',
                {'letter': letter},
                f'{module}:hand_made_resolution',
            ),
        )
    for number in range(8):
        yield (
            f'efficientnet_b{number}',
            Entry(
                f'{module}:efficientnet',
                'EfficientNet as published',
                {'variant': f'b{number}'},
                f'{module}:efficientnet_resolution',
            ),
        )
    yield (
        'efficientnet',
        Entry(
            f'{module}:efficientnet_phi',
            'EfficientNet-B0 scaled by --alpha --beta --gamma --phi (1.2, 1.1, 1.15, 0)',
            resolution=f'{module}:efficientnet_phi_resolution',
        ),
    )


MODELS = dict([*_big_little(), *_resnets(), *_preact_resnets(), *_mbconvs()])


def about():
    """Lists the networks for --help, those of one kind together."""
    kinds = {}
    for name, entry in MODELS.items():
        kinds.setdefault(entry.about, []).append(name)
    listed = [f'{", ".join(names)}: {about}' for about, names in kinds.items()]
    return '; '.join([*listed, f'{KERAS_PREFIX}NAME: those of keras.applications'])


def check(name):
    """Raises InputError if no network has this name; imports nothing."""
    if name not in MODELS and not name.startswith(KERAS_PREFIX):
        raise InputError(
            f'--model={name}: no such network; there are {", ".join(sorted(MODELS))}, '
            f'and {KERAS_PREFIX}NAME for those of keras.applications'
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
    check(name)
    builder, arguments = _call(name, 'builder', options)
    if name.startswith(KERAS_PREFIX):
        return builder(**arguments, num_classes=num_classes, weights=weights, new_head=new_head)
    try:
        model = builder(**arguments, num_classes=num_classes)
    except InputError as error:
        raise InputError(f'--model={name}: {error}') from None
    if weights:
        from tfnets.models import weights as files

        files.load(model, weights, new_head=new_head, name=name)
    return model


def resolution(name, **options):
    """The side in pixels of the images that a network is meant for."""
    check(name)
    if not name.startswith(KERAS_PREFIX) and isinstance(MODELS[name].resolution, int):
        return MODELS[name].resolution
    function, arguments = _call(name, 'resolution', options)
    return function(**arguments)


def _call(name, what, options):
    """The function that an entry names, and its arguments."""
    if name.startswith(KERAS_PREFIX):
        module = 'tfnets.models.keras_applications'
        entry = Entry(
            f'{module}:keras_application',
            '',
            {'name': name.removeprefix(KERAS_PREFIX)},
            f'{module}:resolution',
        )
    else:
        entry = MODELS[name]
    module, function = getattr(entry, what).split(':')
    function = getattr(importlib.import_module(module), function)
    return function, {**entry.arguments, **_known(name, function, entry.arguments, options)}


def _known(name, function, fixed, options):
    """The options that were given, if the builder knows them."""
    given = {key: value for key, value in options.items() if value is not None}
    parameters = inspect.signature(function).parameters
    everyones = ('num_classes', 'weights', 'new_head')
    known = [key for key in parameters if key not in fixed and key not in everyones]
    for key, value in given.items():
        if key not in known:
            raise InputError(
                f'--{key}={value}: network {name} has no such option; '
                f'it has {", ".join(known) or "none"}'
            )
    return given
