"""Exported models give the network's answers, whatever it is made of."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_networks import SMALL

from tfnets.analysis import export
from tfnets.models import folding, layers, roles

SIDE = 32
NAMES = ['ä', 'b', 'c']
# From dark to bright.
IMAGES = np.random.default_rng(0).integers(0, 256, (5, SIDE, SIDE, 3), np.uint8)
IMAGES = (IMAGES * np.linspace(0.1, 1, 5)[:, None, None, None]).astype(np.uint8)


def exportable(network):
    return export.Exportable(folding.fold(network), 'resize(32)', SIDE, NAMES, {})


def spread(network):
    """Gives a network the statistics of IMAGES, and a classifier by which its answers differ."""
    for norm in roles.batch_norms(network):
        norm.momentum = 0.0
    with layers.example_seeds(tf.zeros([len(IMAGES), 2], tf.int32)):
        network(IMAGES, training=True)
    classifier = roles.classifier(network)
    shape = classifier.kernel.shape
    classifier.kernel.assign(np.random.default_rng(0).normal(size=shape))
    logits = network(IMAGES, training=False).numpy()
    deviation = logits.std(0).mean()
    classifier.kernel.assign(classifier.kernel / deviation)
    classifier.bias.assign(-logits.mean(0) / deviation)
    return network


def expected(network, images):
    """Softmax by numpy of the logits of Keras."""
    logits = network(images, training=False).numpy().astype(np.float64)
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


# Two families that differ most; the others take their time.
FAMILIES = [
    pytest.param(name, marks=() if name in ('mbconv', 'preact_resnet') else pytest.mark.slow)
    for name in SMALL
]


@pytest.mark.parametrize('family', FAMILIES)
def test_a_saved_model_of_every_family(tmp_path, family):
    network = spread(SMALL[family]())
    export.write_saved_model(exportable(network), tmp_path / 'model')
    run = export.run_saved_model(tmp_path / 'model')
    answers = expected(network, IMAGES)
    assert np.ptp(answers, axis=0).max() > 0.01
    np.testing.assert_allclose(run(IMAGES), answers, atol=1e-4)
    np.testing.assert_allclose(run(IMAGES[:1]), answers[:1], atol=1e-4)


@pytest.mark.parametrize('family', FAMILIES)
def test_tflite_of_every_family(tmp_path, family):
    network = spread(SMALL[family]())
    export.write_tflite(exportable(network), tmp_path / 'model.tflite')
    run = export.run_tflite(tmp_path / 'model.tflite')
    np.testing.assert_allclose(run(IMAGES), expected(network, IMAGES), atol=1e-4)


def test_int8_is_smaller_and_near(tmp_path):
    network = spread(SMALL['resnet']())
    paths = [tmp_path / name for name in ('float.tflite', 'int8.tflite')]
    for path, calibration in zip(paths, (None, IMAGES), strict=True):
        export.write_tflite(exportable(network), path, calibration)
    assert export.size(paths[1]) < 0.5 * export.size(paths[0])
    interpreter = tf.lite.Interpreter(str(paths[1]))
    kinds = [detail['dtype'] for detail in interpreter.get_tensor_details()]
    assert kinds.count(np.int8) > 2 * kinds.count(np.float32)
    assert interpreter.get_input_details()[0]['dtype'] == np.uint8
    assert interpreter.get_output_details()[0]['dtype'] == np.float32
    agreement = export.compare(expected(network, IMAGES), export.run_tflite(paths[1])(IMAGES))
    assert 1e-7 < agreement.difference < 0.2


def test_classes_are_named_in_the_model(tmp_path):
    network = spread(SMALL['mbconv']())
    export.write_saved_model(exportable(network), tmp_path / 'model')
    loaded = tf.saved_model.load(str(tmp_path / 'model'))
    answer = loaded.signatures['classify'](pixels=tf.constant(IMAGES))
    shares = expected(network, IMAGES)
    names = [[NAMES[label].encode() for label in row] for row in np.argsort(-shares, axis=1)]
    assert answer['classes'].numpy().tolist() == names
    np.testing.assert_allclose(answer['probabilities'], -np.sort(-shares, axis=1), atol=1e-4)
    metadata = json.loads((tmp_path / 'model' / 'assets.extra' / 'metadata.json').read_text())
    assert metadata['class_names'] == NAMES
    assert metadata['preprocessing'] == 'resize(32)'
    assert metadata['input']['shape'] == ['batch', SIDE, SIDE, 3]


def test_a_network_of_mixed_precision_is_exported_in_float32(tmp_path):
    keras.config.set_dtype_policy('mixed_bfloat16')
    try:
        mixed = SMALL['mbconv']()
    finally:
        keras.config.set_dtype_policy('float32')
    plain = SMALL['mbconv']()
    spread(mixed)
    plain.set_weights(mixed.get_weights())
    export.write_tflite(exportable(mixed), tmp_path / 'model.tflite')
    answers = export.run_tflite(tmp_path / 'model.tflite')(IMAGES)
    np.testing.assert_allclose(answers, expected(plain, IMAGES), atol=1e-4)
    assert np.abs(answers - expected(mixed, IMAGES)).max() > 3e-4


def test_onnx(tmp_path):
    onnx = pytest.importorskip('onnx')
    pytest.importorskip('tf2onnx')
    pytest.importorskip('onnxruntime')
    network = spread(SMALL['big_little']())
    export.write_onnx(exportable(network), tmp_path / 'model.onnx')
    run = export.run_onnx(tmp_path / 'model.onnx')
    np.testing.assert_allclose(run(IMAGES), expected(network, IMAGES), atol=1e-4)
    properties = {p.key: p.value for p in onnx.load(tmp_path / 'model.onnx').metadata_props}
    assert json.loads(properties['class_names']) == NAMES


def test_comparison_counts_what_differs():
    one = np.asarray([[0.6, 0.4], [0.1, 0.9]], np.float32)
    other = np.asarray([[0.3, 0.7], [0.1, 0.9]], np.float32)
    agreement = export.compare(one, other)
    assert (agreement.images, agreement.same) == (2, 1)
    assert agreement.difference == pytest.approx(0.3)
    assert np.isnan(export.compare(one, other * np.nan).difference)
