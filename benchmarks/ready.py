"""Is there what a run needs: does everything import, can an environment be made, does it draw?

    python benchmarks/ready.py dmc:walker_walk image

Imports all that training and the bench import, resets the environment and takes a decision in it. The last
line printed is JSON: how long that took, and with which OpenGL backend. Whoever calls this sets a limit, as a
driver that is not set up right may hang.
"""

import importlib
import json
import os
import sys
import time

MODULES = ("dreamer.training.trainer", "dreamer.bench.bench", "dreamer.results.plot", "dreamer.cli")


def main() -> None:
    name, obs = sys.argv[1:]
    started = time.monotonic()
    for module in MODULES:
        importlib.import_module(module)
    imported = time.monotonic()

    import numpy as np

    from dreamer.config import EnvConfig
    from dreamer.envs import make_env

    env = make_env(EnvConfig(env=name, obs=obs))  # pyright: ignore[reportArgumentType]
    env.reset(seed=0)
    env.step(np.zeros(env.action_space.shape or (), np.float32))
    env.close()
    seconds = {"importing": imported - started, "environment": time.monotonic() - imported}
    found = {"backend": os.environ.get("MUJOCO_GL"), "seconds": {k: round(v, 1) for k, v in seconds.items()}}
    print(json.dumps({"env": name, "obs": obs, **found}))


if __name__ == "__main__":
    main()
