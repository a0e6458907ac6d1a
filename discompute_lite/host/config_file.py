"""Read the user's configuration file, or say in a sentence why it cannot be read.

Knows:   where it is looked for, and how files fail.
Refuses: to understand it (model/settings.py does).
Read next: model/settings.py.
"""

from __future__ import annotations

import os
from typing import Mapping, Optional, Tuple

from ..model.errors import SettingsError
from ..model.limits import CONFIG_BYTES

USUAL_CONFIG_FILE = "~/.discompute.yaml"


def read_config_file(asked: str, environ: Mapping[str, str]) -> Tuple[str, Optional[str]]:
    """Return (path, text) of the file that was asked for, by flag or environment, else of the usual one.

    The text is None where the usual one does not exist; every other trouble raises `SettingsError`.
    """
    wanted = asked or environ.get("DISCOMPUTE_CONFIG", "")
    path = os.path.expanduser(wanted or USUAL_CONFIG_FILE)
    try:
        with open(path, "rb") as file:
            # One byte more than allowed, so that a longer file is seen as such.
            return path, file.read(CONFIG_BYTES + 1).decode("utf-8")
    except FileNotFoundError:
        if wanted:
            raise SettingsError(f"there is no configuration file {path}; give another with --config") from None
        return path, None
    except UnicodeDecodeError:
        raise SettingsError(f"the configuration file {path} is not UTF-8 text; save it as UTF-8") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SettingsError(f"the configuration file {path} cannot be read ({reason}); mend or move it") from None
