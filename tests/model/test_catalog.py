"""The catalog keeps extensions by name, in order, once each."""

from __future__ import annotations

import pytest

from discompute_lite.model.catalog import Catalog


def test_entries_are_found_by_name_and_listed_in_order_of_registration():
    catalog = Catalog("task type")
    assert catalog.add("zebra", 1) == 1
    catalog.add("ape", 2)
    assert catalog.get("zebra") == 1 and catalog.get("cow") is None
    assert catalog.names() == ("zebra", "ape") and list(catalog.items()) == [("zebra", 1), ("ape", 2)]
    assert "ape" in catalog and "cow" not in catalog


def test_a_decorator_registers_and_returns_what_it_decorates():
    catalog = Catalog("method")

    @catalog.register("Ping")
    def ping():
        return "pong"

    assert catalog.get("Ping") is ping and ping() == "pong"


def test_a_name_is_given_once():
    catalog = Catalog("method")
    catalog.add("Ping", 1)
    with pytest.raises(ValueError, match="two method entries are called 'Ping'"):
        catalog.add("Ping", 2)
    assert catalog.get("Ping") == 1


def test_catalogs_share_nothing():
    Catalog("a").add("x", 1)
    assert "x" not in Catalog("a")
