"""From a request to records: names resolved, cells planned, run."""
