"""The pages: their addresses, titles, and the question that each answers."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One page: `/name` is its address and `pages/name.py` its file."""

    name: str
    title: str
    icon: str
    question: str
    section: str


CONTENTS = {
    entry.name: entry
    for entry in (
        Entry(
            name="overview",
            title="Overview",
            icon=":material/dashboard:",
            question="Is it safe, is it better, does it oscillate, and what changed?",
            section="Today",
        ),
        Entry(
            name="plan",
            title="Plan",
            icon=":material/view_timeline:",
            question="What does each machine make, does stock last, and what does it cost?",
            section="Today",
        ),
        Entry(
            name="generations",
            title="Generations",
            icon=":material/timeline:",
            question="Did each generation earn its place?",
            section="Policies",
        ),
        Entry(
            name="oscillation",
            title="Oscillation",
            icon=":material/airwave:",
            question="Do good and bad generations alternate, why, and what helps?",
            section="Policies",
        ),
        Entry(
            name="off_policy",
            title="Off-policy",
            icon=":material/balance:",
            question="What would a policy that never ran have earned, and do the logs support it?",
            section="Policies",
        ),
        Entry(
            name="decisions",
            title="Decisions",
            icon=":material/search:",
            question="What was decided about one unit, why, and would it be decided again?",
            section="Evidence",
        ),
        Entry(
            name="audit",
            title="Audit",
            icon=":material/verified_user:",
            question="Is what is stored what was sealed, and who changed what?",
            section="Evidence",
        ),
    )
}
