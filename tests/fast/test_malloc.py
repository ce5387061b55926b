"""Freed memory is kept: allocating again costs hardly any page faults."""

import os
import subprocess
import sys

PROGRAM = """
import resource, torch
from dreamer.fast.malloc import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    tensors = [torch.ones(n * 2**20) for n in (10, 12, 9)]  # more than 32 MiB each: never kept by default
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def later_faults():
    return sum([faults() for _ in range(20)][10:])

print(later_faults(), int(keep_freed_memory()), later_faults())
"""


def test_freed_memory_is_used_again() -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    line = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(line, capture_output=True, text=True, check=True, env=environment)
    before, kept, faults = map(int, done.stdout.split())
    assert kept
    assert faults < 0.2 * before
