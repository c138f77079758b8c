"""The package as it is installed, and which way its imports run."""

import ast
import pathlib
import subprocess
import sys
import zipfile

import pytest

ROOT = pathlib.Path(__file__).parents[1]

ALLOWED = {
    'models': {'models', 'errors'},
    'data': {'data', 'errors', 'files', 'locks'},
    'training': {'training', 'data', 'models', 'errors', 'files', 'machine'},
    'analysis': {'analysis', 'models', 'data', 'training', 'errors', 'files', 'machine'},
    'recipes': {'recipes', 'training', 'data', 'models', 'errors'},
}


@pytest.mark.parametrize('room', ALLOWED)
def test_arrows_run_one_way(room):
    for path in (ROOT / 'tfnets' / room).rglob('*.py'):
        for node in ast.walk(ast.parse(path.read_text())):
            modules = []
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                modules = [f'{node.module}.{alias.name}' for alias in node.names]
            rooms = {name.split('.')[1] for name in modules if name.startswith('tfnets.')}
            assert rooms <= ALLOWED[room], f'{path.name} imports {rooms - ALLOWED[room]}'


@pytest.mark.parametrize(
    'module',
    [
        'benchmark',
        'big_little',
        'classification',
        'compound_scaling',
        'convert',
        'evaluate',
        'export',
        'fixres',
        'preact_resnet',
        'predict',
        'prepare',
        'report',
        'serve_data',
        'summary',
        'wide_to_thin',
    ],
)
def test_launchers_import_without_tensorflow(module):
    code = (
        f'import sys, tfnets.launchers.{module}; '
        "assert not {'tensorflow', 'keras', 'tensorflow_datasets'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, '-c', code], check=True, cwd=ROOT)


@pytest.mark.slow
def test_the_sample_loads_from_an_installed_wheel(tmp_path):
    command = [sys.executable, '-m', 'pip', 'wheel', '--no-deps', '-w', tmp_path, ROOT]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = tmp_path.glob('tfnets-*.whl')
    with zipfile.ZipFile(wheel) as archive:
        assert 'tfnets/data/sample/LICENSE' in archive.namelist()
        archive.extractall(tmp_path / 'installed')
    code = (
        'import tfnets; from tfnets.data import sources; '
        'print(tfnets.__file__, len(sources.load("sample", "train")))'
    )
    done = subprocess.run(
        [sys.executable, '-c', code],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={'PYTHONPATH': str(tmp_path / 'installed'), 'PATH': '/usr/bin:/bin'},
    )
    file, count = done.stdout.split()
    assert file == str(tmp_path / 'installed' / 'tfnets' / '__init__.py')
    assert count == '675'
