"""A pack: all that another machine needs to make the study's missing runs, for a short time with a graphics card.

Such a machine is often lent for minutes, bare and without a network. A pack is one file that brings the cases there
(prepared, in about a tenth of their size) and the list of what is to run, in order of worth; one command then makes as
much of it as fits into a time, several runs side by side on the card; the records come home in a few small files::

    python -m gbmlib pack make gliomas.pack --prepared brats:PATH
    (there) python -m gbmlib pack run gliomas.pack --seconds 540 --out home
    python -m gbmlib pack take home --to book/records

``book/cluster.md`` has all steps, with what a bare machine lacks and what to try first.

The modules: ``study.pack.making`` (there and unpacked), ``study.pack.expected`` (how
long a run will take), ``study.pack.running`` (within a time), ``study.pack.shards``
(and home), ``study.pack.smoke`` (what the card can do).
"""
