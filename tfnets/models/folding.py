"""Networks as they answer, with as few layers as that takes: batch norms multiplied in."""

import collections
import dataclasses

import keras
import numpy as np

from tfnets.models import graphs, layers

# The layers that a batch norm behind them can be multiplied into, and how many kernels they have.
# Not their subclasses, which may compute something else.
_KERNELS = {
    layers.Conv2D: 1,
    keras.layers.Conv1D: 1,
    keras.layers.Conv2D: 1,
    keras.layers.Conv3D: 1,
    keras.layers.DepthwiseConv1D: 1,
    keras.layers.DepthwiseConv2D: 1,
    keras.layers.SeparableConv1D: 2,
    keras.layers.SeparableConv2D: 2,
    keras.layers.Dense: 1,
}
_DEPTHWISE = (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D)
_NORMS = (layers.BatchNormalization, keras.layers.BatchNormalization)
# They do nothing but in training.
_NOISE = (
    layers.Dropout,
    keras.layers.Dropout,
    keras.layers.AlphaDropout,
    keras.layers.GaussianDropout,
    keras.layers.GaussianNoise,
)


def fold(network):
    """The same network for inference: its outputs are those of `network(..., training=False)`.

    A batch norm that directly follows a convolution (with or without groups, depthwise, separable)
    or a dense layer, and alone reads its output, is multiplied into kernel and bias, in float64.
    All other batch norms stay: those of a pre-activation, or behind a padding, whose zeros they
    turn into something else. For that reason the scaling of the pixels stays too: the zeros around
    an image are scaled pixels. Dropout vanishes; models inside the network are laid out flat.

    Layers keep their names, a folded one that of the convolution; the layers of a model inside the
    network are called 'model.layer'.

    Args:
        network: functional or Sequential keras.Model, of any precision policy. It is left as it is.

    Returns:
        keras.Model that shares nothing with the network and computes in float32.

    Raises:
        InputError: if the network is not functional, so that nobody can tell what follows what.
    """
    graph = _without_noise(graphs.flatten(network))
    original = graphs.functional_of(network)
    norms = _foldable(graph)
    vanishing = {id(norm) for norm in norms.values()}
    copies = _Copies()
    inputs = [
        keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=tensor.name)
        for tensor in original.inputs
    ]
    values = {id(old): new for old, new in zip(graph.inputs, inputs, strict=True)}
    for call in graph.calls:
        if id(call) in vanishing:
            results = values[id(call.tensors[0])]
        else:
            args, kwargs = _replaced((call.args, call.kwargs), values)
            results = copies.call(call, norms.get(id(call)), args, kwargs)
        pairs = zip(graphs.tensors_of(call.outputs), graphs.tensors_of(results), strict=True)
        values.update((id(old), new) for old, new in pairs)
    inputs = keras.tree.pack_sequence_as(original.input, inputs)
    return keras.Model(inputs, _replaced(graph.outputs, values), name=network.name)


def _replaced(structure, values):
    """The structure with each tensor replaced by its value, if it has one."""
    return keras.tree.map_structure(lambda leaf: values.get(id(leaf), leaf), structure)


def _without_noise(graph):
    """The graph without dropout: who read its output reads its input."""
    values, calls = {}, []
    for call in graph.calls:
        args, kwargs = _replaced((call.args, call.kwargs), values)
        call = dataclasses.replace(call, args=args, kwargs=kwargs)
        if isinstance(call.operation, _NOISE):
            values[id(call.outputs)] = call.tensors[0]
        else:
            calls.append(call)
    return graphs.Graph(graph.inputs, calls, _replaced(graph.outputs, values))


def _foldable(graph):
    """Dict from the id() of a call to the call of the batch norm that its layer takes in."""
    read = [tensor for call in graph.calls for tensor in call.tensors]
    readers = collections.Counter(map(id, read + graphs.tensors_of(graph.outputs)))
    makers = {id(call.outputs): call for call in graph.calls}
    norms = {}
    for call in graph.calls:
        source = call.tensors[0]
        maker = makers.get(id(source))
        if maker and readers[id(source)] == 1 and _takes_in(maker.operation, call):
            norms[id(maker)] = call
    return norms


def _takes_in(layer, call):
    """Whether a call is that of a batch norm that can be multiplied into the layer before it."""
    if type(call.operation) not in _NORMS or type(layer) not in _KERNELS:
        return False
    if layer.activation is not keras.activations.linear:
        return False
    # Other weights than kernels and bias, as LoRA's, take part in what it computes.
    if len(layer.weights) != _KERNELS[type(layer)] + layer.use_bias:
        return False
    first = getattr(layer, 'data_format', None) == 'channels_first'
    rank = len(call.outputs.shape)
    return call.operation.axis % rank == (1 if first else rank - 1)


def _folded_weights(layer, norm):
    """Kernels and bias, float64, of the layer with the batch norm in it."""
    weights = [np.asarray(weight, np.float64) for weight in layer.get_weights()]
    *kernels, last, bias = weights if layer.use_bias else [*weights, 0.0]
    mean, variance = (
        np.asarray(moving, np.float64) for moving in (norm.moving_mean, norm.moving_variance)
    )
    scale = 1 / np.sqrt(variance + norm.epsilon)
    if norm.scale:
        scale = scale * np.asarray(norm.gamma)
    bias = (bias - mean) * scale
    if norm.center:
        bias = bias + np.asarray(norm.beta)
    # A depthwise kernel ends in [channels, multiplier], which its outputs follow in this order.
    shape = last.shape[-2:] if isinstance(layer, _DEPTHWISE) else last.shape[-1:]
    return [*kernels, last * scale.reshape(shape), bias]


class _Copies:
    """Copies of layers in float32: one for each layer and the batch norm that it takes in."""

    def __init__(self):
        self._copies = {}
        self._names = set()

    def call(self, call, norm, args, kwargs):
        """Calls the copy of a call's operation on other arguments.

        Args:
            call: graphs.Call.
            norm: Call of the batch norm that the layer takes in, or None.
            args: positional arguments, keras.KerasTensors of the new network.
            kwargs: arguments by name.

        Returns:
            Structure of keras.KerasTensors.
        """
        key = id(call.operation), norm and id(norm.operation)
        if key in self._copies:
            return self._copies[key](*args, **kwargs)
        copy = self._copies[key] = self._copy(call, norm)
        outputs = copy(*args, **kwargs)  # which makes the weights
        if norm:
            copy.set_weights(_folded_weights(call.operation, norm.operation))
        elif isinstance(copy, keras.layers.Layer):
            copy.set_weights(call.operation.get_weights())
        # Keras' own makes constants of its weights when they are there.
        if isinstance(copy, keras.layers.Normalization):
            copy.finalize_state()
        return outputs

    def _copy(self, call, norm):
        options = {'name': self._fresh_name(call.name)}
        if isinstance(call.operation, keras.layers.Layer):
            options['dtype'] = 'float32'
        if norm:
            options['use_bias'] = True
        return type(call.operation).from_config({**call.operation.get_config(), **options})

    def _fresh_name(self, name):
        """The name; or name_1, name_2 ... if a layer has it already."""
        found, number = name, 0
        while found in self._names:
            number += 1
            found = f'{name}_{number}'
        self._names.add(found)
        return found
