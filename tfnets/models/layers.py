"""The few building blocks that the families of networks share."""

import contextlib
import functools
import threading
import zlib

import keras
import tensorflow as tf

_MODES = {
    # mode: (scale, mean, standard deviation, channel order), as keras.applications names them.
    'none': (1.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), 'rgb'),
    'unit': (1 / 255, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), 'rgb'),
    'tf': (1 / 127.5, (1.0, 1.0, 1.0), (1.0, 1.0, 1.0), 'rgb'),
    'torch': (1 / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 'rgb'),
    'caffe': (1.0, (103.939, 116.779, 123.68), (1.0, 1.0, 1.0), 'bgr'),
}


@keras.saving.register_keras_serializable('tfnets')
class PixelScaling(keras.layers.Layer):
    """Turns pixels, 0 to 255 in RGB order, into what a network was trained on.

    It is the first layer of every network here, so that scaling can neither be forgotten nor be
    done twice. It computes in float32 under every precision policy.

    Args:
        mode: 'unit' (0 to 1), 'tf' (-1 to 1), 'torch' (0 to 1, then ImageNet's mean and standard
            deviation), 'caffe' (BGR, ImageNet's mean taken off) or 'none'.
        mean: three numbers from 0 to 1, in RGB order, in place of those of 'torch'.
        deviation: likewise, above 0.
    """

    def __init__(self, mode='unit', mean=None, deviation=None, **kwargs):
        kwargs['dtype'] = 'float32'
        super().__init__(**kwargs)
        if mode not in _MODES:
            raise ValueError(f'PixelScaling: mode must be one of {", ".join(_MODES)}, got {mode!r}')
        self.mode = mode
        self.mean, self.deviation = mean, deviation

    def normalise_by(self, mean, deviation):
        """Takes these statistics from now on; to be called before the network is traced."""
        self.mode, self.mean, self.deviation = 'torch', tuple(mean), tuple(deviation)

    def call(self, pixels):
        """Scales pixels of any numeric dtype, shape [batch, height, width, 3], to float32."""
        scale, mean, deviation, order = _MODES[self.mode]
        pixels = keras.ops.cast(pixels, 'float32')
        if order == 'bgr':
            pixels = keras.ops.flip(pixels, axis=-1)
        if self.mode == 'none':
            return pixels
        mean, deviation = self.mean or mean, self.deviation or deviation
        return (pixels * scale - keras.ops.array(mean)) / keras.ops.array(deviation)

    def compute_output_shape(self, input_shape):
        """Scaling keeps the shape."""
        return input_shape

    def get_config(self):
        """Returns what rebuilds the layer."""
        config = super().get_config()
        del config['dtype']
        return {**config, 'mode': self.mode, 'mean': self.mean, 'deviation': self.deviation}


@keras.saving.register_keras_serializable('tfnets')
class BatchNormalization(keras.layers.BatchNormalization):
    """Keras' batch normalization with moving statistics that can agree across replicas.

    Keras 3 leaves each replica of a MirroredStrategy with moving statistics of its own. Here too
    each writes its own (so that the layer can stand inside a compiled replica function); assigned
    to from outside of replicas, as `training.distribution.statistics_synchronizer` does with their
    mean, all take the same. What is read there, by checkpoints also, is the first one's.

    Over images it is one operation of TensorFlow's, where Keras makes several passes over them in
    float32. As in that operation and in PyTorch, and so in the papers' code, the moving variance
    is that of a population of which the batch is a sample: n / (n - 1) times that of the batch
    (which it is itself where several devices normalise together, `synchronized`).

    Attributes:
        inference_mode: if true, the layer normalises by its moving statistics and leaves them as
            they are, even when the network is called for training. Apart from whether gamma and
            beta are trained, which the phase says. Not saved with the layer.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.inference_mode = False

    def add_weight(self, *args, **kwargs):
        """Makes a variable; those that are not trained are synchronized on reading."""
        if kwargs.get('trainable', True):
            return super().add_weight(*args, **kwargs)
        with keras.name_scope(self.name, caller=self):
            variable = keras.Variable(
                initializer=keras.initializers.get(kwargs['initializer']),
                shape=kwargs['shape'],
                dtype=self.variable_dtype,
                trainable=False,
                autocast=False,
                aggregation='only_first_replica',
                synchronization='on_read',
                name=kwargs['name'],
            )
        self._track_variable(variable)
        return variable

    def call(self, inputs, training=None, mask=None):
        """Normalises over all axes but the last."""
        training = bool(training) and not self.inference_mode
        if not self._can_be_fused(inputs, mask):
            return super().call(inputs, training=training, mask=mask)
        training = training and self.trainable
        statistics = [] if training else [self.moving_mean.value, self.moving_variance.value]
        mean, variance = statistics or [tf.zeros([0])] * 2
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=tf.cast(inputs, self.compute_dtype),
            scale=tf.cast(self.gamma, tf.float32),
            offset=tf.cast(self.beta, tf.float32),
            mean=tf.cast(mean, tf.float32),
            variance=tf.cast(variance, tf.float32),
            epsilon=self.epsilon,
            is_training=training,
        )
        if training:
            for moving, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
                value = tf.cast(value, moving.dtype)
                moving.assign(moving * self.momentum + value * (1.0 - self.momentum))
        return outputs

    def _can_be_fused(self, inputs, mask):
        is_plain = self.center and self.scale and not self.renorm and not self.synchronized
        of_images = len(inputs.shape) == 4 and self.axis in (-1, 3) and mask is None
        return is_plain and of_images and self.compute_dtype != 'float64'


@keras.saving.register_keras_serializable('tfnets')
class Conv2D(keras.layers.Conv2D):
    """Keras' convolution, whose groups TensorFlow itself computes, where it can.

    Keras hands every convolution in groups to XLA, for TensorFlow once had none on a CPU. With
    oneDNN it has them, gradients too, and on a CPU they take a small part of the time.
    """

    def build(self, input_shape):
        """Makes the weights."""
        super().build(input_shape)
        last = self.data_format == 'channels_last'
        self._as_tensorflow = last and self.groups > 1 and _computes_groups(self.compute_dtype)

    def convolution_op(self, inputs, kernel):
        """Convolves inputs, shape [batch, height, width, channels]."""
        if not self._as_tensorflow:
            return super().convolution_op(inputs, kernel)
        kernel = keras.ops.convert_to_tensor(kernel)
        padding = self.padding.upper()
        return tf.nn.conv2d(inputs, kernel, self.strides, padding, dilations=self.dilation_rate)


@functools.cache
def _computes_groups(dtype):
    """Whether TensorFlow has convolutions in groups here, and their gradients: it is tried."""
    options = {'strides': [1, 1, 1, 1], 'padding': 'SAME'}
    # A tape records nothing in there, so that the gradients are called by their names.
    with tf.init_scope():
        images, kernel = tf.ones((1, 3, 3, 4), dtype), tf.ones((3, 3, 2, 4), dtype)
        backward = {'out_backprop': images, **options}
        try:
            tf.raw_ops.Conv2D(input=images, filter=kernel, **options)
            tf.raw_ops.Conv2DBackpropInput(input_sizes=images.shape, filter=kernel, **backward)
            tf.raw_ops.Conv2DBackpropFilter(input=images, filter_sizes=kernel.shape, **backward)
        except tf.errors.OpError:
            return False
    return True


_context = threading.local()


@contextlib.contextmanager
def example_seeds(seeds):
    """Within it, random layers draw each example's mask from that example's own seed.

    Args:
        seeds: int32 tensor [batch, 2], as the pipeline sends it along with each example.
    """
    before = getattr(_context, 'seeds', None)
    _context.seeds = seeds
    try:
        yield
    finally:
        _context.seeds = before


def _mix(value):
    """A bijection of uint32 that leaves no bit of the input visible (Wellons' lowbias32)."""

    def fold(value, bits):
        shifted = tf.bitwise.right_shift(value, tf.constant(bits, tf.uint32))
        return tf.bitwise.bitwise_xor(value, shifted)

    value = fold(value, 16) * tf.constant(0x7FEB352D, tf.uint32)
    value = fold(value, 15) * tf.constant(0x846CA68B, tf.uint32)
    return fold(value, 16)


def uniform_per_example(seeds, salt, shape):
    """Uniform numbers that depend on nothing but an example's seed, a salt and the place.

    A hash rather than TensorFlow's generators: those give other numbers under XLA than without,
    and cannot take one seed for each example of a batch.

    Args:
        seeds: int32 tensor [batch, 2].
        salt: int in [0, 2**32), different for each layer.
        shape: shape of one example's numbers, ints or scalar tensors.

    Returns:
        float32 tensor [batch, *shape] in [0, 1).
    """
    seeds = tf.bitcast(tf.cast(seeds, tf.int32), tf.uint32)
    state = _mix(seeds[:, 0] + _mix(tf.constant(salt & 0xFFFFFFFF, tf.uint32)))
    state = _mix(seeds[:, 1] + state)
    place = _mix(tf.cast(tf.range(tf.reduce_prod(tf.stack(shape))), tf.uint32))
    bits = _mix(state[:, None] + place[None, :])
    top = tf.cast(tf.bitwise.right_shift(bits, tf.constant(8, tf.uint32)), tf.float32)
    return tf.reshape(top * 2.0**-24, tf.concat([tf.shape(seeds)[:1], tf.stack(shape)], 0))


@keras.saving.register_keras_serializable('tfnets')
class Dropout(keras.layers.Layer):
    """Dropout whose mask is a function of the example's seed and of the layer's name.

    Keras' own layer draws from a generator that no checkpoint holds and that gives every replica
    the same mask. With `noise_shape=(None, 1, 1, 1)` whole examples are dropped: drop-connect
    (stochastic depth) on a residual branch.

    Args:
        rate: share of values that become 0, in [0, 1). The others are divided by 1 - rate.
        noise_shape: as in keras.layers.Dropout: None keeps an axis' size, 1 shares the mask.

    Attributes:
        inference_mode: if true, nothing is dropped in training either. Not saved with the layer.
    """

    def __init__(self, rate, noise_shape=None, **kwargs):
        super().__init__(**kwargs)
        self.inference_mode = False
        if not 0 <= rate < 1:
            raise ValueError(f'Dropout: rate must be in [0, 1), got {rate}')
        self.rate = rate
        self.noise_shape = None if noise_shape is None else tuple(noise_shape)

    def call(self, inputs, training=None):
        """Drops values of inputs, shape [batch, ...], when training."""
        if not training or self.inference_mode or self.rate == 0:
            return inputs
        seeds = getattr(_context, 'seeds', None)
        if seeds is None:
            raise RuntimeError(
                f'{self.name}: dropout in training needs `with example_seeds(...)` around the call'
            )
        sizes = tf.shape(inputs)
        wanted = (self.noise_shape or (None,) * inputs.shape.rank)[1:]
        shape = [sizes[axis] if size is None else size for axis, size in enumerate(wanted, 1)]
        kept = uniform_per_example(seeds, zlib.crc32(self.name.encode()), shape) >= self.rate
        return inputs * tf.cast(kept, inputs.dtype) / tf.cast(1 - self.rate, inputs.dtype)

    def compute_output_shape(self, input_shape):
        """Dropping keeps the shape."""
        return input_shape

    def get_config(self):
        """Returns what rebuilds the layer."""
        return {**super().get_config(), 'rate': self.rate, 'noise_shape': self.noise_shape}


@tf.custom_gradient
def _upsample_nearest(images, size):
    """Nearest upsampling, with a gradient of its own because XLA has none for TensorFlow's.

    Each pixel gets the sum over those that were made of it. For a whole factor that is average
    pooling, which is also faster than TensorFlow's gradient.
    """
    upsampled = tf.raw_ops.ResizeNearestNeighbor(images=images, size=size)

    def gradient(upstream):
        inputs, outputs = images.shape[1:3], upstream.shape[1:3]
        if None not in (*inputs, *outputs) and outputs == [2 * side for side in inputs]:
            return 4 * tf.nn.avg_pool2d(upstream, 2, 2, 'VALID'), None
        sums = [_sources(images, upstream, axis) for axis in (1, 2)]
        return tf.einsum('byxc,yh,xw->bhwc', upstream, *sums), None

    return upsampled, gradient


def _sources(images, upsampled, axis):
    """A matrix [output size, input size] of 0 and 1: which pixel each one was made of."""
    inputs, outputs = tf.shape(images)[axis], tf.shape(upsampled)[axis]
    return tf.one_hot(tf.range(outputs) * inputs // outputs, inputs, dtype=upsampled.dtype)


@keras.saving.register_keras_serializable('tfnets')
class UpsampleLike(keras.layers.Layer):
    """Enlarges images to the height and width of others.

    Args:
        method: 'nearest' (the source of a pixel is floor(place * input size / output size), as
            torch's interpolate has it) or 'bilinear' (centres of pixels aligned; in float32 under
            every policy, for XLA cannot compile its gradient in half precision).
    """

    def __init__(self, method='nearest', **kwargs):
        super().__init__(**kwargs)
        if method not in ('nearest', 'bilinear'):
            raise ValueError(f"UpsampleLike: method must be 'nearest' or 'bilinear', got {method}")
        self.method = method

    def call(self, inputs):
        """Enlarges.

        Args:
            inputs: list of the images to enlarge, [batch, h, w, channels], and those of the
                wanted size, [batch, height, width, any].

        Returns:
            Tensor [batch, height, width, channels] of the layer's dtype.
        """
        images, like = inputs
        size = tf.shape(like)[1:3]
        if self.method == 'nearest':
            return _upsample_nearest(images, size)
        return tf.cast(tf.image.resize(tf.cast(images, tf.float32), size), images.dtype)

    def compute_output_shape(self, input_shape):
        """The wanted size with the channels of the enlarged images."""
        images, like = input_shape
        return (images[0], like[1], like[2], images[3])

    def get_config(self):
        """Returns what rebuilds the layer."""
        return {**super().get_config(), 'method': self.method}
