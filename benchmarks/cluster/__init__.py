"""Measurements of clients of a cluster, and of servers behind Sentinel."""
