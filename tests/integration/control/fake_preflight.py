"""A preflight without a state to try, beside the fake driver: refuses a description of `refuse`, dies or waits."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

spec = Path(sys.argv[sys.argv.index("--spec") + 1])
fault = spec.with_name("fault")
if fault.exists() and fault.read_text() == "preflight dies":
    sys.exit("boom")
while fault.exists() and fault.read_text() == "preflight waits":
    time.sleep(0.05)
refuses = json.loads(spec.read_text())["description"] == "refuse"
print(json.dumps({"passed": not refuses, "says": "as it was told to"}))
