"""Files and texts that carry descriptors and clusters between commands, functions and people."""
