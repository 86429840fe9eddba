"""Lines of metrics.jsonl, and final facts, of a short training for the tests of trackers."""

LINES = [  # of a training with smollm2-cpu
    {"step": 0, "epoch": 0.0, "dev_loss": 2.7291903495788574},
    {
        "step": 1,
        "epoch": 0.25,
        "loss": 2.7431671619415283,
        "learning_rate": 0.0,
        "grad_norm": 4.52,
        "tokens": 4122,
        "seconds": 9.12,
        "tokens_per_second": 452.0,
        "peak_bytes": 1486479360,
    },
    {"step": 2, "epoch": 0.5, "loss": 2.61, "grad_norm": None, "tokens_per_second": 460.5},
    {"step": 2, "epoch": 0.5, "dev_loss": 2.4},
]
FACTS = {"final/dev_loss": 2.4, "artifact/ft-lora.gguf": "ab" * 32}
