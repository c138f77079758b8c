"""Networks: plain functions that return a functional keras.Model."""

import sys

# Keras walks a functional graph by recursion, when a network is built and when one is loaded:
# pre-activation ResNet-1001 is some 4,000 layers deep.
sys.setrecursionlimit(max(sys.getrecursionlimit(), 20_000))
