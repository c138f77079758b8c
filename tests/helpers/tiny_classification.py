"""Flags of a classification on 57 photos that takes some seconds; --run_dir is the test's."""

FLAGS = [
    '--model=mbconv_c',
    '--resolution=32',
    '--train_preprocessing=decode_area_crop(resolution, 0.2, 0.7) | flip_lr',
    '--eval_preprocessing=resize(resolution)',
    '--train_split=train[:57]',
    '--test_split=test[:57]',
    '--evaluate_every=1',
    '--batch_size=16',
]
