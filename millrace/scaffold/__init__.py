"""A new stream: the files that it is made of, from templates."""
