"""aioresp against a bare floor and its peers: `python -m benchmarks`, `python -m benchmarks.hotpath`."""
