"""The training engine: phases, steps and devices. It knows no paper."""
