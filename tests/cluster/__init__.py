"""Tests with a cluster. A package, so that the one they share ends with the last of them, not with the run."""
