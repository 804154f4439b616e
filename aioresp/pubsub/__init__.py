"""Subscriptions, keyspace notifications and MONITOR."""
