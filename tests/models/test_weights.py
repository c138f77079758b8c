"""Weights load whole or not at all."""

import json
import pathlib
import zipfile

import h5py
import keras
import numpy as np
import pytest
import torch_format
from small_networks import SMALL, randomized, small_big_little, thin_resnet

from tfnets.errors import InputError
from tfnets.models import big_little, mbconv, weights
from tfnets.models.big_little import BigLittleConfig
from tfnets.models.resnet import resnet
from tfnets.models.torch_weights import names as torch_names

GOLDEN = pathlib.Path(__file__).parent / 'golden'


def assert_same_weights(one, other):
    for mine, theirs in zip(one.weights, other.weights, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize('ending', ['.weights.h5', '.keras'])
@pytest.mark.parametrize('family', SMALL)
def test_keras_files_of_every_family_load_whole(family, ending, tmp_path):
    path = tmp_path / f'network{ending}'
    model = randomized(SMALL[family]())
    (model.save if ending == '.keras' else model.save_weights)(path)
    loaded = SMALL[family]()
    weights.load(loaded, path)
    assert_same_weights(loaded, model)
    other = SMALL[family](5)
    with pytest.raises(InputError, match='it has 3 classes: .*new_head'):
        weights.load(other, path)
    weights.load(other, path, new_head=True)
    np.testing.assert_array_equal(other.weights[0], model.weights[0])


def test_a_whole_network_brings_the_statistics_of_its_pixels(tmp_path):
    model = randomized(SMALL['resnet']())
    model.layers[1].normalise_by((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    model.save(tmp_path / 'network.keras')
    loaded = SMALL['resnet']()
    weights.load(loaded, tmp_path / 'network.keras')
    photo = np.arange(16 * 16 * 3, dtype=np.uint8).reshape(1, 16, 16, 3)
    np.testing.assert_array_equal(loaded(photo), model(photo))


@pytest.mark.parametrize('family', ['big_little', 'grouped, squeezed', 'resnet'])
@pytest.mark.parametrize('legacy', [False, True])
def test_pytorch_checkpoints_load_whole(family, legacy, tmp_path):
    model = randomized(SMALL[family]())
    tensors = {f'module.{name}': tensor for name, tensor in torch_format.state_dict(model).items()}
    path = tmp_path / 'model_best.pth.tar'
    torch_format.write(path, tensors, legacy=legacy, wrap='state_dict', epoch=110, arch='small')
    loaded = SMALL[family]()
    weights.load(loaded, path)
    assert_same_weights(loaded, model)


def official_modules(units, alpha, beta, squeeze):
    """Modules with weights of IBM's bLResNet, as its code registers them."""

    def bottlenecks(name, count, inputs, planes, stride=1):
        first = [name + '.0.downsample.' + str(index + (stride > 1)) for index in (0, 1)]
        modules = first if inputs != planes else []
        for unit in range(count):
            parts = ['conv1', 'bn1', 'conv2', 'bn2', 'conv3', 'bn3']
            parts += ['se_layer.fc1', 'se_layer.fc2'] if squeeze else []
            modules += [f'{name}.{unit}.{part}' for part in parts]
        return modules

    modules = ['conv1', 'bn1', 'b_conv0', 'bn_b0', 'bl_init', 'bn_bl_init', 'fc']
    modules += [f'{kind}{index}' for kind in ('l_conv', 'bn_l') for index in (0, 1, 2)]
    widths = (64, 256, 512, 1024, 2048)
    for stage in (1, 2, 3):
        name, count, inputs, planes = (
            f'layer{stage}',
            units[stage - 1],
            *widths[stage - 1 : stage + 1],
        )
        modules += bottlenecks(f'{name}.big', count - 1, inputs, planes, 2)
        modules += bottlenecks(f'{name}.little', max(1, count // beta - 1), inputs, planes // alpha)
        modules += [f'{name}.little_e.0', f'{name}.little_e.1']
        modules += bottlenecks(f'{name}.fusion', 1, planes, planes)
    return modules + bottlenecks('layer4', units[3], 1024, 2048, 2)


@pytest.mark.parametrize(('depth', 'alpha', 'beta'), [(50, 2, 4), (50, 4, 2), (101, 2, 2)])
@pytest.mark.parametrize('squeeze', [False, True])
def test_names_of_the_official_big_little_networks(depth, alpha, beta, squeeze):
    units = big_little.UNITS[depth]
    model = big_little.big_little(BigLittleConfig(units, alpha, beta, squeeze=squeeze), 10)
    names = torch_names.modules([layer.name for layer in model.layers if layer.weights])
    assert sorted(names.values()) == sorted(official_modules(units, alpha, beta, squeeze))


def test_a_torchvision_resnet50_gives_the_logits_that_torch_gives(tmp_path):
    golden = json.loads((GOLDEN / 'resnet50_torch.json').read_text())
    tensors = torch_format.draw(golden['shapes'], golden['seed'])
    torch_format.write(tmp_path / 'resnet50.pth', tensors)
    model = resnet(50, num_classes=golden['classes'])
    weights.load(model, tmp_path / 'resnet50.pth')
    behind_scaling = keras.Model(model.get_layer('scaling').output, model.output)
    for size, logits in golden['logits'].items():
        images = torch_format.draw_pixels(golden['seed'], int(size))
        expected = np.asarray(logits)
        tolerance = 1e-4 * np.abs(expected).max()
        np.testing.assert_allclose(behind_scaling(images), expected, atol=tolerance)


def renamed(tensors):
    tensors['layer1.0.conv9.weight'] = tensors.pop('layer1.0.conv1.weight')


def missing(tensors):
    del tensors['bn1.running_var']


def reshaped(tensors):
    tensors['layer2.0.conv2.weight'] = tensors['layer2.0.conv2.weight'][:, :, :1]


def of_other_classes(tensors):
    tensors['fc.weight'] = tensors['fc.weight'][:2]
    tensors['fc.bias'] = tensors['fc.bias'][:2]


@pytest.mark.parametrize(
    ('spoil', 'reason'),
    [
        (
            renamed,
            r'1 missing \(stage1.unit1.conv1/kernel\); 1 unexpected \(layer1.0.conv9.weight\)$',
        ),
        (missing, r'1 missing \(stem.norm/moving_variance\)$'),
        (reshaped, r'1 of another shape \(stage2.unit1.conv2/kernel: \(1, 3, 16, 16\), exp'),
        (of_other_classes, '2 of another shape .*it has 2 classes: .*new_head'),
    ],
)
def test_a_tensor_that_does_not_fit_is_refused_by_name(spoil, reason, tmp_path):
    tensors = torch_format.state_dict(randomized(thin_resnet(), seed=1))
    spoil(tensors)
    torch_format.write(tmp_path / 'spoiled.pth', tensors)
    model = randomized(thin_resnet())
    with pytest.raises(InputError, match=reason) as error:
        weights.load(model, tmp_path / 'spoiled.pth')
    assert str(tmp_path / 'spoiled.pth: not the weights of resnet14') in str(error.value)
    assert_same_weights(model, randomized(thin_resnet()))


def test_a_network_without_pytorch_code_says_so(tmp_path):
    torch_format.write(tmp_path / 'x.pth', {'a': np.zeros(3, np.float32)})
    with pytest.raises(InputError, match='no official PyTorch weights are known'):
        weights.load(mbconv.hand_made('c', 2), tmp_path / 'x.pth')


def test_a_keras_file_of_another_network_is_refused(tmp_path):
    thin_resnet().save_weights(tmp_path / 'resnet.weights.h5')
    with pytest.raises(InputError, match=r'\d+ missing \(.*\d+ of another shape'):
        weights.load(small_big_little(), tmp_path / 'resnet.weights.h5')


def test_a_file_cut_short_is_refused(tmp_path):
    path = tmp_path / 'cut.weights.h5'
    thin_resnet().save_weights(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match='not a file of weights that Keras wrote'):
        weights.load(thin_resnet(), path)


def test_an_unknown_ending_is_refused(tmp_path):
    (tmp_path / 'x.onnx').write_text('')
    with pytest.raises(InputError, match=r'ends in one of .*\.pth'):
        weights.load(thin_resnet(), tmp_path / 'x.onnx')


@pytest.mark.parametrize('place', [300, 2000, 5000, 9000])
def test_a_keras_file_with_bytes_overwritten_is_refused_or_whole(place, tmp_path):
    path = tmp_path / 'spoiled.weights.h5'
    model = randomized(thin_resnet())
    model.save_weights(path)
    data = bytearray(path.read_bytes())
    data[place : place + 64] = b'\xff' * 64
    path.write_bytes(data)
    loaded = thin_resnet()
    before = [variable.numpy() for variable in loaded.weights]
    try:
        weights.load(loaded, path)
    except InputError:
        expected = before
    else:  # those bytes meant nothing
        expected = model.weights
    for variable, value in zip(loaded.weights, expected, strict=True):
        np.testing.assert_array_equal(variable, value)


@pytest.mark.parametrize(
    ('value', 'reason'),
    [(b'text', '1 of another shape'), (h5py.Empty('f4'), '1 of another shape')],
    ids=['text', 'empty'],
)
def test_what_is_no_array_in_a_keras_file_is_refused_by_name(value, reason, tmp_path):
    path = tmp_path / 'x.weights.h5'
    thin_resnet().save_weights(path)
    with h5py.File(path, 'a') as file:
        del file['layers/dense/vars/1']
        file['layers/dense/vars/1'] = value
    with pytest.raises(InputError, match=rf'{reason} \(classifier/bias'):
        weights.load(thin_resnet(), path)


@pytest.mark.parametrize('change', ['gone', 'no deviation', 'two numbers'])
def test_a_network_whose_description_is_damaged_leaves_the_model_as_it_was(change, tmp_path):
    source = randomized(thin_resnet())
    source.layers[1].normalise_by((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    source.save(tmp_path / 'whole.keras')
    with (
        zipfile.ZipFile(tmp_path / 'whole.keras') as whole,
        zipfile.ZipFile(tmp_path / 'damaged.keras', 'w') as damaged,
    ):
        for name in whole.namelist():
            data = whole.read(name)
            if name == 'config.json':
                if change == 'gone':
                    continue
                found = json.loads(data)
                (scaling,) = (
                    layer['config']
                    for layer in found['config']['layers']
                    if layer['class_name'] == 'PixelScaling'
                )
                scaling['deviation'] = None if change == 'no deviation' else [0.4, 0.5]
                data = json.dumps(found)
            damaged.writestr(name, data)
    model = thin_resnet()
    before = [variable.numpy() for variable in model.weights]
    with pytest.raises(InputError, match='damaged.keras: '):
        weights.load(model, tmp_path / 'damaged.keras')
    for variable, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_what_is_not_finite_is_refused_by_name(tmp_path):
    model = thin_resnet()
    model.get_layer('classifier').bias.assign([0, np.nan, 0])
    model.save_weights(tmp_path / 'nan.weights.h5')
    with pytest.raises(InputError, match=r'1 not of finite numbers \(classifier/bias\)'):
        weights.load(thin_resnet(), tmp_path / 'nan.weights.h5')
