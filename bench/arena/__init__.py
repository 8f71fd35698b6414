"""Every rule against the same releases: who is taken back wrongly, who is found how soon, and what it costs users.

    shapes    what releases look like, and which of them a rule may be tuned on
    streams   a shape becomes what R releases answer, tick by tick; the same for every rule
    rules     the seam: what a rule sees, and what it may do
    peers     Flagger, Argo Rollouts, Kayenta          ours      the judge of Sternway
    play      the closed loop                          measures  numbers of what came of it
    tuning    the best settings of the peers           bench     the table: `python -m bench arena`

Rule: nothing real runs here, no clock is asked, and every number follows from a seed. docs/arena.md explains it.
"""
