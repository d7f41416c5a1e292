"""How facts become published hours: landing layout, join, fold, compaction. Knows nothing of bikes."""
