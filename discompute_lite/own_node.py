"""Give a script a node of its own, where none runs on this machine that it could use.

Knows:   how to run one in a thread, what `Cluster` needs of it, and where a script's kept calls are.
Refuses: to look for the node that runs (beside.py does).
Read next: beside.py (who decides for one), run.py.
"""

from __future__ import annotations

import threading
from typing import Any, List, Optional, Sequence

from .host.store import StateFolder
from .model.errors import DiscomputeError
from .model.settings import Settings, peers_typed
from .model.told_round import ToldRound
from .net.loop import Loop
from .roles.kept_calls import KeptCalls
from .roles.meeting_methods import MeetAnswer, answer_to_meet
from .roles.offers import DeviceOffer, all_offers
from .run import LocalNode, Tell


class OwnNode:
    """Be a script's node where none runs: a node of its own, in a thread of its own."""

    def __init__(self, settings: Settings, tell: Tell, loop: Optional[Loop] = None) -> None:
        self._tell = tell
        self.local = LocalNode(settings, tell=tell, loop=loop)
        self.loop, self.limits = self.local.loop, self.local.limits

    def start(self) -> None:
        """Begin; raise before anything is shown."""
        self.local.start()
        node = self.local.node
        self.streams, self.blobs, self.executor = node.streams, node.blobs, node.executor
        self.may_send_pickles = node.belonging.may_send_pickles
        peers = peers_typed(self.local.settings)
        if peers:
            self.loop.post(self._call_typed, peers)

    def _call_typed(self, peers: Sequence[str]) -> None:
        def met(answer: Optional[MeetAnswer], error: Optional[DiscomputeError]) -> None:
            for trouble in answer.troubles(by_own_node=True) if answer is not None else ():
                self._tell("warning", trouble)

        self.local.node.discovery.meet(list(peers), answer_to_meet).then(met)

    def keep_calls(self, run: str, tell: Tell) -> KeptCalls:
        """Return streams whose outcomes outlive this process; to be asked for between `start` and `run_in_thread`."""
        return keep_calls_of(self, self.local.state, run, tell)

    def run_in_thread(self) -> threading.Thread:
        """Run in a thread, which a script that ends may leave at work."""
        return self.local.run_in_thread()

    def offers(self) -> List[DeviceOffer]:
        """Return what each device offers, this one first; on the node's thread."""
        return all_offers(self.local.node)

    def vectors(self) -> Any:
        """Return the node's vectors of trainings; on the node's thread."""
        return self.local.node.averaging.vectors

    def tell_round(self, told: ToldRound) -> None:
        """Tell whoever listens of a training's round; on the node's thread."""
        self.local.node.told_rounds.told(told)

    def stop(self) -> None:
        """End soon; any thread may call this."""
        self.local.stop()

    def close(self) -> None:
        """Release everything, where it does not run."""
        self.local.close()


def keep_calls_of(node: Any, state: StateFolder, run: str, tell: Tell) -> KeptCalls:
    """Return a node's streams, whose outcomes outlive this process in the journal of `run`."""
    journal = state.open_run(run, node.loop.post, node.limits.result_kept_s)
    return KeptCalls(node.streams, journal.journals, journal.name, journal.read(), tell)
