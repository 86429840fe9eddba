"""Run a line, from its text to the saved result: grammar, runner, run log, targets, jobs."""
