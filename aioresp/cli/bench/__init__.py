"""Benchmark of a server by three ways to connect: fresh connections, a classic pool and the shared pool."""
