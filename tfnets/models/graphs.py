"""The graph of a functional model as a list of calls, those of models inside it in their place."""

import dataclasses

import keras

from tfnets.errors import InputError
from tfnets.models.layers import PixelScaling


@dataclasses.dataclass(frozen=True)
class Call:
    """One call of a layer or of another operation, as in inference.

    Attributes:
        operation: keras.Operation.
        name: of the operation; in a model inside the model, 'model.operation'.
        args: positional arguments; tensors among them are keras.KerasTensors.
        kwargs: arguments by name, without `training`.
        outputs: structure of keras.KerasTensors.
    """

    operation: keras.Operation
    name: str
    args: tuple
    kwargs: dict
    outputs: object

    @property
    def tensors(self):
        """The tensors among the arguments."""
        return tensors_of((self.args, self.kwargs))


@dataclasses.dataclass(frozen=True)
class Graph:
    """The calls of a model.

    Attributes:
        inputs: list of keras.KerasTensors.
        calls: list of Calls, each behind those whose outputs it reads.
        outputs: structure of keras.KerasTensors.
    """

    inputs: list
    calls: list
    outputs: object


def functional(operation):
    """The graph of a functional or Sequential model; None for any other operation."""
    # A Sequential holds the functional model that it stands for, once it is built.
    operation = getattr(operation, '_functional', None) or operation
    return operation if isinstance(operation, keras.Function) else None


def functional_of(model):
    """The graph of a functional or Sequential model.

    Raises:
        InputError: if the model has none.
    """
    graph = functional(model)
    if graph is None:
        raise InputError(f'{model.name}: not a functional model, so its layers cannot be followed')
    return graph


def tensors_of(structure):
    """Returns the keras.KerasTensors in a structure, as a list."""
    leaves = keras.tree.flatten(structure)
    return [leaf for leaf in leaves if isinstance(leaf, keras.KerasTensor)]


def operations(graph, prefix='', seen=None):
    """Lists all operations but inputs once, layers or not, those of models inside in their place.

    Args:
        graph: what `functional` answered.

    Returns:
        List of pairs: name, in a model inside the model 'model/operation', and keras.Operation.
    """
    seen = set() if seen is None else seen
    found = []
    for operation in graph.operations:
        name = prefix + operation.name
        inner = functional(operation)
        if inner is not None:
            found += operations(inner, f'{name}/', seen)
        elif id(operation) not in seen and not isinstance(operation, keras.layers.InputLayer):
            seen.add(id(operation))
            found.append((name, operation))
    return found


def flatten(model):
    """Lists the calls of a model, without computing anything.

    A model inside the model that is called twice has its calls listed twice, each time with the
    same operations.

    Args:
        model: functional or Sequential keras.Model.

    Returns:
        Graph, whose tensors are not the model's own.

    Raises:
        InputError: if the model has no such graph.
    """
    graph = functional_of(model)
    calls = []
    inputs = [keras.KerasTensor(tensor.shape, tensor.dtype) for tensor in graph.inputs]
    return Graph(inputs, calls, _walk(graph, inputs, calls))


def _walk(graph, inputs, calls, prefix=''):
    """Appends the calls of a graph to `calls`; returns its outputs."""

    def follower(operation):
        def follow(*args, **kwargs):
            # Whatever stands here, model(..., training=False) takes its place.
            kwargs.pop('training', None)
            inner = functional(operation)
            if inner is None:
                return _append(calls, operation, prefix, args, kwargs)
            name = f'{prefix}{operation.name}.'
            entering = tensors_of((args, kwargs))[: len(inner.inputs)]
            entering = [
                _converted(calls, tensor, wanted.dtype, name)
                for tensor, wanted in zip(entering, inner.inputs, strict=True)
            ]
            return _walk(inner, entering, calls, name)

        return follow

    # The walk by which Keras itself computes a functional model's output shape.
    return graph._run_through_graph(inputs, operation_fn=follower)


def _append(calls, operation, prefix, args, kwargs):
    """Appends a call; returns its outputs."""
    outputs = operation.compute_output_spec(*args, **kwargs)
    calls.append(Call(operation, prefix + operation.name, args, kwargs, outputs))
    return outputs


def _converted(calls, tensor, dtype, prefix):
    """What a model inside the model gets: Keras turns integers into the floats that it wants."""
    if 'float' in tensor.dtype or 'float' not in dtype:
        return tensor
    return _append(calls, PixelScaling('none', name='cast'), prefix, (tensor,), {})
