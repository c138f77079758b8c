"""To what length a test resizes an image, and what length it cuts out. Imports no TensorFlow."""

from tfnets.data import preprocessing
from tfnets.errors import InputError


def of_test(line, resolution):
    """The two lengths of a test preprocessing.

    Args:
        line: such as 'resize_short_side(resolution * 256 / 224) | center_crop(resolution)'.
        resolution: in pixels.

    Returns:
        K_image_test, what the short side is resized to, and K_test, the side of the crop.

    Raises:
        InputError: if the line does not resize, or the two lengths do not grow together.
    """
    image, crop = _lengths(line, resolution)
    larger_image, larger_crop = _lengths(line, 4 * resolution)
    # A pixel by which the small lengths are rounded is no difference.
    if abs(larger_image / larger_crop - image / crop) > 0.02 + 0.5 / crop:
        raise InputError(
            f'--eval_preprocessing={line!r}: resizes to {image} for a crop of {crop}, but to '
            f'{larger_image} for {larger_crop}; write both as parts of `resolution`, so that '
            'objects grow with it'
        )
    return image, crop


def _lengths(line, resolution):
    parsed = preprocessing.parse(line, resolution)
    resized = [step for step in parsed.steps if step.name in ('resize_short_side', 'resize')]
    if len(resized) != 1:
        raise InputError(
            f'--eval_preprocessing={line!r}: expected one resize_short_side(...) or resize(...), '
            f'which says what the apparent size is, got {len(resized)}'
        )
    image = resized[0].arguments['size']
    cropped = parsed.find('center_crop')
    return image, cropped.arguments['size'] if cropped else image
