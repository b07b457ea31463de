"""Small models of our own: their data, their training and their weights."""
