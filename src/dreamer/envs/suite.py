"""The tasks on which the paper was measured (Appendix G; Figure 9)."""

PAPER_TASKS = (
    "dmc:acrobot_swingup",
    "dmc:cartpole_balance",
    "dmc:cartpole_balance_sparse",
    "dmc:cartpole_swingup",
    "dmc:cartpole_swingup_sparse",
    "dmc:cheetah_run",
    "dmc:cup_catch",
    "dmc:finger_spin",
    "dmc:finger_turn_easy",
    "dmc:finger_turn_hard",
    "dmc:hopper_hop",
    "dmc:hopper_stand",
    "dmc:pendulum_swingup",
    "dmc:quadruped_run",
    "dmc:quadruped_walk",
    "dmc:reacher_easy",
    "dmc:reacher_hard",
    "dmc:walker_run",
    "dmc:walker_stand",
    "dmc:walker_walk",
)
"""The 20 tasks of the Control Suite, from images."""

PAPER_ATARI = (
    "atari:boxing",
    "atari:chopper_command",
    "atari:double_dunk",
    "atari:fishing_derby",
    "atari:ice_hockey",
    "atari:kangaroo",
    "atari:krull",
    "atari:kung_fu_master",
    "atari:ms_pacman",
    "atari:name_this_game",
    "atari:pong",
    "atari:tutankham",
    "atari:up_n_down",
    "atari:zaxxon",
)
"""The 14 Atari games; the two tasks of DeepMind Lab are not served."""
