"""How large objects look in training and in a test (FixRes, section 3)."""

import dataclasses

import numpy as np

from tfnets.data import lengths, pipeline


@dataclasses.dataclass(frozen=True)
class Gap:
    """The measured difference of apparent sizes between training and testing.

    Attributes:
        sigma: reading -> mean size of a training crop relative to its image.
        ratio: reading -> r, apparent size in a test over that in training, at the training
            resolution (section 3 of the paper).
        resolution: reading -> test resolution in pixels at which r becomes 1.
    """

    sigma: dict[str, float]
    ratio: dict[str, float]
    resolution: dict[str, int]


def measure(batches, eval_line, multiple=1):
    """Runs the real training crops over the training set and compares them with a test.

    Args:
        batches: Batches of the training; their line begins with a random crop.
        eval_line: preprocessing of a test, written with `resolution`.
        multiple: what the answered resolutions are rounded to a multiple of.

    Returns:
        Gap.

    Raises:
        InputError: if a line has no crop, or no size, to be measured.
    """
    train_size = batches.preprocessing.resolution
    image, crop = lengths.of_test(eval_line, train_size)
    areas = pipeline.crop_areas(batches)
    sigma = {'length': float(np.sqrt(areas).mean()), 'area': float(areas.mean())}
    ratio = {name: apparent_size_ratio(mean, image, train_size) for name, mean in sigma.items()}
    resolution = {
        name: round_to_multiple(matching_resolution(value, image, crop), multiple)
        for name, value in ratio.items()
    }
    return Gap(sigma, ratio, resolution)


def apparent_size_ratio(sigma, image_size, train_size):
    """How large objects look in a test, relative to training (section 3.2, equation 4).

    Args:
        sigma: mean size of a training crop relative to its image.
        image_size: K_image_test, short side of the test images in pixels.
        train_size: K_train, side of the training images in pixels.

    Returns:
        r; below 1 where objects look larger in training.
    """
    return sigma * image_size / train_size


def matching_resolution(ratio, image_size, crop_size):
    """The test resolution at which objects look as large as in training.

    Args:
        ratio: r at the present sizes.
        image_size: K_image_test in pixels.
        crop_size: K_test in pixels.

    Returns:
        K_test in pixels: the centre of an image enlarged by 1 / r, its share kept, and cut so that
        both margins are whole pixels (as tf.image.central_crop does it).
    """
    enlarged = round(image_size / ratio)
    margin = int((enlarged - enlarged * (crop_size / image_size)) / 2)
    return enlarged - 2 * margin


def round_to_multiple(pixels, multiple):
    """The multiple nearest to a number of pixels, at least one."""
    return max(multiple, multiple * round(pixels / multiple))
