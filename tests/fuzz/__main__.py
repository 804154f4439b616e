"""`make fuzz`: an hour, or FUZZ_SECONDS."""

import os

from tests.fuzz.run import fuzz

if __name__ == "__main__":
    fuzz(float(os.environ.get("FUZZ_SECONDS", "3600")), lambda text: print(text, flush=True))
