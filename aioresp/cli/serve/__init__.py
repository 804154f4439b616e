"""`aioresp serve`: a server, or a cluster, in the foreground."""
