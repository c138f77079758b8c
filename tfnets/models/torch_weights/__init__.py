"""Weights of the official PyTorch code, read without PyTorch."""
