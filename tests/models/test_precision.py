"""Networks of mixed precision, rebuilt in float32."""

import keras
import numpy as np
import pytest
from small_networks import SMALL, randomized

from tfnets.models import precision, roles
from tfnets.models.keras_applications import keras_application


def in_precision(policy, build):
    keras.config.set_dtype_policy(policy)
    try:
        return build()
    finally:
        keras.config.set_dtype_policy('float32')


BUILDERS = {
    **{name: SMALL[name] for name in ('big_little', 'preact_resnet', 'mbconv')},
    'keras': lambda: keras_application('MobileNetV2', 3),
}


@pytest.mark.parametrize('family', BUILDERS)
def test_the_rebuilt_network_is_the_one_built_in_float32(family):
    mixed = randomized(in_precision('mixed_bfloat16', BUILDERS[family]))
    plain = BUILDERS[family]()
    plain.set_weights(mixed.get_weights())
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    rebuilt = precision.in_float32(mixed)
    np.testing.assert_array_equal(rebuilt(pixels), plain(pixels))
    dtypes = {layer.compute_dtype for layer in roles.flat_layers(rebuilt) if layer.weights}
    assert dtypes == {'float32'}
    # The one that it was made of is as it was.
    assert {layer.compute_dtype for layer in roles.flat_layers(mixed)} >= {'bfloat16'}


def test_a_network_in_float32_is_taken_as_it_is():
    network = SMALL['mbconv']()
    assert precision.in_float32(network) is network
