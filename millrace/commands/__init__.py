"""The `millrace` command, one module per group of subcommands."""
