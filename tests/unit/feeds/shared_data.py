"""Where recorded public data are, on machines that have them beside the project."""

from pathlib import Path

import pytest

DIRECTORY = Path(__file__).resolve().parents[4] / "shared" / "data"

needs_shared_data = pytest.mark.skipif(not DIRECTORY.is_dir(), reason=f"{DIRECTORY} is absent")
