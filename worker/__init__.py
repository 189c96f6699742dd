"""The worker: holds the models and the index in memory, and posts the answers itself."""
