"""Apache Spark as the engine. `engine` is what the assets call, `tasks` runs on the workers, `frames` says how the two exchange tables."""
