"""The adapter: as peft saves it, and one that training goes on from."""
