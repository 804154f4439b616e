"""Demonstration `aioresp demo`: 10,000 SETs four ways, with the connections and the time that each takes."""
