"""The flags of FixRes' fine-tuning, which `fixres` shares with what ends in it. No TensorFlow."""

from absl import flags

from tfnets.data import lengths, preprocessing
from tfnets.errors import InputError
from tfnets.launchers import checks, common_flags, flag_values

FLAGS = flags.FLAGS


def define():
    """What is fine-tuned, where, and for how long."""
    common_flags.define_course('finetune_', 'Fine-tuning, and its control', 10.0, 0.001, 'steps')
    flags.DEFINE_list(
        'tune',
        ['classifier_and_last_bn'],
        'What is fine-tuned: classifier_and_last_bn (the official code), all, or both, with a '
        'comma.',
    )
    flags.DEFINE_enum(
        'sigma',
        'length',
        ('length', 'area'),
        "A training crop's size: the root of its share of the area (the paper), or that share "
        'itself (the project AdamStein97).',
    )
    flags.DEFINE_string(
        'test_resolution',
        'sigma',
        'Where to fine-tune: `sigma`, where objects look as large as in training; `validation`, '
        'where the trained network does best there; or pixels.',
    )
    flags.DEFINE_integer(
        'resolution_multiple',
        1,
        "Round the resolution of `sigma` to a multiple of it. A network's total stride is a good "
        'choice: at other sizes its padding differs from training.',
        lower_bound=1,
    )
    flags.DEFINE_list(
        'resolutions',
        [],
        'Test resolutions in pixels; that of sigma, and that of training, are always among them.',
    )
    flags.DEFINE_bool('control', True, 'Also fine-tune for as long at the training resolution.')


def names():
    """Of the flags that `define` has defined."""
    own, courses = (FLAGS.flags_by_module_dict()[m] for m in (__name__, common_flags.__name__))
    finetuning = [flag for flag in courses if flag.name.startswith('finetune_')]
    return [flag.name for flag in (*own, *finetuning)]


def test_resolution():
    """Where to fine-tune: 'sigma', 'validation', or pixels."""
    return flag_values.pixels_or('test_resolution', ('sigma', 'validation'))


def check():
    """Refuses flags that cannot be right."""
    checks.course('finetune_')
    for tune in FLAGS.tune or ['']:
        if tune not in ('classifier_and_last_bn', 'all'):
            raise InputError(f'--tune={tune}: expected classifier_and_last_bn, all, or both')
    flag_values.pixels('resolutions')
    test_resolution()
    if not preprocessing.parse(FLAGS.train_preprocessing, 224).crops:
        raise InputError(
            f'--train_preprocessing={FLAGS.train_preprocessing}: it shows objects at one size, so '
            'that there is no size gap to mend; expected it to begin with a crop of random size, '
            'decode_area_crop or decode_inception_crop'
        )
    lengths.of_test(FLAGS.eval_preprocessing, FLAGS.resolution or 224)
