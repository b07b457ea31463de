"""Where models and texts come from: one grammar, resolved in one place."""
