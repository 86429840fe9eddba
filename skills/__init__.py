"""The skills that ship with the harness, and the packages that several skills share.

The folder of a skill has a SKILL.md and a plugin.
"""
