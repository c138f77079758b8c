"""Networks as lists of calls."""

import keras
import pytest

from tfnets.errors import InputError
from tfnets.models import graphs


def tower():
    x = keras.Input((4,))
    return keras.Model(x, keras.layers.ReLU(name='relu')(keras.layers.Dense(4, name='dense')(x)))


def test_calls_of_models_inside_stand_in_their_place():
    inner = tower()
    middle = keras.Sequential([inner, keras.layers.Dense(4, name='dense')], name='middle')
    inner.name = 'inner'
    x = pixels = keras.Input((4,))
    x = keras.layers.Add(name='add')([middle(x, training=True), inner(x)])
    graph = graphs.flatten(keras.Model(pixels, x, name='outer'))
    names = [call.name for call in graph.calls]
    assert sorted(names) == [
        'add',
        'inner.dense',
        'inner.relu',
        'middle.dense',
        'middle.inner.dense',
        'middle.inner.relu',
    ]
    calls = dict(zip(names, graph.calls, strict=True))
    assert calls['middle.inner.dense'].operation is calls['inner.dense'].operation
    assert calls['middle.inner.dense'].tensors[0] is graph.inputs[0]
    assert calls['middle.dense'].tensors[0] is calls['middle.inner.relu'].outputs
    last = calls['middle.dense'].outputs, calls['inner.relu'].outputs
    assert [id(tensor) for tensor in calls['add'].tensors] == [id(tensor) for tensor in last]
    assert graph.outputs is calls['add'].outputs
    assert all('training' not in call.kwargs for call in graph.calls)


def test_every_output_has_its_tensor():
    x = keras.Input((4,))
    left, right = keras.ops.split(x, 2, axis=-1)
    graph = graphs.flatten(keras.Model(x, {'right': right, 'twice': left * 2}))
    split, twice = graph.calls
    assert twice.tensors == [split.outputs[0]]
    assert graph.outputs['right'] is split.outputs[1]


def test_a_model_without_a_graph_is_refused():
    class Own(keras.Model):
        pass

    with pytest.raises(InputError, match='own: not a functional model'):
        graphs.flatten(Own(name='own'))
