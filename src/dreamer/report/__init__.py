"""Runs beside the published scores, as one page that opens from disk.

    inputs.py       run directories, sweeps and scores files -> runs, grouped by method
    compare.py      scores at equal frames, and the rule by which a task passes or fails
    aggregate.py    one number for many tasks, with its uncertainty
    charts.py       the curves of the page
    videos.py       what the agents do and what the world model predicts
    provenance.py   options, versions, hardware, hours
    page.py         all of it in `index.html`

How scores are measured and compared is in `docs/protocol.md`.
"""
