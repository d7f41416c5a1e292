"""Reading published hours: their status, their rows, and the freshest totals with what has just landed."""
