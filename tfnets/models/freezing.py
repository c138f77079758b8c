"""Networks as graphs of TensorFlow that hold their weights as constants."""

import tensorflow as tf


def freeze(network, shape=None):
    """A function that answers as `network(pixels, training=False)`, faster on a CPU.

    The weights stand in its graph as constants. What depends on nothing else is computed once, a
    convolution, its bias, an addition and a ReLU become one operation, and oneDNN keeps each
    kernel in the order in which it reads it, where it would else have to reorder it in every call.
    (All of that but the last is done as well with variables, once batch norms are folded: see
    `folding.fold`.)

    Args:
        network: keras.Model of one input and one output.
        shape: of the pixels, None for an axis of any size; by default that of the network's input.
            Additions are fused only where TensorFlow can see that both shapes agree.

    Returns:
        Function from an array of that shape, which is cast to the input's dtype, or a tensor of it,
        to the network's output; others are refused by a TypeError. It does not see later changes of
        the weights.
    """
    signature = tf.TensorSpec(shape or network.input.shape, network.input.dtype)
    variables = network.trainable_variables, network.non_trainable_variables

    @tf.function(autograph=False, input_signature=[signature])
    def answer(pixels):
        with tf.init_scope():
            values = [[variable.numpy() for variable in group] for group in variables]
        constants = [[tf.constant(value) for value in group] for group in values]
        outputs, _ = network.stateless_call(*constants, pixels, training=False)
        return outputs

    answer.get_concrete_function()  # which reads the weights
    return answer
