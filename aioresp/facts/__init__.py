"""Facts of commands, known by their names and arguments."""
