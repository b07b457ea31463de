"""A model in memory, its prompts and what it writes."""
