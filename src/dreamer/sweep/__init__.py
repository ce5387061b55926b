"""Run many tasks, variants and seeds by one command, on this machine or on a Ray cluster.

Files, in the order in which to read them:

    sweep.py     the options of `dreamer sweep`, and the loop that starts runs and handles their ends
    plan.py      the runs of a sweep, and `sweep.json`
    tasks.py     the tasks that `--tasks` names
    share.py     cores and GPUs of each run
    process.py   one run as a process, which begins with child.py
    local.py     runs as processes of this machine
    cluster.py   runs as tasks of Ray
    status.py    how far each run is, from its metrics.jsonl
    display.py   the live table, or plain lines
"""
