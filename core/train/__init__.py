"""Everything that trains a model."""
