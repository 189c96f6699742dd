"""How long each step takes, how fast an index is built, and how much memory each process holds."""
