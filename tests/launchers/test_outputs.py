"""What is done with a run: evaluate, predict, export and report, as a user calls them."""

import csv
import importlib.util
import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image


@pytest.fixture(scope='module')
def run(tmp_path_factory, launch, tiny):
    """A finished run in mixed precision, of 14 classes, with the best network kept."""
    folder = tmp_path_factory.mktemp('outputs') / 'run'
    flags = ['--best_metric=top1', '--evaluate_every=1', '--precision=mixed_bfloat16']
    done = launch('fixres', *tiny, *flags, f'--run_dir={folder}', '--nocontrol')
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope='module')
def stopped(run, tmp_path_factory):
    """The same run as it stood before fine-tuning was finished."""
    folder = shutil.copytree(run, tmp_path_factory.mktemp('stopped') / 'run')
    (phase,) = folder.glob('phases/finetune_*')
    for path in [*folder.glob('report.*'), *folder.glob('model.keras'), folder / 'inputs.json']:
        path.unlink()
    for name in ('result.json', 'network.keras', 'best_network.keras', 'evaluations.json'):
        (phase / name).unlink()
    return folder, phase.name


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    """A folder of four images and three files that are none."""
    folder = tmp_path_factory.mktemp('images')
    rng = np.random.default_rng(0)
    (folder / 'within').mkdir()
    for name in ('1.png', '2.png', '4.png', 'within/5.png'):
        Image.fromarray(rng.integers(0, 256, (60, 70, 3), np.uint8)).save(folder / name)
    (folder / '3.jpg').write_bytes(b'no image')
    Image.new('RGB', (300, 300)).save(folder / '4.jpg')
    (folder / '4.jpg').write_bytes((folder / '4.jpg').read_bytes()[:1000])
    (folder / 'notes.txt').write_text('no image')
    return folder


def results(path):
    return json.loads(path.read_text())['results']


def table(text):
    """The cells of the first table in a text, without its head."""
    lines = [line for line in text.splitlines() if line.startswith('|')][2:]
    return [[cell.strip() for cell in line.strip('|').split('|')] for line in lines]


def probabilities(run, path):
    """The run's own network and preprocessing, as a user's Python has them."""
    from tfnets.data import preprocessing
    from tfnets.training.checkpoints import load_model

    inputs = json.loads((run / 'inputs.json').read_text())
    prepare = preprocessing.parse(inputs['preprocessing'], inputs['resolution'])
    logits = load_model(run / 'model.keras')(prepare(tf.io.read_file(str(path)))[None])
    return dict(zip(inputs['class_names'], tf.nn.softmax(logits[0]).numpy().tolist(), strict=True))


# ------------------------------------------------------------------------------------ evaluate


def test_evaluate_counts_classes_and_confusions(run, launch, tmp_path):
    output = tmp_path / 'scores.json'
    flags = [f'--output={output}', f'--output_dir={tmp_path}/classes', '--resolutions=32,40']
    done = launch('evaluate', f'--run_dir={run}', *flags)
    assert done.returncode == 0, done.stderr
    for score in results(output):
        pixels = score['resolution']
        with open(tmp_path / 'classes' / f'per_class_{pixels}px.csv') as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == 14
        right, photos = (sum(int(row[key]) for row in rows) for key in ('right', 'photos'))
        assert photos == score['examples'] == 57
        assert right / photos == pytest.approx(score['top1'])
        shares = [float(row['accuracy (%)']) for row in rows if row['accuracy (%)']]
        assert np.mean(shares) == pytest.approx(100 * score['balanced'], abs=0.01)
        with open(tmp_path / 'classes' / f'confusion_{pixels}px.csv') as file:
            counts = np.asarray([row[1:] for row in csv.reader(file)][1:], int)
        assert counts.shape == (14, 14)
        assert counts.sum(1).tolist() == [int(row['photos']) for row in rows]
        assert np.diag(counts).tolist() == [int(row['right']) for row in rows]
        assert score['top1'] <= score['top5'] <= 1
        assert f'written: {tmp_path}/classes/confusion_{pixels}px.png' in done.stdout
    assert '| top-5 (%) |' in done.stdout
    assert [len(row) for row in table(done.stdout)] == [6, 6]


def test_evaluate_takes_the_checkpoint_of_a_phase_in_progress(run, stopped, launch, tmp_path):
    folder, phase = stopped
    report = json.loads((run / 'report.json').read_text())
    (row,) = (
        r
        for r in report['results']
        if r['phase'] == phase and r['resolution'] == report['resolutions']['chosen']
    )
    output = tmp_path / 'scores.json'
    done = launch('evaluate', f'--run_dir={folder}', f'--phase={phase}', f'--output={output}')
    assert done.returncode == 0, done.stderr
    assert f'{phase} is not finished: this is its checkpoint of step 4' in done.stderr
    (score,) = results(output)
    assert score['loss'] == pytest.approx(row['loss'], abs=1e-5)
    assert (score['resolution'], score['top1']) == (row['resolution'], row['top1'])


# ------------------------------------------------------------------------------------- predict


def test_predict_answers_in_order_and_names_what_cannot_be_read(run, launch, images):
    words = [images, images / '1.png', f'{images}/2.*', images / 'gone.jpg']
    done = launch('predict', f'--run_dir={run}', '--format=jsonl', '--batch_size=3', *words)
    assert done.returncode == 1
    answers = list(map(json.loads, done.stdout.splitlines()))
    files = [answer['file'].removeprefix(f'{images}/') for answer in answers]
    assert files == ['1.png', '2.png', '4.png', 'within/5.png', '1.png', '2.png']
    assert done.stderr.splitlines() == [
        f'{images}/gone.jpg: no images found',
        f'{images}/3.jpg: Unknown image file format. One of JPEG, JPEG XL, PNG, GIF, BMP, WebP '
        'required.',
        f'{images}/4.jpg: jpeg::Uncompress failed. Invalid JPEG data or crop window.',
        'error: 3 of the files and arguments cannot be read; they are named above',
    ]
    for answer in (answers[0], answers[3]):
        shares = [row['probability'] for row in answer['top']]
        assert shares == sorted(shares, reverse=True)
        assert len(shares) == 5
        assert (answer['class'], answer['probability']) == tuple(answer['top'][0].values())
        # Rounding to bfloat16 differs between one operation after the other and a graph.
        expected = probabilities(run, answer['file'])
        for row in answer['top']:
            assert row['probability'] == pytest.approx(expected.pop(row['class']), abs=0.02)
        assert max(expected.values()) < shares[-1] + 0.02


def test_predict_with_a_file_elsewhere_into_a_file(run, launch, images, tmp_path):
    for name in ('model.keras', 'inputs.json'):
        shutil.copy(run / name, tmp_path / name)
    output = tmp_path / 'answers.csv'
    flags = [f'--model_file={tmp_path}/model.keras', '--format=csv', '--top=99']
    done = launch('predict', *flags, f'--output={output}', '--resolution=48', images / '1.png')
    assert done.returncode == 0, done.stderr
    assert done.stdout == ''
    head, row = csv.reader(output.read_text().splitlines())
    assert head[:5] == ['file', 'class', 'probability', 'class_2', 'probability_2']
    assert len(head) == len(row) == 1 + 2 * 14
    assert sum(map(float, row[2::2])) == pytest.approx(1, abs=1e-4)


def test_predict_prints_a_table_by_default(stopped, launch, images):
    folder, phase = stopped
    flags = [f'--phase={phase}', '--checkpoint=best', '--top=2']
    done = launch('predict', images / '1.png', f'--run_dir={folder}', *flags)
    assert done.returncode == 0, done.stderr
    assert f'{phase} is not finished: this is its checkpoint of step 4' in done.stderr
    (row,) = table(done.stdout)
    assert row[0] == str(images / '1.png')
    assert all(re.fullmatch(r'\S+ \d+\.\d %', cell) for cell in row[1:])
    assert len(row) == 3


# -------------------------------------------------------------------------------------- export


def test_export_of_a_saved_model(run, launch, images, tmp_path):
    output = tmp_path / 'model'
    flags = ['--format=saved_model', f'--output={output}', '--rounds=2']
    done = launch('export', f'--run_dir={run}', *flags)
    assert done.returncode == 0, done.stderr
    (differ,) = re.findall('57 photos: probabilities differ by at most (\\S+),', done.stdout)
    assert float(differ) <= 1e-4
    # What it has to agree with is the network in float32, which is not what the run computed in.
    (rounded,) = re.findall('rebuilt in float32, its .* by at most (\\S+),', done.stderr)
    assert 1e-4 < float(rounded) < 0.1
    sizes = [float(row[1]) for row in table(done.stdout)]
    total = sum(path.stat().st_size for path in output.rglob('*') if path.is_file())
    assert sizes[1] == pytest.approx(total / 1e6, abs=1e-3)
    loaded = tf.saved_model.load(str(output))
    inputs = json.loads((run / 'inputs.json').read_text())
    side = inputs['resolution']
    pixels = np.random.default_rng(0).integers(0, 256, (3, side, side, 3), np.uint8)
    answer = loaded.signatures['classify'](pixels=tf.constant(pixels))
    assert answer['classes'].shape == (3, 5)
    assert answer['classes'][0, 0].numpy().decode() in inputs['class_names']
    again = launch('export', f'--run_dir={run}', *flags)
    assert again.returncode == 2
    assert 'there is something already' in again.stderr


def test_export_for_tensorflow_lite(stopped, launch, images, tmp_path):
    folder, _ = stopped
    output = tmp_path / 'model.tflite'
    flags = ['--format=tflite', f'--output={output}', '--resolution=48', '--rounds=2']
    refused = launch('export', f'--run_dir={folder}', *flags, f'--images={images}')
    assert refused.returncode == 2
    assert '2 of 6 files cannot be read' in refused.stderr
    assert not output.exists()
    done = launch('export', f'--run_dir={folder}', *flags, f'--images={images}/*.png')
    assert done.returncode == 0, done.stderr
    assert '3 photos: probabilities differ by at most' in done.stdout
    # By default it is the last phase that is finished.
    assert 'not finished' not in done.stderr
    assert 'top-1' not in done.stdout
    metadata = json.loads((tmp_path / 'model.tflite.json').read_text())
    assert metadata['resolution'] == 48
    assert (
        metadata['class_names']
        == json.loads((folder / 'phases' / 'train' / 'inputs.json').read_text())['class_names']
    )
    interpreter = tf.lite.Interpreter(str(output))
    (details,) = interpreter.get_input_details()
    assert details['shape'].tolist() == [1, 48, 48, 3]


@pytest.mark.slow
def test_export_in_int8(run, launch, photos, tmp_path):
    output = tmp_path / 'model.tflite'
    flags = ['--format=tflite', '--int8', f'--output={output}', '--rounds=2']
    done = launch('export', f'--run_dir={run}', *flags, '--calibration_images=20')
    assert done.returncode == 0, done.stderr
    (same,) = re.findall('the most probable class is the same on (\\d+)', done.stdout)
    assert int(same) > 40
    network, exported = table(done.stdout)
    assert exported[0] == 'tflite, int8'
    assert [len(row) for row in (network, exported)] == [4, 4]
    kinds = [d['dtype'] for d in tf.lite.Interpreter(str(output)).get_tensor_details()]
    assert np.int8 in kinds
    refused = launch('export', f'--run_dir={run}', *flags, f'--dataset={photos}')
    assert refused.returncode == 2
    assert 'unknown: a, b' in refused.stderr


@pytest.mark.skipif(
    importlib.util.find_spec('tf2onnx') is None or importlib.util.find_spec('onnxruntime') is None,
    reason='the extra `onnx` is not installed',
)
def test_export_as_onnx(run, launch, tmp_path):
    flags = ['--format=onnx', f'--output={tmp_path}/model.onnx', '--rounds=2']
    done = launch('export', f'--run_dir={run}', *flags)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / 'model.onnx.json').exists()


@pytest.mark.parametrize(
    ('answer', 'reason'),
    [('np.nan', 'not all of its probabilities are'), ('1 / 14', 'its probabilities differ')],
)
def test_a_model_that_does_not_agree_is_not_left_behind(run, tmp_path, answer, reason):
    code = f"""
import numpy as np
from tfnets.analysis import export as formats
from tfnets.launchers import app, export

def wrong(path):
    return lambda images: np.full((len(images), 14), {answer}, np.float32)

formats.RUNNERS['saved_model'] = wrong
app.launch(export.main, export.check)
"""
    flags = [f'--run_dir={run}', '--format=saved_model', f'--output={tmp_path}/model']
    done = subprocess.run([sys.executable, '-c', code, *flags], capture_output=True, text=True)
    assert done.returncode == 1
    assert f'not written, for {reason}' in done.stderr
    assert not list(tmp_path.iterdir())


# -------------------------------------------------------------------------------------- report


def test_report_of_one_run_in_its_own_folder(run, launch):
    done = launch('report', f'--run_dir={run}')
    assert done.returncode == 0, done.stderr
    report = json.loads((run / 'report.json').read_text())
    (own,) = [
        r
        for r in report['results']
        if (r['phase'], r['resolution']) == (report['deployed'], report['resolutions']['chosen'])
    ]
    row = table(done.stdout)[0]
    assert row[:4] == ['run', 'mbconv_c', '50,252', row[3]]
    # 57 photos in batches of 16: two epochs are 8 steps, one is 4.
    assert float(row[4]) == pytest.approx(12 * 16 / 57, abs=1e-2)
    assert row[6] == report['deployed']
    assert float(row[9]) == pytest.approx(100 * own['top1'], abs=0.005)
    assert (run / 'curves.png').read_bytes().startswith(b'\x89PNG')
    assert table((run / 'curves.md').read_text())[0] == row


def test_report_of_several_runs_leaves_out_those_without_metrics(run, stopped, launch, tmp_path):
    begun = tmp_path / 'begun'
    begun.mkdir()
    shutil.copy(run / 'run.json', begun / 'run.json')
    folders = [f'--run_dir={folder}' for folder in (run, stopped[0], begun)]
    refused = launch('report', *folders)
    assert refused.returncode == 2
    assert '--output_dir' in refused.stderr
    done = launch('report', *folders, f'--output_dir={tmp_path}/compared')
    assert done.returncode == 0, done.stderr
    assert done.stderr == f'{begun}: has written no metrics yet; left out\n'
    rows = table(done.stdout)
    assert [row[0] for row in rows[:2]] == [str(run), f'{stopped[0]} (not finished)']
    assert rows[1][9] == ''
    assert (tmp_path / 'compared' / 'curves.png').exists()
    alone = launch('report', f'--run_dir={begun}')
    assert alone.returncode == 2
    assert alone.stderr.splitlines()[-1].endswith(
        'no metrics yet; wait for the first line of the log'
    )


# ----------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ('name', 'flags', 'text'),
    [
        ('evaluate', ['--run_dir={run}', '--phase=nonsense'], 'there are train, finetune_'),
        ('evaluate', ['--run_dir={stopped}', '--phase=x'], '_last_bn (not finished)'),
        ('evaluate', ['--run_dir={run}', 'stray'], "stray argument 'stray'"),
        ('predict', ['--run_dir={run}'], 'no photos'),
        ('predict', ['x.jpg'], '--run_dir: expected the folder of a run (or a file by'),
        ('predict', ['--run_dir={empty}', 'x.jpg'], 'no run in it'),
        ('predict', ['--run_dir={run}', '{empty}'], '{empty}: no images found'),
        ('predict', ['--run_dir={run}', '{empty}/*.jpg'], '{empty}/*.jpg: no images found'),
        ('predict', ['--run_dir={run}', '--format=xml', 'x.jpg'], 'xml'),
        ('predict', ['--run_dir={run}', '--model_file=x.keras', 'x.jpg'], 'got both'),
        ('predict', ['--model_file=x.keras', '--phase=train', 'x.jpg'], '--model_file, --phase'),
        ('predict', ['--model_file={empty}/x.keras', 'x.jpg'], 'no such file'),
        ('predict', ['--model_file={lonely}', '{lonely}'], 'inputs.json: expected a file'),
        ('export', ['--run_dir={run}'], '--format: expected saved_model'),
        ('export', ['--run_dir={run}', '--format=tflite'], '--output=None: expected a file that'),
        ('export', ['--run_dir={run}', '--format=tflite', '--output=x.onnx'], 'in .tflite'),
        (
            'export',
            ['--run_dir={run}', '--format=saved_model', '--output=x', '--int8'],
            'int8 is for tflite only',
        ),
        (
            'export',
            ['--model_file={run}/model.keras', '--format=tflite', '--output=x.tflite'],
            'no photos to check',
        ),
        (
            'export',
            ['--run_dir={run}', '--format=saved_model', '--output=x', '--images={empty}'],
            'no images found',
        ),
        ('report', [], '--run_dir: expected'),
        ('report', ['--run_dir={empty}'], 'no run in it'),
        ('report', ['--run_dir={search}'], 'a search of compound scaling; name one of its runs'),
        ('evaluate', ['--run_dir={search}'], '/trials/NAME'),
        ('preact_resnet', ['--run_dir={run}'], 'holds a run of fixres, not of preact_resnet'),
    ],
)
def test_bad_input_is_one_clear_line(run, stopped, launch, tmp_path, name, flags, text):
    (tmp_path / 'empty').mkdir()
    lonely = tmp_path / 'lonely.keras'
    lonely.write_bytes(b'nothing')
    places = {'run': run, 'stopped': stopped[0], 'empty': tmp_path / 'empty', 'lonely': lonely}
    places['search'] = tmp_path / 'search'
    places['search'].mkdir()
    (places['search'] / 'run.json').write_text('{"launcher": "compound_scaling"}')
    refused = launch(name, *(flag.format(**places) for flag in flags))
    assert refused.returncode == 2, refused.stderr
    assert text.format(**places) in refused.stderr
    assert refused.stderr.startswith('error: ')
    assert refused.stderr.count('\n') == 1


def test_a_damaged_network_is_one_clear_line(run, launch, images, tmp_path):
    shutil.copy(run / 'inputs.json', tmp_path / 'inputs.json')
    (tmp_path / 'model.keras').write_bytes((run / 'model.keras').read_bytes()[:5000])
    flags = [f'--model_file={tmp_path}/model.keras', images / '1.png']
    refused = launch('predict', *flags)
    assert refused.returncode == 2
    assert refused.stderr.startswith(f'error: {tmp_path}/model.keras: cannot be loaded (')
    assert refused.stderr.count('\n') == 1
    shutil.copy(run / 'model.keras', tmp_path / 'model.keras')
    inputs = json.loads((run / 'inputs.json').read_text())
    inputs['class_names'] += ['another']
    (tmp_path / 'inputs.json').write_text(json.dumps(inputs))
    refused = launch('predict', *flags)
    assert refused.returncode == 2
    assert 'an output for each of the 15 classes' in refused.stderr


def test_a_run_without_a_checkpoint_has_nothing_to_show(run, launch, tmp_path):
    shutil.copy(run / 'run.json', tmp_path / 'run.json')
    refused = launch('evaluate', f'--run_dir={tmp_path}')
    assert refused.returncode == 2
    assert 'wait for the first one' in refused.stderr
