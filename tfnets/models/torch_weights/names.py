"""Where the official PyTorch code keeps the weights of our layers, by name.

A rule is a pattern of our layer names and the name of the PyTorch module. Ours count units from 1,
theirs from 0: {unit} stands for theirs.
"""

import re

_UNIT = r'unit(?P<unit>\d+)'

# torchvision/models/resnet.py, in whose naming FixRes published its ResNet-50 too.
_RESNET = {
    r'stem\.conv': 'conv1',
    r'stem\.norm': 'bn1',
    rf'stage(?P<stage>\d)\.{_UNIT}\.conv(?P<i>\d)': 'layer{stage}.{unit}.conv{i}',
    rf'stage(?P<stage>\d)\.{_UNIT}\.norm(?P<i>\d)': 'layer{stage}.{unit}.bn{i}',
    rf'stage(?P<stage>\d)\.{_UNIT}\.shortcut\.conv': 'layer{stage}.{unit}.downsample.0',
    rf'stage(?P<stage>\d)\.{_UNIT}\.shortcut\.norm': 'layer{stage}.{unit}.downsample.1',
    r'classifier': 'fc',
}

# IBM/BigLittleNet, models/blresnet.py, blresnext.py and blseresnext.py.
_BRANCH = r'(?P<branch>stage[123]\.(?:big|little|fusion)|stage4)'
_BIG_LITTLE = {
    r'stem\.conv': 'conv1',
    r'stem\.norm': 'bn1',
    r'stem\.big\.conv': 'b_conv0',
    r'stem\.big\.norm': 'bn_b0',
    r'stem\.little\.conv(?P<unit>[123])': 'l_conv{unit}',
    r'stem\.little\.norm(?P<unit>[123])': 'bn_l{unit}',
    r'stem\.init\.conv': 'bl_init',
    r'stem\.init\.norm': 'bn_bl_init',
    r'(?P<branch>stage[123])\.little\.expansion\.conv': '{branch}.little_e.0',
    r'(?P<branch>stage[123])\.little\.expansion\.norm': '{branch}.little_e.1',
    rf'{_BRANCH}\.{_UNIT}\.conv(?P<i>\d)': '{branch}.{unit}.conv{i}',
    rf'{_BRANCH}\.{_UNIT}\.norm(?P<i>\d)': '{branch}.{unit}.bn{i}',
    rf'{_BRANCH}\.{_UNIT}\.squeeze\.conv': '{branch}.{unit}.se_layer.fc1',
    rf'{_BRANCH}\.{_UNIT}\.excite\.conv': '{branch}.{unit}.se_layer.fc2',
    # Where a unit strides, the pooling is the first module of its shortcut.
    rf'(?P<branch>stage[123]\.little)\.{_UNIT}\.shortcut\.conv': '{branch}.{unit}.downsample.0',
    rf'(?P<branch>stage[123]\.little)\.{_UNIT}\.shortcut\.norm': '{branch}.{unit}.downsample.1',
    rf'{_BRANCH}\.{_UNIT}\.shortcut\.conv': '{branch}.{unit}.downsample.1',
    rf'{_BRANCH}\.{_UNIT}\.shortcut\.norm': '{branch}.{unit}.downsample.2',
    r'classifier': 'fc',
}


def modules(layers):
    """Names the PyTorch module of each layer.

    Args:
        layers: names of all layers with weights of one network.

    Returns:
        Dict from our names to theirs, or None if this is no network of which official PyTorch code
        is known.
    """
    for rules in (_RESNET, _BIG_LITTLE):
        names = {layer: _module(layer, rules) for layer in layers}
        if None not in names.values():
            return names
    return None


def _module(layer, rules):
    for pattern, module in rules.items():
        match = re.fullmatch(pattern, layer)
        if match:
            parts = match.groupdict()
            if 'unit' in parts:
                parts['unit'] = int(parts['unit']) - 1
            return module.format(**parts).replace('stage', 'layer')
    return None
