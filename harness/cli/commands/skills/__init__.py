"""/skills: lists, installs, trusts, disables and tests skills."""
