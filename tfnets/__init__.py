"""tfnets: five vision papers as software that can be trusted, in TensorFlow and Keras."""

__version__ = '0.1.0'
