"""A network of this library in PyTorch, with the same weights, to measure it beside the original.

Only the layers that the ResNets and the MBConv networks are made of are known. Images are
[batch, channels, height, width] in PyTorch's channels_last layout, as is fastest on a CPU.

TensorFlow's convolutions crash in a process that PyTorch's libraries are loaded into. So this is
for a process of its own, `python -m tfnets.analysis.torch_peer`, in which TensorFlow only reads.
"""

import json
import math
import sys

import keras
import numpy as np
import torch
from torch import nn

from tfnets.errors import InputError
from tfnets.models import graphs
from tfnets.models.layers import PixelScaling
from tfnets.training import checkpoints


class TorchNetwork(nn.Module):
    """The same function as a keras.Model from uint8 pixels to logits.

    Args:
        network: functional keras.Model.

    Raises:
        InputError: if it has a layer that is not known here.
    """

    def __init__(self, network):
        super().__init__()
        graph = graphs.flatten(network)
        self._steps, modules = [], {}
        for number, call in enumerate(graph.calls):
            key = id(call.operation)
            if key not in modules:
                modules[key] = _module(call.operation)
                self.add_module(f'layer{number}', modules[key])
            sources = [id(tensor) for tensor in call.tensors]
            (output,) = graphs.tensors_of(call.outputs)
            self._steps.append((modules[key], sources, id(output)))
        self._input, self._output = id(graph.inputs[0]), id(graphs.tensors_of(graph.outputs)[0])

    def forward(self, pixels):
        """From uint8 [batch, 3, height, width] to logits [batch, num_classes]."""
        values = {self._input: pixels}
        for module, sources, output in self._steps:
            values[output] = module(*(values[source] for source in sources))
        return values[self._output]


def trainer(network, batch_size, resolution, learning_rate, momentum, nesterov, steps, bfloat16):
    """Steps of training on one batch in memory, as `benchmark.bare_step` makes them.

    Args:
        network: keras.Model from pixels to logits.
        batch_size: images.
        resolution: their side in pixels.
        learning_rate: of SGD.
        momentum: of it.
        nesterov: of it.
        steps: in one call.
        bfloat16: whether to compute in it, by autocast.

    Returns:
        Function without arguments that makes the steps.
    """
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    peer = TorchNetwork(network).to(device, memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(peer.parameters(), learning_rate, momentum, nesterov=nesterov)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (batch_size, 3, resolution, resolution), np.uint8)
    images = torch.from_numpy(pixels).to(device, memory_format=torch.channels_last)
    classes = network.output_shape[-1]
    labels = torch.from_numpy(rng.integers(0, classes, batch_size)).to(device)

    def run():
        for _ in range(steps):
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(device, torch.bfloat16, enabled=bfloat16):
                logits = peer(images)
            loss = nn.functional.cross_entropy(logits.float(), labels)
            loss.backward()
            optimizer.step()
        return loss.item()

    return run


def serve():
    """Trains when it is told to on standard input.

    The first line there is JSON, a network's file and what `trainer` takes; then an empty line asks
    for a call, and is answered by one on standard output when that is done.
    """
    settings = json.loads(input())
    run = trainer(checkpoints.load_model(settings.pop('network')), **settings)
    for _ in sys.stdin:
        run()
        print(flush=True)


# ------------------------------------------------------------------------------ layer by layer


def _module(layer):
    for kind, make in _MAKERS.items():
        if isinstance(layer, kind):
            return make(layer)
    raise InputError(
        f'{layer.name} is a {type(layer).__name__}, which is not known there; take a resnet, '
        'cifar_resnet or mbconv network'
    )


class _Function(nn.Module):
    """A function without weights as a module."""

    def __init__(self, function):
        super().__init__()
        self._function = function

    def forward(self, *inputs):
        return self._function(*inputs)


class _Same(nn.Module):
    """TensorFlow's padding 'same' in front of a convolution or a pooling."""

    def __init__(self, module, kernel, stride, value=0.0):
        super().__init__()
        self.module, self._kernel, self._stride, self._value = module, kernel, stride, value

    def forward(self, x):
        pads = []
        for size in (x.shape[3], x.shape[2]):
            total = max(
                (math.ceil(size / self._stride) - 1) * self._stride + self._kernel - size, 0
            )
            pads += [total // 2, total - total // 2]
        return self.module(nn.functional.pad(x, pads, value=self._value) if any(pads) else x)


def _scaling(layer):
    # By what it makes of two grey levels; a caffe network's order of colours is left as it is.
    levels = np.array([0, 255], np.uint8)[:, None, None, None].repeat(3, 3)
    black, white = np.asarray(layer(levels), np.float32)[:, 0, 0]
    scale, offset = (
        torch.from_numpy(values)[:, None, None] for values in ((white - black) / 255, black)
    )
    return _Function(lambda pixels: pixels.float() * scale + offset)


def _convolution(layer):
    depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
    kernel = layer.kernel.numpy()
    if depthwise:
        inputs = outputs = groups = kernel.shape[2]
        kernel = kernel.transpose(2, 3, 0, 1)
    else:
        groups, outputs = layer.groups, layer.filters
        inputs = kernel.shape[2] * groups
        kernel = kernel.transpose(3, 2, 0, 1)
    module = nn.Conv2d(
        inputs, outputs, layer.kernel_size, layer.strides, groups=groups, bias=layer.use_bias
    )
    _put(module.weight, kernel)
    if layer.use_bias:
        _put(module.bias, layer.bias.numpy())
    if layer.padding == 'valid' or layer.kernel_size == (1, 1):
        return module
    if layer.strides == (1, 1):
        module.padding = tuple(size // 2 for size in layer.kernel_size)
        return module
    return _Same(module, layer.kernel_size[0], layer.strides[0])


def _norm(layer):
    module = nn.BatchNorm2d(layer.gamma.shape[0], layer.epsilon, 1 - layer.momentum)
    pairs = [
        (module.weight, layer.gamma),
        (module.bias, layer.beta),
        (module.running_mean, layer.moving_mean),
        (module.running_var, layer.moving_variance),
    ]
    for theirs, ours in pairs:
        _put(theirs, ours.numpy())
    return module


def _dense(layer):
    module = nn.Linear(*layer.kernel.shape, bias=layer.use_bias)
    _put(module.weight, layer.kernel.numpy().T)
    if layer.use_bias:
        _put(module.bias, layer.bias.numpy())
    return module


def _max_pooling(layer):
    module = nn.MaxPool2d(layer.pool_size, layer.strides)
    if layer.padding == 'valid':
        return module
    return _Same(module, layer.pool_size[0], layer.strides[0], -math.inf)


def _padding(layer):
    (top, bottom), (left, right) = layer.padding
    return _Function(lambda x: nn.functional.pad(x, (left, right, top, bottom)))


def _put(parameter, values):
    with torch.no_grad():
        parameter.copy_(torch.from_numpy(np.array(values, np.float32)))


_MAKERS = {
    PixelScaling: _scaling,
    keras.layers.DepthwiseConv2D: _convolution,
    keras.layers.Conv2D: _convolution,
    keras.layers.BatchNormalization: _norm,
    keras.layers.Dense: _dense,
    keras.layers.MaxPooling2D: _max_pooling,
    keras.layers.ZeroPadding2D: _padding,
    keras.layers.ReLU: lambda layer: _Function(torch.relu),
    keras.layers.Add: lambda layer: _Function(lambda *terms: sum(terms[1:], terms[0])),
    keras.layers.GlobalAveragePooling2D: lambda layer: _Function(lambda x: x.mean((2, 3))),
}


if __name__ == '__main__':
    serve()
