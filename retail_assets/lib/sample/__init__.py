"""A made-up sample of the Online Retail family with the answers: what dirt it holds, how much, and what every month adds up to.

In here: the invented shop (calendar, products, customers), the sales it makes, the dirt that real files were seen to hold (docs: dataset), and the
writing of landing files. Not in here: any reading, cleaning or judging of lines; a generator that knew the rules of the pipeline could not test them.

How a sample comes about. Baskets are drawn and laid end to end, cut into months by the real volumes, and handed to customers. Returns, fees,
stock corrections and the other oddities are added in planned numbers, and ordinary sales of account customers fill what is left, so that the total is
exact. Every generator of dirt marks its lines with a Boolean column named after the kind; the oracle is the sum over these columns.
"""

from retail_assets.lib.sample._files import write
from retail_assets.lib.sample._generate import MINIMUM_LINE_COUNT, Sample, generate
from retail_assets.lib.sample._history import PIECE_LINES, write_history
from retail_assets.lib.sample._kinds import KINDS

__all__ = ["KINDS", "MINIMUM_LINE_COUNT", "PIECE_LINES", "Sample", "generate", "write", "write_history"]
