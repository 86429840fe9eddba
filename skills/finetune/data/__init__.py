"""The data set: made of annotation tables, with a word on every row."""
