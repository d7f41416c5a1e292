"""Bluesky's posts, from a Jetstream server over a websocket."""
