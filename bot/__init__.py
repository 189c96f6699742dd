"""The chat bots: they accept pictures, enqueue jobs and never touch a model."""
