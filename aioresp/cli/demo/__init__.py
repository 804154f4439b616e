"""`aioresp demo`: 10,000 SETs four ways, and what each costs in connections and time."""
