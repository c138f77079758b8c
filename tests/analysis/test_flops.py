"""Costs of networks: whole ones against published numbers, single layers against mental ones."""

import keras
import pytest

from tfnets.analysis import flops
from tfnets.errors import InputError
from tfnets.models import big_little, keras_applications, mbconv, registry, resnet

# Independently counted; the parameters hold the seven weights of Keras' Normalization.
EFFICIENTNETS = {
    'B0': (0.386, 5_330_571, 5_288_548),
    'B1': (0.687, 7_856_239, 7_794_184),
    'B2': (0.994, None, None),
    'B3': (1.827, None, None),
    'B4': (4.394, None, None),
    'B5': (10.266, None, None),
    'B6': (19.07, None, None),
    'B7': (37.75, 66_658_687, 66_347_960),
}


@pytest.mark.parametrize('name', EFFICIENTNETS)
def test_efficientnets_at_their_own_resolutions(name):
    name, (macs, parameters, trainable) = f'EfficientNet{name}', EFFICIENTNETS[name]
    resolution = keras_applications.resolution(name)
    # keras.applications' own network takes the one size that it is built for.
    size = (resolution, resolution, 3)
    model = getattr(keras.applications, name)(weights=None, input_shape=size)
    cost = flops.cost(model, resolution)
    assert cost.macs / 1e9 == pytest.approx(macs, abs=6e-4 if macs < 15 else 6e-3)
    assert cost.not_counted == ()
    if parameters:
        assert (cost.parameters, cost.trainable) == (parameters, trainable)
    with pytest.raises(InputError, match='px only, not 64 px'):
        flops.cost(model, 64)


def test_a_rebuilt_network_costs_the_same_and_takes_any_size():
    model = registry.build('keras:EfficientNetB0', 1000)
    cost = flops.cost(model, 224)
    assert cost.macs / 1e9 == pytest.approx(0.386, abs=6e-4)
    assert (cost.parameters, cost.trainable) == (5_330_571, 5_288_548)
    assert cost.parameters == model.count_params()
    assert flops.cost(model, 320).macs > 2 * 0.99 * cost.macs
    # Units (block2a, block2b) are no stages.
    names = [stage.name for stage in flops.stages(cost)]
    assert names[2:5] == ['stem', 'block1', 'block2']


@pytest.mark.parametrize(
    ('build', 'macs'),
    [
        (lambda: resnet.resnet(50), 4.09e9),
        (lambda: big_little.bl_resnet(50, 2, 4), 2.85e9),
        (lambda: registry.build('keras:MobileNetV2', 1000), 0.3e9),
    ],
    ids=['ResNet-50', 'bL-ResNet-50', 'MobileNetV2'],
)
def test_published_costs_at_224_px(build, macs):
    assert flops.cost(build(), 224).macs == pytest.approx(macs, rel=0.005)


def test_the_hand_made_network_c():
    cost = flops.cost(mbconv.hand_made('c', 2), 64)
    assert cost.trainable == 49_760
    assert cost.parameters == 49_760 + 2_932
    assert cost.macs / 1e6 == pytest.approx(3.87, abs=0.005)
    stages = flops.stages(cost)
    assert [stage.name for stage in stages] == [
        *('scaling', 'stem', 'stage2', 'stage3', 'stage4', 'stage5', 'head', 'classifier')
    ]
    # Sizes are those of the last layer: of the pooling in the stem and in the head.
    assert [stage.output_shape for stage in stages[:3]] == [(64, 64, 3), (16, 16, 12), (8, 8, 16)]
    assert [stage.output_shape for stage in stages[-2:]] == [(40,), (2,)]
    for total in ('parameters', 'trainable', 'macs'):
        assert sum(getattr(stage, total) for stage in stages) == getattr(cost, total)


def layers_of(*layers, channels=4):
    """A model of layers one behind the other, on images [any, any, channels]."""
    x = image = keras.Input((None, None, channels))
    for layer in layers:
        x = layer(x)
    return keras.Model(image, x)


L = keras.layers


@pytest.mark.parametrize(
    ('layers', 'macs'),
    [
        # 8 x 8 images of 4 channels. places * kernel * input channels (of a group) * filters
        ([L.Conv2D(6, 3, padding='same')], 64 * 9 * 4 * 6),
        ([L.Conv2D(6, 3)], 36 * 9 * 4 * 6),
        ([L.Conv2D(6, (1, 3), padding='same')], 64 * 3 * 4 * 6),
        ([L.Conv2D(6, 3, strides=2, padding='same')], 16 * 9 * 4 * 6),
        ([L.Conv2D(6, 3, dilation_rate=2)], 16 * 9 * 4 * 6),
        ([L.Conv2D(6, 3, padding='same', groups=2)], 64 * 9 * 2 * 6),
        ([L.DepthwiseConv2D(3, padding='same')], 64 * 9 * 4),
        ([L.DepthwiseConv2D(3, strides=2, depth_multiplier=2, padding='same')], 16 * 9 * 8),
        ([L.SeparableConv2D(6, 3, padding='same')], 64 * (9 * 4 + 4 * 6)),
        (
            [L.SeparableConv2D(6, 3, strides=2, depth_multiplier=2, padding='same')],
            16 * (9 * 8 + 8 * 6),
        ),
        ([L.Conv2DTranspose(6, 2, strides=2)], 64 * 4 * 4 * 6),
        ([L.Conv2DTranspose(6, 3, strides=2, padding='same')], 64 * 9 * 4 * 6),
        ([L.Reshape((-1, 4)), L.Conv1D(6, 3, padding='same')], 64 * 3 * 4 * 6),
        ([L.Reshape((-1, 4)), L.DepthwiseConv1D(3, padding='same')], 64 * 3 * 4),
        ([L.Reshape((-1, 4, 4, 4)), L.Conv3D(6, 3, padding='same')], 64 * 27 * 4 * 6),
        ([L.Dense(10)], 64 * 4 * 10),
        ([L.Reshape((-1, 4)), L.Dense(10)], 64 * 4 * 10),
        ([L.GlobalAveragePooling2D(), L.Dense(10, use_bias=False)], 4 * 10),
        ([L.EinsumDense('...c,cd->...d', 10)], 64 * 4 * 10),
        ([L.EinsumDense('abcd,def->abcef', (None, None, 5, 2))], 64 * 4 * 10),
        ([L.EinsumDense('abcd,de->abce', (None, None, 6)), L.ReLU()], 64 * 4 * 6),
        (
            [
                *(L.BatchNormalization(), L.LayerNormalization(), L.ReLU(), L.MaxPooling2D()),
                *(L.UpSampling2D(), L.PReLU(shared_axes=(1, 2)), L.GlobalMaxPooling2D()),
            ],
            0,
        ),
    ],
)
def test_layers(layers, macs):
    model = layers_of(*layers)
    cost = flops.cost(model, 8)
    assert cost.macs == macs
    assert cost.not_counted == ()
    assert cost.parameters == model.count_params()


def test_a_channels_first_convolution():
    image = keras.Input((8, 8, 3))
    x = L.Permute((3, 1, 2))(image)
    x = L.Conv2D(6, 3, strides=2, padding='same', data_format='channels_first')(x)
    assert flops.cost(keras.Model(image, x), 8).macs == 16 * 9 * 3 * 6


def test_a_layer_called_twice_has_its_parameters_once():
    conv = L.Conv2D(4, 3, padding='same', name='shared')
    cost = flops.cost(layers_of(conv, L.MaxPooling2D(), conv), 8)
    assert cost.macs == (64 + 16) * 9 * 4 * 4
    assert cost.parameters == 9 * 4 * 4 + 4
    assert [layer.output_shape for layer in cost.layers if layer.name == 'shared'] == [(4, 4, 4)]


def test_models_inside_a_model():
    block = layers_of(L.Conv2D(4, 3, padding='same', name='conv'), L.MaxPooling2D(name='pool'))
    block.name = 'block'
    tail = keras.Sequential([L.GlobalAveragePooling2D(), L.Dense(5, name='dense')], name='tail')
    model = layers_of(block, L.Conv2D(4, 1, name='between'), block, tail)
    cost = flops.cost(model, 8)
    assert cost.macs == (64 + 16) * 9 * 4 * 4 + 16 * 4 * 4 + 4 * 5
    assert cost.parameters == model.count_params()
    names = [layer.name for layer in cost.layers]
    assert names[:3] == ['block/conv', 'block/pool', 'between']
    assert names[-1] == 'tail/dense'
    assert 'block/conv' in [stage.name for stage in flops.stages(cost)]


def test_a_sequential_model():
    model = keras.Sequential([keras.Input((None, None, 4)), L.Conv2D(6, 1, name='conv')])
    assert flops.cost(model, 8).macs == 64 * 4 * 6


def test_frozen_layers_and_moving_statistics_are_not_trainable():
    model = layers_of(L.Conv2D(6, 1, name='conv'), L.BatchNormalization(name='norm'))
    cost = flops.cost(model, 8)
    assert (cost.parameters, cost.trainable) == (30 + 24, 30 + 12)
    model.get_layer('conv').trainable = False
    cost = flops.cost(model, 8)
    assert (cost.parameters, cost.trainable, cost.macs) == (30 + 24, 12, 64 * 24)


class Mixing(keras.layers.Layer):
    """A kernel that no rule knows."""

    def build(self, shape):
        self.matrix = self.add_weight(shape=(shape[-1], shape[-1]), name='matrix')

    def call(self, inputs):
        return keras.ops.matmul(inputs, self.matrix)


def test_what_is_not_counted_is_named():
    image = keras.Input((None, None, 4))
    x = L.Conv2D(6, 1, name='conv')(image)
    x = L.Reshape((-1, 6), name='flat')(x)
    x = L.MultiHeadAttention(2, 3, name='attention')(x, x)
    x = Mixing(name='mixing')(x)
    product = keras.ops.matmul(x, keras.ops.transpose(x, (0, 2, 1)))
    cost = flops.cost(keras.Model(image, product), 8)
    assert cost.not_counted[:2] == ('attention', 'mixing')
    assert cost.not_counted[2].startswith('matmul')
    assert cost.macs == 64 * 4 * 6
    frozen = layers_of(Mixing(name='mixing', trainable=False))
    assert flops.cost(frozen, 8).not_counted == ('mixing',)


def stage_names(*names):
    """The stages of a network of 1x1 convolutions of these names."""
    cost = flops.cost(layers_of(*(L.Conv2D(4, 1, name=name) for name in names)), 8)
    return [layer.stage for layer in cost.layers]


def test_stages_of_names_with_dots():
    expected = {
        'stem.conv': 'stem',
        'stem.conv.padding': 'stem',
        'stem.big.conv': 'stem.big',
        'stage1.big.unit1.conv1': 'stage1.big',
        'stage1.little.expansion.conv': 'stage1.little',
        'stage1.fusion.unit1.conv2': 'stage1.fusion',
        'stage1.merge': 'stage1',
        'stage2.unit1.expand.conv': 'stage2',
        'head.conv': 'head',
        'conv_of_the_user': 'conv_of_the_user',
        'classifier': 'classifier',
    }
    assert stage_names(*expected) == list(expected.values())


def test_stages_of_names_without_dots():
    expected = {
        'conv1_conv': 'conv1',
        'conv2_block1_1_conv': 'conv2',
        'block2a_expand_conv': 'block2',
        'block_12_expand': 'block_12',
        'Conv_1_bn': 'Conv',
        'expanded_conv_1_project': 'expanded_conv_1',
        'convnext_tiny_stage_3_block_0_depthwise_conv': 'convnext_tiny_stage_3',
        'predictions': 'predictions',
    }
    assert stage_names(*expected) == list(expected.values())
    many = stage_names(*(f'part{number}_conv' for number in range(31)), '7')
    assert many == ['part'] * 31 + ['7']


def test_operations_that_keras_named_are_in_no_stage():
    x = image = keras.Input((None, None, 4))
    x = L.ReLU()(L.Conv2D(4, 1, name='stage1.conv')(x)) + x
    cost = flops.cost(keras.Model(image, x), 8)
    assert [layer.stage for layer in cost.layers] == ['stage1', '', '']
    assert [stage.name for stage in flops.stages(cost)] == ['stage1']


def test_images_that_cannot_pass_are_refused():
    with pytest.raises(InputError, match='image'):
        flops.cost(mbconv.hand_made('c', 2), 1)
    with pytest.raises(InputError, match='cannot pass big'):
        flops.cost(layers_of(L.Conv2D(4, 9, name='big')), 8)
    two = [keras.Input((None, None, 3)), keras.Input((None, None, 3))]
    with pytest.raises(InputError, match='one input'):
        flops.cost(keras.Model(two, L.Add()(two)), 8)


def test_a_model_without_a_graph_is_refused():
    class Subclassed(keras.Model):
        pass

    with pytest.raises(InputError, match='not a functional model'):
        flops.cost(Subclassed(), 8)
