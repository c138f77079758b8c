"""The embedded sample: photos of fruit, prepared for TFDS, so that nothing need be downloaded."""
