"""The arithmetic of networks that are built already."""

import keras

from tfnets.models import roles


def in_float32(network):
    """The same network computing in float32, whatever it was trained in.

    Args:
        network: functional keras.Model of any precision policy; its weights are float32 always.

    Returns:
        keras.Model with equal weights; the network itself if it computes in float32 throughout.
    """
    dtypes = {layer.compute_dtype for layer in roles.flat_layers(network) if layer.weights}
    if dtypes <= {'float32'}:
        return network

    def rebuilt(layer):
        if not isinstance(layer, keras.layers.Layer):  # a function of keras.ops, of any dtype
            return layer
        return type(layer).from_config({**layer.get_config(), 'dtype': 'float32'})

    copy = keras.models.clone_model(network, clone_function=rebuilt, recursive=True)
    copy.set_weights(network.get_weights())
    return copy
