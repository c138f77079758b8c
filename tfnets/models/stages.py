"""A network as a chain of stages, and linear transforms between them that can be merged away.

Go Wide, Then Narrow (Zhou et al. 2020) lets each stage of a thin network imitate that of a wide
one. Where their outputs differ in width, a pair of 1x1 convolutions without bias stands between two
stages of the thin network: the first widens to the teacher's width, where it is imitated, the
second narrows again. Both are linear, and so are the convolutions that read a stage's output, so
that afterwards the pair can be multiplied into these, exactly.
"""

import difflib
import re

import keras
import numpy as np

from tfnets.errors import InputError
from tfnets.models import graphs, roles

# What a transform may pass on its way to the convolutions that it is merged into: these do the same
# to every channel, so that it does not matter which comes first.
_CHANNELWISE = (
    keras.layers.ZeroPadding2D,
    keras.layers.AveragePooling2D,
    keras.layers.GlobalAveragePooling2D,
    keras.layers.Flatten,
)


def names(network):
    """Returns the names of the layers that end the stages: 'stage1.output', 'stage2.output' ...

    Raises:
        InputError: if the network has none.
    """
    found = [layer.name for layer in network.layers]
    ends = [name for name in found if re.fullmatch(r'stage\d+\.output', name)]
    if not ends:
        raise InputError(
            f'{network.name}: no layers named stage1.output, stage2.output ... that end its stages'
        )
    return sorted(ends, key=lambda name: int(re.search(r'\d+', name)[0]))


def output(network, end):
    """Returns the output of the layer or operation that ends a stage, a KerasTensor.

    Raises:
        InputError: if there is none of that name.
    """
    return _operation(network, end).output


def cut(network):
    """Cuts a network into stages; they share its layers.

    Args:
        network: functional keras.Model.

    Returns:
        List of keras.Models: from pixels to the end of stage 1 (the stem belongs to it), from there
        to the end of stage 2, and so on; the last one from the end of the last stage to the logits.
    """
    outputs = [output(network, name) for name in names(network)]
    starts, ends = [network.input, *outputs], [*outputs, network.output]
    return [
        keras.Model(start, end, name=f'part{number}')
        for number, (start, end) in enumerate(zip(starts, ends, strict=True), 1)
    ]


def readers(network, end):
    """Finds the layers that a transform behind a stage is to be merged into.

    Args:
        network: functional keras.Model.
        end: name of the layer or operation that ends the stage.

    Returns:
        List of Conv2D and Dense layers: all that read the stage's output, padding and averaging
        apart.

    Raises:
        InputError: if anything else reads it, for which no merge is exact; it is named.
    """
    found, waiting = [], [_operation(network, end)]
    while waiting:
        layer = waiting.pop()
        for reader in _consumers(network, layer):
            if isinstance(reader, _CHANNELWISE):
                waiting.append(reader)
            elif _is_linear(reader):
                found.append(reader)
            else:
                raise InputError(
                    f'{network.name}: a transform behind {end} cannot be merged exactly, for '
                    f'{reader.name} ({type(reader).__name__}) reads it, which does not commute '
                    'with a mixing of channels; only convolutions and dense layers may'
                )
    return found


def merge(matrix, layer):
    """Multiplies a transform of the channels into the layer that reads them.

    Args:
        matrix: float [c, c], from a stage's channels to what its readers get.
        layer: Conv2D (without groups) or Dense, whose kernel is changed.
    """
    kernel = layer.kernel.numpy().astype(np.float64)
    merged = np.einsum('ac,...co->...ao', np.asarray(matrix, np.float64), kernel)
    layer.kernel.assign(merged.astype(np.float32))


def _operation(network, name):
    # Layers are not all: a sum that is written as `x + y` is an operation.
    found = {operation.name: operation for operation in network.operations}
    if name not in found:
        near = difflib.get_close_matches(name, found, 3)
        raise InputError(
            f'{network.name}: no layer or operation {name}; there are '
            f'{", ".join(near) or "none of such names"}'
        )
    return found[name]


def _is_linear(layer):
    if isinstance(layer, keras.layers.Dense):
        return layer.activation is keras.activations.linear
    is_conv = type(layer) is keras.layers.Conv2D and layer.groups == 1
    return is_conv and layer.activation is keras.activations.linear


def _consumers(network, layer):
    """What in a network reads a layer's output, each once however often: x + y is no layer."""

    def reads(reader):
        return any(
            tensor._keras_history.operation is layer
            for node in reader._inbound_nodes
            for tensor in node.input_tensors
        )

    operations = graphs.operations(graphs.functional_of(network))
    return [reader for _, reader in operations if reads(reader)]


# Bridges: a widening and a narrowing between two stages.


def bridged(student, widths):
    """Puts bridges between the stages of a network; it shares the network's layers.

    A bridge starts as the identity: its widening has orthonormal rows, its narrowing is the
    transpose.

    Args:
        student: functional keras.Model with named stages.
        widths: int for each stage, the channels of the teacher's output there. A stage whose
            output is as wide has no bridge.

    Returns:
        keras.Model from pixels to a list: for each stage what imitates the teacher, then logits.
        Its bridges are the layers 'bridge<i>.widen' and 'bridge<i>.narrow'.

    Raises:
        InputError: if the numbers of stages differ, a teacher's stage is narrower, or a bridge
            could not be merged away.
    """
    ends = names(student)
    if len(widths) != len(ends):
        raise InputError(
            f'{student.name} has {len(ends)} stages, its teacher {len(widths)}; expected as many'
        )
    *parts, last = cut(student)
    x = pixels = keras.Input(student.input.shape[1:], dtype=student.input.dtype, name='pixels')
    outputs = []
    for number, (part, end, width) in enumerate(zip(parts, ends, widths, strict=True), 1):
        output = x = part(x)
        if width < x.shape[-1]:
            raise InputError(
                f'{student.name}: {end} has {x.shape[-1]} channels, its teacher {width}; expected '
                'a teacher that is at least as wide'
            )
        if width > x.shape[-1]:
            readers(student, end)
            output, x = _bridge(x, width, f'bridge{number}')
        outputs.append(output)
    return keras.Model(pixels, [*outputs, last(x)], name=f'bridged_{student.name}')


def merge_bridges(model, student):
    """Multiplies the bridges of `bridged(student, ...)` into the student.

    Afterwards the student computes what the bridged network computed, without bridges.

    Args:
        model: the bridged network.
        student: whose layers it shares.
    """
    for number, end in enumerate(names(student), 1):
        widen, narrow = (_layer(model, f'bridge{number}.{way}') for way in ('widen', 'narrow'))
        if widen is not None:
            matrix = widen.kernel.numpy()[0, 0].astype(np.float64) @ narrow.kernel.numpy()[0, 0]
            for reader in readers(student, end):
                merge(matrix, reader)


def stage_layers(model, student, number):
    """Names what belongs to a stage of `bridged(student, ...)`.

    Args:
        model: the bridged network.
        student: whose layers it shares.
        number: of the stage, from 1; the stem belongs to stage 1.

    Returns:
        Frozenset of the names of the layers with weights in the stage, in the narrowing before it
        and in the widening behind it.
    """
    layers = roles.flat_layers(cut(student)[number - 1])
    bridges = [
        _layer(model, name) for name in (f'bridge{number - 1}.narrow', f'bridge{number}.widen')
    ]
    return frozenset(layer.name for layer in [*layers, *bridges] if layer and layer.weights)


def copy_classifier(teacher, model, student, end):
    """Gives the student the teacher's classifier, where both read what was imitated.

    That is as many channels of the last stage, averaged at most: a batch norm in between is in no
    stage. Behind a bridge they are as many: the teacher's classifier then reads the widened output,
    and the student gets both as the one dense layer that they are.

    Args:
        teacher: keras.Model.
        model: the bridged network.
        student: whose layers it shares.
        end: name of the layer or operation that ends the teacher's last stage.

    Returns:
        Whether it was copied.
    """
    if not (_ends_in_classifier(teacher, end) and _ends_in_classifier(student, names(student)[-1])):
        return False
    source, target = roles.classifier(teacher), roles.classifier(student)
    kernel = source.kernel.numpy()
    widen = _layer(model, f'bridge{len(names(student))}.widen')
    if widen is not None and widen.kernel.shape[-1] == kernel.shape[0]:
        kernel = widen.kernel.numpy()[0, 0].astype(np.float64) @ kernel
    if kernel.shape != target.kernel.shape:
        return False
    target.kernel.assign(kernel.astype(np.float32))
    target.bias.assign(source.bias.numpy())
    return True


def _ends_in_classifier(network, end):
    """Whether nothing but the classifier reads a layer's output, averaged at most."""
    try:
        return readers(network, end) == [roles.classifier(network)]
    except InputError:
        return False


def _bridge(x, width, name):
    """A widening and a narrowing that starts as its inverse; answers both outputs."""
    channels = x.shape[-1]
    widen = keras.layers.Conv2D(
        width, 1, use_bias=False, kernel_initializer='orthogonal', name=f'{name}.widen'
    )
    narrow = keras.layers.Conv2D(channels, 1, use_bias=False, name=f'{name}.narrow')
    wide = widen(x)
    back = narrow(wide)
    narrow.kernel.assign(np.swapaxes(widen.kernel.numpy(), 2, 3))
    return wide, back


def _layer(model, name):
    return next((layer for layer in model.layers if layer.name == name), None)
