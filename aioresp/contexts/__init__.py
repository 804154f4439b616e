"""Contexts borrow a connection, offer the commands on it, and give it back."""
