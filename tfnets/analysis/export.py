"""Networks in formats that others run: SavedModel, TensorFlow Lite, ONNX.

Every exported model takes uint8 `pixels` [batch, resolution, resolution, 3] in RGB order and gives
softmax `probabilities`, float32 [batch, classes].
"""

import dataclasses
import pathlib
import tempfile

import keras
import numpy as np
import tensorflow as tf

from tfnets.analysis.predictions import probabilities
from tfnets.files import write_json
from tfnets.machine import usable_cores

# The newest operator set that onnxruntime has had for some years.
_OPSET = 17


@dataclasses.dataclass(frozen=True, eq=False)
class Exportable:
    """A network with what belongs to it.

    Attributes:
        network: keras.Model from uint8 pixels to logits, computing in float32.
        preprocessing: the line from an image file to pixels, which is not exported.
        resolution: of the exported model, in pixels.
        class_names: a name for each output.
        origin: dict of texts, where it comes from.
    """

    network: keras.Model
    preprocessing: str
    resolution: int
    class_names: list[str]
    origin: dict[str, str]

    @property
    def metadata(self):
        """All that a user of the exported model has to know, for a JSON file."""
        side = self.resolution
        return {
            'input': {'name': 'pixels', 'dtype': 'uint8', 'shape': ['batch', side, side, 3]},
            'output': {
                'name': 'probabilities',
                'dtype': 'float32',
                'shape': ['batch', len(self.class_names)],
            },
            'preprocessing': self.preprocessing,
            'resolution': side,
            'class_names': self.class_names,
            'origin': self.origin,
        }

    def signature(self, batch=None):
        """TensorSpec of the pixels; `batch` None for any number of images."""
        return tf.TensorSpec([batch, self.resolution, self.resolution, 3], tf.uint8, 'pixels')

    def answer(self, pixels):
        """{'probabilities': float32 [batch, classes]}, to be traced."""
        return {'probabilities': probabilities(self.network, pixels)}

    def classify(self, pixels, top=5):
        """The names of the first classes, string [batch, top], and their probabilities."""
        best = tf.math.top_k(probabilities(self.network, pixels), min(top, len(self.class_names)))
        names = tf.gather(tf.constant(self.class_names), best.indices)
        return {'classes': names, 'probabilities': best.values}


# ------------------------------------------------------------------------------------- writing


def write_saved_model(model, folder):
    """Writes a SavedModel.

    Its signature `serving_default` gives all probabilities, `classify` the names of the five most
    probable classes. `metadata` stands in assets.extra/metadata.json.

    Args:
        model: Exportable.
        folder: pathlib.Path.
    """
    _save(model, folder, None, classify=model.classify)
    write_json(folder / 'assets.extra' / 'metadata.json', model.metadata)


def write_tflite(model, path, calibration=None):
    """Writes a TensorFlow Lite model for one image at a time.

    Args:
        model: Exportable.
        path: pathlib.Path of the file.
        calibration: iterable of images, uint8 [resolution, resolution, 3], to quantise weights and
            activations to int8 by (full post-training quantisation; pixels come in as uint8 and
            probabilities out as float32 all the same); None for float32.
    """
    with tempfile.TemporaryDirectory() as folder:
        _save(model, folder, 1)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        if calibration is not None:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = lambda: ([image[None]] for image in calibration)
        path.write_bytes(converter.convert())


def write_onnx(model, path):
    """Writes an ONNX model; `class_names` and the rest of `metadata` are properties of it.

    Args:
        model: Exportable.
        path: pathlib.Path of the file.
    """
    import json

    import onnx
    import tf2onnx

    function = tf.function(model.answer, autograph=False)
    made, _ = tf2onnx.convert.from_function(function, [model.signature()], opset=_OPSET)
    onnx.helper.set_model_props(made, {k: json.dumps(v) for k, v in model.metadata.items()})
    path.write_bytes(made.SerializeToString())


def _save(model, folder, batch, **others):
    """Writes a SavedModel; `others` are further signatures by name."""
    module = tf.Module()
    # The variables themselves: those of a Keras model tracked as a whole are not frozen by
    # TensorFlow Lite's converter, and its answers would be NaN.
    module.weights = [variable.value for variable in model.network.variables]
    signatures = {
        name: tf.function(function, autograph=False).get_concrete_function(model.signature(batch))
        for name, function in {'serving_default': model.answer, **others}.items()
    }
    tf.saved_model.save(module, str(folder), signatures=signatures)


# ------------------------------------------------------------------------------------- running


def run_saved_model(path):
    """Opens what `write_saved_model` wrote.

    Returns:
        Function from uint8 [batch, resolution, resolution, 3] to float32 [batch, classes], numpy.
    """
    loaded = tf.saved_model.load(str(path))

    def run(images):
        # Through `loaded`: its variables live as long as it does.
        signature = loaded.signatures['serving_default']
        return signature(pixels=tf.constant(images))['probabilities'].numpy()

    return run


def run_tflite(path):
    """Opens what `write_tflite` wrote, on all CPU cores; see `run_saved_model`."""
    interpreter = tf.lite.Interpreter(str(path), num_threads=usable_cores())
    interpreter.allocate_tensors()
    answer = interpreter.get_signature_runner()

    def run(images):
        return np.concatenate([answer(pixels=image[None])['probabilities'] for image in images])

    return run


def run_onnx(path):
    """Opens what `write_onnx` wrote, on the CPU; see `run_saved_model`."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    return lambda images: session.run(['probabilities'], {'pixels': images})[0]


def run_network(network, pixels):
    """The Keras network itself, compiled as a graph; see `run_saved_model`."""
    spec = tf.TensorSpec([None, pixels, pixels, 3], tf.uint8)
    function = tf.function(lambda images: probabilities(network, images), input_signature=[spec])
    return lambda images: function(images).numpy()


RUNNERS = {'saved_model': run_saved_model, 'tflite': run_tflite, 'onnx': run_onnx}


def size(path):
    """Bytes of a file, or of all files in a folder."""
    path = pathlib.Path(path)
    files = [path] if path.is_file() else [file for file in path.rglob('*') if file.is_file()]
    return sum(file.stat().st_size for file in files)


# ------------------------------------------------------------------------------------ checking


@dataclasses.dataclass(frozen=True)
class Agreement:
    """How far two models' probabilities for the same images are apart.

    Attributes:
        images: how many.
        difference: the largest of a probability; NaN if there is one.
        same: of how many images the most probable class is the same.
    """

    images: int
    difference: float
    same: int


def compare(reference, others):
    """Compares float32 [images, classes] with others; returns Agreement."""
    same = reference.argmax(1) == others.argmax(1)
    return Agreement(len(reference), float(np.abs(reference - others).max()), int(same.sum()))
