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
        builder: 'module:function', called as function(*arguments, num_classes, **options).
        about: one line for --help.
        arguments: what stands before num_classes.
        resolution: 'module:function' that answers, for the same arguments and options, the side in
            pixels of the images that the network is meant for.
    """

    builder: str
    about: str
    arguments: tuple = ()
    resolution: str = ''


def _mbconv(letter, parameters):
    return Entry(
        'tfnets.models.mbconv:hand_made',
        f'hand-made MBConv network {letter.upper()}, {parameters:,} parameters for 2 classes; '
        'scaled by --alpha --beta --gamma --phi',
        (letter,),
        'tfnets.models.mbconv:hand_made_resolution',
    )


MODELS = {
    'mbconv_a': _mbconv('a', 49_394),
    'mbconv_b': _mbconv('b', 49_262),
    'mbconv_c': _mbconv('c', 49_760),
}


def check(name):
    """Raises InputError if no network has this name; imports nothing."""
    if name not in MODELS and not name.startswith(KERAS_PREFIX):
        raise InputError(
            f'--model={name}: no such network; there are {", ".join(sorted(MODELS))}, '
            f'and {KERAS_PREFIX}NAME for those of keras.applications'
        )


def build(name, num_classes, *, weights=None, **options):
    """Builds a network by name.

    Args:
        name: a key of MODELS, or 'keras:NAME'.
        num_classes: size of the output.
        weights: path of a weights file, 'imagenet' for a keras.applications network, or None.
        **options: the builder's own keyword arguments; those that are None are left out.

    Returns:
        keras.Model from uint8 pixels to float32 logits.

    Raises:
        InputError: if there is no such network, it has no such option, or the weights do not fit.
    """
    check(name)
    if name.startswith(KERAS_PREFIX):
        from tfnets.models import keras_applications

        _options(name, keras_applications.keras_application, options)
        family = name.removeprefix(KERAS_PREFIX)
        return keras_applications.keras_application(family, num_classes, weights=weights)
    entry = MODELS[name]
    builder = _import(entry.builder)
    model = builder(*entry.arguments, num_classes, **_options(name, builder, options))
    if weights:
        _load_weights(model, name, weights)
    return model


def resolution(name, **options):
    """The side in pixels of the images that a network is meant for."""
    check(name)
    if name.startswith(KERAS_PREFIX):
        from tfnets.models import keras_applications

        return keras_applications.resolution(name.removeprefix(KERAS_PREFIX))
    entry = MODELS[name]
    function = _import(entry.resolution)
    return function(*entry.arguments, **_options(name, function, options))


def _import(path):
    module, function = path.split(':')
    return getattr(importlib.import_module(module), function)


def _options(name, function, options):
    """The options that were given, if the builder knows them."""
    given = {key: value for key, value in options.items() if value is not None}
    known = [
        parameter.name
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.name != 'weights'
    ]
    for key, value in given.items():
        if key not in known:
            raise InputError(
                f'--{key}={value}: network {name} has no such option; '
                f'it has {", ".join(known) or "none"}'
            )
    return given


def _load_weights(model, name, path):
    """Loads all weights of a Keras file, or says why it is not this network's."""
    try:
        model.load_weights(path)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f'--weights={path} does not fit --model={name}: {reason}') from None
