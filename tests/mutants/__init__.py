"""Mutations of the core, drawn at random, and the tests that should notice them."""
