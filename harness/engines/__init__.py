"""Where the cells of a sweep run."""
