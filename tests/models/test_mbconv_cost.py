"""Costs by arithmetic: against counts of others, and against the networks that are built."""

import pytest

from tfnets.analysis import flops
from tfnets.models import mbconv, mbconv_config
from tfnets.models.mbconv_cost import cost

# AdamStein97's networks (counted on that project's code), and keras.applications' EfficientNets,
# whose multiply-adds are counted with hooks: trainable parameters, millions of multiply-adds.
PUBLISHED = {
    'a': (49_394, None),
    'b': (49_262, None),
    'c': (49_760, 3.87),
    'b0': (5_288_548, 386),
    'b1': (7_794_184, 687),
    'b2': (9_109_994, 994),
    'b3': (12_233_232, 1827),
    'b4': (19_341_616, 4394),
    'b5': (30_389_784, 10266),
    'b6': (43_040_704, 19070),
    'b7': (66_347_960, 37750),
}


@pytest.mark.parametrize('name', PUBLISHED)
def test_published_costs(name):
    trainable, macs = PUBLISHED[name]
    if len(name) == 1:
        counted = cost(mbconv_config.hand_made(name), 2)
    else:
        counted = cost(mbconv_config.efficientnet(name), 1000)
    assert counted.trainable == trainable
    assert macs is None or counted.macs / 1e6 == pytest.approx(macs, rel=1.5e-3)


SMALL_B0 = mbconv_config.scale(mbconv_config.CONFIGS['b0'], width=0.25, depth=0.4, resolution=75)


@pytest.mark.parametrize(
    'config',
    [
        *(mbconv_config.hand_made(letter) for letter in 'abc'),
        mbconv_config.hand_made('c', alpha=1.2, beta=1.05, gamma=1.23, phi=4),
        mbconv_config.hand_made('b', alpha=1.4, beta=1.14, gamma=1.05, phi=1.5),
        SMALL_B0,
    ],
    ids=['a', 'b', 'c', 'c by phi = 4', 'b by phi = 1.5', 'small b0'],
)
def test_it_is_what_the_built_network_costs(config):
    built = flops.cost(mbconv.mbconv(config, 5), config.resolution)
    counted = cost(config, 5)
    assert (counted.trainable, counted.macs) == (built.trainable, built.macs)
