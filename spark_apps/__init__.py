"""The streaming apps: one file per app, on a shared transform library and a shared runtime."""
