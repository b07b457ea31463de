"""A whole recipe: its cells, each in a process of its own."""
