"""Small models of our own: their weights and how they are trained."""
