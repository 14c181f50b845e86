"""What people type into a scanner: letters and words in many spellings, and whether they name a contrast agent."""

from __future__ import annotations

import re
import unicodedata

# Brands that are no form of "gado".
_BRANDS = "dotarem|clariscan|prohance|omniscan|magnevist|multihance|primovist|eovist|vasovist|ablavar|artirem|elucirem|vueway|dotagraf"
_AGENT = rf"gd|gad\w*|km|mdc|m d c|pdc|civ|{_BRANDS}|[ck]ontras\w*|контраст\w*"
# Injury is no injection.
_GIVEN = r"ce|enh|enhanc\w*|inj(?!ur)\w*|inyec\w*|iniez\w*"
_NOT = (
    r"pre|before|vor|voor|avant|prima|antes|without|w o|(?<!\bw )wo|no|non|not|ohne|kein\w*|sans|ss|sin|senza|sem|zonder|utan|uten|uden"
    r"|bez|без|до"
)
_FILLER = r"de|d|du|di|del|der|any|iv|i v|intraven\w*|produit|agent|of|von"
_UNENHANCED = re.compile(
    rf"\b({_NOT}) ?(({_FILLER}) )*(post|({_AGENT}|{_GIVEN})( (({_FILLER}) )+({_AGENT}|{_GIVEN}))*)(?!\w)"
    r"|平扫|平掃|(未|非|无|無|不) ?(增强|增強|造影)|(增强|增強|造影) ?(前|なし)|비 ?조영|조영 ?전"
)
_ENHANCED = re.compile(
    rf"(?<!\w)(post ?({_AGENT}|{_GIVEN})?|{_AGENT}|{_GIVEN}|\+ ?c|c ?\+|\+ ?gd|ку)(?!\w)|\+ ?(c|gd|km)\b"
    rf"|(?<!\w)t1w?c(?!\w)|(?<!\w)(t1w?|t2w?|flair|mp ?rage|bravo|f?spgr|tfe|vibe|space|t?se|fse)({_AGENT}|ce|inj(?!ur)\w*)(?!\w)"
    r"|增强|增強|造影|조영"
)


def typed(text: str) -> str:
    """Return typed text in small letters without accents, its words parted by one space; a plus counts as a letter.

    Letters of other scripts are kept, as words of their own: they may stand
    beside Latin ones without a space.

    Examples
    --------
    >>> typed("AX T1_SE après Injection"), typed("T1增强 +C")
    ('ax t1 se apres injection', 't1 增强 +c')
    """
    bare = re.sub("[\u0300-\u036f]", "", unicodedata.normalize("NFKD", text.casefold()))
    words = re.sub(r"[^\w+]|_", " ", unicodedata.normalize("NFC", bare))
    return " ".join(re.sub(r"(?<=[a-z0-9+])(?=[^\W\d_a-z])|(?<=[^\W\d_a-z])(?=[a-z0-9+])", " ", words).split())


def names_contrast_agent(names: str) -> bool:
    """Tell whether typed names say that a contrast agent was given.

    "Before", "without" and the like speak of their own agent alone; what else
    a name says still counts.

    Parameters
    ----------
    names : str
        As :func:`typed` returns them.

    Examples
    --------
    >>> names_contrast_agent("t1 vor km"), names_contrast_agent("t1ce"), names_contrast_agent("t1 head injury")
    (False, True, False)
    """
    return bool(_ENHANCED.search(_UNENHANCED.sub(" ", names)))
