"""python -m tfnets.launchers.classification: the test split is left alone until it is wanted."""

import json

import pytest
import tiny_classification


@pytest.fixture(scope='module')
def flags(tmp_path_factory):
    folder = tmp_path_factory.mktemp('classification')
    return [*tiny_classification.FLAGS, '--epochs=2', f'--run_dir={folder}/run']


@pytest.mark.slow
def test_a_run_without_a_test_gets_it_later(launch, flags):
    folder = flags[-1].partition('=')[2]
    left = launch('classification', *flags, '--notest', '--stop_after_validations=1')
    assert left.returncode == 75
    assert 'train: saved at step 4 of 8' in left.stderr
    done = launch('classification', *flags, '--notest')
    assert done.returncode == 0, done.stderr
    with open(f'{folder}/report.json') as file:
        report = json.load(file)
    assert report['results'] == []
    assert report['validation']['examples'] == 57
    assert 'not looked at' in done.stdout
    again = launch('classification', *flags, '--notest')
    assert (again.returncode, again.stdout) == (0, done.stdout)

    tested = launch('classification', *flags)
    assert tested.returncode == 0, tested.stderr
    with open(f'{folder}/report.json') as file:
        after = json.load(file)
    assert [row['split'] for row in after['results']] == ['test']
    assert {**after, 'results': []} == report
    assert launch('classification', *flags, '--notest').stdout == tested.stdout


@pytest.mark.slow
def test_a_profile_and_the_share_of_the_peak(launch, flags, tmp_path):
    watch = ['--profile=3:2', '--peak_tflops=measured', f'--run_dir={tmp_path}/run', '--notest']
    done = launch('classification', *flags[:-1], *watch)
    assert done.returncode == 0, done.stderr
    assert 'a large matrix product' in done.stderr
    traces = (tmp_path / 'run' / 'tensorboard' / 'train').rglob('*.xplane.pb')
    assert [trace.stat().st_size > 10_000 for trace in traces] == [True]
    lines = map(json.loads, (tmp_path / 'run' / 'metrics.jsonl').read_text().splitlines())
    trained = [line for line in lines if line['split'] == 'train']
    # The profile begins and ends between two lines.
    assert [line['step'] for line in trained] == [3, 4, 5, 8]
    for line in trained:
        assert 0 < line['mfu'] < 1
        assert 0.1 < line['memory_gib'] < 100
        speed = 16 / line['step_milliseconds'] * 1000
        assert line['images_per_second'] == pytest.approx(speed, rel=1e-4)
    for bad, said in [('5', 'START:COUNT'), ('1:0', 'START:COUNT')]:
        refused = launch('classification', *flags, f'--profile={bad}')
        assert refused.returncode == 2 and said in refused.stderr
