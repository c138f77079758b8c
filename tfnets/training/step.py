"""One step of training, and many of them in one call.

Forward and backward run on each replica, in a function that may be compiled. The gradients are then
summed over the replicas and applied *outside* of strategy.run: applied inside, as tutorials have
it, clipping would see one replica's gradients only, and one replica's overflow in float16 would
reach the weights for ever.
"""

import tensorflow as tf

from tfnets.data.compiling import compiled
from tfnets.training import cluster


def training_function(
    objective,
    variables,
    decays,
    optimizer,
    strategy,
    batch_size,
    xla,
    accumulator=None,
    average=None,
):
    """Makes the function that trains.

    Args:
        objective: callable(batch, training) -> losses [replica_batch], dict of such metrics.
        variables: list of keras.Variable to train.
        decays: list of floats, the L2 weight decay of each variable.
        optimizer: Keras optimizer, built for these variables.
        strategy: tf.distribute.Strategy.
        batch_size: of all replicas together.
        xla: whether to compile the replica's function.
        accumulator: accumulation.Accumulator, if an update is made from several batches.
        average: averaging.Average that follows the updates, or None.

    Returns:
        tf.function(iterator, count) that makes `count` (a scalar int tensor) steps and returns
        two things: a dict of float32 [count], for each step the mean loss and metrics over the
        global batch; and the seconds that were spent waiting for input, float64.
    """
    replicas = strategy.num_replicas_in_sync
    names = []  # of the loss and the metrics, as tracing finds them

    def means_and_gradients(batch):
        values = [variable.value for variable in variables]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(values)
            losses, metrics = objective(batch, training=True)
            loss = tf.reduce_sum(losses) / batch_size
            scaled = optimizer.scale_loss(loss)
        gradients = tape.gradient(
            scaled, values, unconnected_gradients=tf.UnconnectedGradients.ZERO
        )
        # Each replica adds its share of the penalty, scaled as the loss is, so that the sum over
        # replicas is the gradient of the loss with the whole penalty.
        gradients = [
            gradient + optimizer.scale_loss(decay / replicas * value) if decay else gradient
            for gradient, value, decay in zip(gradients, values, decays, strict=True)
        ]
        means = {name: tf.reduce_sum(metric) / batch_size for name, metric in metrics.items()}
        means['loss'] = loss
        names[:] = sorted(means)
        return tf.stack([means[name] for name in names]), gradients

    means_and_gradients = _compiled(means_and_gradients, xla)

    def step(batch):
        means, gradients = strategy.run(means_and_gradients, args=(batch,))
        if replicas > 1:
            pairs = [(g, v.value) for g, v in zip(gradients, variables, strict=True)]
            gradients = strategy.extended.batch_reduce_to(tf.distribute.ReduceOp.SUM, pairs)
        if accumulator is None:
            update(gradients)
        else:
            accumulator.add(gradients, update)
        return strategy.reduce('SUM', means, axis=None)

    def update(gradients):
        if average is None:
            optimizer.apply(gradients, variables)
            return
        before = tf.identity(optimizer.iterations.value)
        optimizer.apply(gradients, variables)
        average.follow(before, tf.identity(optimizer.iterations.value))

    @tf.function
    def train(iterator, count):
        waited = tf.constant(0.0, tf.float64)
        history = tf.TensorArray(tf.float32, size=count, element_shape=[None])
        for index in tf.range(count):
            before = tf.timestamp()
            with tf.control_dependencies([before]):
                batch = next(iterator)
            with tf.control_dependencies(strategy.experimental_local_results(batch['label'])):
                waited += tf.timestamp() - before
            history = history.write(index, step(batch))
        columns = tf.unstack(tf.transpose(history.stack()), num=len(names))
        return dict(zip(names, columns, strict=True)), waited

    return train


def evaluation_function(objective, strategy, xla):
    """Makes the function that scores one batch without training.

    Args:
        objective: callable(batch, training) -> losses, metrics.
        strategy: tf.distribute.Strategy.
        xla: whether to compile the replica's function.

    Returns:
        function(batch) -> list of dicts of tensors [n]: 'index', 'label', 'loss' and the metrics,
        together those of all replicas of all processes.
    """

    def score(batch):
        losses, metrics = objective(batch, training=False)
        kept = {name: batch[name] for name in ('index', 'label')}
        return {**kept, 'loss': losses, **metrics}

    score = _compiled(score, xla)

    @tf.function
    def evaluate(batch):
        scores = strategy.run(score, args=(batch,))
        if cluster.size() > 1:
            return [{k: strategy.gather(v, axis=0) for k, v in scores.items()}]
        local = {k: strategy.experimental_local_results(v) for k, v in scores.items()}
        return [dict(zip(local, row, strict=True)) for row in zip(*local.values(), strict=True)]

    return evaluate


def _compiled(function, xla):
    """A function of a replica, compiled by XLA or not.

    What replicas do together, as synchronized batch norms do, cannot stand in a tf.function of a
    replica's own; so that there is none where nothing is compiled.
    """
    if not xla:
        return tf.autograph.experimental.do_not_convert(function)
    jitted = compiled(function)
    # The lambda keeps the compiled function inside each replica's own graph.
    return lambda batch: jitted(batch)
