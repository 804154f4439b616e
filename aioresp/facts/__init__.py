"""Facts of commands: what is known of one by its name and arguments."""
