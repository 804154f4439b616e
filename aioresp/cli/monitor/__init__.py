"""Live monitor of servers: readings, rates, warnings, records, and the screens that show them."""
