"""Connections of one event loop, and which caller may use which."""
