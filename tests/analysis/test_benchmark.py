"""Speeds that are compared round by round."""

from tfnets.analysis import benchmark


def test_ratios_are_those_within_a_round():
    def speed(*rounds):
        return benchmark.Speed('', 0, 0, 0, 0, rounds)

    # 2, 2 and 3 times as fast, however much each round was disturbed.
    assert speed(10, 200, 3).ratios(speed(5, 100, 1)) == [2, 2, 2.5]


def test_contestants_take_turns():
    calls = []
    names = ('first', 'second')
    runs = {name: lambda name=name: calls.append(name) for name in names}
    speeds = benchmark.alternate(runs, 4, 3)
    assert calls == ['first', 'second'] * 4  # once before they are timed
    assert [speed.name for speed in speeds] == list(names)
    for speed in speeds:
        assert len(speed.rounds) == 3
        assert speed.low <= speed.median <= speed.high
        assert speed.ratio == speed.ratios(speeds[0])[0]
