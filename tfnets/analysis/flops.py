"""What a network costs at any resolution: parameters and multiply-adds, layer by layer.

Nothing is run and nothing is built again: the shapes of one image of the wanted size are followed
through the network's graph.

The field counts in three ways; this is what is counted here. MACs are the multiply-adds of
convolutions of every kind and of dense layers, for one image; a multiplication and the addition
that goes with it are 1, where papers that count FLOPs often say 2. Multiplications with the zeros
of a padding count. Not counted: biases, batch normalization, activations, pooling, resizing,
additions and scaling. A layer that multiplies in another way (attention, a kernel of one's own) is
listed by name as not counted, and its MACs are given as 0.
"""

import dataclasses
import math
import re

import keras

from tfnets.errors import InputError, one_line
from tfnets.models import graphs

COUNTED = (
    'MACs: multiply-adds of convolutions and dense layers for one image; a multiplication and its '
    'addition are 1 (where FLOPs are counted, often 2). Not counted: biases, batch normalization, '
    'activations, pooling, resizing, additions and scaling.'
)

_SEPARABLE = (keras.layers.SeparableConv1D, keras.layers.SeparableConv2D)
_CONVOLUTIONS = (
    *(keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D),
    *(keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D),
    *_SEPARABLE,
)
_TRANSPOSED = (
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
)
_COUNTED = (*_CONVOLUTIONS, *_TRANSPOSED, keras.layers.Dense, keras.layers.EinsumDense)
# Their weights may have several dimensions, but each value is scaled, or looked up, once.
_FREE = (
    keras.layers.BatchNormalization,
    keras.layers.LayerNormalization,
    keras.layers.Normalization,
    keras.layers.PReLU,
    keras.layers.Embedding,
)
# These multiply matrices, or convolve, without a weight of their own.
_PRODUCTS = (keras.layers.Attention, keras.layers.AdditiveAttention, keras.layers.Dot)
_PRODUCT_OPERATIONS = (
    *('Matmul', 'Dot', 'Tensordot', 'Einsum', 'Inner', 'Outer', 'Vdot', 'DotProductAttention'),
    *('Conv', 'DepthwiseConv', 'SeparableConv', 'ConvTranspose'),
)
_MOST_STAGES = 30


@dataclasses.dataclass(frozen=True)
class LayerCost:
    """What one layer, or one operation without a layer, costs.

    Attributes:
        name: of the layer; in a model inside the model, 'model/layer'.
        kind: name of its class.
        stage: the part of the network that its name tells; '' if Keras gave the name (add_3) and
            the layer has no weights.
        output_shape: of one image; of the last call and the first output, if there are several.
        parameters: all, moving statistics too.
        trainable: those of them that training may change.
        macs: of all its calls together.
    """

    name: str
    kind: str
    stage: str
    output_shape: tuple[int, ...]
    parameters: int
    trainable: int
    macs: int


@dataclasses.dataclass(frozen=True)
class StageCost:
    """What the layers of one stage cost together.

    Attributes:
        name: see `LayerCost.stage`.
        output_shape: that of its last layer.
        parameters: all, moving statistics too.
        trainable: those of them that training may change.
        macs: multiply-adds of one image.
    """

    name: str
    output_shape: tuple[int, ...]
    parameters: int
    trainable: int
    macs: int


@dataclasses.dataclass(frozen=True)
class ModelCost:
    """What a network costs.

    Attributes:
        resolution: side of the image in pixels.
        layers: LayerCosts in the order of the graph.
        not_counted: names of the layers that multiply in a way that no rule here covers.
    """

    resolution: int
    layers: tuple[LayerCost, ...]
    not_counted: tuple[str, ...]

    @property
    def parameters(self):
        """All parameters, moving statistics too."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def trainable(self):
        """The parameters that training may change."""
        return sum(layer.trainable for layer in self.layers)

    @property
    def macs(self):
        """Multiply-adds of one image."""
        return sum(layer.macs for layer in self.layers)


def cost(model, resolution):
    """Counts parameters and multiply-adds of one square image.

    A layer that is called twice costs its multiply-adds twice and its parameters once.

    Args:
        model: functional or Sequential keras.Model of one image input, [batch, height, width,
            channels].
        resolution: side of the image in pixels.

    Returns:
        ModelCost.

    Raises:
        InputError: if the model has no such graph or does not take images of this size.
    """
    graph = graphs.functional_of(model)
    image = _image(graph, resolution)
    try:
        calls = _propagate(graph, image)
    except InputError as error:
        raise InputError(f'{model.name} at {resolution} px: {error}; take another size') from None
    operations = graphs.operations(graph)
    layers, not_counted, seen = [], [], set()
    for (name, operation), stage in zip(operations, _stage_names(operations), strict=True):
        shapes = calls[id(operation)]
        macs = _multiply_adds(operation, shapes)
        if macs is None:
            not_counted.append(name)
        fresh = _fresh_weights(operation, seen)
        layers.append(
            LayerCost(
                name=name,
                kind=type(operation).__name__,
                stage=stage,
                output_shape=shapes[-1][1][1:],
                parameters=sum(size for size, _ in fresh),
                trainable=sum(size for size, trained in fresh if trained),
                macs=macs or 0,
            )
        )
    return ModelCost(resolution, tuple(layers), tuple(not_counted))


def of_training(phase):
    """The floating-point operations that training in a Phase takes for one image.

    A multiply-add of a network that is asked is two of them, of one that learns six: its backward
    pass has two where the forward pass has one. Nothing else is counted.

    Returns:
        int; None where but a part of a network learns, or a network is not counted in full.
    """
    total = 0
    for name, network in phase.objective.modules.items():
        treatment = phase.treatment_of(name)
        counted = cost(network, phase.data.preprocessing.resolution)
        if counted.not_counted or not (treatment.trained == 'all' or treatment.freezes):
            return None
        total += (2 if treatment.freezes else 6) * counted.macs
    return total


def stages(model_cost):
    """Adds up layers by stage.

    Layers that belong to no stage (see `LayerCost`) have neither weights nor MACs.

    Args:
        model_cost: ModelCost.

    Returns:
        List of StageCost, in the order in which the stages begin.
    """
    groups = {}
    for layer in model_cost.layers:
        if layer.stage:
            groups.setdefault(layer.stage, []).append(layer)
    return [
        StageCost(
            name,
            layers[-1].output_shape,
            sum(layer.parameters for layer in layers),
            sum(layer.trainable for layer in layers),
            sum(layer.macs for layer in layers),
        )
        for name, layers in groups.items()
    ]


# The graph.


def _image(graph, resolution):
    """One image, without values, as the model wants it."""
    shapes = [tuple(tensor.shape) for tensor in graph.inputs]
    if len(shapes) != 1 or len(shapes[0]) != 4:
        raise InputError(
            f'{graph.name}: expected one input [batch, height, width, channels], got '
            + ', '.join(map(str, shapes))
        )
    height, width, channels = shapes[0][1:]
    if {height, width} - {None, resolution}:
        raise InputError(
            f'{graph.name} takes images of {height} x {width} px only, not {resolution} px'
        )
    shape = (1, resolution, resolution, channels)
    return keras.KerasTensor(shape, graph.inputs[0].dtype)


def _propagate(graph, image):
    """Follows an image through a graph.

    Returns:
        Dict from the id() of an operation to the (input shape, output shape) of each of its calls.
    """
    calls = {}

    def follower(operation):
        def follow(*args, **kwargs):
            tensors = graphs.tensors_of((args, kwargs))
            inner = graphs.functional(operation)
            if inner is not None:
                return run(inner, tensors[: len(inner.inputs)])
            outputs = _output_of(operation, args, kwargs)
            first = keras.tree.flatten(outputs)[0]
            calls.setdefault(id(operation), []).append((tensors[0].shape, first.shape))
            return outputs

        return follow

    def run(graph, tensors):
        # The walk by which Keras itself computes a functional model's output shape.
        return graph._run_through_graph(tensors, operation_fn=follower)

    run(graph, [image])
    return calls


def _output_of(operation, args, kwargs):
    try:
        outputs = operation.compute_output_spec(*args, **kwargs)
    except ValueError as error:
        raise InputError(f'the image cannot pass {operation.name}: {one_line(error)}') from None
    for tensor in keras.tree.flatten(outputs):
        if any(size is not None and size < 1 for size in tensor.shape):
            raise InputError(f'the image is too small: none of it is left after {operation.name}')
    return outputs


# Counting.


def _weights(operation):
    return operation.weights if isinstance(operation, keras.layers.Layer) else []


def _fresh_weights(operation, seen):
    """(size, whether trainable) of the weights that no layer before had; adds them to `seen`."""
    fresh = []
    trained = {id(weight) for weight in getattr(operation, 'trainable_weights', ())}
    for weight in _weights(operation):
        if id(weight) not in seen:
            seen.add(id(weight))
            fresh.append((math.prod(weight.shape), id(weight) in trained))
    return fresh


def _multiply_adds(operation, shapes):
    """Of all calls together.

    Args:
        operation: layer or other operation.
        shapes: (input shape, output shape) of each call.

    Returns:
        int; None if it multiplies in a way that no rule covers.
    """
    kernels = [weight for weight in _weights(operation) if len(weight.shape) > 1]
    if not kernels:
        multiplies = isinstance(operation, _PRODUCTS) or (
            not isinstance(operation, keras.layers.Layer)
            and type(operation).__name__ in _PRODUCT_OPERATIONS
        )
        return None if multiplies else 0
    if isinstance(operation, _FREE):
        return 0
    # More kernels than the layer's own (LoRA's) do something that is not known here.
    own = 2 if isinstance(operation, _SEPARABLE) else 1
    if not isinstance(operation, _COUNTED) or len(kernels) != own:
        return None
    size = sum(math.prod(kernel.shape) for kernel in kernels)
    counts = [_multiply_adds_of_call(operation, size, *shape_pair) for shape_pair in shapes]
    return None if None in counts else sum(counts)


def _multiply_adds_of_call(layer, size, source, output):
    """Each weight is used once at every place of the output.

    Or of the input, where a transposed convolution spreads each of its values over the output.

    Args:
        layer: one of _COUNTED.
        size: number of its weights, but biases.
        source: shape of the input.
        output: shape of the output.

    Returns:
        int; None if Keras cannot tell the shape.
    """
    by_input = isinstance(layer, (*_TRANSPOSED, keras.layers.EinsumDense))
    shape = source if by_input else output
    if None in shape:
        return None
    if isinstance(layer, keras.layers.EinsumDense):
        return math.prod(shape) * _new_sizes(layer)
    first = getattr(layer, 'data_format', None) == 'channels_first'
    return math.prod(shape) // shape[1 if first else -1] * size


def _new_sizes(layer):
    """With how many weights an EinsumDense multiplies each value of its input."""
    given, labels, _ = re.split(',|->', layer.equation.replace(' ', ''))
    sizes = zip(labels, layer.kernel.shape, strict=True)
    return math.prod(size for label, size in sizes if label not in given)


# Stages.

# The beginning of a name without dots, in keras.applications: of EfficientNet's block2a_ (a unit),
# of MobileNet's block_12_ and expanded_conv_12_, of ConvNeXt's convnext_tiny_stage_0_, of all
# others what stands before the first underscore.
_PLAIN = re.compile(
    r'block\d+(?=[a-z]_)|(?:block|expanded_conv)_\d+(?=_)'
    r'|convnext_[a-z]+_(?:stage_\d+|[a-z]+)|[^_]+'
)


def _stage_names(operations):
    """The stage of each (name, operation), '' for those whose name does not tell."""
    names = dict(operations)
    dotted = any('.' in name for name in names)
    found = [_dotted_stage(name, names) if dotted else _plain_stage(name) for name in names]
    if not dotted and len(set(found)) > _MOST_STAGES:
        found = [re.match(r'\D*', stage).group() or stage for stage in found]
    return [
        '' if _is_anonymous(operation) else stage
        for operation, stage in zip(names.values(), found, strict=True)
    ]


def _dotted_stage(name, names):
    """'stage1.big' of 'stage1.big.unit1.conv1', but 'stage2' of 'stage2.unit1.conv1'.

    The second part counts where it is a branch: neither a unit nor a layer, as in 'stem.conv' and
    in what goes with that, 'stem.conv.padding'.
    """
    parts = name.split('.')
    branch = '.'.join(parts[:2])
    is_branch = len(parts) > 2 and not re.fullmatch(r'unit\d+', parts[1]) and branch not in names
    return branch if is_branch else parts[0]


def _plain_stage(name):
    prefix, slash, own = name.rpartition('/')
    return prefix + slash + _PLAIN.match(own).group()


def _is_anonymous(operation):
    """Whether an operation has no weights, nothing to tell, and the name that Keras gave it."""
    base = re.sub(r'_\d+$', '', operation.name).replace('_', '')
    return base == type(operation).__name__.lower() and not _weights(operation)
