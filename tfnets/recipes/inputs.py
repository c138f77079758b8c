"""What a recipe trains and tests on: three splits, and the lines that prepare their images."""

import dataclasses

from tfnets.data import preprocessing
from tfnets.data.pipeline import Batches
from tfnets.data.source import Source


@dataclasses.dataclass(frozen=True)
class Inputs:
    """Splits, preprocessing and batches of a recipe.

    Attributes:
        train: Source.
        validation: Source that choices are made on.
        test: Source that is reported on.
        train_preprocessing: line for training.
        eval_preprocessing: line for tests, written with `resolution`.
        batch_size: global.
        seed: of order and augmentation.
        colours_on_device: see `data.pipeline.Batches`.
        service: see `data.pipeline.Batches`.
    """

    train: Source
    validation: Source
    test: Source
    train_preprocessing: str
    eval_preprocessing: str
    batch_size: int
    seed: int
    colours_on_device: bool = False
    service: str | None = None

    def training(self, pixels, stream, line=None):
        """Batches of the training split.

        Args:
            pixels: resolution.
            stream: name that, with the seed, decides order and augmentation.
            line: another preprocessing than that of training.
        """
        return self._batches(self.train, line or self.train_preprocessing, pixels, stream)

    def evaluation(self, split, pixels):
        """Batches of 'validation' or 'test', as prepared for a test."""
        return self._batches(getattr(self, split), self.eval_preprocessing, pixels, '')

    def _batches(self, source, line, pixels, stream):
        parsed = preprocessing.parse(line, pixels)
        placement = (self.colours_on_device, self.service)
        return Batches(source, parsed, self.batch_size, self.seed, stream, *placement)
