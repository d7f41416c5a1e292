"""What a person sees of a stream's live view: in a terminal, and as a picture."""
