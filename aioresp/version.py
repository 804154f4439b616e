"""The version, in one place: the package, its metadata and CLIENT SETINFO read it here."""

VERSION = "0.1.0"
