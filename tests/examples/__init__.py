"""Applications in examples/, as their users start them: over HTTP, over WebSockets, and in a real browser."""
