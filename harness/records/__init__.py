"""Records of runs: what they hold, how they are kept, compared and merged."""
