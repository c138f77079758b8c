"""Weights from files: every tensor in its place, or an error that says what does not fit.

Keras' own loading takes what it finds: of a file for another network it may leave half unused, and
layers that it does not find stay random.
"""

import io
import json
import pathlib
import re
import zipfile

import h5py
import keras
import numpy as np
from absl import logging

from tfnets.errors import InputError, one_line
from tfnets.models import roles
from tfnets.models.layers import PixelScaling
from tfnets.models.torch_weights import files as torch_files
from tfnets.models.torch_weights import names as torch_names

_KERAS_SUFFIXES = ('.h5', '.keras')
_TORCH_SUFFIXES = ('.pth', '.pt', '.tar', '.bin', '.safetensors')


def load(model, path, *, new_head=False, name=None, layout=None):
    """Gives a model all weights of a file.

    Names, where the file has any, and shapes are compared, not what the network does with them: one
    with bilinear upsampling takes the weights of one with nearest. Where a whole network (`.keras`)
    normalises pixels by statistics of its own, the model takes them too.

    Args:
        model: functional keras.Model of this library.
        path: of a Keras file (`.weights.h5`, `.keras`, or the `.h5` of Keras 2), or of a PyTorch
            checkpoint (`.pth`, `.pth.tar`, `.safetensors`) of the official code: torchvision's and
            FixRes' ResNet, IBM's Big-Little networks.
        new_head: whether the classifier keeps its own, random weights, so that the file may be that
            of another number of classes.
        name: of the network, for messages.
        layout: model as whose layers a Keras file may list the weights, if not as `model`'s own:
            with the same layers with weights in the same order.

    Raises:
        InputError: if the file cannot be read, or a tensor is missing, unexpected or of another
            shape; it names them. The model is then as it was.
    """
    path, name = str(path), name or model.name
    if not pathlib.Path(path).is_file():
        raise InputError(f'{path}: there is no such file of weights')
    if path.endswith(_KERAS_SUFFIXES):
        tensors, places = _keras_file(path, model, layout)
    elif path.endswith(_TORCH_SUFFIXES):
        tensors, places = _torch_file(path, model, name)
    else:
        known = ', '.join((*_KERAS_SUFFIXES, *_TORCH_SUFFIXES))
        raise InputError(f'{path}: expected a file of weights that ends in one of {known}')
    statistics = _pixel_statistics(path) if path.endswith('.keras') else None
    _place(tensors, places, model, new_head, path, name)
    for layer in model.layers if statistics else ():
        if isinstance(layer, PixelScaling):
            layer.normalise_by(*statistics)


def copy(source, model, *, new_head=False, name=None, origin='the source'):
    """Gives a model the weights of another with the same layers in the same order.

    Args:
        source: keras.Model.
        model: keras.Model.
        new_head: as in `load`.
        name: as in `load`.
        origin: what the source is, for messages.

    Raises:
        InputError: as `load`.
    """
    theirs, ours = _variables(source), _variables(model)
    if len(theirs) != len(ours):
        raise InputError(f'{origin}: it has {len(theirs)} tensors, {model.name} {len(ours)}')
    places = {str(index): place for index, place in enumerate(ours)}
    tensors = {str(index): tensor.numpy() for index, (_, tensor) in enumerate(theirs)}
    _place(tensors, places, model, new_head, origin, name or model.name)


def _place(tensors, places, model, new_head, path, name):
    """Assigns tensors to variables if they are all there and fit.

    Args:
        tensors: dict from a key of the file to its array, in our layout.
        places: dict from a key to a pair of our name and the variable.
        model: whose variables they are.
        new_head: as in `load`.
        path: of the file.
        name: of the network.
    """
    head = {label for label, _ in _variables_of(roles.classifier(model))}
    if new_head:
        skipped = {key for key, (label, _) in places.items() if label in head}
        tensors = {key: tensor for key, tensor in tensors.items() if key not in skipped}
        places = {key: place for key, place in places.items() if key not in skipped}
    missing = [label for key, (label, _) in places.items() if key not in tensors]
    unexpected = [key for key in tensors if key not in places]
    reshaped = {
        label: (tensors[key].shape, tuple(variable.shape))
        for key, (label, variable) in places.items()
        if key in tensors and tensors[key].shape != tuple(variable.shape)
    }
    strange = [
        label
        for key, (label, _) in places.items()
        if key in tensors and not _is_finite(tensors[key])
    ]
    if missing or unexpected or reshaped or strange:
        shapes = [f'{label}: {got}, expected {want}' for label, (got, want) in reshaped.items()]
        kinds = {'missing': missing, 'unexpected': unexpected, 'of another shape': shapes}
        kinds['not of finite numbers'] = strange
        advice = '' if missing or unexpected or strange else _advice(reshaped, head)
        raise InputError(f'{path}: not the weights of {name}: {_listed(kinds)}{advice}')
    for key, (_, variable) in places.items():
        variable.assign(tensors[key])
    if new_head:
        logging.info('%s: all weights but those of the classifier, which is new', path)


def _is_finite(tensor):
    return np.issubdtype(tensor.dtype, np.number) and bool(np.isfinite(tensor).all())


def _listed(kinds):
    """Counts and names, at most five of a kind."""
    parts = []
    for kind, names in kinds.items():
        if names:
            more = ', ...' if len(names) > 5 else ''
            parts.append(f'{len(names)} {kind} ({", ".join(names[:5])}{more})')
    return '; '.join(parts)


def _advice(reshaped, head):
    """What to do if nothing differs but the number of classes."""
    classes = {got[-1] for got, want in reshaped.values() if got[:-1] == want[:-1]}
    if set(reshaped) <= head and len(classes) == 1:
        return (
            f'; it has {classes.pop()} classes: build the network for as many (num_classes), or '
            'load all but the classifier (new_head)'
        )
    return ''


def _variables(model):
    """Pairs of our name and the variable, of all layers with weights, inner models' included."""
    return [pair for layer in roles.flat_layers(model) for pair in _variables_of(layer)]


def _variables_of(layer):
    return [(f'{layer.name}/{variable.name}', variable) for variable in layer.weights]


# Keras files.


def _keras_file(path, model, layout):
    """Returns the tensors of a Keras file, and the places of a model's variables in it."""
    try:
        if path.endswith('.keras'):
            with zipfile.ZipFile(path) as archive:
                file = io.BytesIO(archive.read('model.weights.h5'))
        else:
            file = path
        with h5py.File(file) as opened:
            if _is_keras_2(opened):
                layers = _layers_of_keras_2(opened)
                return _places_in_order(layers, model, layout or model, path)
            tensors = _tensors_of_keras_3(opened)
    except InputError:
        raise
    except Exception as error:  # h5py raises what it likes over a damaged file
        raise InputError(
            f'{path}: not a file of weights that Keras wrote ({one_line(error)})'
        ) from error
    # The layers may be listed as in `model`, or as where it was taken from.
    places = _places_in_keras_3(model, model)
    if layout is not None and set(places) != set(tensors):
        places = _places_in_keras_3(layout, model)
    return tensors, places


def _same_variables(layout, model):
    """Dict from the id() of a variable of a layout to the pair of the model's variable."""
    pairs = zip(_variables(layout), _variables(model), strict=True)
    return {id(theirs): ours for (_, theirs), ours in pairs}


def _tensors_of_keras_3(file):
    """Keras 3 keeps a layer's weights in layers/<its class>_<number>/vars/<number>."""
    tensors = {}

    def take(place, item):
        # Not an optimizer's variables, nor the states of random generators.
        root, _, rest = place.partition('/')
        # The second name is that of TensorFlow 2.13 to 2.15.
        ours = root in ('layers', '_layer_checkpoint_dependencies')
        if isinstance(item, h5py.Dataset) and ours and 'seed_generator' not in rest:
            tensors[rest] = np.asarray(item[()])

    file.visititems(take)
    return tensors


def _places_in_keras_3(layout, model):
    """Dict from a place in a file of Keras 3 to the pair of the model's variable."""
    ours = _same_variables(layout, model)
    places = {}

    def walk(layers, prefix):
        counts = {}
        for layer in layers:
            kind = _snake_case(type(layer).__name__)
            number = counts.get(kind, 0)
            counts[kind] = number + 1
            place = prefix + kind + (f'_{number}' if number else '')
            if isinstance(layer, keras.Model):
                walk(layer.layers, f'{place}/layers/')
            else:
                for index, variable in enumerate(layer.weights):
                    places[f'{place}/vars/{index}'] = ours[id(variable)]

    walk(layout.layers, '')
    return places


def _snake_case(name):
    """The name of a class as Keras writes it into files: Conv2D is conv2d."""
    name = re.sub(r'\W+', '', name)
    name = re.sub('(.)([A-Z][a-z]+)', r'\1_\2', name)
    return re.sub('([a-z])([A-Z])', r'\1_\2', name).lower()


def _is_keras_2(file):
    return 'model_weights' in file or any(key.startswith('layer_names') for key in file.attrs)


def _layers_of_keras_2(file):
    """Keras 2 lists layers in order: returns pairs of a name and the list of arrays."""
    group = file.get('model_weights', file)
    # Keras splits a list that is too long for one attribute: layer_names0, layer_names1.
    listed = [key for key in group.attrs if key.startswith('layer_names')]
    names = [_text(name) for key in listed for name in group.attrs[key]]
    weights = {name: group[name].attrs.get('weight_names', ()) for name in names}
    return [
        (name, [np.asarray(group[name][weight][()]) for weight in weights[name]])
        for name in names
        if len(weights[name])
    ]


def _places_in_order(layers, model, layout, path):
    """Tensors and places for layers that are listed in order."""
    ours = _same_variables(layout, model)
    own = [layer for layer in layout.layers if layer.weights]
    if len(own) != len(layers):
        raise InputError(
            f'{path}: not the weights of {model.name}: it has {len(layers)} layers with weights, '
            f'expected {len(own)}'
        )
    tensors, places = {}, {}
    for (name, arrays), layer in zip(layers, own, strict=True):
        tensors.update({f'{name}/{index}': array for index, array in enumerate(arrays)})
        # As Keras 2 orders the weights of a model inside the model.
        variables = layer.trainable_weights + layer.non_trainable_weights
        for index, variable in enumerate(variables):
            places[f'{name}/{index}'] = ours[id(variable)]
    return tensors, places


def _text(name):
    return name.decode() if isinstance(name, bytes) else name


def _pixel_statistics(path):
    """Mean and deviation that the network of a .keras file normalises pixels by, if of its own."""
    try:
        with zipfile.ZipFile(path) as archive:
            listed = json.loads(archive.read('config.json'))['config'].get('layers', ())
        scaling = [layer['config'] for layer in listed if layer['class_name'] == 'PixelScaling']
        if not scaling or not scaling[0].get('mean'):
            return None
        found = np.asarray([scaling[0]['mean'], scaling[0]['deviation']], np.float64)
    except Exception as error:  # whatever a damaged description leads to
        raise InputError(
            f'{path}: no description of a network that Keras wrote ({error})'
        ) from None
    if found.shape != (2, 3) or not np.isfinite(found).all() or not (found[1] > 0).all():
        raise InputError(
            f'{path}: it normalises pixels by mean and deviation {found.tolist()}; expected three '
            'numbers of each, deviations above 0'
        )
    return found.tolist()


# PyTorch files.

# How PyTorch calls what Keras calls so.
_PARTS = {
    'kernel': 'weight',
    'bias': 'bias',
    'gamma': 'weight',
    'beta': 'bias',
    'moving_mean': 'running_mean',
    'moving_variance': 'running_var',
}


def _torch_file(path, model, name):
    """Returns the tensors of a PyTorch checkpoint, and the places of a model's variables in it."""
    layers = {layer.name: layer for layer in roles.flat_layers(model) if layer.weights}
    modules = torch_names.modules(layers)
    if modules is None:
        raise InputError(
            f'{path}: of {name} no official PyTorch weights are known; expected a Keras file'
        )
    places = {
        f'{modules[layer.name]}.{_PARTS[variable.name]}': (label, variable)
        for layer in layers.values()
        for label, variable in _variables_of(layer)
    }
    tensors = {
        key: _keras_layout(array)
        for key, array in torch_files.read(path).items()
        # A counter that inference does not need and older files lack.
        if not key.endswith('.num_batches_tracked')
    }
    return tensors, places


def _keras_layout(array):
    """[out, in, height, width] to [height, width, in, out]; [out, in] to [in, out]."""
    array = array.astype(np.float32)
    if array.ndim == 4:
        return array.transpose(2, 3, 1, 0)
    return array.T
