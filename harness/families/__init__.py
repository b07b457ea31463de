"""The built-in model families, one file each."""
