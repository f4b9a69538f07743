"""The durable helper: what stands behind `nango` when a script runs as workflow code.

Every call is an activity with a sentence as its summary. What a call needs of the outside world
(credentials, the provider's rules, the database) is looked up by the activity; here only what
must be remembered is kept: pages, counts and the script's own values.

Each module holds one concern of the helper as a class over `HelperSteps`; `DurableAction` and
`DurableSync` put them together.
"""

from workflows.nango.action import DurableAction
from workflows.nango.sync import DurableSync

__all__ = ["DurableAction", "DurableSync"]
