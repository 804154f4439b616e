"""Version number of aioresp, kept in one place. The package, its metadata and CLIENT SETINFO read it here."""

VERSION = "0.1.0"
