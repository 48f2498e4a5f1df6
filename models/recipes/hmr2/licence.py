"""What the user has to accept before HMR2 and SMPL are imported: a summary in our words, and where the terms themselves stand."""

import sys

from recipes.errors import Failure

NETWORK = "code MIT; the weights come from data sets and SMPL that forbid commercial use"
BODY = "SMPL Body Model licence: non-commercial research, no redistribution"

TEXT = """\
HMR2 and SMPL are not part of Halfpipe. You bring them, under the terms of those who made them. In our words, which
replace none of theirs:

  4D-Humans, code      MIT, Copyright (c) 2023 UC Regents, Shubham Goel. Text: LICENSE.md of github.com/shubham-goel/4D-Humans
  HMR2, weights        No licence of their own is known to us. They were trained on data sets several of which allow
                       non-commercial research only, and with SMPL. Ask the authors before any other use
  SMPL, body model     Max Planck Society, who ask you to register. Non-commercial scientific research, education and
                       artistic projects; no commercial use, no redistribution, nor of what is made out of the model's
                       data. Text: smpl.is.tue.mpg.de/modellicense.html; commercial licences: Meshcapade

The files made here hold these weights and this model, so the same terms apply to them: keep them out of images and
repositories that others can read.
"""


def accept(given: bool):
    """Shows the text, and returns once it is accepted: by --accept-licence (`given`), or by typing it on a terminal."""
    print(TEXT, flush=True)
    if given:
        print("accepted by --accept-licence\n", flush=True)
        return
    if not sys.stdin.isatty():
        raise Failure("nothing was imported: read the terms above, and give --accept-licence if you accept them")
    print("Do you accept these terms? Type yes: ", end="", flush=True)
    if sys.stdin.readline().strip().lower() != "yes":
        raise Failure("nothing was imported: the terms were not accepted")
