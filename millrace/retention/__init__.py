"""Retention: what may go, why, and letting it go without bringing back a part of an hour."""
