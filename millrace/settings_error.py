"""The error of a setting, apart from the settings, so that each part of them can raise it."""

from __future__ import annotations


class SettingsError(ValueError):
    """A setting is missing or unusable; the message names it and says what would be right."""
