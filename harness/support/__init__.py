"""Small general helpers that do not depend on other packages of the harness."""
