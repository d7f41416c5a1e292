"""A simulated bike-sharing city: every poll is a pure function of the seed and the time."""
