"""What part each layer and each variable plays in a network.

Training speaks of parts, never of substrings of names: 'the classifier', 'the last batch norm
before pooling', 'kernels'.
"""

import keras

from tfnets.models.layers import Dropout

_POOLING = (keras.layers.GlobalAveragePooling2D, keras.layers.GlobalMaxPooling2D)


def classifier(model):
    """Returns the layer that makes the logits: the last one with weights."""
    return [layer for layer in flat_layers(model) if layer.weights][-1]


def batch_norms(model):
    """Returns all batch normalizations, from input to output."""
    return [
        layer for layer in flat_layers(model) if isinstance(layer, keras.layers.BatchNormalization)
    ]


def dropouts(model):
    """Returns all layers that drop values or whole branches at random."""
    return [layer for layer in flat_layers(model) if isinstance(layer, Dropout)]


def last_batch_norm(model):
    """Returns the batch normalization nearest before the global pooling.

    In a residual network that is the one at the end of the last unit's branch, as FixRes's official
    code has it (layer4[2].bn3 of ResNet-50).

    Args:
        model: functional keras.Model.

    Returns:
        The layer, or None if there is none, or no global pooling.
    """
    pools = [layer for layer in flat_layers(model) if isinstance(layer, _POOLING)]
    level = pools[-1:]
    seen = set()
    while level:
        for layer in level:
            if isinstance(layer, keras.layers.BatchNormalization):
                return layer
        seen.update(map(id, level))
        before = [source for layer in level for source in _sources(layer)]
        level = [layer for layer in before if id(layer) not in seen]
    return None


def flat_layers(model):
    """Returns the layers of a model, those of models inside it in their place."""
    layers = []
    for layer in model.layers:
        layers += flat_layers(layer) if isinstance(layer, keras.Model) else [layer]
    return layers


def variable_roles(model):
    """Names the role of each trainable variable.

    Args:
        model: keras.Model.

    Returns:
        Dict from the variable's id() to 'kernel', 'bias', 'scale' (gamma), 'offset' (beta) or
        'other'. A layer's attribute decides, never a name.
    """
    attributes = {
        'kernel': 'kernel',
        'depthwise_kernel': 'kernel',
        'pointwise_kernel': 'kernel',
        'bias': 'bias',
        'gamma': 'scale',
        'beta': 'offset',
    }
    roles = {id(variable): 'other' for variable in model.trainable_variables}
    for layer in flat_layers(model):
        for attribute, role in attributes.items():
            variable = getattr(layer, attribute, None)
            if id(variable) in roles:
                roles[id(variable)] = role
    return roles


def _sources(layer):
    """The layers that feed a layer in its functional graph."""
    return [
        tensor._keras_history.operation
        for node in layer._inbound_nodes[:1]
        for tensor in node.input_tensors
    ]
