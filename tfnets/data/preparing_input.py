"""What is to be prepared: the photos of a folder, their classes, splits and stored order.

It all is a function of the files' names and a seed, and nothing is opened. Imports no TensorFlow.
"""

import dataclasses
import hashlib
import os
import pathlib
import re

from tfnets.data.folder_layout import files_below, split_folders
from tfnets.data.image_files import IMAGE_SUFFIXES, by_class, is_image, printable
from tfnets.errors import InputError, few

VALIDATION_SHARE = 0.2  # As DeepLearning_MiniProjects divides Caltech-256.
CLUTTER = '257.clutter'  # Caltech's folder of photos that belong to none of its 256 classes.

_IMAGENET_NAME = re.compile(r'ILSVRC2012_val_(\d{8})\.JPEG', re.IGNORECASE)
_IMAGENET_LABELS = 'datasets/imagenet2012/validation_labels.txt'


@dataclasses.dataclass(frozen=True)
class Photos:
    """The photos of a folder.

    Attributes:
        root: the folder.
        class_names: in the order of labels.
        splits: dict from 'train', 'validation', 'test' to (path below root, label) of each photo,
            in the order in which they are to be stored. None is empty.
        shares: dict from 'validation' and 'test' to the share that was cut off for it; None where
            the folder brings its own splits.
        sha256: of all photos' names and sizes.
        notes: what was left out, in lines to be printed.
    """

    root: pathlib.Path
    class_names: tuple[str, ...]
    splits: dict
    shares: dict
    sha256: str
    notes: tuple[str, ...]

    def __len__(self):
        return sum(map(len, self.splits.values()))


def read(root, validation_share=None, test_share=None, seed=0, keep_clutter=False):
    """Looks through a folder of photos.

    Photos stand in root/CLASS, or in root/train/CLASS and root/val/CLASS (or validation, test), as
    torchvision has them, also in folders within; what is hidden is passed over. Photos that lie in
    root/val itself are ImageNet's, and go by the label list of TensorFlow Datasets.

    Args:
        root: the folder.
        validation_share: of each class, to be cut off for validation; None for VALIDATION_SHARE,
            or for nothing where the folder brings its own splits.
        test_share: the same for the test; None for nothing.
        seed: of the division and of the stored order.
        keep_clutter: whether Caltech's class CLUTTER counts.

    Returns:
        Photos.

    Raises:
        InputError: if the folder is not so.
    """
    root = pathlib.Path(os.path.abspath(os.path.expanduser(root)))
    own = split_folders(root, 'input_dir')
    left_out = () if keep_clutter else (CLUTTER,)
    listed = {split: _listed(root, folder, left_out) for split, folder in own.items()}
    flat = 'validation' in own and not listed['validation'][0]
    folders = sorted({name for classes, _ in listed.values() for name in classes})
    names = _class_names(root, folders)
    labels = {folder: label for label, folder in enumerate(folders)}
    splits = {
        split: [(path, labels[name]) for name, paths in classes.items() for path in paths]
        for split, (classes, _) in listed.items()
    }
    if flat:
        splits['validation'] = _imagenet_validation(root, own['validation'].name, labels)
    _check(root, own, names, splits)
    shares = _shares(root, own, validation_share, test_share)
    if shares:
        splits = _cut(splits['train'], shares, seed)
    splits = {split: _shuffled(photos, seed) for split, photos in splits.items() if photos}
    notes = _notes(root, own, listed, splits, left_out)
    return Photos(root, names, splits, shares, _fingerprint(root, splits), notes)


# ---------------------------------------------------------------------------------- what is there


def _listed(root, folder, left_out):
    """What image_files.by_class answers of a folder, as paths below root."""
    classes, others = by_class(folder, left_out)

    def below_root(paths):
        return [(folder.relative_to(root) / path).as_posix() for path in paths]

    return {name: below_root(paths) for name, paths in classes.items()}, below_root(others)


def _notes(root, own, listed, splits, left_out):
    """What was left out, line by line."""
    notes = [
        f'{name}: left out, {len(files_below(folder / name))} files; --keep_clutter keeps it'
        for folder in own.values()
        for name in left_out
        if (folder / name).is_dir()
    ]
    taken = {path for path, _ in splits.get('validation', ())}
    others = [path for _, paths in listed.values() for path in paths if path not in taken]
    if others:
        named = few([printable(path) for path in others])
        notes.append(
            f'warning: {len(others)} other files left out ({named}); photos stand in class folders '
            f'and end in {", ".join(IMAGE_SUFFIXES)}'
        )
    return tuple(notes)


def _class_names(root, folders):
    """001.ak47 becomes ak47, if all folders are numbered so and their names stay unique."""
    for folder in folders:
        if printable(folder) != folder or folder != ' '.join(folder.split()):
            raise InputError(
                f'--input_dir={root}: the class folder {printable(folder)!r} has a name that '
                'cannot be listed in a line of its own; rename it'
            )
    numbered = [re.fullmatch(r'\d+\.(\S.*)', folder) for folder in folders]
    stripped = [match[1] for match in numbered if match]
    return tuple(stripped if len(set(stripped)) == len(folders) else folders)


def _imagenet_validation(root, folder, labels):
    """The photos that lie in ImageNet's validation folder itself, labelled by their numbers."""
    import tensorflow_datasets as tfds

    synsets = tfds.core.tfds_path(_IMAGENET_LABELS).read_text().split()
    photos = []
    for name in sorted(filter(is_image, os.listdir(root / folder))):
        match = _IMAGENET_NAME.fullmatch(name)
        number = int(match[1]) if match else 0
        if not 1 <= number <= len(synsets):
            raise InputError(
                f'{root / folder / name}: expected photos in class folders, or those of '
                "ImageNet's validation, named ILSVRC2012_val_00000001.JPEG and so on"
            )
        if synsets[number - 1] not in labels:
            raise InputError(
                f'{root / folder / name}: its class is {synsets[number - 1]}, which has no folder '
                f'in {root / "train"}; expected class folders named as ImageNet names them'
            )
        photos.append((f'{folder}/{name}', labels[synsets[number - 1]]))
    return photos


def _check(root, own, names, splits):
    """Refuses folders that cannot be trained on."""
    if len(names) < 2:
        found = f'only {names[0]!r}' if names else 'none'
        raise InputError(
            f'--input_dir={root}: expected at least two class folders, found {found}; give the '
            'folder that holds them'
        )
    there = {label for _, label in splits['train']}
    for label, name in enumerate(names):
        if label not in there:
            raise InputError(
                f'--input_dir={root}: no photo of class {name!r} below {own["train"]}; remove its '
                f'folder, or add photos ({", ".join(IMAGE_SUFFIXES)})'
            )
    if 'validation' in own and not splits['validation']:
        raise InputError(f'{own["validation"]}: there is no photo in it; remove the folder')


# ------------------------------------------------------------------------------- splits and order


def _shares(root, own, validation, test):
    """What is cut off for validation and test; nothing where the folder brings its own splits."""
    if len(own) > 1:
        if validation or test:
            given = '--validation_split' if validation else '--test_split'
            raise InputError(
                f'{given}: {root} brings its own splits ({", ".join(own)}), which are taken as '
                'they are; leave the flag out'
            )
        return None
    return {
        'validation': VALIDATION_SHARE if validation is None else validation,
        'test': test or 0.0,
    }


def _cut(photos, shares, seed):
    """Cuts the splits off each class, by a hash of the names; one photo of each stays for train."""
    classes = {}
    for photo in photos:
        classes.setdefault(photo[1], []).append(photo)
    splits = {'train': [], 'validation': [], 'test': []}
    for members in classes.values():
        members = _by_hash(members, f'{seed} split')
        start = 0
        for split, share in shares.items():
            stop = min(start + int(len(members) * share + 0.5), len(members) - 1)
            splits[split] += members[start:stop]
            start = stop
        splits['train'] += members[start:]
    return splits


def _shuffled(photos, seed):
    """Photos in stored order: of all classes mixed, so that what is read in passing is, too."""
    return _by_hash(photos, f'{seed} order')


def _by_hash(photos, salt):
    def place(photo):
        return hashlib.sha1(os.fsencode(f'{salt} {photo[0]}')).digest()

    return sorted(photos, key=place)


def _fingerprint(root, splits):
    digest = hashlib.sha256()
    for path in sorted(path for photos in splits.values() for path, _ in photos):
        try:
            size = os.stat(root / path).st_size
        except OSError:
            size = None  # a link that leads nowhere; named as damaged when it is its turn
        digest.update(os.fsencode(f'{path} {size}\n'))
    return digest.hexdigest()
