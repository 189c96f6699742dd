"""Ways to find a character again, old and new, measured side by side on the same pictures."""
