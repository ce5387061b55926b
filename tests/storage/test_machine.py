import json
import platform
import sys

import torch

from dreamer.storage.machine import FILE, describe_machine, record_machine, recorded_machines

CPU = torch.device("cpu")


def test_versions_and_hardware_of_this_machine(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["dreamer", "train", "--logdir", "runs/my run"])
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    here = describe_machine(CPU)
    assert here["torch"] == torch.__version__
    assert here["cores"] >= 1
    assert here["processor"]
    assert here["host"] == platform.node()
    assert here["command"] == "dreamer train --logdir 'runs/my run'"
    assert here["opengl"] == "osmesa"
    assert {"dreamer", "python", "mujoco", "numpy"} <= here.keys()
    assert "gpu" not in here


def test_each_machine_of_a_run_is_recorded_once(tmp_path):
    record_machine(tmp_path, CPU)
    record_machine(tmp_path, CPU)
    here = describe_machine(CPU)
    assert recorded_machines(tmp_path) == [here]
    (tmp_path / FILE).write_text(json.dumps([here, {"processor": "another"}]))
    record_machine(tmp_path, CPU)
    assert recorded_machines(tmp_path) == [here, {"processor": "another"}, here]


def test_damaged_record_says_nothing(tmp_path):
    for text in ("{", "7", '["x"]'):
        (tmp_path / FILE).write_text(text)
        assert recorded_machines(tmp_path) == []
