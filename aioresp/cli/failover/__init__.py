"""Demonstration `aioresp demo cluster`: 10,000 tasks use a cluster of six, and one of its primaries is killed."""
