"""Tests with a Sentinel set. A package, so that the one they share ends with the last of them, not with the run."""
