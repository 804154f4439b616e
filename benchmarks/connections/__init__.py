"""A shared pool against fresh connections: `python -m benchmarks.connections --help`."""
