"""Show runs beside the published scores, on one page that opens from disk.

    inputs.py       run directories, sweeps and scores files -> runs, grouped by method
    compare.py      scores at equal frames, and the rule by which a task passes or fails
    aggregate.py    one number for many tasks, with its uncertainty
    charts.py       the curves of the page
    videos.py       evaluation videos and open-loop predictions
    provenance.py   options, versions, hardware, hours
    page.py         write all of this to `index.html`

`docs/protocol.md` says how scores are measured and compared.
"""
