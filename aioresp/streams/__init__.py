"""Stream readers and consumers of groups."""
