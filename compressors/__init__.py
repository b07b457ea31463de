"""The built-in compression methods, one file each."""
