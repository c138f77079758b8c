"""Writes resnet50_torch.json: what PyTorch's ResNet-50 answers for weights that anyone can draw.

Needs torch; run as `python tests/models/golden/make_resnet50_torch.py`.
"""

import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / 'helpers'))

import torch
import torch_format
import torch_resnet

SEED = 20
CLASSES = 10
# At even sizes TensorFlow's 'same' padding is not torch's; at odd ones the two agree.
SIZES = (64, 65)


def logits(model, seed, size):
    """The network's answer to the batch of that seed and size, as an array [2, classes]."""
    pixels = torch.from_numpy(torch_format.draw_pixels(seed, size).transpose(0, 3, 1, 2).copy())
    with torch.no_grad():
        return model.eval()(pixels).numpy()


def drawn_model(seed, classes):
    """A ResNet-50 with drawn weights; answers it and the names and shapes of its state dict."""
    model = torch_resnet.resnet50(classes)
    shapes = [(name, list(tensor.shape)) for name, tensor in model.state_dict().items()]
    weights = torch_format.draw(shapes, seed)
    model.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
    return model, shapes


def main():
    """Writes the file beside this one."""
    model, shapes = drawn_model(SEED, CLASSES)
    facts = {
        'seed': SEED,
        'classes': CLASSES,
        'parameters': sum(tensor.numel() for tensor in model.parameters()),
        'logits': {str(size): logits(model, SEED, size).tolist() for size in SIZES},
    }
    lines = [f'  {json.dumps(key)}: {json.dumps(value)}' for key, value in facts.items()]
    listed = ',\n'.join(f'    {json.dumps(pair)}' for pair in shapes)
    lines.append(f'  "shapes": [\n{listed}\n  ]')
    pathlib.Path(__file__).with_name('resnet50_torch.json').write_text(
        '{\n' + ',\n'.join(lines) + '\n}\n'
    )


if __name__ == '__main__':
    main()
