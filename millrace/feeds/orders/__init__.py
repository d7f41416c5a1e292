"""Orders of a stock exchange, a line each: made from a seed, or replayed from a file."""
