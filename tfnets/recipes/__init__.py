"""The papers' methods, free of flags: each recipe runs phases in order."""
