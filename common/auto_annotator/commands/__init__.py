"""The subcommands of `auto-annotator`, one file each: `add_parser` declares it, its `run` returns the exit code."""
