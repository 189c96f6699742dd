"""`familiar demo`: a gallery drawn by code, and one request through the real processes."""
