"""The reader: an encoder that finds the passages of an abstract that state moves."""
