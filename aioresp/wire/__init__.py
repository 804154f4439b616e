"""Connection to one server: one socket, and the bytes on it."""
