"""The `familiar` command."""
