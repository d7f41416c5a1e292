"""What every app gets without code of its own: session, source, carried state, sinks, status, stop."""
