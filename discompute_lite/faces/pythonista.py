"""Show a node on the screen of an iPhone or iPad, in the app Pythonista.

Knows:   the app's modules ui, console and objc_util: what must run on which thread, and what crashed the app before.
Refuses: to know what a node does (faces/phone_screen.py), and to be needed: without `ui` the node runs as text.
Read next: faces/phone_screen.py, ios/main.py (who starts this).
"""

from __future__ import annotations

import os
import threading
from typing import Any, Callable, List, Optional, Sequence

from ..model.errors import DiscomputeError
from ..run import read_settings
from .awake import staying_awake
from .console import Console
from .phone_screen import PhoneNode, ScreenFacts, screen_lines

#: Seconds between two pictures.
PICTURE_S = 2.0
MARGIN, ROW = 12, 44


def typed_words(argv: Sequence[str]) -> List[str]:
    """Return the words that a person typed behind the program's name.

    Pythonista's menu appends the path of the file that is open in its editor, which is no command.
    """
    words = list(argv[1:])
    return [] if len(words) == 1 and os.path.isabs(words[0]) else words


def screen_main(environ: Any) -> bool:
    """Run a node with a screen until it is closed; return False where this app has none."""
    try:
        import console
        import ui
    except ImportError:
        return False
    phone = PhoneNode(read_settings({}, environ))
    try:
        phone.start()
        with staying_awake():
            NodeScreen(ui, console, phone).show()
    except DiscomputeError as error:
        Console().error(error.message)
    finally:
        # Also where the app's stop button came while it started.
        phone.stop()
    return True


class NodeScreen:
    """Own the widgets of one node's screen. They are touched on the app's main thread only: `ui.delay` goes there."""

    def __init__(self, ui: Any, console: Any, phone: Any) -> None:
        self._ui, self._console, self._phone = ui, console, phone
        self._is_open = True
        self._facts: Optional[ScreenFacts] = None
        self._view = ui.View(name="discompute-lite", background_color="white")
        self._switch = ui.Switch(action=lambda sender: self._work(lambda: self._switched(bool(sender.value))))
        self._label = ui.Label(text="accept work", font=("<system>", 17))
        self._text = ui.TextView(editable=False, font=("Menlo", 13))
        self._join = ui.Button(title="Join…", action=lambda sender: self._ask_and_join())
        self._invite = ui.Button(title="Let in…", action=lambda sender: self._work(self._invited))
        self._call = ui.Button(title="Call…", action=lambda sender: self._ask_and_call())
        for widget in (self._switch, self._label, self._text, self._call, self._join, self._invite):
            self._view.add_subview(widget)
        self._lay_out()

    def show(self) -> None:
        """Open it, and return when the person has closed it."""
        self._view.present("fullscreen")
        self._work(self._look)
        self._ui.delay(self._draw, 0.2)
        self._view.wait_modal()
        self._is_open = False
        self._ui.cancel_delays()

    def _lay_out(self) -> None:
        width, height = self._view.width, self._view.height
        self._switch.frame = (MARGIN, MARGIN, 60, ROW)
        self._label.frame = (MARGIN + 70, MARGIN, width - 70 - 2 * MARGIN, ROW)
        third = (width - 2 * MARGIN) / 3
        for place, button in enumerate((self._call, self._join, self._invite)):
            button.frame = (MARGIN + place * third, MARGIN + ROW, third, ROW)
        top = 2 * MARGIN + 2 * ROW
        self._text.frame = (MARGIN, top, width - 2 * MARGIN, height - top - MARGIN)
        self._text.flex, self._label.flex = "WH", "W"

    # ---- on the main thread -------------------------------------------------------------------------

    def _draw(self) -> None:
        if not self._is_open:
            return
        if self._facts is not None:
            self._text.text = "\n".join(screen_lines(self._facts))
            self._switch.value = self._facts.is_accepting
        self._work(self._look)
        self._ui.delay(self._draw, PICTURE_S)

    # ---- in threads, since they wait ------------------------------------------------------------------

    def _work(self, work: Callable[[], Any]) -> None:
        def run() -> None:
            try:
                work()
            except DiscomputeError as error:
                if self._is_open:
                    self._console.hud_alert(error.message, "error", 3.0)

        threading.Thread(target=run, name="discompute-screen", daemon=True).start()

    def _look(self) -> None:
        self._facts = self._phone.facts()
        question = self._phone.next_question()
        if question is not None:
            sender, text = question
            try:
                self._console.alert("discompute-lite", text, "Let it work here")
            except KeyboardInterrupt:
                return  # Cancelled: it is not asked about again until the next start.
            self._phone.approve(sender)

    def _switched(self, is_on: bool) -> None:
        self._phone.set_accepting(is_on)
        self._look()

    def _invited(self) -> None:
        self._tell(self._phone.invite())

    def _ask_and_join(self) -> None:
        def ask() -> None:
            try:
                words = self._console.input_alert("Join a cluster", "The code or link that the other device shows")
            except KeyboardInterrupt:
                return  # That is how the app says *cancel*.
            self._tell(self._phone.join(words.strip()))

        self._work(ask)

    def _ask_and_call(self) -> None:
        def ask() -> None:
            try:
                address = self._console.input_alert("Call a device", "The address that it shows at its start")
            except KeyboardInterrupt:
                return
            self._tell(self._phone.meet(address.strip()))

        self._work(ask)

    def _tell(self, sentence: str) -> None:
        self._console.alert("discompute-lite", sentence, "OK", hide_cancel_button=True)

