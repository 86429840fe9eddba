from skills.annotate.anchored import best


class Lines:
    """A decoder whose lines are given by sentence and temperature."""

    def __init__(self, **lines):
        self.lines = lines

    def line(self, label, number, temperature):
        return f"{label} [{number}]: {self.lines[f'at{number}'][temperature > 0]}"


def test_the_candidate_most_similar_to_all_is_chosen():
    decoder = Lines(
        at1=("it halts in Rome", "it halts"),
        at2=("it halts in Rome and Paris", "it halts in Rome"),
        at3=("nobody waits", "nobody waits at all"),
        at4=("never tried", "never tried"),
    )
    number, line = best.best_line(decoder, "Claim", [0.1, 0.3, 0.25, 0.3, 0.05])
    assert (number, line) == (1, "Claim [1]: it halts in Rome")


def test_a_probable_sentence_wins_where_candidates_have_nothing_in_common():
    decoder = Lines(at1=("it halts", "it halts"), at2=("nobody waits", "nobody waits"))
    assert best.best_line(decoder, "Claim", [0.1, 0.3, 0.6]) == (2, "Claim [2]: nobody waits")
