"""Linear layers and what takes their place: weights, factors, their shapes and costs."""
