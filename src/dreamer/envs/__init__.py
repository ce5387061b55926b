"""Environments that show camera images and take actions (paper, Section 6).

Importing this package does not load MuJoCo or OpenGL. Both are loaded when an environment is made.
"""

from dreamer.envs.failures import EnvError
from dreamer.envs.make import make_env
from dreamer.envs.spec import ActionSpec, EnvSpec, spec_of
from dreamer.envs.vector import VectorEnv
from dreamer.envs.worker import StepResult

__all__ = ["ActionSpec", "EnvError", "EnvSpec", "StepResult", "VectorEnv", "make_env", "spec_of"]
