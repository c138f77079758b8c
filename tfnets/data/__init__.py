"""Data: sources of encoded examples, one-line preprocessing, and batches."""
