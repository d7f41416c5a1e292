"""General Bikeshare Feed Specification, versions 1, 2 and 3."""
