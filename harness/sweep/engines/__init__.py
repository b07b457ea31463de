"""Where the cells of a sweep run: here, on Ray, on Slurm."""
