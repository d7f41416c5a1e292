"""Feeds bring records from the world to Kafka: pure parsing, with thin edges that fetch and send."""
