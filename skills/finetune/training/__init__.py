"""Train an adapter on the prepared rows."""
