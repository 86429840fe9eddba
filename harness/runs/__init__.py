"""One line from text to saved result: grammar, runner, run log, targets, jobs."""
