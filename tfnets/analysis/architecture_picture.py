"""A network drawn as its stages: what each costs, how large its output is, where branches part.

Parts of a stage are told by their names: stage1.big and stage1.little are branches side by side,
what follows them (stage1.merge) reads both.
"""

import dataclasses

from matplotlib.patches import FancyBboxPatch

from tfnets.analysis import flops

_BRANCHES = {'little': -0.55, 'big': 0.55}


@dataclasses.dataclass(frozen=True)
class Box:
    """A stage, or a branch of one, in the picture.

    Attributes:
        stage: flops.StageCost.
        row: from above, from 0; branches of a stage stand in one row.
        column: -0.55 for a little branch, 0.55 for a big one, else 0.
    """

    stage: flops.StageCost
    row: int
    column: float


def layout(stages):
    """Puts stages below each other, branches of a stage side by side.

    Args:
        stages: list of flops.StageCost.

    Returns:
        List of Box.
    """
    boxes, row, beside = [], -1, None
    for stage in stages:
        group, _, branch = stage.name.partition('.')
        column = _BRANCHES.get(branch.split('.')[0], 0.0)
        if not (column and beside == group):
            row += 1
        beside = group if column else None
        boxes.append(Box(stage, row, column))
    return boxes


def arrows(boxes):
    """Which box feeds which: every one of a row all those of the next.

    Returns:
        List of pairs of Box.
    """
    return [(above, below) for above in boxes for below in boxes if below.row == above.row + 1]


def draw(axes, title, model_cost):
    """Draws a network.

    Args:
        axes: matplotlib.axes.Axes.
        title: what the network is called.
        model_cost: flops.ModelCost.
    """
    boxes = layout(flops.stages(model_cost))
    most = max(box.stage.macs for box in boxes) or 1
    for box in boxes:
        _draw_box(axes, box, box.stage.macs / most)
    for above, below in arrows(boxes):
        axes.annotate(
            '',
            (below.column, below.row - 0.36),
            (above.column, above.row + 0.36),
            arrowprops={'arrowstyle': '-|>', 'color': 'grey', 'linewidth': 0.8},
        )
    axes.set_xlim(-1.15, 1.15)
    axes.set_ylim(boxes[-1].row + 0.6, -0.6)
    axes.set_axis_off()
    axes.set_title(
        f'{title} at {model_cost.resolution} px\n{model_cost.trainable:,} trainable parameters, '
        f'{model_cost.macs / 1e6:,.1f} M multiply-adds',
        fontsize='medium',
    )


def height(model_cost):
    """Of the picture in inches."""
    return 1.0 + 0.62 * (1 + layout(flops.stages(model_cost))[-1].row)


def _draw_box(axes, box, share):
    """The more multiply-adds the darker."""
    stage = box.stage
    patch = FancyBboxPatch(
        (box.column - 0.48, box.row - 0.3),
        0.96,
        0.6,
        boxstyle='round,pad=0,rounding_size=0.05',
        facecolor=(1 - 0.55 * share, 1 - 0.3 * share, 1.0),
        edgecolor='C0',
        linewidth=0.8,
    )
    axes.add_patch(patch)
    size = ' x '.join(str(side or '?') for side in stage.output_shape)
    numbers = f'{stage.macs / 1e6:,.1f} M multiply-adds, {stage.parameters:,} parameters'
    place = {'ha': 'center', 'va': 'center'}
    axes.text(box.column, box.row - 0.13, f'{stage.name}: {size}', fontsize=8, **place)
    axes.text(box.column, box.row + 0.14, numbers, fontsize=6.5, **place)
