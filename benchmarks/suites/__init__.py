"""The suites of `python -m benchmarks`, in the order in which they run. What weighs things comes first: see `goals`."""

from .article import ARTICLE
from .brokers import BROKERS
from .channels import CHANNELS
from .go_names import GO_NAMES
from .goals import GOALS
from .growth import GROWTH
from .known_peers import KNOWN_PEERS
from .sizes import SIZES

SUITES = {design.name: design for design in (SIZES, CHANNELS, GO_NAMES, KNOWN_PEERS, ARTICLE, GROWTH, GOALS, BROKERS)}
