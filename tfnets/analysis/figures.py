"""Pictures of a report."""

import contextlib

from matplotlib.figure import Figure

from tfnets.files import replacing


@contextlib.contextmanager
def drawing(path, size=(7, 4.2), panels=1):
    """Gives axes to draw on; afterwards the picture is written, whole or not at all.

    Needs no display: a Figure of its own is drawn by agg, whatever backend pyplot may have chosen.

    Args:
        path: of the PNG; its folder is made if need be.
        size: width and height in inches.
        panels: how many axes, one below the other, over one horizontal axis.

    Yields:
        matplotlib.axes.Axes, or an array of them.
    """
    figure = Figure(figsize=size, layout='constrained')
    yield figure.subplots(panels, sharex=True)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120, format='png')
