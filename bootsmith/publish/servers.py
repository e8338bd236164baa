"""What publishing asks of the servers at a place: most changes nothing, a new host often does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bootsmith.generations.catalogue import Catalogue
from bootsmith.generations.server_news import server_news
from bootsmith.publish.contents import Contents
from bootsmith.publish.delivery import Delivery


def lines_for_servers(
    catalogue: Catalogue, contents: Contents, deliveries: Sequence[Delivery]
) -> Iterator[str]:
    """Which servers have to read changed configurations, for each generation that was served.

    Nothing where that generation is not here any more: nobody can say what has changed.
    """
    known = catalogue.by_id
    for was in dict.fromkeys(delivery.was for delivery in deliveries):
        if was in known and was != contents.id and known[was].manifest is not None:
            heading, *rows = server_news(known[was].tree, known[contents.id].tree) or ("",)
            if rows:
                names = [one.place.name for one in deliveries if one.was == was]
                yield f"{', '.join(names)}: {heading}"
                yield from rows
