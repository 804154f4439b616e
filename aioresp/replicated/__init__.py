"""A primary with replicas behind one client: where the primary is, leaving it, and reads from replicas."""
