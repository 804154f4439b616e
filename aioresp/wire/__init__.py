"""One socket to one server, and the bytes on it."""
