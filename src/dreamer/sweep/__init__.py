"""Many runs by one command: tasks x variants x seeds, on this machine or on a Ray cluster.

Files, in the order in which to read them:

    sweep.py     the options of `dreamer sweep`, and the loop that starts runs and takes in how they end
    plan.py      which runs there are, as `sweep.json` keeps them
    tasks.py     the tasks that `--tasks` names
    share.py     processor cores and GPUs for each run
    process.py   one run as a process; child.py is the first thing that process does
    local.py     runs as processes of this machine
    cluster.py   runs as tasks of Ray
    status.py    how far each run is, read from its metrics.jsonl
    display.py   the live table, or plain lines
"""
