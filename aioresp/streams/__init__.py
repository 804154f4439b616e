"""Readers of streams and consumers of groups."""
