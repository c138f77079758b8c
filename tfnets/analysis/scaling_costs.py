"""Tables of what scaled networks cost, before anything is trained. Imports no TensorFlow."""

from tfnets.analysis.markdown import table
from tfnets.models import mbconv_config
from tfnets.models.mbconv_cost import cost

HEADINGS = ['px', 'channels', 'units', 'parameters', 'MACs (M)', 'ratio', '2^phi']


def candidates(numbered, base, num_classes):
    """A table of candidates, at phi = 1.

    Args:
        numbered: list of (recipes.scaled_networks.Network, list of others that are the same, trial
            numbers as text).
        base: Network that they are scaled from.
        num_classes: size of the output.

    Returns:
        str of several lines.
    """
    rows = [['alpha, beta, gamma', 'product', *HEADINGS, 'trials', 'the same as']]
    for network, same, numbers in numbered:
        others = same_as(same)
        growth = f'{network.coefficients.growth:.3f}'
        cells = facts(network, base, num_classes)
        rows.append([coefficients(network), growth, *cells, numbers, others])
    return table(rows)


def networks(numbered, base, num_classes):
    """A table of base networks, or of one network by several phi.

    Args:
        numbered: list of (name, Network, trial numbers as text).
        base: Network that ratios are to.
        num_classes: size of the output.

    Returns:
        str of several lines.
    """
    rows = [['network', *HEADINGS, 'trials']]
    for name, network, numbers in numbered:
        rows.append([name, *facts(network, base, num_classes), numbers])
    return table(rows)


def published(num_classes):
    """A table of the published EfficientNets, which were rounded by hand and follow no phi.

    Args:
        num_classes: size of the output.

    Returns:
        str of several lines.
    """
    rows = [['published', 'width', 'depth', 'px', 'parameters', 'MACs (M)', 'ratio']]
    first = cost(mbconv_config.efficientnet('b0'), num_classes)
    for name, (width, depth, resolution, _) in mbconv_config.VARIANTS.items():
        own = cost(mbconv_config.efficientnet(name), num_classes)
        numbers = [f'{own.trainable:,}', f'{own.macs / 1e6:,.2f}', f'{own.macs / first.macs:.2f}']
        rows.append([name, f'{width:g}', f'{depth:g}', str(resolution), *numbers])
    return table(rows)


def same_as(networks):
    """Candidates that are the same network, as they stand in a table."""
    return '; '.join(map(coefficients, networks))


def coefficients(network):
    """As they stand in a table."""
    numbers = network.coefficients
    return f'{numbers.alpha:g}, {numbers.beta:g}, {numbers.gamma:g}'


def facts(network, base, num_classes):
    """The cells under HEADINGS.

    Args:
        network: recipes.scaled_networks.Network.
        base: Network that the ratio of multiply-adds is to.
        num_classes: size of the output.

    Returns:
        List of str.
    """
    own, stages = network.cost(num_classes), network.config.stages
    return [
        str(own.resolution),
        ' '.join(str(stage.channels) for stage in stages),
        ' '.join(str(stage.units) for stage in stages),
        f'{own.trainable:,}',
        f'{own.macs / 1e6:,.2f}',
        f'{own.macs / base.cost(num_classes).macs:.2f}',
        f'{2**network.phi:.4g}',
    ]
