"""From flags to the splits of a run: apart from each other, and without damaged files.

Imports TensorFlow only when it is called.
"""

import itertools

from absl import flags, logging

from tfnets.errors import InputError, few
from tfnets.files import read_json, write_json
from tfnets.training import cluster

FLAGS = flags.FLAGS


def open_source(split):
    """Opens a split, damaged files and all."""
    from tfnets.data import sources

    return sources.load(FLAGS.dataset, split, FLAGS.data_dir, FLAGS.cache, FLAGS.cache_dir)


def open_all():
    """Opens the three splits, damaged files and all; refuses those that overlap.

    Returns:
        List of Source: train, validation, test.
    """
    names = ('train_split', 'validation_split', 'test_split')
    opened = [open_source(FLAGS[name].value) for name in names]
    check_disjoint(dict(zip(names, opened, strict=True)))
    return opened


def inputs(opened, folder=None):
    """The Inputs of a recipe.

    Args:
        opened: what `open_all` answered.
        folder: of the run, where what was found damaged is kept; None to look again each time.
    """
    from tfnets.recipes.inputs import Inputs

    sources = [sound(source, source is opened[0], folder) for source in opened]
    if folder:
        logging.info('the run is in %s', folder)
        logging.info(
            '%d photos to train on, %d for validation, %d for the test', *map(len, sources)
        )
    if FLAGS.batch_size > len(sources[0]):
        logging.warning('--batch_size=%d is more than the photos to train on', FLAGS.batch_size)
    return Inputs(
        *sources,
        FLAGS.train_preprocessing,
        FLAGS.eval_preprocessing,
        FLAGS.batch_size,
        FLAGS.seed,
        FLAGS.augment_on_device,
        FLAGS.data_service,
    )


def check_disjoint(named):
    """Refuses splits that have photos in common, as slices given by hand may.

    Args:
        named: dict from a flag's name to its Source.

    Raises:
        InputError: names the two flags.
    """
    import numpy as np

    for (one, first), (other, second) in itertools.combinations(named.items(), 2):
        shared = np.intersect1d(first.ids, second.ids)
        # An id is a file and a place in it; splits of different files never share one.
        if len(shared):
            raise InputError(
                f'--{one}={first.split} and --{other}={second.split} have {len(shared)} photos in '
                'common; take slices that do not overlap'
            )


def sound(opened, training, folder=None):
    """Leaves out the examples of a source that do not decode, or are too large to.

    Args:
        opened: Source, or StreamedSource, which may be so large that it is looked through only if
            --skip_damaged says so; else the first damaged file that is met ends the run.
        training: whether damaged files are left out without being asked.
        folder: of the run, where what was found is kept; None to look again each time.

    Returns:
        Source or StreamedSource.

    Raises:
        InputError: if a file of an evaluation is damaged, or the data changed since the run began.
    """
    import numpy as np

    found = _found(opened, training, folder)
    bad = found['damaged']
    if not bad:
        return opened
    if len(bad) == len(opened):
        raise InputError(
            f'{opened.name}, {opened.split}: none of the {len(bad)} files decodes ({few(bad)}); '
            'expected image files'
        )
    if not training and not FLAGS.skip_damaged:
        raise InputError(
            f'{opened.name}, {opened.split}: {len(bad)} of {len(opened)} files do not decode or '
            f'are too large to ({few(bad)}); mend or remove them, or evaluate without them by '
            '--skip_damaged'
        )
    logging.warning(
        '%s, %s: left out %d of %d files, which do not decode or are too large to: %s',
        opened.name,
        opened.split,
        len(bad),
        len(opened),
        few(bad),
    )
    return opened.take(np.flatnonzero(~np.isin(opened.ids, bad)))


def _found(opened, training, folder):
    """What a look through a source has found, now or when the run began.

    Returns:
        {'examples': how many there are, 'identity': as of the source, 'damaged': ids, or None if
        it was not looked through}.
    """
    from tfnets.data.source import StreamedSource

    path = folder / 'data.json' if folder else None
    known = read_json(path, {}) if path else {}
    split, found = opened.split, known.get(opened.split)
    look = FLAGS.skip_damaged or not isinstance(opened, StreamedSource)
    if found and found['identity'] != opened.identity:
        raise InputError(
            f'{opened.name}, {split}: these are not the {found["examples"]} photos that the '
            f'run began with; got {len(opened)}; bring those back, or start anew by --overwrite'
        )
    if found and look and training and found['damaged'] is None:
        raise InputError(
            f'--skip_damaged: this run began without, and the order of {opened.name}, {split}, '
            'would be another one; start anew by --overwrite'
        )
    if not found or (look and found['damaged'] is None):
        found = {'examples': len(opened), 'identity': opened.identity, 'damaged': None}
        if look:
            found['damaged'] = _damaged(opened)
        if path:
            write_json(path, known | {split: found})
    if any(cluster.total([cluster.agreed(found) != found])):
        raise InputError(
            f'{opened.name}, {split}: not all processes have the same photos there; expected the '
            'same data for all'
        )
    return found


def _damaged(opened):
    """The ids of damaged files, by looking through all of them."""
    from tfnets.data import faults

    if len(opened) > 100_000:
        logging.info('%s, %s: looking through %d', opened.name, opened.split, len(opened))
    return opened.ids[faults.damaged(opened)].tolist()
