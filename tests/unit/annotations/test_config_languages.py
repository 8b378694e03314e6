from __future__ import annotations

from pipeline.annotations.catalogue import load_catalogue


def test_a_config_can_have_a_language_of_its_own():
    catalogue = load_catalogue()
    assert catalogue.get("xquad/xquad.de").source.language == ("de",)
    assert catalogue.get("xquad/xquad.en").source.language == ("en",)
