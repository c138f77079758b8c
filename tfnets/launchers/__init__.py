"""Command-line entry points: flags -> objects -> run. One file a paper."""
