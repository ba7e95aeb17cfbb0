"""What Dagster sees, one file per layer of the data; each asset is thin and calls `lib/` or plain SQL for its logic."""
