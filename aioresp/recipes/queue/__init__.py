"""Queue of jobs: tasks, jobs, workers, and the books that all of them share in Redis."""
