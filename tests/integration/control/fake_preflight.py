"""A preflight without a state to try, beside the fake driver: refuses a description of `refuse`, dies when told to."""

from __future__ import annotations

import json
import sys
from pathlib import Path

spec = Path(sys.argv[sys.argv.index("--spec") + 1])
fault = spec.with_name("fault")
if fault.exists() and fault.read_text() == "preflight dies":
    sys.exit("boom")
refuses = json.loads(spec.read_text())["description"] == "refuse"
print(json.dumps({"passed": not refuses, "says": "as it was told to"}))
