"""Hosts that prepare batches for others: the dispatcher of a tf.data service, and its workers.

  python -m tfnets.launchers.serve_data --port=5000                                (on one host)
  python -m tfnets.launchers.serve_data --port=5001 --dispatcher=grpc://host:5000  (on each other)
  python -m tfnets.launchers.fixres ... --data_service=grpc://host:5000 --cache=disk --cache_dir=...

A process without --dispatcher is the dispatcher. All of them, and the trainer, need the same
version of TensorFlow and see the same --cache_dir. They run until they are told to end.
"""

import contextlib
import socket
import time

from absl import flags, logging

from tfnets.errors import InputError, Preempted
from tfnets.launchers import app, checks
from tfnets.training import preemption

FLAGS = flags.FLAGS

flags.DEFINE_integer(
    'port', 5000, 'To listen on; 0 for any that is free.', lower_bound=0, upper_bound=65535
)
flags.DEFINE_string('dispatcher', None, 'grpc://host:port of the dispatcher, for a worker.')
flags.DEFINE_string(
    'address',
    None,
    "This worker's own host:port as others reach it, %port% for --port; by default by host name.",
)


def check():
    """Refuses flags that cannot be right."""
    if FLAGS.dispatcher:
        checks.reachable('dispatcher', FLAGS.dispatcher)
    if FLAGS.address and not FLAGS.dispatcher:
        raise InputError('--address: is for workers, which have a --dispatcher')


def main():
    """Starts the server and waits for a signal."""
    tf = app.import_tensorflow()
    service = tf.data.experimental.service
    try:
        if FLAGS.dispatcher:
            # TensorFlow's own default, localhost, is where no other host would find it.
            address = FLAGS.address or f'{socket.getfqdn()}:%port%'
            config = service.WorkerConfig(
                FLAGS.dispatcher.removeprefix('grpc://'), worker_address=address, port=FLAGS.port
            )
            server = service.WorkerServer(config)
            logging.info('worker of %s', FLAGS.dispatcher)
        else:
            server = service.DispatchServer(service.DispatcherConfig(port=FLAGS.port))
            logging.info('dispatcher at %s', server.target)
    except tf.errors.OpError as error:
        raise OSError(f'--port={FLAGS.port}: {" ".join(error.message.split())}') from None
    # To be told to end is how this ends well.
    with contextlib.suppress(Preempted), preemption.deferred() as terminated:
        while not terminated():
            time.sleep(0.2)
    del server


if __name__ == '__main__':
    app.launch(main, check)
