"""redis-py by itself against redis-py on aioresp: `python -m benchmarks.under --help`."""
