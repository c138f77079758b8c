"""Candidates of a compound scaling, and what they might score."""

from tfnets.recipes import scaled_networks
from tfnets.recipes.ranking import Score
from tfnets.recipes.scaled_networks import Coefficients

BASE = scaled_networks.base('mbconv_c')


def networks(count):
    numbers = [(1.2, 1.05, 1.23), (1.2, 1.23, 1.05), (1.4, 1.02, 1.17), (1.4, 1.05, 1.14)]
    return [scaled_networks.scaled(BASE, Coefficients(*numbers), 1) for numbers in numbers[:count]]


def scores(*top1, examples=10_000):
    return {seed: Score(value, examples, 1.0) for seed, value in enumerate(top1)}
