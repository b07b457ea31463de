"""What every room may lean on: locks, files, text, progress; nothing here knows of models."""
