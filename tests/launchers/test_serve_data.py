"""A tf.data service from the command line: a dispatcher, two workers, and a run that uses them."""

import signal
import socket
import subprocess
import sys

import pytest


def free_port():
    with socket.socket() as found:
        found.bind(('localhost', 0))
        return found.getsockname()[1]


@pytest.fixture
def serve():
    """A function that starts a server with flags and waits for its line; all end with the test."""
    servers = []

    def start(*flags):
        command = [sys.executable, '-m', 'tfnets.launchers.serve_data', *flags]
        server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        servers.append(server)
        return server, server.stderr.readline()

    yield start
    for server in servers:
        server.kill()
        server.wait()


@pytest.mark.slow
def test_a_run_is_fed_by_two_workers(launch, serve, tiny, tmp_path):
    port = free_port()
    address = f'grpc://localhost:{port}'
    dispatcher, line = serve(f'--port={port}')
    assert line.startswith('dispatcher at ')
    for _ in range(2):
        worker = ['--port=0', '--address=localhost:%port%', f'--dispatcher={address}']
        _, line = serve(*worker)
        assert line == f'worker of {address}\n'
    flags = [*tiny, f'--run_dir={tmp_path}/run', f'--data_service={address}']
    done = launch('fixres', *flags, '--cache=disk', f'--cache_dir={tmp_path}/cache')
    assert done.returncode == 0, done.stderr
    assert (tmp_path / 'run' / 'report.md').exists()
    dispatcher.send_signal(signal.SIGTERM)
    assert dispatcher.wait(20) == 0


@pytest.mark.parametrize(
    ('flag', 'text'),
    [
        ('--dispatcher=localhost:5000', 'grpc://host:port'),
        ('--dispatcher=grpc://localhost:1', 'nobody listens there'),
        ('--address=here:1', '--dispatcher'),
        ('--port=70000', 'port'),
    ],
)
def test_bad_flags_are_one_line(launch, flag, text):
    refused = launch('serve_data', flag)
    assert refused.returncode == 2
    assert text in refused.stderr
    assert refused.stderr.count('\n') == 1
