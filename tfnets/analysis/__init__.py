"""What is said about networks and runs: reports, plots, benchmarks."""
