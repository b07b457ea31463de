"""From statistics to a model that runs in factor form, one block after the other."""
