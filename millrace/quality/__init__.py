"""Whether an hour can be trusted: suites of expectations, the audit before publishing, and the day's summary."""
