"""The paper's model-free comparisons, D4PG and A3C: each algorithm in one file of its own."""
