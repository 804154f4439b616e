"""Demonstration `aioresp demo`: the same SETs in several ways, with the connections and the time that each takes."""
