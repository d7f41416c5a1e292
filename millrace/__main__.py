"""`python -m millrace` is the `millrace` command, for places where its script is not on PATH."""

from millrace.cli import main

main()
