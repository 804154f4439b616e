"""`python -m aioresp`: the same as the command `aioresp`."""

from __future__ import annotations

from aioresp.cli import main

if __name__ == "__main__":
    main()
