"""Recording: rows and events into files that outlive the process, one folder per run."""
