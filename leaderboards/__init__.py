"""The leaderboards: pure functions of records and of the published numbers."""
