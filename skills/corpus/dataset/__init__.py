"""`save to NAME.dataset/`: a folder that the Hugging Face Hub and `datasets` read."""
